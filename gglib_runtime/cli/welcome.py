"""What `gglib up` tells a newcomer: the first answer, and what to do next.

Not here: the answer itself.
"""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

import click

from gglib_runtime.cli.output import printable

if TYPE_CHECKING:
    from gglib_runtime.cli.first_answer import Answer

_SHOWN_CHARACTERS = 200
_PLACEHOLDER = "MODEL"


def say_answer(answer: Answer) -> None:
    """Show what a model said."""
    text = " ".join(printable(answer.text).split()) or "(no text)"
    if len(text) > _SHOWN_CHARACTERS:
        text = f"{text[:_SHOWN_CHARACTERS]} …"
    click.echo(f"Answer after {answer.seconds:.1f} s: {text}")


def say_next_steps(url: str, model: str | None) -> None:
    """Show how to ask from a shell and from Python, and how to add a model."""
    name = model or _PLACEHOLDER
    click.echo(f"\nBase URL for OpenAI clients: {url}/v1\n")
    click.echo(_curl(url, name))
    click.echo(_python(url, name))
    click.echo("Add a real model; no restart is needed:\n\n  gglib model add /path/to/model.gguf")


def _curl(url: str, model: str) -> str:
    message = {"role": "user", "content": "Hello!"}
    body = shlex.quote(json.dumps({"model": model, "messages": [message]}))
    return f"""\
Ask from a shell:

  curl {url}/v1/chat/completions -H 'Content-Type: application/json' \\
    -d {body}
"""


def _python(url: str, model: str) -> str:
    return f"""\
Ask from Python, after `pip install openai`:

  from openai import OpenAI

  client = OpenAI(base_url="{url}/v1", api_key="none")
  answer = client.chat.completions.create(
      model={json.dumps(model)}, messages=[{{"role": "user", "content": "Hello!"}}]
  )
  print(answer.choices[0].message.content)
"""

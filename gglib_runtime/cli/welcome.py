"""What `gglib up` tells a newcomer: the first answer, and what to do next.

Not here: the answer itself.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gglib_runtime.cli.output import printable

if TYPE_CHECKING:
    from gglib_runtime.cli.endpoint import Endpoint
    from gglib_runtime.cli.first_answer import Answer

_SHOWN_CHARACTERS = 200
_PLACEHOLDER = "MODEL"


def say_answer(answer: Answer) -> None:
    """Show what a model said."""
    text = " ".join(printable(answer.text).split()) or "(no text)"
    if len(text) > _SHOWN_CHARACTERS:
        text = f"{text[:_SHOWN_CHARACTERS]} …"
    click.echo(f"Answer after {answer.seconds:.1f} s: {text}")


def say_next_steps(endpoint: Endpoint, model: str | None) -> None:
    """Show how to ask from a shell and from Python, and how to add a model."""
    name = model or _PLACEHOLDER
    click.echo(f"\nBase URL for OpenAI clients: {endpoint.base_url}/v1\n")
    if endpoint.needs_key:
        made = f"{_program()} key create NAME"
        click.echo(f"Requests need an API key, here in OPENAI_API_KEY: {made}\n")
    if endpoint.certificate is not None:
        click.echo(f"Clients have to trust {endpoint.certificate}, or whoever issued it.\n")
    click.echo(_curl(endpoint, name))
    click.echo(_python(endpoint, name))
    added = f"{_program()} model add /path/to/model.gguf"
    click.echo(f"Add a real model; no restart is needed:\n\n  {added}")


def _program() -> str:
    """How a shell finds this program: by its name where that is on PATH, else as it was called."""
    called = Path(sys.argv[0])
    if called.name != "gglib" or shutil.which("gglib"):
        return "gglib"
    return shlex.quote(str(called))


def _curl(endpoint: Endpoint, model: str) -> str:
    message = {"role": "user", "content": "Hello!"}
    authorization = '-H "Authorization: Bearer $OPENAI_API_KEY" ' if endpoint.needs_key else ""
    body = shlex.quote(json.dumps({"model": model, "messages": [message]}))
    return f"""\
Ask from a shell:

  curl {_curl_options(endpoint)}{endpoint.base_url}/v1/chat/completions \\
    {authorization}-H 'Content-Type: application/json' -d {body}
"""


def _curl_options(endpoint: Endpoint) -> str:
    options: list[str] = []
    if endpoint.certificate is not None:
        options += ["--cacert", shlex.quote(str(endpoint.certificate))]
    if endpoint.socket_path is not None:
        options += ["--unix-socket", shlex.quote(endpoint.socket_path)]
    return "".join(f"{option} " for option in options)


def _python(endpoint: Endpoint, model: str) -> str:
    imports, transport = "", ""
    secret = "" if endpoint.needs_key else ', api_key="none"'  # else OpenAI's client refuses
    if endpoint.socket_path is not None:
        imports = "import httpx\n  "
        path = json.dumps(endpoint.socket_path)
        transport = f", http_client=httpx.Client(transport=httpx.HTTPTransport(uds={path}))"
    return f"""\
Ask from Python, after `pip install openai`:

  {imports}from openai import OpenAI

  client = OpenAI(base_url="{endpoint.base_url}/v1"{secret}{transport})
  answer = client.chat.completions.create(
      model={json.dumps(model)}, messages=[{{"role": "user", "content": "Hello!"}}]
  )
  print(answer.choices[0].message.content)
"""

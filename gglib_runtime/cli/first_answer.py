"""One real request through a running endpoint, as a client would send it.

Not here: which model is asked, and what is told of the answer.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gglib_runtime.cli.failures import CommandFailed
from gglib_runtime.cli.server import stated_reason

if TYPE_CHECKING:
    import httpx

    from gglib_runtime.cli.endpoint import Endpoint

QUESTION = "Say hello in one short sentence."
_MAX_TOKENS = 32
_CONNECT_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a model said."""

    text: str
    seconds: float
    """From the request to the answer's end, loading included."""


def ask(endpoint: Endpoint, model: str, secret: str | None = None) -> Answer:
    """Have `model` answer `QUESTION`, however long it loads. Raises CommandFailed.

    `secret` is that of an API key.
    """
    import httpx

    request = {
        "model": model,
        "messages": [{"role": "user", "content": QUESTION}],
        "max_tokens": _MAX_TOKENS,
    }
    headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
    timeout = httpx.Timeout(None, connect=_CONNECT_SECONDS)
    started = time.monotonic()
    try:
        with endpoint.open_client(timeout) as client:
            response = client.post("/v1/chat/completions", json=request, headers=headers)
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise CommandFailed(f"The endpoint did not answer: {reason}") from error
    if response.is_error:
        raise CommandFailed(
            f"The first request failed: {stated_reason(response.status_code, response.text)}"
        )
    return Answer(text=_text(response), seconds=time.monotonic() - started)


def _text(response: httpx.Response) -> str:
    try:
        message = response.json()["choices"][0]["message"]
        return str(message.get("content") or message.get("reasoning_content") or "")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise CommandFailed(f"The answer is no chat completion: {response.text[:200]}") from error

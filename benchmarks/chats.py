"""The requests that are sent: small chats."""

from __future__ import annotations

import json

from benchmarks.load import request_bytes

CHAT = "/v1/chat/completions"


def chat_body(model: str, *, tokens: int = 16, **fields: object) -> bytes:
    messages = [{"role": "user", "content": "Say something."}]
    body = {"model": model, "messages": messages, "max_tokens": tokens, **fields}
    return json.dumps(body).encode()


def chat(model: str, *, tokens: int = 16, **fields: object) -> bytes:
    """A whole message that asks for a stream."""
    return request_bytes(CHAT, chat_body(model, tokens=tokens, stream=True, **fields))

"""What the bodies of requests for engines are like: examples, for people and for generated pages.

Engines know many more fields, and check them; gglib reads a few and passes all on. Not here: which
paths there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gglib_proxy.control.openapi.operation import Schema

_MESSAGES = [{"role": "user", "content": "Hello!"}]
_DOCUMENTS = ["Sage is a herb.", "Llamas live in the Andes."]

ENGINE_BODIES: Mapping[str, Mapping[str, Any]] = {
    "/v1/chat/completions": {"messages": _MESSAGES, "max_tokens": 100, "stream": False},
    "/v1/completions": {"prompt": "Once upon a time", "max_tokens": 100, "stream": False},
    "/v1/responses": {"input": "Hello!", "max_output_tokens": 100, "stream": False},
    "/v1/embeddings": {"input": _DOCUMENTS},
    "/v1/rerank": {"query": "What is sage?", "documents": _DOCUMENTS, "top_n": 1},
    "/v1/messages": {"messages": _MESSAGES, "max_tokens": 100, "stream": False},
    "/v1/messages/count_tokens": {"messages": _MESSAGES},
    "/chat/completions": {"messages": _MESSAGES, "max_tokens": 100, "stream": False},
    "/completion": {"prompt": "Once upon a time", "n_predict": 100, "stream": False},
    "/completions": {"prompt": "Once upon a time", "max_tokens": 100, "stream": False},
    "/infill": {"input_prefix": "def one():\n    ", "input_suffix": "\n", "n_predict": 50},
    "/apply-template": {"messages": _MESSAGES},
    "/embedding": {"content": "Sage is a herb."},
    "/embeddings": {"content": "Sage is a herb."},
    "/rerank": {"query": "What is sage?", "documents": _DOCUMENTS, "top_n": 1},
    "/tokenize": {"content": "Sage is a herb."},
    "/detokenize": {"tokens": [50, 351, 318]},
}
"""By path; each names its `model` besides."""


def engine_body(path: str, *, can_stream: bool) -> Schema:
    """The schema of a body for that path: what gglib reads of it, with an example."""
    properties: dict[str, Schema] = {"model": {"type": "string"}}
    if can_stream:
        properties["stream"] = {"type": "boolean"}
    return {
        "type": "object",
        "properties": properties,
        "additionalProperties": True,
        "examples": [{"model": "MODEL", **ENGINE_BODIES[path]}],
    }

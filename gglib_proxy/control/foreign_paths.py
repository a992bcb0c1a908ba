"""What to use here instead of paths that other servers have.

For people who come with a client of Ollama, LM Studio, llama-swap or LiteLLM, or ask for what
llama.cpp cannot do. Not here: paths that are merely misspelt.
"""

from __future__ import annotations

import re

_OLLAMA = "blobs|chat|copy|create|delete|embed|embeddings|generate|ps|pull|push|show|tags|version"
_NOT_SERVED = (
    "assistants|audio|batches|containers|conversations|evals|files|fine_tuning|images|moderations"
    "|realtime|threads|uploads|vector_stores|videos"
)
_HINTS = tuple(
    (re.compile(pattern), hint)
    for pattern, hint in (
        (
            rf"(/v1)?/api/({_OLLAMA})(/.*)?",
            "That is Ollama's own API: let the client speak OpenAI's, to a URL that ends in /v1.",
        ),
        (
            r"/api/v0(/.*)?",
            "That is LM Studio's own API: let the client speak OpenAI's, to /v1.",
        ),
        (r"/running", "GET /v1/models has the state of each model."),
        (r"/(unload|api/models/unload(/.*)?)", "POST /models/unload unloads one model, or all."),
        (r"/logs(/.*)?", "GET /admin/logs?model=MODEL has what a model's engine printed."),
        (r"/key/\w+", "POST /admin/keys makes an API key, and GET /admin/keys lists them."),
        (r"(/global)?/spend(/.*)?", "GET /v1/generations has what each request cost."),
        (r"(/v1)?/model/info", "GET /v1/models has what is known of each model."),
        (r"/health/(readiness|liveliness)", "GET /ready and GET /live are for probes."),
        (rf"/v1/({_NOT_SERVED})(/.*)?", "llama.cpp's server does not do that."),
    )
)


def foreign_path_hint(path: str) -> str | None:
    """What to do instead, in a sentence; None for a path that no known server has."""
    return next((hint for pattern, hint in _HINTS if pattern.fullmatch(path)), None)

"""What the engine says of itself where a real one describes its model and sampling."""

from __future__ import annotations

from typing import Any

TRAINED_CONTEXT = 131_072
TEMPLATE = (
    "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"
    "{%- endfor %}{{- '<|im_start|>assistant\\n' }}"
)
DEFAULT_SETTINGS: dict[str, Any] = {
    "seed": 4294967295,
    "temperature": 0.8,
    "top_k": 40,
    "top_p": 0.95,
    "min_p": 0.05,
    "repeat_penalty": 1.0,
    "max_tokens": -1,
    "n_predict": -1,
    "ignore_eos": False,
    "stream": False,
    "n_probs": 0,
    "chat_format": "Content-only",
    "reasoning_format": "none",
    "samplers": ["top_k", "top_p", "min_p", "temperature"],
    "timings_per_token": False,
    "lora": [],
}

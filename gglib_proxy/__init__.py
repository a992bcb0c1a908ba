"""Everything HTTP: the data plane that relays inference, and the control plane behind it.

Depends on the ports of gglib_core alone; what fills them is decided in gglib_runtime. Programs that
embed gglib take `serve` and `Limits` from here; they are imported when they are asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gglib_proxy.limits import Limits
    from gglib_proxy.server import serve

__all__ = ["Limits", "serve"]
_HOMES = {"Limits": "gglib_proxy.limits", "serve": "gglib_proxy.server"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)

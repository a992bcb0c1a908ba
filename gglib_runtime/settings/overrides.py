"""The file of what admins have set while a server ran: one JSON object of values by key.

Not here: whether the values are acceptable.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from gglib_core.errors import OwnFileUnusable


def read_overrides(path: Path) -> Mapping[str, object]:
    """What was set; nothing where there is no file. Raises OwnFileUnusable."""
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise OwnFileUnusable(
            f"The settings in {path} cannot be read: {error.strerror}."
        ) from error
    except ValueError as error:
        raise OwnFileUnusable(f"{path} is not valid JSON: {error}. Mend or remove it.") from error
    except RecursionError as error:
        raise OwnFileUnusable(f"{path} is nested too deeply. Mend or remove it.") from error
    if not isinstance(document, dict):
        raise OwnFileUnusable(f"{path} holds no JSON object. Mend or remove it.")
    return cast("dict[str, object]", document)


def write_overrides(path: Path, overrides: Mapping[str, object]) -> None:
    """Keep them; the file is replaced whole, or stays as it was. Raises OwnFileUnusable."""
    beside = path.with_suffix(".new")
    text = json.dumps(dict(overrides), indent=2, ensure_ascii=False) + "\n"
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(text.encode("utf-8", "surrogateescape"))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise OwnFileUnusable(f"{path} cannot be written: {error.strerror}.") from error

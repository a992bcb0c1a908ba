"""Finds the files of a model that is split into several.

Not here: what stands in them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from gglib_core.errors import GgufError

_SHARD = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.DOTALL)


def find_shards(path: Path | str) -> tuple[Path, ...]:
    """The absolute paths of all shards in order, given any of them; one path if not split.

    Raises GgufError naming what is missing.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 - resolving links would lose the shard's name
    match = _SHARD.fullmatch(path.name)
    if match is None:
        return (path,)
    number, count = int(match["number"]), int(match["count"])
    if not 1 <= number <= count:
        raise GgufError(str(path), f"is named as shard {number} of {count}, which cannot be")
    shards = tuple(
        path.with_name(f"{match['stem']}-{i:05}-of-{count:05}.gguf") for i in range(1, count + 1)
    )
    present = _present(shards)
    missing = [shard.name for shard in shards if shard.name not in present]
    if missing:
        more = f" and {len(missing) - 3:,} more" if len(missing) > 3 else ""
        raise GgufError(
            str(path),
            f"is shard {number} of {count}, and beside it {', '.join(missing[:3])}{more} "
            f"{'is' if len(missing) == 1 else 'are'} missing",
        )
    return shards


def shard_stem(path: Path | str) -> str:
    """The file's name without `.gguf` and without the shard's number."""
    match = _SHARD.fullmatch(Path(path).name)
    return match["stem"] if match else Path(path).stem


def _present(shards: tuple[Path, ...]) -> set[str]:
    try:
        return set(os.listdir(shards[0].parent))  # noqa: PTH208 - names are all that is needed
    except OSError as error:
        raise GgufError(str(shards[0]), f"cannot be read: {error.strerror}") from error

"""A process that records generations until it is killed.

    python -m tests.generations_process DATABASE

Writes the id of each once it has recorded it, and with it the time.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from pathlib import Path

from gglib_runtime.catalog.database import open_database
from gglib_runtime.catalog.migration import upgrade
from gglib_runtime.generations.writer import open_generation_log
from tests.generations import generation

PAUSE_SECONDS = 0.005


async def main(path: Path) -> None:
    with open_database(path) as engine:
        upgrade(engine)
        async with open_generation_log(engine, unwritten=path.with_suffix(".jsonl")) as log:
            for number in itertools.count():
                now = time.time()
                log.record(generation(id=f"gen-{number}", created_ms=int(now * 1000)))
                sys.stdout.write(f"gen-{number} {now}\n")
                sys.stdout.flush()
                await asyncio.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))

"""Prints, in one run on this machine, what gglib costs beside the same engine without it.

Client, gglib and engine share the machine's cores, so absolute figures say little; the ratios to
the engine alone and to nginx, in the same run, say more. In parentheses stands the mark that gglib
sets itself.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from benchmarks.bodies import measure_bodies
from benchmarks.gate import measure_gate
from benchmarks.lasting import measure_lasting
from benchmarks.relay import measure_constant, measure_llama
from benchmarks.report import Report
from benchmarks.scale import DEFAULT, FULL, QUICK, Scale
from benchmarks.simulator import measure_simulator
from benchmarks.start import measure_start
from benchmarks.streams import measure_streams
from benchmarks.swaps import measure_swaps
from gglib_runtime.gguf.demo import write_demo_model
from gglib_runtime.open_files import raise_file_limit

Measure = Callable[[Path, list[Path], Scale, Report], Awaitable[None]]

_SECTIONS: dict[str, Measure] = {
    "constant": measure_constant,
    "llama": measure_llama,
    "gate": measure_gate,
    "streams": measure_streams,
    "bodies": measure_bodies,
    "lasting": measure_lasting,
    "swaps": measure_swaps,
    "start": measure_start,
    "simulator": measure_simulator,
}


async def _measure(sections: list[str], scale: Scale, report: Report) -> None:
    with tempfile.TemporaryDirectory(prefix="gglib-bench-") as name:
        directory = Path(name)
        models = [directory / "model-a.gguf", directory / "model-b.gguf"]
        for model in models:
            write_demo_model(model)
        for section in sections:
            await _SECTIONS[section](directory, models, scale, report)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"of {', '.join(_SECTIONS)}; all by default"
    )
    scale = parser.add_mutually_exclusive_group()
    scale.add_argument("--quick", dest="scale", action="store_const", const=QUICK, default=DEFAULT)
    scale.add_argument("--full", dest="scale", action="store_const", const=FULL)
    parser.add_argument("--json", action="store_true", help="print JSON at the end, and only that")
    options = parser.parse_args()
    unknown = [each for each in options.sections if each not in _SECTIONS]
    if unknown:
        parser.error(f"no such section: {', '.join(unknown)}")
    return options


def main() -> None:
    options = _options()
    report = Report(is_json=options.json)
    raise_file_limit()
    report.say(f"{os.cpu_count()} cores, shared by client, gglib and engine")
    uvloop.run(_measure(options.sections or list(_SECTIONS), options.scale, report))
    report.end()
    if options.json:
        print(json.dumps([row.document() for row in report.rows], indent=2))


if __name__ == "__main__":
    main()

"""`gglib chaos`: tries the promises of docs/reliability.md with the user's own configuration.

Not here: the experiments (`gglib_runtime.chaos`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from gglib_runtime.cli.failures import ExitCode
from gglib_runtime.cli.options import as_json, with_settings
from gglib_runtime.cli.output import print_json, printable

if TYPE_CHECKING:
    from gglib_runtime.chaos.experiment import Experiment
    from gglib_runtime.chaos.outcome import Outcome
    from gglib_runtime.settings import LoadedSettings

_COLOURS = {"pass": "green", "fail": "red", "skip": "yellow"}
_INDENT = 6


@click.command()
@click.option(
    "--only", metavar="NAME", multiple=True, help="Run only this experiment; may be repeated."
)
@click.option("--list", "is_listing", is_flag=True, help="List the experiments and run none.")
@as_json
@with_settings()
def chaos(
    loaded: LoadedSettings, only: tuple[str, ...], is_listing: bool, as_json: bool
) -> ExitCode:
    """Make faults and see whether gglib keeps its promises with these settings.

    Each experiment starts a server of its own with simulated engines and a data directory that is
    thrown away. A server that runs is left alone. Fails if a promise is broken.
    """
    from gglib_runtime.chaos.matrix import MATRIX

    chosen = _chosen(MATRIX, only)
    if is_listing:
        _list(chosen, as_json=as_json)
        return ExitCode.OK
    import asyncio

    outcomes = asyncio.run(_run(loaded, chosen, is_shown=not as_json))
    counts = Counter(outcome.verdict.value for outcome in outcomes)
    if as_json:
        kept = not counts["fail"]
        print_json({"all_kept": kept, "experiments": [asdict(each) for each in outcomes]})
    else:
        skipped = f", {counts['skip']} skipped" if counts["skip"] else ""
        promises = "promise" if counts["pass"] == 1 else "promises"
        click.echo(f"{counts['pass']} {promises} kept, {counts['fail']} broken{skipped}.")
    return ExitCode.FAILURE if counts["fail"] else ExitCode.OK


def _chosen(matrix: tuple[Experiment, ...], only: tuple[str, ...]) -> list[Experiment]:
    names = [experiment.name for experiment in matrix]
    for name in only:
        if name not in names:
            listed = ", ".join(names)
            raise click.BadParameter(f"{name} is no experiment; there are {listed}.")
    return [each for each in matrix if not only or each.name in only]


def _list(experiments: list[Experiment], *, as_json: bool) -> None:
    if as_json:
        print_json(
            [
                {"name": each.name, "fault": each.fault, "promise": each.promise}
                for each in experiments
            ]
        )
        return
    for each in experiments:
        click.echo(f"{each.name}: {each.fault}")
        click.echo(f"{'':{_INDENT}}{each.promise}")


async def _run(
    loaded: LoadedSettings, experiments: list[Experiment], *, is_shown: bool
) -> list[Outcome]:
    from gglib_runtime.chaos.matrix import run_matrix

    outcomes: list[Outcome] = []
    async for outcome in run_matrix(loaded, experiments):
        outcomes.append(outcome)
        if is_shown:
            _print(outcome)
    return outcomes


def _print(outcome: Outcome) -> None:
    verdict = click.style(f"{outcome.verdict:{_INDENT}}", fg=_COLOURS[outcome.verdict])
    click.echo(f"{verdict}{outcome.name}: {outcome.fault} ({outcome.seconds:.1f} s)")
    click.echo(f"{'':{_INDENT}}promised: {outcome.promise}")
    click.echo(f"{'':{_INDENT}}seen: {printable(outcome.seen)}")

"""Runs the experiments, one after the other, each with a server of its own."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gglib_runtime.chaos import connections, processes
from gglib_runtime.chaos.experiment import Experiment
from gglib_runtime.chaos.outcome import Broken, Outcome, Verdict
from gglib_runtime.chaos.stage import SERVE, open_stage
from gglib_runtime.cli.failures import CommandFailed
from gglib_runtime.gguf.demo import write_demo_model

if TYPE_CHECKING:
    from gglib_runtime.settings import LoadedSettings, Settings

_MODEL = "demo.gguf"
MATRIX: tuple[Experiment, ...] = (*connections.EXPERIMENTS, *processes.EXPERIMENTS)


async def run_matrix(
    loaded: LoadedSettings, experiments: Sequence[Experiment], command: Sequence[str] = SERVE
) -> AsyncIterator[Outcome]:
    """Try each experiment with these settings; outcomes come as they are had.

    `command` starts the server, with the arguments of `gglib serve` behind it.
    """
    with tempfile.TemporaryDirectory(prefix="gglib-chaos-") as name:
        directory = Path(name)
        write_demo_model(directory / _MODEL)
        for experiment in experiments:
            began = time.monotonic()
            verdict, seen = await _try(experiment, loaded, directory, command)
            yield Outcome(
                name=experiment.name,
                fault=experiment.fault,
                promise=experiment.promise,
                verdict=verdict,
                seen=seen,
                seconds=time.monotonic() - began,
            )


async def _try(
    experiment: Experiment, loaded: LoadedSettings, directory: Path, command: Sequence[str]
) -> tuple[Verdict, str]:
    if (reason := experiment.void(loaded.settings)) is not None:
        return Verdict.SKIP, reason
    changes = _shortened(experiment, loaded.settings)
    try:
        seen = await _run(experiment, loaded, directory, changes, command)
    except (Broken, CommandFailed, OSError) as error:
        return Verdict.FAIL, str(error)
    except Exception as error:  # whatever a server without promises may answer
        return Verdict.FAIL, f"{type(error).__name__}: {error}"
    noted = ", ".join(f"{key} = {value:g}" for key, value in changes.items())
    return Verdict.PASS, f"{seen} (with {noted})" if noted else seen


async def _run(
    experiment: Experiment,
    loaded: LoadedSettings,
    directory: Path,
    changes: Mapping[str, float],
    command: Sequence[str],
) -> str:
    own, model = directory / experiment.name, directory / _MODEL
    own.mkdir()
    async with open_stage(loaded, own, model, experiment.sims, changes, command) as stage:
        seen = await experiment.run(stage)
        if experiment.is_settled:
            try:
                await stage.settle()
            except Broken as error:
                raise Broken(f"{seen}; afterwards {error}") from error
        return seen


def _shortened(experiment: Experiment, settings: Settings) -> dict[str, float]:
    """The settings that would make the experiment last too long, made shorter."""
    return {
        key: most for key, most in experiment.shortened.items() if getattr(settings, key) > most
    }

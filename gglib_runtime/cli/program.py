"""The root command, and the edge where every error becomes one line and an exit code.

Not here: what the sub-commands do.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from gglib_core import __version__
from gglib_runtime.cli.failures import ExitCode, report
from gglib_runtime.cli.lazy import LazyGroup
from gglib_runtime.cli.output import abandon_output


class Program(LazyGroup):
    """A group whose `main` turns whatever happens into gglib's exit codes."""

    def main(  # pyright: ignore[reportIncompatibleMethodOverride] -- it always ends the process
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = "gglib",
        **extra: Any,  # noqa: ANN401 -- passed through
    ) -> NoReturn:
        if os.environ.get("NO_COLOR"):  # rich heeds it by itself, click does not
            extra.setdefault("color", False)
        try:
            result: object = super().main(args, prog_name, standalone_mode=False, **extra)
            sys.stdout.flush()
        except BrokenPipeError:
            abandon_output()
            sys.exit(ExitCode.FAILURE)
        except KeyboardInterrupt:
            sys.exit(ExitCode.INTERRUPTED)
        except Exception as error:
            sys.exit(report(error))
        sys.exit(result if isinstance(result, int) else ExitCode.OK)


@click.command(
    "gglib",
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    places={
        "up": "up:up",
        "serve": "serve:serve",
        "model": "models:model",
        "key": "keys:key",
        "status": "running:status",
        "load": "running:load",
        "unload": "running:unload",
        "logs": "logs:logs",
        "generations": "generations:generations",
        "generation": "generations:generation",
        "swaps": "swaps:swaps",
        "simulate": "simulate:simulate",
        "chaos": "chaos:chaos",
        "doctor": "doctor:doctor",
        "config": "configuration:config",
        "db": "database:db",
        "completion": "completion:completion",
    },
    epilog="Exit codes: 0 done, 1 failed, 2 wrong command line or setting, 3 no server runs.",
)
@click.version_option(__version__, prog_name="gglib", message="%(prog)s %(version)s")
def program() -> None:
    """One OpenAI- and Anthropic-compatible endpoint that runs and swaps llama.cpp models.

    New here? Run `gglib up`.
    """

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
            from gglib_runtime.cli.output import abandon_output

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
        "up": ("up:up", "Start the endpoint and send a first request through it."),
        "serve": ("serve:serve", "Run the endpoint until it is told to stop."),
        "model": ("models:model", "Add, show, change and remove models."),
        "key": ("keys:key", "Make, show, change and remove API keys."),
        "status": ("running:status", "Show the running server and its models."),
        "load": ("running:load", "Load a model, making room for it as a request would."),
        "unload": ("running:unload", "Unload a model, or all, once running answers have ended."),
        "logs": ("logs:logs", "Print what a model's engine printed, also one that has ended."),
        "generations": (
            "generations:generations",
            "Show the last requests: models, tokens, times and costs.",
        ),
        "generation": ("generations:generation", "Show all that is known of one request."),
        "swaps": ("swaps:swaps", "Show the last launches of models, and where their time went."),
        "simulate": (
            "simulate:simulate",
            "Run a model server without a model, with delays and faults.",
        ),
        "chaos": ("chaos:chaos", "Make faults and see whether gglib keeps its promises."),
        "doctor": ("doctor:doctor", "Look at all that gglib needs, and say what to do."),
        "config": ("configuration:config", "Look at the settings."),
        "db": ("database:db", "Look at the database's schema, or bring it up to date."),
        "completion": ("completion:completion", "Print a shell's completion script."),
    },
    epilog="Exit codes: 0 done, 1 failed, 2 wrong command line or setting, 3 no server runs.",
)
@click.version_option(__version__, prog_name="gglib", message="%(prog)s %(version)s")
def program() -> None:
    """One OpenAI- and Anthropic-compatible endpoint that runs and swaps llama.cpp models.

    New here? Run `gglib up`.
    """

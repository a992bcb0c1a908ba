"""How commands fail: exit codes, and one clear line on standard error.

Every command imports this module, and `--help` nothing else: what only a failure needs is imported
by it. Not here: what makes them fail.
"""

from __future__ import annotations

import errno
import os
from enum import IntEnum
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pathlib import Path


class ExitCode(IntEnum):
    """What the exit code of every command means."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    """The command line, or a setting, is wrong."""
    NO_SERVER = 3
    """The command needs a running server and there is none."""
    INTERRUPTED = 130


class CommandFailed(click.ClickException):
    """A command cannot do what it was asked for."""

    exit_code = ExitCode.FAILURE


class NoServer(CommandFailed):
    """A command needs a running server, and none serves the data directory."""

    exit_code = ExitCode.NO_SERVER

    def __init__(self, data_dir: Path) -> None:
        super().__init__(f"No server runs for {data_dir}. Start one with `gglib serve`.")


def report(error: Exception) -> ExitCode:
    """Tell the user of `error`; returns what to exit with."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return ExitCode.USAGE
    if isinstance(error, click.Abort):
        return ExitCode.INTERRUPTED
    message, code = _explain(error)
    if code is ExitCode.FAILURE and os.environ.get("GGLIB_DEBUG"):
        import traceback

        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    click.echo(f"gglib: {message}", err=True)
    return code


def _explain(error: Exception) -> tuple[str, ExitCode]:
    from gglib_core.errors import ConfigError, GglibError

    match error:
        case click.UsageError():
            return _usage(error), ExitCode.USAGE
        case click.ClickException():
            return error.format_message(), ExitCode(error.exit_code)
        case ConfigError():
            return str(error), ExitCode.USAGE
        case GglibError():
            return str(error), ExitCode.FAILURE
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            where = f"{error.filename}: " if error.filename else ""
            return f"{where}The disk is full. Free some space and try again.", ExitCode.FAILURE
        case OSError(filename=str(), strerror=str()):
            return f"{error.filename}: {error.strerror}", ExitCode.FAILURE
        case _:
            return _unexpected(error), ExitCode.FAILURE


def _usage(error: click.UsageError) -> str:
    message = error.format_message().rstrip()
    if error.ctx is None:
        return message
    return f"{message} Try '{error.ctx.command_path} --help'."


def _unexpected(error: Exception) -> str:
    said = " ".join(str(error).split())
    kind = type(error).__name__
    hint = "" if os.environ.get("GGLIB_DEBUG") else "; run with GGLIB_DEBUG=1 for the traceback"
    return f"unexpected {kind}{f': {said}' if said else ''}{hint}"

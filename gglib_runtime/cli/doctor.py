"""`gglib doctor`: looks at everything that gglib needs, and says what to do.

Not here: the checks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from gglib_core.errors import GglibError
from gglib_runtime.cli.failures import CommandFailed, ExitCode
from gglib_runtime.cli.options import as_json, with_settings
from gglib_runtime.cli.output import print_json, printable

if TYPE_CHECKING:
    from gglib_runtime.cli.checks.finding import Check, Finding
    from gglib_runtime.settings import LoadedSettings, Settings

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}
_INDENT = 6


@click.command()
@as_json
@with_settings("host", "port", "tls_cert", "tls_key", "no_auth", "llama_server")
def doctor(loaded: LoadedSettings, as_json: bool) -> ExitCode:
    """Look at all that gglib needs, and say what to do. Fails if it cannot work."""
    from gglib_runtime.cli.checks.finding import Verdict

    findings: list[Finding] = []
    for finding in _examine(loaded.settings):
        findings.append(finding)
        if not as_json:
            _print(finding)
    is_healthy = all(finding.verdict is not Verdict.FAIL for finding in findings)
    if as_json:
        print_json({"is_healthy": is_healthy, "checks": [asdict(each) for each in findings]})
    return ExitCode.OK if is_healthy else ExitCode.FAILURE


def _examine(settings: Settings) -> Iterator[Finding]:
    from gglib_runtime.cli.checks import access, engine, listener, machine, state

    yield from _safely("llama-server", engine.check_engine, settings)
    yield from _safely("data directory", state.check_data_directory, settings)
    yield from _safely("database", state.check_database, settings)
    yield from _safely("API keys", access.check_access, settings)
    yield from _safely("leftover engines", state.check_orphans, settings)
    yield from _safely("server", listener.check_endpoint, settings)
    yield from _safely("certificate", listener.check_certificate, settings)
    yield from _safely("memory", machine.check_memory, settings)
    yield from _safely("open files", machine.check_file_limit, settings)
    yield from _safely("uvloop", machine.check_event_loop, settings)
    yield from _safely("relay", machine.check_relay, settings)


def _safely(name: str, check: Check, settings: Settings) -> Iterator[Finding]:
    """What a check finds; that it cannot even look is a finding too."""
    from gglib_runtime.cli.checks.finding import Finding, Verdict

    try:
        yield from check(settings)
    except (GglibError, OSError, CommandFailed) as error:
        yield Finding(name=name, verdict=Verdict.FAIL, detail=str(error))


def _print(finding: Finding) -> None:
    verdict = click.style(f"{finding.verdict:{_INDENT}}", fg=_COLOURS[finding.verdict])
    click.echo(f"{verdict}{finding.name}: {printable(finding.detail)}")
    if finding.advice:
        click.echo(f"{'':{_INDENT}}{printable(finding.advice)}")

"""docs/listening.md speaks of settings, errors and numbers that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from gglib_proxy.limits import Limits
from gglib_proxy.tls import HANDSHAKE_SECONDS
from gglib_runtime.cli.program import program
from gglib_runtime.listen_address import listen_address
from gglib_runtime.open_files import clients_within
from gglib_runtime.settings.schema import declarations
from gglib_runtime.tls import POLL_SECONDS

DOCUMENTS = Path(__file__).parents[2] / "docs"
DOCUMENT = (DOCUMENTS / "listening.md").read_text()


def test_settings_and_codes_are_known() -> None:
    words = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", DOCUMENT))
    codes = set(re.findall(r"`([a-z_]+)`", (DOCUMENTS / "errors.md").read_text()))
    assert words <= set(declarations()) | codes
    assert words >= {"tls_cert", "tls_key", "unix_socket_mode", "max_connections_per_peer"}


def test_the_flags_are_those_of_serve() -> None:
    serve = program.get_command(None, "serve")  # type: ignore[arg-type]
    assert serve is not None
    known = {option for parameter in serve.params for option in parameter.opts}
    commands = re.findall(r"^(?:ExecStart=\S*/)?gglib serve (.*)$", DOCUMENT, re.MULTILINE)
    used = [word for command in commands for word in shlex.split(command) if word.startswith("--")]
    assert len(commands) == 3
    assert set(used) <= known


def test_the_forms_are_understood() -> None:
    table = DOCUMENT.partition("|---|---|")[2].partition("\n\n")[0]
    forms = [re.findall(r"`([^`]+)`", line.split("|")[1]) for line in table.strip().splitlines()]
    kinds = [{type(listen_address(form, 1)).__name__ for form in each} for each in forms]
    assert kinds == [{"TcpAddress"}, {"UnixAddress"}, {"InheritedSocket"}, {"SystemdSocket"}]


def test_the_numbers_are_right() -> None:
    assert (HANDSHAKE_SECONDS, POLL_SECONDS) == (10, 1)
    assert f"`max_connections` ({Limits().max_connections:,})" in DOCUMENT
    assert f"1,024 files are enough for {clients_within(1024)} clients" in DOCUMENT

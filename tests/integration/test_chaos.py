"""`gglib chaos` against real servers: promises kept, promises broken, and nothing left of it."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from gglib_runtime.chaos.matrix import MATRIX, run_matrix
from gglib_runtime.chaos.outcome import Outcome, Verdict
from gglib_runtime.settings import load_settings
from tests.certificates import issue_pair
from tests.command_line import REPOSITORY, Shell
from tests.faults import faulty_server

pytestmark = pytest.mark.slow

# A server that has forgotten what it promises for lost connections, and to take engines with it.
FORGETFUL = """
import sys
from gglib_core import errors
from gglib_proxy import errors as table
from gglib_runtime.supervisor import orphan_guard
table.ERROR_TABLE[errors.UpstreamLost] = table.ErrorRow(status=500, code="something_happened")
orphan_guard.KernelGuard.wrap = lambda guard, argv: [*argv]
from gglib_runtime.cli import main
sys.argv.insert(1, "serve")
main()
"""
# One that only says that it listens, and answers everything alike.
EMPTY = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")
    def log_message(self, *arguments):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(f"nobody 0 listens on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
"""


async def outcomes(home: Path, *names: str, script: str | None = None) -> dict[str, Outcome]:
    """What the experiments come to, with default settings; the server may be a script."""
    chosen = [each for each in MATRIX if each.name in names or not names]
    loaded = load_settings(None, {"GGLIB_DATA_DIR": str(home / "data")})
    command: dict[str, Sequence[str]] = {}
    if script is not None:
        path = home / "server.py"
        path.write_text(script)
        command = {"command": (sys.executable, str(path))}
    return {each.name: each async for each in run_matrix(loaded, chosen, **command)}


def leftovers() -> list[psutil.Process]:
    """Simulators that still run, of whomever this process started."""
    found = psutil.Process().children(recursive=True)
    return [each for each in found if "gglib_runtime" in " ".join(each.cmdline())]


def test_it_says_what_was_promised_and_what_was_seen(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    names = ("closed-in-stream", "load-fails", "neighbour")
    only = [argument for name in names for argument in ("--only", name)]
    before = {*Path(tempfile.gettempdir()).glob("gglib-chaos-*")}
    shown = shell.process("chaos", *only)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    lines = shown.stdout.splitlines()
    assert lines[0].startswith("pass  closed-in-stream: the engine closes the connection")
    assert lines[2] == "      seen: event upstream_lost, and the connection goes on"
    assert lines[6].startswith("skip  neighbour:") or lines[3].startswith("pass  load-fails:")
    assert lines[-1] == "2 promises kept, 0 broken, 1 skipped."
    assert not shell.data_dir.exists()
    assert {*Path(tempfile.gettempdir()).glob("gglib-chaos-*")} == before
    assert leftovers() == []


def test_a_running_server_is_left_alone_and_its_settings_count(tmp_path: Path) -> None:
    with faulty_server(tmp_path) as server:
        assert server.chat("alpha").status_code == 200
        (engine,) = server.engines()
        config = tmp_path / "config.toml"
        config.write_text("first_byte_timeout_seconds = 30\nport = 1\n")
        shown = server.shell.process(
            *("chaos", "--config", config, "--only", "silent-before-head", "--json")
        )
        assert shown.returncode == 0, shown.stderr
        told = json.loads(shown.stdout)
        [experiment] = told["experiments"]
        assert told["all_kept"] is True
        assert experiment["verdict"] == "pass"
        assert experiment["seen"] == ("504 upstream_timeout (with first_byte_timeout_seconds = 1)")
        assert server.engines() == [engine]
        assert server.chat("alpha").status_code == 200


def test_settings_that_would_be_in_the_way_are_set_aside(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    pair = issue_pair(tmp_path)
    config = tmp_path / "config.toml"
    config.write_text(f"""
host = "unix:{tmp_path}/endpoint.sock"
tls_cert = "{pair.certificate}"
tls_key = "{pair.key}"
database_url = "postgresql+psycopg://nobody@127.0.0.1:1/none"
llama_server = "/bin/false"
limits = [{{ models = "*", requests_per_minute = 1 }}]
max_connections_per_peer = 1
default_model = "mine"
""")
    shown = shell.process(
        *("chaos", "--config", config, "--set", "requests_per_minute=1", "--only", "engine-error")
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "1 promise kept" in shown.stdout


async def test_a_server_that_forgets_its_promises_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    names = ("closed-before-head", "closed-in-stream", "engine-error", "gglib-killed")
    found = await outcomes(tmp_path, *names, script=FORGETFUL)
    assert {name: outcome.verdict for name, outcome in found.items()} == {
        "closed-before-head": Verdict.FAIL,
        "closed-in-stream": Verdict.FAIL,
        "engine-error": Verdict.PASS,
        "gglib-killed": Verdict.FAIL,
    }
    assert found["closed-before-head"].seen == (
        "500 something_happened in place of 502 upstream_lost"
    )
    assert "an engine outlived gglib" in found["gglib-killed"].seen
    assert leftovers() == []


async def test_a_server_that_keeps_no_promise_fails_every_experiment(tmp_path: Path) -> None:
    found = await outcomes(tmp_path, script=EMPTY)
    verdicts = {outcome.verdict for outcome in found.values()}
    assert verdicts == {Verdict.FAIL, Verdict.SKIP}
    assert leftovers() == []


async def test_a_server_that_does_not_start_is_told_with_its_words(tmp_path: Path) -> None:
    script = "import sys; sys.exit('no such luck')"
    found = await outcomes(tmp_path, "engine-error", script=script)
    assert found["engine-error"].verdict is Verdict.FAIL
    assert found["engine-error"].seen == (
        "A server with these settings did not start: no such luck"
    )

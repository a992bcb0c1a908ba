"""`gglib doctor` finds what is wrong, says what to do, and changes nothing."""

from __future__ import annotations

import json
import os
import resource
import socket
import sqlite3
import stat
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pytest

from gglib_runtime.catalog.migration import HEAD
from gglib_runtime.supervisor.pidfile import ChildRecord
from gglib_runtime.supervisor.process_identity import process_identity
from tests.command_line import Shell
from tests.gguf_files import write_tiny


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A user with an engine that only knows its version."""
    shell = Shell(tmp_path)
    shell.environ["GGLIB_LLAMA_SERVER"] = str(tmp_path / "engine")
    write_script(tmp_path / "engine", "echo 'version: 1234 (abc)' >&2")
    return shell


def write_script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def examine(shell: Shell, *arguments: str, code: int = 0) -> dict[str, dict[str, Any]]:
    port = arguments if "--port" in arguments else (*arguments, "--port", str(free_port()))
    result = shell.run("doctor", "--json", *port)
    assert (result.exit_code, result.stderr) == (code, "")
    report = json.loads(result.stdout)
    assert report["is_healthy"] is (code == 0)
    for check in report["checks"]:
        assert set(check) == {"name", "verdict", "detail", "advice"}
        assert check["verdict"] in ("ok", "warn", "fail")
        assert check["verdict"] == "ok" or check["advice"] or check["detail"]
    return {check["name"]: check for check in report["checks"]}


def test_all_is_well_on_a_new_machine(shell: Shell) -> None:
    checks = examine(shell)
    assert list(checks) == [
        "llama-server",
        "llama-server script",
        "data directory",
        "disk",
        "database",
        "API keys",
        "leftover engines",
        "port",
        "memory",
        "open files",
        "uvloop",
        "relay",
    ]
    assert "version 1234 (abc)" in checks["llama-server"]["detail"]
    assert "will be made" in checks["data directory"]["detail"]
    assert checks["database"]["detail"] == "none yet; made at the first start"
    assert checks["port"]["verdict"] == "ok"
    assert not shell.data_dir.exists()


def test_what_is_no_llama_server_is_a_warning(shell: Shell, tmp_path: Path) -> None:
    write_script(tmp_path / "engine", "echo 'ls (GNU coreutils) 9.1'")
    check = examine(shell)["llama-server"]
    assert check["verdict"] == "warn"
    assert "'ls (GNU coreutils) 9.1'" in check["detail"]


def test_a_default_model_that_does_not_exist_is_a_warning(shell: Shell, tmp_path: Path) -> None:
    shell.output("model", "add", write_tiny(tmp_path, "tiny-a"))
    check = examine(shell, "--set", "default_model=tiny-b")["default model"]
    assert check["verdict"] == "warn"
    assert "Did you mean 'tiny-a'?" in check["detail"]
    assert "default model" not in examine(shell, "--set", "default_model=tiny-a")


def test_a_script_has_to_exec(shell: Shell) -> None:
    check = examine(shell)["llama-server script"]
    assert check["verdict"] == "warn"
    assert "`exec`" in check["advice"]


def test_the_report_reads_well(shell: Shell) -> None:
    lines = shell.output("doctor", "--port", str(free_port())).splitlines()
    assert lines[0].startswith("ok    llama-server: ")
    assert lines[1].startswith("warn  llama-server script: ")
    assert lines[2].startswith("      Let its last line ")


@pytest.mark.parametrize("text", [None, "exit 3"])
def test_an_engine_that_does_not_run_is_a_failure(
    shell: Shell, tmp_path: Path, text: str | None
) -> None:
    if text is None:
        (tmp_path / "engine").unlink()
    else:
        write_script(tmp_path / "engine", text)
    check = examine(shell, code=1)["llama-server"]
    assert (check["verdict"], str(tmp_path / "engine") in check["detail"]) == ("fail", True)
    assert "--llama-server" in check["advice"]


def test_a_data_directory_that_cannot_be_written_is_a_failure(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    check = examine(shell, "--data-dir", str(tmp_path / "file" / "data"), code=1)["data directory"]
    assert check["verdict"] == "fail"
    assert f"{tmp_path / 'file'} writable" in check["advice"]


def test_a_model_that_is_larger_than_the_memory_is_told_of(shell: Shell, tmp_path: Path) -> None:
    path = write_tiny(tmp_path, "tiny-a")
    os.truncate(path, psutil.virtual_memory().total + 1024**3)  # a hole, which takes no room
    added = shell.run("model", "add", path)
    assert added.exit_code == 0
    assert added.stderr.startswith("gglib: warning: tiny-a has ")
    check = examine(shell)["models"]
    assert check["verdict"] == "warn"
    assert check["detail"].startswith("tiny-a has ")
    assert "quantisations" in check["advice"]


def test_the_models_of_the_database_are_counted(shell: Shell, tmp_path: Path) -> None:
    shell.output("model", "add", write_tiny(tmp_path, "tiny-a"))
    checks = examine(shell)
    assert checks["models"]["detail"] == "1 in the catalog"
    assert checks["database"]["detail"] == f"opens, schema {HEAD}"
    (tmp_path / "tiny-a.gguf").unlink()
    missing = examine(shell)["models"]
    assert (missing["verdict"], missing["detail"]) == ("warn", "files are missing of tiny-a")


def test_databases_of_other_versions_are_told_apart(shell: Shell) -> None:
    shell.output("db", "upgrade")
    for schema, verdict, code in (("9999", "fail", 1), ("0000", "warn", 0)):
        with sqlite3.connect(shell.data_dir / "gglib.db") as connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (schema,))
        connection.close()
        check = examine(shell, code=code)["database"]
        assert (check["verdict"], schema in check["detail"]) == (verdict, True)


def test_a_damaged_database_is_a_failure(shell: Shell) -> None:
    shell.data_dir.mkdir()
    (shell.data_dir / "gglib.db").write_bytes(b"no database" * 1000)
    check = examine(shell, code=1)["database"]
    assert "is no SQLite database" in check["detail"]


def test_a_database_elsewhere_is_not_made(shell: Shell, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'other.db'}"
    assert "none yet" in examine(shell, "--set", f"database_url={url}")["database"]["detail"]
    assert not (tmp_path / "other.db").exists()


def test_a_taken_port_is_a_warning(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        check = examine(shell, "--port", str(port))["port"]
    assert (check["verdict"], f"{port} on 127.0.0.1 is taken" in check["detail"]) == ("warn", True)


def test_a_host_of_another_machine_is_a_failure(shell: Shell) -> None:
    check = examine(shell, "--host", "192.0.2.1", code=1)["port"]
    assert (check["verdict"], "--host" in check["advice"]) == ("fail", True)


def test_engines_that_were_left_behind_are_named_and_left_alone(shell: Shell) -> None:
    children = shell.data_dir / "run" / "children"
    children.mkdir(parents=True)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        for name, owner in (("orphan", "of a process that was"), ("child", None)):
            record = ChildRecord(
                launch_id=name,
                model=name,
                port=1,
                pid=process.pid,
                identity=process_identity(process.pid) or "",
                owner_pid=os.getpid(),
                owner_identity=owner or process_identity(os.getpid()) or "",
            )
            (children / f"{name}.json").write_text(json.dumps(asdict(record)))
        check = examine(shell)["leftover engines"]
        assert process.poll() is None
        process.communicate(b"\n")
    assert (check["verdict"], check["detail"]) == ("warn", f"orphan (pid {process.pid})")
    assert len(list(children.iterdir())) == 2


def test_few_files_are_a_warning(shell: Shell) -> None:
    def lower() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 1024))

    done = shell.process("doctor", "--json", "--port", str(free_port()), preexec_fn=lower)
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["open files"]["verdict"] == "warn"
    assert checks["open files"]["detail"] == "1024 for the server: enough for 480 clients at once"


def test_db_tells_and_brings_the_schema(shell: Shell) -> None:
    assert shell.output("db", "current") == f"none (newest: {HEAD}; run `gglib db upgrade`)\n"
    assert shell.output("db", "upgrade") == f"Upgraded from nothing to schema {HEAD}.\n"
    assert shell.output("db", "upgrade") == f"The database is up to date: schema {HEAD}.\n"
    assert shell.output("db", "current") == f"{HEAD} (newest)\n"
    assert shell.json("db", "current") == {"current": HEAD, "newest": HEAD}


def test_who_could_use_the_endpoint_is_looked_at(shell: Shell) -> None:
    assert "none yet" in examine(shell)["API keys"]["detail"]
    others = examine(shell, "--host", "0.0.0.0", code=1)["API keys"]
    assert others["verdict"] == "fail"
    assert "gglib key create NAME" in others["advice"]
    assert examine(shell, "--host", "0.0.0.0", "--no-auth")["API keys"]["verdict"] == "warn"
    shell.output("key", "create", "ci")
    assert examine(shell, "--host", "0.0.0.0")["API keys"]["detail"] == "1; requests need one"
    (shell.data_dir / "pepper").chmod(0o644)
    assert "chmod 600" in examine(shell, code=1)["API keys"]["detail"]

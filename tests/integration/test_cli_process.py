"""What only a process of its own shows: imports, signals, the terminal, the shells."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.command_line import REPOSITORY, WAIT_SECONDS, Shell, read_terminal, wait_until_asleep
from tests.gguf_files import write_tiny

EXPENSIVE = {
    "alembic",
    "anyio",
    "asyncio",
    "httptools",
    "httpx",
    "hypercorn",
    "logging",
    "msgspec",
    "opentelemetry",
    "prometheus_client",
    "psutil",
    "quart",
    "rich",
    "sqlalchemy",
    "ssl",
    "uvloop",
}


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def imported_by(*arguments: str, environ: Mapping[str, str] | None = None) -> set[str]:
    """The modules that a process has imported once the command has done its work."""
    code = (
        "import sys\n"
        "from gglib_runtime.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 0, end.code\n"
        "print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
        env={**os.environ, **(environ or {})},
    )
    assert done.stdout
    return set(done.stderr.split())


@pytest.mark.parametrize("arguments", [["--help"], ["model", "add", "--help"], ["serve", "--help"]])
def test_help_imports_nothing_that_costs(arguments: list[str]) -> None:
    imported = imported_by(*arguments)
    assert "click" in imported
    assert EXPENSIVE & imported == set()


@pytest.mark.parametrize("group", [[], ["model"], ["key"]])
def test_the_list_of_commands_imports_none_of_them(group: list[str]) -> None:
    ours = {name for name in imported_by(*group, "--help") if name.startswith("gglib_")}
    entry = {"gglib_core", "gglib_runtime", "gglib_runtime.cli"}
    of_groups = {f"gglib_runtime.cli.{name}" for name in ("failures", "keys", "lazy", "models")}
    assert ours <= entry | of_groups | {"gglib_runtime.cli.program"}


def test_what_is_typed_all_day_imports_no_more_than_it_uses(tmp_path: Path) -> None:
    environ = {"GGLIB_DATA_DIR": str(tmp_path / "data")}
    imported_by("model", "list", environ=environ)  # makes the database
    servers = {"httptools", "httpx", "hypercorn", "quart", "uvloop"}
    unused = {"alembic", "sqlalchemy.dialects.postgresql", *servers}
    for command in (["model", "list"], ["generations", "--json"], ["key", "list"]):
        assert unused & imported_by(*command, environ=environ) == set(), command


def test_the_module_is_the_command(shell: Shell) -> None:
    done = shell.process("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("gglib ")


def test_settings_of_all_layers_meet(shell: Shell, tmp_path: Path) -> None:
    config = tmp_path / "config" / "gglib" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('port = 1111\nmax_resident = 2\nqueue_seconds = "1m"\n')
    environ = {"GGLIB_MAX_RESIDENT": "3", "GGLIB_XYZZY": "1", "GGLIB_DATABASE_URL": ""}
    done = shell.process("config", "show", "--set", "queue_seconds=2m", environ=environ)
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert done.returncode == 0
    assert rows["port"] == ["1111", str(config)]
    assert rows["max_resident"] == ["3", "GGLIB_MAX_RESIDENT"]
    assert rows["queue_seconds"] == ["2m", "--set"]
    assert rows["data_dir"] == [str(shell.data_dir), "GGLIB_DATA_DIR"]
    assert rows["default_ctx"] == ["4096", "default"]
    assert done.stderr == (
        "gglib: warning: The environment variable GGLIB_XYZZY is not a setting\n"
    )


def test_settings_are_shown_as_json_without_passwords(shell: Shell, tmp_path: Path) -> None:
    config = tmp_path / "other.toml"
    config.write_text('database_url = "postgresql://joe:secret@host/name"\n')
    printed = shell.json("config", "show", "--config", config)
    assert printed["config_file"] == str(config)
    assert printed["settings"]["database_url"] == {
        "value": "postgresql://joe:***@host/name",
        "shown": "postgresql://joe:***@host/name",
        "origin": str(config),
    }
    assert printed["settings"]["max_body_bytes"] == {
        "value": 64 * 1024**2,
        "shown": "64MiB",
        "origin": "default",
    }


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: Shell, name: str) -> None:
    script = shell.output("completion", name)
    assert "_GGLIB_COMPLETE" in script
    program = shutil.which(name)
    if program is not None:
        subprocess.run([program, "-n"], input=script, text=True, check=True, timeout=30)


def test_shells_complete_commands_options_and_models(shell: Shell, tmp_path: Path) -> None:
    shell.output("model", "add", write_tiny(tmp_path, "tiny-a"), "--alias", "gpt-4")

    def completed(words: str) -> list[str]:
        environ = {
            "_GGLIB_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
        }
        done = shell.process(environ=environ)
        assert done.stderr == ""
        return [line.partition(",")[2] for line in done.stdout.splitlines()]

    assert completed("gglib mo") == ["model"]
    assert completed("gglib model list --js") == ["--json"]
    assert completed("gglib model show ") == ["gpt-4", "tiny-a"]
    assert completed("gglib model show t") == ["tiny-a"]
    assert completed("gglib completion f") == ["fish"]
    assert completed("gglib swaps --model t") == ["tiny-a"]
    assert completed("gglib generations --model g") == ["gpt-4"]


def test_a_completion_that_cannot_look_is_silent(shell: Shell, tmp_path: Path) -> None:
    environ = {
        "_GGLIB_COMPLETE": "bash_complete",
        "COMP_WORDS": "gglib model show t",
        "COMP_CWORD": "3",
        "GGLIB_CONFIG": str(tmp_path / "none.toml"),
    }
    done = shell.process(environ=environ)
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_ctrl_c_at_a_question_is_quiet(shell: Shell, tmp_path: Path) -> None:
    shell.output("model", "add", write_tiny(tmp_path, "tiny-a"))
    ours, theirs = pty.openpty()
    try:
        with shell.start("model", "rm", "tiny-a", stdin=theirs) as process:
            assert process.stderr is not None
            asked = process.stderr.read(len("Take tiny-a out"))
            wait_until_asleep(process.pid)
            process.send_signal(signal.SIGINT)
            rest = process.stderr.read()
            assert process.wait(timeout=WAIT_SECONDS) == 130
    finally:
        os.close(ours)
        os.close(theirs)
    assert (asked, "Traceback" in rest, "gglib:" in rest) == ("Take tiny-a out", False, False)
    assert len(shell.json("model", "list")) == 1


def test_colours_appear_on_terminals_unless_they_are_unwanted(shell: Shell) -> None:
    def printed(environ: dict[str, str]) -> str:
        ours, theirs = pty.openpty()
        with shell.start("doctor", stdout=theirs, environ=environ) as process:
            os.close(theirs)
            text = read_terminal(ours)
            process.wait(timeout=WAIT_SECONDS)
        return text

    assert "\x1b[32mok" in printed({"NO_COLOR": ""})
    assert "\x1b[3" not in printed({"NO_COLOR": "1"})
    assert "\x1b" not in shell.process("doctor").stdout


def test_an_interrupt_while_the_commands_are_imported_is_no_crash() -> None:
    code = (
        "import builtins, os, signal\n"
        "original = builtins.__import__\n"
        "def interrupted(name, *rest):\n"
        "    if name == 'click':\n        os.kill(os.getpid(), signal.SIGINT)\n"
        "    return original(name, *rest)\n"
        "builtins.__import__ = interrupted\n"
        "from gglib_runtime.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=REPOSITORY
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")

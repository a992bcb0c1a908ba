"""Which llama-server is found, in which order, and what is said when there is none."""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path

import pytest

from gglib_core.errors import EngineUnavailable
from gglib_runtime.engines import embedded
from gglib_runtime.engines.discovery import (
    Engine,
    engine_version,
    find_engine,
    is_script,
)


def executable(path: Path, script: str = "#!/bin/sh\nexit 0\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script)
    path.chmod(0o755)
    return path


@pytest.fixture
def everything(tmp_path: Path) -> dict[str, str]:
    """An environment in which every way leads to an engine."""
    executable(tmp_path / "bin" / "llama-server")
    named = executable(tmp_path / "env" / "server")
    return {"PATH": str(tmp_path / "bin"), "GGLIB_LLAMA_SERVER": str(named)}


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)


def test_the_setting_comes_first(tmp_path: Path, everything: dict[str, str]) -> None:
    path = executable(tmp_path / "mine")

    engine = find_engine(str(path), everything)

    assert (engine.command, engine.source) == ((str(path),), "setting")
    assert str(path) in engine.label


def test_then_the_environment(tmp_path: Path, everything: dict[str, str]) -> None:
    engine = find_engine(None, everything)

    assert (engine.command, engine.source) == ((str(tmp_path / "env" / "server"),), "environment")


def test_then_the_path(tmp_path: Path, everything: dict[str, str]) -> None:
    del everything["GGLIB_LLAMA_SERVER"]

    engine = find_engine(None, everything)

    assert (engine.command, engine.source) == ((str(tmp_path / "bin" / "llama-server"),), "path")


def test_then_the_embedded_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wheel = tmp_path / "xllamacpp"
    wheel.mkdir()
    (wheel / "__init__.py").write_text("raise AssertionError('looking must not import')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "xllamacpp", raising=False)

    engine = find_engine(None, {"PATH": str(tmp_path / "empty")})

    assert engine.source == "embedded"
    assert engine.command == (sys.executable, "-P", embedded.__file__)
    assert "xllamacpp" not in sys.modules


@pytest.mark.usefixtures("no_wheel")
def test_otherwise_the_ways_to_get_one_are_said(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable) as raised:
        find_engine(None, {"PATH": str(tmp_path)})

    for way in ("pip install 'gglib[embedded]'", "PATH", "--llama-server", "GGLIB_LLAMA_SERVER"):
        assert way in str(raised.value)


@pytest.mark.usefixtures("no_wheel")
@pytest.mark.parametrize("nothing", [None, ""])
def test_an_empty_setting_names_nothing(nothing: str | None, everything: dict[str, str]) -> None:
    assert find_engine(nothing, everything).source == "environment"


def test_a_bare_name_is_looked_up_on_the_path(tmp_path: Path) -> None:
    path = executable(tmp_path / "llama-server-cuda")

    engine = find_engine("llama-server-cuda", {"PATH": str(tmp_path)})

    assert engine.command == (str(path),)


def test_a_relative_path_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = executable(tmp_path / "build" / "server")
    monkeypatch.chdir(tmp_path)

    assert find_engine("build/server", {}).command == (str(path),)


def test_a_home_directory_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = executable(tmp_path / "server")
    monkeypatch.setenv("HOME", str(tmp_path))

    assert find_engine("~/server", {}).command == (str(path),)


@pytest.mark.parametrize(
    ("setting", "environ", "who"),
    [
        ("{}/absent", {}, "--llama-server"),
        (None, {"GGLIB_LLAMA_SERVER": "{}/absent"}, "GGLIB_LLAMA_SERVER"),
    ],
)
def test_a_file_that_is_not_there_is_an_error_of_who_named_it(
    tmp_path: Path, everything: dict[str, str], setting: str, environ: dict[str, str], who: str
) -> None:
    named = {key: value.format(tmp_path) for key, value in environ.items()}

    with pytest.raises(EngineUnavailable, match=f"{who}.*absent.*there is no such file"):
        find_engine(setting and setting.format(tmp_path), everything | named)


def test_a_directory_is_not_an_engine(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="is a directory; name the llama-server in it"):
        find_engine(str(tmp_path), {})


def test_a_file_that_may_not_be_executed_is_an_error(tmp_path: Path) -> None:
    path = executable(tmp_path / "server")
    path.chmod(0o644)

    with pytest.raises(EngineUnavailable, match=r"may not be executed.*chmod \+x"):
        find_engine(str(path), {})


def engine(path: Path) -> Engine:
    return Engine(command=(str(path),), source="setting", label=f"the server {path}")


def test_the_version_is_what_llama_server_prints_on_stderr(tmp_path: Path) -> None:
    said = 'echo "version: 1.2 (build 3, commit abc)" >&2; echo "built with GNU" >&2'
    path = executable(tmp_path / "server", f'#!/bin/sh\n[ "$1" = --version ] && {said}\n')

    assert engine_version(engine(path)) == "1.2 (build 3, commit abc)"


def test_another_form_of_version_is_passed_on(tmp_path: Path) -> None:
    path = executable(tmp_path / "server", "#!/bin/sh\necho stand-in 7\n")

    assert engine_version(engine(path)) == "stand-in 7"


def test_the_version_does_not_depend_on_settings_of_llama_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLAMA_ARG_PORT", "not a port")
    monkeypatch.setenv("HOME", str(tmp_path))
    path = executable(tmp_path / "server", '#!/bin/sh\necho "[$LLAMA_ARG_PORT] $HOME"\n')

    assert engine_version(engine(path)) == f"[] {tmp_path}"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("#!/bin/sh\necho no such library >&2\nexit 127\n", "failed with 127: no such library"),
        ("#!/bin/sh\nexit 3\n", "failed with 3: it said nothing"),
        ("#!/bin/sh\n", "said nothing"),
        ("#!/no/such/interpreter\n", "does not run"),
    ],
)
def test_an_engine_that_does_not_run_is_an_error(tmp_path: Path, script: str, reason: str) -> None:
    path = executable(tmp_path / "server", script)

    with pytest.raises(EngineUnavailable, match=reason) as raised:
        engine_version(engine(path))

    assert str(path) in str(raised.value)


def test_an_engine_that_does_not_answer_is_ended_with_its_children(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "held")
    held = os.open(tmp_path / "held", os.O_RDONLY | os.O_NONBLOCK)
    path = executable(tmp_path / "server", f"#!/bin/sh\nexec 3>{tmp_path}/held\nsleep 600\n")

    with pytest.raises(EngineUnavailable, match=r"does not answer within 0\.5 s"):
        engine_version(engine(path), timeout_seconds=0.5)

    os.set_blocking(held, True)
    assert os.read(held, 1) == b"", "nobody holds the pipe any more"
    os.close(held)


def test_a_script_is_told_from_a_program(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\x7fELF" + os.urandom(60))

    assert is_script(engine(executable(tmp_path / "script")))
    assert not is_script(engine(binary))
    assert not is_script(engine(tmp_path / "absent"))


def test_the_embedded_engine_was_written_for_the_pinned_wheel() -> None:
    root = Path(embedded.__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]

    assert project["optional-dependencies"]["embedded"] == [f"xllamacpp=={embedded.TESTED_VERSION}"]

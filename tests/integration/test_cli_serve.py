"""`serve` and `up` run the endpoint, and the other commands find it."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import pytest

from tests.command_line import REPOSITORY, WAIT_SECONDS, Shell, wait_until_asleep
from tests.gguf_files import write_tiny

SERVER_COMMANDS = [["status"], ["load", "x"], ["unload"], ["logs", "x"]]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A user whose llama-server is the simulator."""
    shell = Shell(tmp_path)
    simulator = f"{sys.executable} -m gglib_runtime.simulator"
    shell.environ["GGLIB_LLAMA_SERVER"] = str(
        script(tmp_path / "engine", f'exec env PYTHONPATH={REPOSITORY} {simulator} "$@"')
    )
    return shell


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_tiny(tmp_path, "tiny-a")


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


class Running:
    """A `gglib serve` that has said that it listens."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url


@contextmanager
def serving(shell: Shell, *arguments: str | Path) -> Generator[Running]:
    """`gglib serve`, ended in the ordinary way, which has to succeed."""
    with shell.start("serve", "--port", "0", *arguments) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert " listens on http://127.0.0.1:" in first, process.stderr
        yield Running(process, first.split()[-1])
        process.terminate()
        process.communicate(timeout=WAIT_SECONDS)
        assert process.returncode == 0


def chat(url: str, model: str) -> dict[str, object]:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hi"}]})
    request = urllib.request.Request(f"{url}/v1/chat/completions", body.encode())
    with urllib.request.urlopen(request, timeout=WAIT_SECONDS) as answer:
        return json.load(answer)


@pytest.mark.parametrize("arguments", SERVER_COMMANDS, ids=" ".join)
def test_commands_that_need_a_server_say_that_none_runs(shell: Shell, arguments: list[str]) -> None:
    message = f"No server runs for {shell.data_dir}. Start one with `gglib serve`."
    assert shell.failure(*arguments, code=3) == message


def test_a_record_of_a_dead_server_is_no_server(shell: Shell) -> None:
    run = shell.data_dir / "run"
    run.mkdir(parents=True)
    gone = shell.data_dir / "gone.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(gone))
    record = {"pid": 1, "started": 1.0, "url": "x", "socket": str(gone), "version": "1"}
    (run / "serve.json").write_text(json.dumps(record))
    shell.failure("status", code=3)


def test_serve_says_where_it_is_and_how_to_fill_an_empty_catalog(shell: Shell) -> None:
    with serving(shell) as server:
        assert server.process.stdout is not None
        engine, models = server.process.stdout.readline(), server.process.stdout.readline()
        assert shell.environ["GGLIB_LLAMA_SERVER"] in engine
        assert models.startswith("Models: none yet. Add one with `gglib model add PATH`")
        record = json.loads((shell.data_dir / "run" / "serve.json").read_text())
        assert (record["url"], record["pid"]) == (server.url, server.process.pid)
    assert not (shell.data_dir / "run" / "serve.json").exists()


def test_serve_takes_files_for_this_run(shell: Shell, tiny: Path) -> None:
    with serving(shell, tiny) as server:
        assert chat(server.url, "tiny-a")["object"] == "chat.completion"
    assert shell.json("model", "list") == []


def test_serve_tells_of_a_default_model_that_does_not_exist(shell: Shell, tiny: Path) -> None:
    with serving(shell, tiny, "--default-model", "tiny-b") as server:
        assert server.process.stderr is not None
        said = server.process.stderr.readline()
        assert said == "gglib: warning: there is no model 'tiny-b', the default_model.\n"
        with pytest.raises(urllib.error.HTTPError) as caught:
            chat(server.url, "")
        message = caught.value.read().decode()
        assert "names no model, and 'tiny-b', the default_model, does not exist" in message


def test_up_that_is_ended_before_its_answer_says_no_more(shell: Shell, tiny: Path) -> None:
    never = '--env=GGLIB_SIM={"load_seconds": 600}'
    shell.output("model", "add", tiny, never)
    with shell.start("up", "--port", "0") as process:
        assert process.stdout is not None
        while "Asking tiny-a" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=WAIT_SECONDS)
    assert (process.returncode, rest) == (0, "")
    assert "The first request failed" not in errors


def test_up_stays_calm_when_settings_change(shell: Shell, tiny: Path) -> None:
    shell.output("model", "add", tiny)
    with shell.start("up", "--port", "0") as process:
        assert process.stdout is not None
        while "Ctrl-C ends it" not in process.stdout.readline():
            assert process.poll() is None
        url = json.loads((shell.data_dir / "run" / "serve.json").read_text())["url"]
        request = urllib.request.Request(
            f"{url}/admin/config", b'{"idle_seconds": 9}', {"Content-Type": "application/json"}
        )
        request.method = "PATCH"
        with urllib.request.urlopen(request, timeout=WAIT_SECONDS) as answer:
            document = json.load(answer)
        process.terminate()
        process.communicate(timeout=WAIT_SECONDS)
    assert (document["config"]["log_level"], document["restart_needed"]) == ("warning", [])


def test_commands_steer_a_running_server(shell: Shell, tiny: Path) -> None:
    shell.output("model", "add", tiny)
    with serving(shell) as server:
        assert "No model is loaded" in shell.output("status")
        assert shell.output("load", "tiny-a") == "Loaded tiny-a.\n"
        status = shell.json("status")
        assert (status["url"], status["pid"]) == (server.url, server.process.pid)
        (model,) = status["models"]
        assert (model["name"], model["state"], model["leases"]) == ("tiny-a", "loaded", 0)
        lines = shell.output("status").splitlines()
        assert lines[0].split() == ["Endpoint", server.url]
        assert lines[-1].split()[:3] == ["1", "tiny-a", "loaded"]
        assert "listening on" in shell.output("logs", "tiny-a")
        examined = {check["name"]: check for check in shell.json("doctor")["checks"]}
        assert examined["server"]["detail"] == f"runs at {server.url} (pid {server.process.pid})"
        assert len(shell.output("logs", "tiny-a", "-n", "1").splitlines()) == 1
        assert shell.output("unload", "1") == "Unloaded 1.\n"
        assert shell.output("unload") == "Unloaded all models.\n"


def test_what_a_server_refuses_is_one_line(shell: Shell, tiny: Path) -> None:
    shell.output("model", "add", tiny)
    with serving(shell):
        assert shell.failure("load", "tiny-b") == (
            "There is no model 'tiny-b'. Did you mean 'tiny-a'?"
        )
        assert shell.failure("logs", "tiny-b").startswith("There is no model 'tiny-b'.")
        assert "is not loaded" in shell.failure("unload", "tiny-a")


def test_logs_are_followed_until_ctrl_c(shell: Shell, tiny: Path) -> None:
    shell.output("model", "add", tiny)
    with serving(shell) as server:
        shell.output("load", "tiny-a")
        with shell.start("logs", "-f", "tiny-a") as logs:
            assert logs.stdout is not None
            line_with(logs.stdout, "listening on")
            chat(server.url, "tiny-a")
            line_with(logs.stdout, "processing task")
            wait_until_asleep(logs.pid)
            logs.send_signal(signal.SIGINT)
            _, said = logs.communicate(timeout=WAIT_SECONDS)
        assert (logs.returncode, said.strip()) == (130, "")


def test_followed_logs_end_with_the_server(shell: Shell, tiny: Path) -> None:
    with serving(shell, tiny) as server:
        shell.output("load", "tiny-a")
        with shell.start("logs", "-f", "tiny-a") as logs:
            assert logs.stdout is not None
            line_with(logs.stdout, "listening on")
            server.process.terminate()
            _, said = logs.communicate(timeout=WAIT_SECONDS)
        assert (logs.returncode, said) == (0, "")


def test_followed_logs_tell_of_a_server_that_was_killed(shell: Shell, tiny: Path) -> None:
    with shell.start("serve", "--port", "0", tiny) as server:
        assert server.stdout is not None
        line_with(server.stdout, " listens on ")
        shell.output("load", "tiny-a")
        with shell.start("logs", "-f", "tiny-a") as logs:
            assert logs.stdout is not None
            line_with(logs.stdout, "listening on")
            server.kill()
            _, said = logs.communicate(timeout=WAIT_SECONDS)
    assert logs.returncode == 1
    assert said.startswith(f"gglib: The server (pid {server.pid}) did not answer: ")


def line_with(lines: IO[str], text: str) -> None:
    for line in lines:
        if text in line:
            return
    pytest.fail(f"no line has {text!r}")


def test_a_server_outlives_the_reader_of_its_output(shell: Shell, tiny: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with shell.start("serve", "--port", "0", tiny, stdout=writer) as process:
            status = shell.data_dir / "run" / "serve.json"
            while not status.exists() or shell.run("load", "tiny-a").exit_code == 3:
                assert process.poll() is None
            assert shell.json("status")["models"][0]["state"] == "loaded"
            process.terminate()
            process.communicate(timeout=WAIT_SECONDS)
    finally:
        os.close(writer)
    assert process.returncode == 0


def test_a_second_server_names_the_first(shell: Shell) -> None:
    with serving(shell) as server:
        message = shell.failure("serve", "--port", "0")
        assert message.startswith(f"gglib (pid {server.process.pid}) serves {shell.data_dir} ")
        assert f" at {server.url}." in message


def test_a_taken_port_is_named(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        message = shell.failure("serve", "--port", str(port))
    assert message == f"Port {port} on 127.0.0.1 is taken. Choose another with --port."


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--host", "192.0.2.1"], "192.0.2.1 is no address of this machine."),
        (["--host", "no.such.host.invalid"], "The host 'no.such.host.invalid' has no address"),
        (["--host", "unix:/no/such/socket"], "There is no directory /no/such for the unix socket"),
        (["--llama-server", "/no/such/engine"], "/no/such/engine"),
        (["--llama-server", "no-such-engine"], "there is no such file on PATH or here, in "),
        (["/no/such/model.gguf"], "/no/such/model.gguf: "),
    ],
)
def test_what_keeps_a_server_from_starting_is_one_line(
    shell: Shell, arguments: list[str], part: str
) -> None:
    assert part in shell.failure("serve", "--port", "0", *arguments)


def test_up_goes_from_nothing_to_an_answer(shell: Shell) -> None:
    for _ in range(2):
        done = shell.process("up", "--port", "0", "--check")
        assert (done.returncode, done.stderr) == (0, "")
        url = next(line.split()[-1] for line in done.stdout.splitlines() if " is up at " in line)
        for part in (f"{url}/v1", "Answer after", "curl ", "from openai import", "model add"):
            assert part in done.stdout
    (model,) = shell.json("model", "list")
    assert (model["name"], model["tags"]) == ("gglib-demo", ["demo"])
    assert Path(model["paths"][0]).is_relative_to(shell.data_dir)


def test_up_uses_the_models_that_there_are(shell: Shell, tiny: Path) -> None:
    shell.output("model", "add", tiny)
    done = shell.process("up", "--port", "0", "--check")
    assert done.returncode == 0
    assert "Asking tiny-a" in done.stdout
    assert len(shell.json("model", "list")) == 1


def test_up_makes_its_demo_model_again(shell: Shell) -> None:
    assert shell.process("up", "--port", "0", "--check").returncode == 0
    (model,) = shell.json("model", "list")
    Path(model["paths"][0]).unlink()
    assert shell.process("up", "--port", "0", "--check").returncode == 0


def test_of_several_that_come_up_at_once_one_does(shell: Shell) -> None:
    with ExitStack() as stack:
        processes = [
            stack.enter_context(shell.start("up", "--port", "0", "--check")) for _ in range(3)
        ]
        ends = [process.communicate(timeout=WAIT_SECONDS) for process in processes]
    for process, (_, errors) in zip(processes, ends, strict=True):
        expected = "" if process.returncode == 0 else f" serves {shell.data_dir} already"
        assert expected in errors
        assert process.returncode == 0 or errors.startswith("gglib: gglib (pid ")
    assert any(process.returncode == 0 for process in processes)
    assert [model["name"] for model in shell.json("model", "list")] == ["gglib-demo"]


def test_up_takes_the_next_port(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = shell.process("up", "--port", str(port), "--check")
    assert done.returncode == 0
    assert f"Port {port} is taken; using " in done.stdout
    assert f"is up at http://127.0.0.1:{port}\n" not in done.stdout


def test_up_goes_on_until_it_is_told_to_stop(shell: Shell) -> None:
    with shell.start("up", "--port", "0") as process:
        assert process.stdout is not None
        said: list[str] = []
        while not said or "Ctrl-C" not in said[-1]:
            said.append(process.stdout.readline())
            assert said[-1], "it ended"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=WAIT_SECONDS)
    assert (process.returncode, errors.strip()) == (0, "")


def test_up_uses_a_server_that_runs(shell: Shell, tiny: Path) -> None:
    shell.output("model", "add", tiny)
    with serving(shell) as server:
        said = shell.output("up")
        assert said.startswith(f"gglib runs already at {server.url}\n")
        assert "Asking" not in said
        assert shell.json("status")["models"] == []
        assert "Answer after" in shell.output("up", "--check")
        assert shell.json("status")["models"][0]["state"] == "loaded"


def test_up_fails_where_its_engine_does(shell: Shell, tmp_path: Path) -> None:
    shell.environ["GGLIB_LLAMA_SERVER"] = str(script(tmp_path / "bad", "echo no >&2; exit 1"))
    done = shell.process("up", "--port", "0", "--check")
    assert done.returncode == 1
    assert "gglib: The first request failed: " in done.stderr
    assert "Traceback" not in done.stderr


def test_up_without_an_engine_says_how_to_get_one(shell: Shell) -> None:
    message = shell.failure("up", "--llama-server", "/no/such/engine")
    assert "/no/such/engine" in message
    assert not (shell.data_dir / "models").exists()


def test_a_data_directory_that_cannot_be_one_is_named_with_what_to_do(
    shell: Shell, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.touch()
    message = shell.failure("serve", "--port", "0", "--data-dir", file)
    assert message.startswith(f"The data directory {file} cannot be used: ")
    assert message.endswith("it is no directory. Choose another with --data-dir or GGLIB_DATA_DIR.")

"""The embedded engine as a child process: llama-server's life cycle, flags and answers."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import httpx
import pytest

from gglib_core.models import Capability
from gglib_runtime.engines import embedded
from gglib_runtime.engines.discovery import engine_version, find_engine, is_script
from gglib_runtime.gguf.demo import write_demo_model
from gglib_runtime.gguf.description import describe_model
from tests.gguf_files import WORDS, write_tiny

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        importlib.util.find_spec("xllamacpp") is None, reason="xllamacpp is not installed"
    ),
]

PATIENCE_SECONDS = 30
NO_PATH = {"PATH": ""}
HELLO = {"messages": [{"role": "user", "content": "Tell me of the canyon."}]}


@pytest.fixture(params=["native parser", "table"])
def environment(request: pytest.FixtureRequest) -> dict[str, str]:
    """Both ways in which the engine reads its command line."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("LLAMA_")}
    return clean if request.param == "native parser" else {**clean, embedded.FALLBACK_VARIABLE: "1"}


class Child:
    """A running engine, whose stderr is read to its end by a thread of its own."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._has_ended = False

    def read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._changed:
                self._lines.append(line.decode("utf-8", "replace").rstrip())
                self._changed.notify_all()
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    def wait_for_line(self, pattern: str) -> re.Match[str]:
        """The first match in the log, now or later; fails if the log ends without one."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._has_ended or self._search(pattern), PATIENCE_SECONDS
            )
            found = self._search(pattern)
        assert found, f"no line matches {pattern!r}:\n{self.log}"
        return found

    def _search(self, pattern: str) -> re.Match[str] | None:
        return next((found for line in self._lines if (found := re.search(pattern, line))), None)

    @property
    def log(self) -> str:
        return "\n".join(self._lines)

    def wait_until_ready(self) -> str:
        """The server's base URL, once it answers and takes signals."""
        self.wait_for_line("serving until SIGTERM")
        return self.wait_for_line(r"listening on (http://\S+)").group(1)

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)


@contextmanager
def running(environment: dict[str, str], *arguments: str | Path) -> Iterator[Child]:
    process = subprocess.Popen(
        [*find_engine(None, NO_PATH).command, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    child = Child(process)
    reader = threading.Thread(target=child.read_log)
    reader.start()
    try:
        yield child
    finally:
        process.kill()
        process.wait()
        reader.join()
        assert process.stderr is not None
        process.stderr.close()


def serving(
    environment: dict[str, str], model: Path, *arguments: str
) -> AbstractContextManager[Child]:
    """A small server on a port of its own choice."""
    small = ("--port", "0", "-c", "1024", "-np", "2", "-t", "1")
    return running(environment, "-m", model, *small, *arguments)


def free_port() -> str:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def words_of(answer: httpx.Response) -> set[str]:
    text: str = answer.json()["choices"][0]["message"]["content"]
    return set(re.findall(r"\w+", text))


# life


def test_refuses_then_loads_then_serves(environment: dict[str, str], tmp_path: Path) -> None:
    port = free_port()
    model = write_tiny(tmp_path, "tiny-b")
    seen: list[str] = []
    with running(environment, "-m", model, "--port", port, "-t", "1") as child:
        while "200" not in seen and child.process.poll() is None:
            try:
                seen.append(str(httpx.get(f"http://127.0.0.1:{port}/health").status_code))
            except httpx.TransportError:
                seen.append("refused")

    assert seen == sorted(seen, key=["refused", "503", "200"].index)
    assert seen[-1] == "200"


def test_answers_503_while_it_loads_and_ends_at_once_when_told(
    environment: dict[str, str], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "slow.gguf")  # opening it waits for somebody who writes
    port = free_port()
    with running(environment, "-m", tmp_path / "slow.gguf", "--port", port) as child:
        child.wait_for_line("load_model: loading model")
        for path in ("/health", "/props", "/v1/models"):
            answer = httpx.get(f"http://127.0.0.1:{port}{path}")
            assert answer.status_code == 503
            assert answer.json()["error"]["message"] == "Loading model"

        assert child.end(signal.SIGTERM) == -signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_with_0_when_told(
    environment: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    with serving(environment, write_tiny(tmp_path, "tiny-a")) as child:
        child.wait_until_ready()

        assert child.end(number) == 0


def test_ends_with_0_while_it_streams(environment: dict[str, str], tmp_path: Path) -> None:
    endless = {**HELLO, "stream": True, "temperature": 0, "ignore_eos": True}
    with serving(environment, write_tiny(tmp_path, "tiny-b"), "-c", "100000") as child:
        url = child.wait_until_ready()
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=endless, timeout=60) as answer:
            chunks = answer.iter_raw()
            next(chunks)
            assert child.end(signal.SIGTERM) == 0
            with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
                for _ in chunks:
                    pass


def test_ends_with_0_when_told_as_soon_as_it_is_ready(
    environment: dict[str, str], tmp_path: Path
) -> None:
    model = write_tiny(tmp_path, "tiny-a")
    for _ in range(10):
        with serving(environment, model) as child:
            child.wait_for_line("serving until SIGTERM")
            child.process.send_signal(signal.SIGTERM)
            child.process.send_signal(signal.SIGINT)

            assert child.process.wait(PATIENCE_SECONDS) == 0


# failed starts


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "needs a model: give it with --model"),
        (("--no-such-flag",), "error: invalid argument: --no-such-flag"),
        (("--port", "many"), 'error while handling argument "--port"'),
        (("-c", "9" * 20), 'error while handling argument "-c"'),
        (("--port",), 'error while handling argument "--port": expected value'),
        (("--pooling", "deep"), "--pooling|invalid value"),
        (("-m", "absent.gguf", "--port", "0"), "failed to load model, 'absent.gguf'"),
    ],
)
def test_a_failed_start_ends_with_1_and_says_why(
    environment: dict[str, str], arguments: tuple[str, ...], reason: str
) -> None:
    with running(environment, *arguments) as child:
        assert child.process.wait(PATIENCE_SECONDS) == 1
        child.wait_for_line(reason)


def test_a_damaged_model_ends_with_1_and_says_why(
    environment: dict[str, str], tmp_path: Path
) -> None:
    model = write_tiny(tmp_path, "tiny-a")
    os.truncate(model, model.stat().st_size // 2)

    with serving(environment, model) as child:
        assert child.process.wait(PATIENCE_SECONDS) == 1
        child.wait_for_line("not within the file bounds")


def test_a_port_that_is_taken_ends_with_1_and_says_why(
    environment: dict[str, str], tmp_path: Path
) -> None:
    model = write_tiny(tmp_path, "tiny-a")
    with closing(socket.create_server(("127.0.0.1", 0))) as holder:
        port = str(holder.getsockname()[1])
        with running(environment, "-m", model, "--port", port) as child:
            assert child.process.wait(PATIENCE_SECONDS) == 1
            child.wait_for_line(f"couldn't bind HTTP server socket.*{port}")


def test_says_its_version(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    if embedded.FALLBACK_VARIABLE in environment:
        monkeypatch.setenv(embedded.FALLBACK_VARIABLE, "1")
    engine = find_engine(None, NO_PATH)

    assert re.match(r"\d+\.\d+|xllamacpp \d+", engine_version(engine))
    assert not is_script(engine)


# answers


def test_answers_a_chat_under_its_alias(environment: dict[str, str], tmp_path: Path) -> None:
    with serving(environment, write_tiny(tmp_path, "tiny-a"), "--alias", "fancy/name") as child:
        url = child.wait_until_ready()
        models = httpx.get(f"{url}/v1/models").json()
        chat = httpx.post(f"{url}/v1/chat/completions", json={**HELLO, "seed": 1, "max_tokens": 20})

    assert [model["id"] for model in models["data"]] == ["fancy/name"]
    assert chat.json()["model"] == "fancy/name"
    assert words_of(chat) & WORDS["tiny-a"]
    assert words_of(chat) <= WORDS["tiny-a"]


def test_streams_what_it_answers(environment: dict[str, str], tmp_path: Path) -> None:
    body = {**HELLO, "temperature": 0, "max_tokens": 16}
    with serving(environment, write_tiny(tmp_path, "tiny-b")) as child:
        url = child.wait_until_ready()
        whole = httpx.post(f"{url}/v1/chat/completions", json=body)
        stream = httpx.post(f"{url}/v1/chat/completions", json={**body, "stream": True})

    events = [line.removeprefix("data: ") for line in stream.text.split("\n\n") if line]
    deltas = [json.loads(event)["choices"][0]["delta"] for event in events[:-1]]
    assert events[-1] == "[DONE]"
    assert (
        "".join(delta.get("content") or "" for delta in deltas)
        == (whole.json()["choices"][0]["message"]["content"])
    )
    assert words_of(whole) <= WORDS["tiny-b"]


def test_wants_the_key_of_its_environment(environment: dict[str, str], tmp_path: Path) -> None:
    keyed = {**environment, "LLAMA_API_KEY": "s3cret"}
    with serving(keyed, write_tiny(tmp_path, "tiny-a")) as child:
        url = child.wait_until_ready()
        answers = [
            httpx.get(f"{url}{path}", headers=headers).status_code
            for path, headers in (
                ("/props", {}),
                ("/props", {"Authorization": "Bearer wrong"}),
                ("/props", {"Authorization": "Bearer s3cret"}),
                ("/health", {}),
            )
        ]

    assert answers == [401, 401, 200, 200]


def test_embeds(environment: dict[str, str], tmp_path: Path) -> None:
    model = write_tiny(tmp_path, "tiny-embed")
    flags = ("--embeddings", "-b", "512", "-ub", "512")
    with serving(environment, model, *flags) as child:
        url = child.wait_until_ready()
        answer = httpx.post(f"{url}/v1/embeddings", json={"input": ["birch", "castle " * 300]})

    assert [len(item["embedding"]) for item in answer.json()["data"]] == [64, 64]


def test_embeds_and_chats_with_a_causal_model(environment: dict[str, str], tmp_path: Path) -> None:
    model = write_tiny(tmp_path, "tiny-a")
    with serving(environment, model, "--embeddings", "--pooling", "mean") as child:
        url = child.wait_until_ready()
        embedding = httpx.post(f"{url}/v1/embeddings", json={"input": "birch"})
        chat = httpx.post(f"{url}/v1/chat/completions", json={**HELLO, "max_tokens": 4})

    assert len(embedding.json()["data"][0]["embedding"]) == 64
    assert chat.status_code == 200


def test_ranks(environment: dict[str, str], tmp_path: Path) -> None:
    model = write_tiny(tmp_path, "tiny-embed")
    with serving(environment, model, "--rerank") as child:
        url = child.wait_until_ready()
        body = {"query": "birch", "documents": ["castle", "canyon", "camel"]}
        answer = httpx.post(f"{url}/v1/rerank", json=body)

    assert sorted(result["index"] for result in answer.json()["results"]) == [0, 1, 2]


def test_calls_a_tool(environment: dict[str, str], tmp_path: Path) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    tool = {"type": "function", "function": {"name": "weather", "parameters": parameters}}
    body = {**HELLO, "tools": [tool], "tool_choice": "required", "seed": 1, "max_tokens": 200}
    with serving(environment, write_tiny(tmp_path, "tiny-tools")) as child:
        url = child.wait_until_ready()
        answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60)

    calls = answer.json()["choices"][0]["message"]["tool_calls"]
    assert calls[0]["function"]["name"] == "weather"


def test_has_the_slots_context_and_pages_that_were_asked_for(
    environment: dict[str, str], tmp_path: Path
) -> None:
    model = write_tiny(tmp_path, "tiny-a")
    with serving(environment, model, "-np", "3", "-c", "1536", "--metrics", "--slots") as child:
        url = child.wait_until_ready()
        slots = httpx.get(f"{url}/slots").json()
        metrics = httpx.get(f"{url}/metrics")

    assert [slot["n_ctx"] for slot in slots] == [512, 512, 512]
    assert "llamacpp:" in metrics.text


def test_serves_the_demo_model(environment: dict[str, str], tmp_path: Path) -> None:
    write_demo_model(tmp_path / "demo.gguf")
    assert describe_model(tmp_path / "demo.gguf").capabilities == {Capability.CHAT}

    with serving(environment, tmp_path / "demo.gguf", "--no-webui") as child:
        url = child.wait_until_ready()
        chat = httpx.post(f"{url}/v1/chat/completions", json={**HELLO, "max_tokens": 8, "seed": 1})

    assert len(words_of(chat)) > 1


# the two ways to read a command line

FLAGS_OF_GGLIB = (
    ("-m", "a.gguf"),
    ("--alias", "name"),
    ("--host", "127.0.0.1"),
    ("--port", "4711"),
    ("-c", "8192"),
    ("-np", "3"),
    ("-t", "2"),
    ("--threads-http", "5"),
    ("-ngl", "7"),
    ("-ngl", "auto"),
    ("-ngl", "all"),
    ("--embeddings",),
    ("--pooling", "none"),
    ("--pooling", "mean"),
    ("--pooling", "cls"),
    ("--pooling", "last"),
    ("--rerank",),
    ("-b", "300"),
    ("-ub", "200"),
    ("--cache-ram", "0"),
    ("--no-webui",),
    ("--metrics",),
    ("--slots",),
    ("--no-slots",),
    ("--props",),
    ("--no-warmup",),
    ("--mmproj", "b.gguf"),
)
_PRINT_PARAMETERS = """
import json, sys
import xllamacpp
from gglib_runtime.engines import embedded

def attributes(owner, path=""):
    if isinstance(owner, (int, float, str, bool, type(None))):
        yield path, owner
    elif isinstance(owner, (list, tuple, set)):
        yield path, sorted(map(str, owner))
    elif path.count(".") < 3:
        for name in dir(owner):
            value = getattr(owner, name)
            if not name.startswith("_") and not callable(value):
                yield from attributes(value, f"{path}.{name}")

for flags in json.load(sys.stdin):
    for parse in (embedded._parse_natively, embedded._parse_by_table):
        parameters = parse(xllamacpp, flags)
        embedded._settle(parameters)
        print(json.dumps(dict(attributes(parameters))))
"""
LEFT_TO_THE_SERVER = {".cpuparams.n_threads", ".cpuparams_batch.n_threads"}
"""The native parser already chooses a number, as the server would, where there is none."""


def test_both_ways_to_read_a_command_line_agree() -> None:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("LLAMA_")}
    everything = [token for flag in FLAGS_OF_GGLIB for token in flag]
    lines = [*FLAGS_OF_GGLIB, everything]
    done = subprocess.run(
        [sys.executable, "-c", _PRINT_PARAMETERS],
        input=json.dumps(lines),
        env={**clean, "LLAMA_API_KEY": "one,two"},
        capture_output=True,
        text=True,
        check=True,
    )

    results = iter([json.loads(line) for line in done.stdout.splitlines()])
    for line, native, table in zip(lines, results, results, strict=True):
        assert native[".api_keys"] == ["one", "two"]
        differing = {name for name in native if native[name] != table[name]}
        left = {name for name in LEFT_TO_THE_SERVER if table[name] == -1}
        assert differing <= left, line


def test_another_wheel_is_told_to_take_few_flags() -> None:
    script = (
        "from gglib_runtime.engines import embedded; embedded.TESTED_VERSION = '1.2.3'; "
        "raise SystemExit(embedded.main(['--jinja']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "invalid argument: --jinja" in done.stderr
    assert "install xllamacpp==1.2.3" in done.stderr

"""gglib as its users have it: real llama.cpp behind `gglib serve`, real SDKs in front."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Generator
from pathlib import Path

import anthropic
import httpx
import openai
import psutil
import pytest

from tests.command_line import Shell
from tests.gguf_files import WORDS, write_tiny
from tests.serving import Served, assert_gone, chat_body, serving, wait_until

pytestmark = pytest.mark.e2e

ALL = ("tiny-a.gguf", "tiny-b.gguf", "tiny-embed.gguf", "broken.gguf")
EMBEDDING_WIDTH = 64


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("home")
    for name in ("tiny-a", "tiny-b", "tiny-embed"):
        write_tiny(directory, name)
    (directory / "broken.gguf").write_bytes((directory / "tiny-a.gguf").read_bytes())
    return directory


@pytest.fixture(scope="module")
def served(home: Path) -> Generator[Served]:
    """One server for the tests that change nothing lasting, with threads that do not spin."""
    shell = shell_with(home, *(home / name for name in ALL))
    shell.output("model", "edit", "tiny-a", "--alias", "alpha")
    # It was whole when it was added; now its weights are gone.
    os.truncate(home / "broken.gguf", 100_000)
    with serving(shell) as server:
        yield server


def shell_with(home: Path, *models: Path) -> Shell:
    """A user with these models, which decode in one thread: more would spin on busy cores."""
    shell = Shell(home)
    for model in models:
        shell.output("model", "add", model, "--threads", "1")
    return shell


def words_of(text: str) -> set[str]:
    return {word.strip('",.}]') for word in text.split()} - {""}


# OpenAI's SDK


@pytest.fixture(name="openai_client")
def open_openai_client(served: Served) -> Generator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


def test_the_openai_sdk_gets_an_answer_from_the_model_that_it_names(
    openai_client: openai.OpenAI,
) -> None:
    answer = openai_client.chat.completions.create(
        model="tiny-a",
        messages=[{"role": "user", "content": "hello"}],
        max_tokens=16,
        temperature=0,
    )
    assert answer.model == "tiny-a"
    assert words_of(answer.choices[0].message.content or "") & WORDS["tiny-a"]
    assert answer.usage
    assert answer.usage.completion_tokens > 0


def test_a_stream_says_the_same_as_a_whole_answer(openai_client: openai.OpenAI) -> None:
    asked = {
        "model": "tiny-a",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 24,
        "temperature": 0,
        "seed": 1,
    }
    whole = openai_client.chat.completions.create(**asked)  # type: ignore[call-overload]
    parts = openai_client.chat.completions.create(**asked, stream=True)  # type: ignore[call-overload]
    text = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
    assert text == whole.choices[0].message.content


def test_another_model_is_swapped_in(openai_client: openai.OpenAI, served: Served) -> None:
    for model in ("tiny-a", "tiny-b", "tiny-a"):
        answer = openai_client.completions.create(
            model=model, prompt="hello", max_tokens=16, temperature=0
        )
        assert answer.model == model
        assert words_of(answer.choices[0].text) & WORDS[model]
        assert len(served.engines()) == 1


def test_an_alias_an_id_and_another_case_mean_the_same_model(openai_client: openai.OpenAI) -> None:
    for name in ("alpha", "1", "TINY-A"):
        answer = openai_client.chat.completions.create(
            model=name, messages=[{"role": "user", "content": "x"}], max_tokens=1
        )
        assert answer.model == "tiny-a"


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings_in_both_encodings(openai_client: openai.OpenAI, encoding: str) -> None:
    answer = openai_client.embeddings.create(
        model="tiny-embed",
        input=["a river", "a stone"],
        encoding_format=encoding,  # type: ignore[arg-type]
    )
    assert [len(item.embedding) > 0 for item in answer.data] == [True, True]
    if encoding == "float":
        assert len(answer.data[0].embedding) == EMBEDDING_WIDTH


def test_responses_api(openai_client: openai.OpenAI) -> None:
    answer = openai_client.responses.create(
        model="tiny-a", input="hello", max_output_tokens=8, temperature=0
    )
    assert answer.output_text


def test_the_openai_sdk_lists_the_models(openai_client: openai.OpenAI) -> None:
    names = {model.id for model in openai_client.models.list()}
    assert {"tiny-a", "tiny-b", "tiny-embed"} <= names
    assert openai_client.models.retrieve("alpha").id == "tiny-a"


def test_an_unknown_model_is_not_found_and_the_nearest_is_named(
    openai_client: openai.OpenAI,
) -> None:
    with pytest.raises(openai.NotFoundError, match="tiny-a") as caught:
        openai_client.chat.completions.create(
            model="tiny-x", messages=[{"role": "user", "content": "x"}]
        )
    assert caught.value.code == "model_not_found"


def test_what_a_model_cannot_do_is_refused_before_any_swap(
    openai_client: openai.OpenAI, served: Served
) -> None:
    served.chat("tiny-a", max_tokens=1)
    before = [engine.pid for engine in served.engines()]
    with pytest.raises(openai.BadRequestError, match="chat"):
        openai_client.chat.completions.create(
            model="tiny-embed", messages=[{"role": "user", "content": "x"}]
        )
    assert [engine.pid for engine in served.engines()] == before


def test_a_broken_file_is_named_with_its_cause_and_others_go_on(served: Served) -> None:
    answer = served.chat("broken")
    error = answer.json()["error"]
    assert answer.status_code == 500
    assert answer.headers["x-should-retry"] == "false"
    assert error["code"] == "model_load_failed"
    assert error["gglib"]["failure"] == "bad_file"
    assert error["gglib"]["log"]
    assert served.chat("tiny-a", max_tokens=1).status_code == 200


def test_a_remembered_failure_costs_no_second_launch(served: Served) -> None:
    served.chat("broken")
    served.chat("broken")
    launches = [line for line in served.log.read_text().splitlines() if "'broken'" in line]
    assert sum("-> starting" in line for line in launches) == 1


# Anthropic's SDK


@pytest.fixture(name="anthropic_client")
def open_anthropic_client(served: Served) -> Generator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=served.url, api_key="unused", max_retries=0) as client:
        yield client


def test_the_anthropic_sdk_gets_a_message_and_a_stream(
    anthropic_client: anthropic.Anthropic,
) -> None:
    asked = {
        "model": "tiny-a",
        "max_tokens": 16,
        "extra_body": {"temperature": 0},
        "messages": [{"role": "user", "content": "hello"}],
    }
    message = anthropic_client.messages.create(**asked)  # type: ignore[arg-type]
    assert message.usage.output_tokens > 0
    with anthropic_client.messages.stream(**asked) as stream:  # type: ignore[arg-type]
        assert "".join(stream.text_stream)
    counted = anthropic_client.messages.count_tokens(
        model="tiny-a", messages=[{"role": "user", "content": "hello"}]
    )
    assert counted.input_tokens > 0


def test_errors_have_anthropics_shape_for_its_sdk(anthropic_client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as caught:
        anthropic_client.messages.create(
            model="nothing", max_tokens=1, messages=[{"role": "user", "content": "x"}]
        )
    assert caught.value.body["type"] == "error"  # type: ignore[index]


# llama-server's own


def test_llama_servers_own_routes(served: Served) -> None:
    served.chat("tiny-a", max_tokens=1)
    tokens = served.post("/tokenize", {"model": "tiny-a", "content": "alder"}).json()["tokens"]
    text = served.post("/detokenize", {"model": "tiny-a", "tokens": tokens}).json()["content"]
    assert text == "alder"
    assert served.get("/props?model=tiny-a").json()["model_alias"] == "tiny-a"
    assert isinstance(served.get("/slots").json(), list)
    prompt = served.post("/apply-template", chat_body("tiny-a")).json()["prompt"]
    assert "Say something." in prompt
    asked = {"prompt": "a", "n_predict": 2, "ignore_eos": True}
    assert served.post("/completion", asked).json()["tokens_predicted"] == 2
    assert served.get("/upstream/tiny-a/v1/models").json()["data"][0]["id"] == "tiny-a"


def test_a_get_loads_nothing(served: Served) -> None:
    served.chat("tiny-a", max_tokens=1)
    answer = served.get("/props?model=tiny-b")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "model_not_loaded")


def test_a_larger_num_ctx_launches_anew_and_a_smaller_does_not(served: Served) -> None:
    def slot_context() -> int:
        return served.get("/slots?model=tiny-a").json()[0]["n_ctx"]

    served.chat("tiny-a", max_tokens=1, num_ctx=512)
    served.shell.output("unload")
    served.chat("tiny-a", max_tokens=1, num_ctx=512)
    assert slot_context() == 512
    first = served.engines()[0].pid
    served.chat("tiny-a", max_tokens=1, num_ctx=256)
    assert served.engines()[0].pid == first
    served.chat("tiny-a", max_tokens=1, num_ctx=1024)
    assert slot_context() == 1024
    assert served.chat("tiny-a", num_ctx=1 << 20).status_code == 400


def test_a_client_that_leaves_frees_its_slot(served: Served) -> None:
    body = chat_body("tiny-b", max_tokens=4000, stream=True, ignore_eos=True)
    with httpx.stream("POST", f"{served.url}/v1/chat/completions", json=body) as answer:
        for _ in answer.iter_raw(64):
            break
    wait_until(
        lambda: not any(slot["is_processing"] for slot in served.get("/slots?model=tiny-b").json())
    )


async def test_requests_that_alternate_cost_a_handful_of_swaps(served: Served) -> None:
    before = served.log.read_text().count("-> starting")
    async with httpx.AsyncClient(timeout=120, limits=httpx.Limits(max_connections=80)) as client:
        answers = await asyncio.gather(
            *(
                client.post(
                    f"{served.url}/v1/chat/completions",
                    json=chat_body("tiny-a" if number % 2 else "tiny-b", max_tokens=4),
                )
                for number in range(80)
            )
        )
    assert {answer.status_code for answer in answers} == {200}
    assert [answer.json()["model"] for answer in answers] == ["tiny-b", "tiny-a"] * 40
    assert served.log.read_text().count("-> starting") - before <= 4


# The process


def test_term_ends_it_with_0_and_leaves_no_engine(home: Path, tmp_path: Path) -> None:
    with serving(shell_with(tmp_path, home / "tiny-a.gguf")) as server:
        assert server.chat("tiny-a").status_code == 200
        engines = server.engines()
        assert server.stop() == 0
        assert_gone(engines)
        assert not (server.shell.data_dir / "run" / "serve.json").exists()


def test_term_lets_a_running_answer_end(home: Path, tmp_path: Path) -> None:
    with serving(shell_with(tmp_path, home / "tiny-a.gguf"), "--set=drain_seconds=120") as server:
        body = chat_body("tiny-a", max_tokens=500, stream=True, ignore_eos=True)
        with httpx.stream(
            "POST", f"{server.url}/v1/chat/completions", json=body, timeout=60
        ) as answer:
            pieces = answer.iter_raw()
            first = next(pieces)
            server.process.terminate()
            rest = b"".join(pieces)
        events = (first + rest).split(b"\n\n")
        assert events[-2] == b"data: [DONE]"
        assert json.loads(events[-3].removeprefix(b"data: "))["choices"][0]["finish_reason"]
        assert server.process.wait(60) == 0


@pytest.mark.parametrize("state", ["idle", "loading", "streaming", "prefill"])
def test_kill_9_leaves_no_engine_behind(home: Path, tmp_path: Path, state: str) -> None:
    with serving(shell_with(tmp_path, home / "tiny-b.gguf"), "--set=default_ctx=4096") as server:
        if state == "loading":
            engines = _caught_loading(server)
        else:
            server.chat("tiny-b", max_tokens=1)
            engines = server.engines()
        body = chat_body("tiny-b", max_tokens=4000, stream=True, ignore_eos=True)
        if state == "prefill":
            body["messages"][0]["content"] = "walrus " * 3500
        if state in ("streaming", "prefill"):
            with httpx.stream(
                "POST", f"{server.url}/v1/chat/completions", json=body, timeout=60
            ) as answer:
                if state == "streaming":
                    next(answer.iter_raw())
                server.process.kill()
        else:
            server.process.kill()
        assert engines
        assert_gone(engines)


def _caught_loading(server: Served) -> list[psutil.Process]:
    """Its engine, soon after a request has caused its start."""
    body = json.dumps(chat_body("tiny-b")).encode()
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )
        wait_until(server.engines)
        return server.engines()


def test_a_catalog_change_is_seen_while_it_serves(home: Path, tmp_path: Path) -> None:
    shell = shell_with(tmp_path, home / "tiny-a.gguf")
    with serving(shell) as server:
        server.chat("tiny-a", max_tokens=1)
        before = [engine.pid for engine in server.engines()]
        assert server.chat("newcomer").status_code == 404
        shell.output("model", "add", home / "tiny-b.gguf", "--name", "newcomer")
        wait_until(lambda: server.get("/v1/models/newcomer").status_code == 200)
        assert [engine.pid for engine in server.engines()] == before
        assert server.chat("newcomer", max_tokens=1).status_code == 200


def test_up_check_makes_a_model_and_gets_an_answer_twice(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    for _ in range(2):
        done = shell.process("up", "--check", "--port", "0")
        assert done.returncode == 0, done.stderr
        assert "http://127.0.0.1:" in done.stdout
    assert [model["name"] for model in shell.json("model", "list")] == ["gglib-demo"]


def test_a_second_serve_names_the_first(home: Path, tmp_path: Path) -> None:
    shell = shell_with(tmp_path, home / "tiny-a.gguf")
    with serving(shell) as server:
        second = shell.process("serve", "--port", "0")
        assert second.returncode == 1
        assert str(server.process.pid) in second.stderr
        assert server.url in second.stderr
        assert second.stderr.count("\n") == 1
        assert server.get("/health").status_code == 200


def test_int_twice_hurries(home: Path, tmp_path: Path) -> None:
    with serving(shell_with(tmp_path, home / "tiny-a.gguf")) as server:
        body = chat_body("tiny-a", max_tokens=4000, stream=True, ignore_eos=True)
        with httpx.stream(
            "POST", f"{server.url}/v1/chat/completions", json=body, timeout=60
        ) as answer:
            pieces = answer.iter_raw()
            next(pieces)
            server.process.send_signal(signal.SIGINT)
            wait_until(lambda: "answer" in server.log.read_text() or _is_closed(server.url))
            server.process.send_signal(signal.SIGINT)
            assert server.process.wait(60) == 0


def _is_closed(url: str) -> bool:
    try:
        httpx.get(url + "/health")
    except httpx.TransportError:
        return True
    return False

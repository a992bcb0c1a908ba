"""What OpenAI's SDK makes of the gateway: its errors, its retries, its streams."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.faults import faulty_server
from tests.serving import Served, wait_until

HELLO: Any = [{"role": "user", "content": "hello"}]


@pytest.fixture
def server(tmp_path: Path) -> Generator[Served]:
    with faulty_server(tmp_path) as server:
        yield server


def made_key(server: Served, name: str, *options: str) -> str:
    """The first key, which closes the door."""
    key: str = server.shell.json("key", "create", name, *options)["key"]
    wait_until(lambda: refusal_of(server, "sk-none") == "invalid_api_key")
    return key


def refusal_of(server: Served, key: str) -> str | None:
    """With what code the key is refused."""
    with client_of(server, key, max_retries=0) as client:
        try:
            client.models.list()
        except openai.APIStatusError as error:
            return error.code
    return None


def client_of(server: Served, key: str, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, **options)


def ask_often(client: openai.OpenAI, count: int) -> None:
    for _ in range(count):
        client.chat.completions.create(model="alpha", messages=HELLO, max_tokens=1)


def test_errors_are_those_that_the_sdk_has_classes_for(server: Served) -> None:
    key = made_key(server, "alice", "--model", "alpha")
    with client_of(server, key, max_retries=0) as client:
        with pytest.raises(openai.NotFoundError) as unknown:
            client.chat.completions.create(model="alpah", messages=HELLO)
        assert unknown.value.code == "model_not_found"
        assert unknown.value.request_id
    with (
        client_of(server, "sk-wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as wrong,
    ):
        client.models.list()
    assert wrong.value.code == "invalid_api_key"
    server.shell.output("key", "disable", "alice")
    wait_until(lambda: refusal_of(server, key) == "key_disabled")
    with client_of(server, key) as client, pytest.raises(openai.PermissionDeniedError):
        client.models.list()


def test_a_limited_client_comes_back_when_it_is_told_to(server: Served) -> None:
    key = made_key(server, "alice", "--requests-per-minute", "60")
    with client_of(server, key, max_retries=0) as client:
        with pytest.raises(openai.RateLimitError) as limited:
            ask_often(client, 200)
        headers = limited.value.response.headers
        assert (headers["retry-after"], headers["x-ratelimit-remaining-requests"]) == ("1", "0")
        patient = client.with_options(max_retries=3)
        answer = patient.chat.completions.create(model="alpha", messages=HELLO, max_tokens=1)
        assert answer.choices[0].finish_reason == "length"


def test_a_client_that_loses_patience_is_recorded_as_having_left(server: Served) -> None:
    key = made_key(server, "alice")
    with client_of(server, key, max_retries=0, timeout=0.3) as client:
        slow = {"gglib_sim": {"first_token_seconds": 30}}
        with pytest.raises(openai.APITimeoutError):
            client.chat.completions.create(model="alpha", messages=HELLO, extra_body=slow)

    def is_recorded() -> bool:
        records = server.shell.json("generations")
        return [(each["status"], each["error"]) for each in records] == [(499, "client_left")]

    wait_until(is_recorded)


def test_a_stream_tells_its_usage_to_those_who_ask_and_to_the_record(server: Served) -> None:
    key = made_key(server, "alice")
    with client_of(server, key) as client:
        events = list(
            client.chat.completions.create(
                model="alpha",
                messages=HELLO,
                max_tokens=5,
                stream=True,
                stream_options={"include_usage": True},
            )
        )
        usage = events[-1].usage
        assert usage is not None
        answer = client.chat.completions.with_raw_response.create(
            model="alpha", messages=HELLO, max_tokens=5
        )
        generation_id = answer.headers["x-gglib-generation-id"]
        record: Any = client.get(f"/generation?id={generation_id}", cast_to=object)
    assert record["tokens"]["completion_tokens"] == usage.completion_tokens == 5
    assert record["tokens"]["prompt_tokens"] == usage.prompt_tokens
    assert record["created"] <= time.time()

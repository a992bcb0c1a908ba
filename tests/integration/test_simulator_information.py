"""What the stand-in engine tells about itself, and its tokeniser."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engines import KEY, RunningSimulator, running_simulator
from tests.raw_http import Answer, ask_once

HELLO = [{"role": "user", "content": "hello there"}]
PROMPT_TOKENS = 11  # of HELLO in the template: its marks, its words, its line ends


async def ask(simulator: RunningSimulator, path: str, **body: Any) -> Answer:
    answer = await ask_once(simulator.port, "POST", path, body, key=KEY)
    assert answer.status == 200, answer.body
    return answer


async def get(simulator: RunningSimulator, path: str) -> Any:
    answer = await ask_once(simulator.port, "GET", path, key=KEY)
    assert answer.status == 200, answer.body
    return answer.json


async def test_props_tell_slots_name_path_and_context() -> None:
    async with running_simulator("-np", "2", "-c", "1000", alias="beta") as simulator:
        props = await get(simulator, "/props")
        assert props["total_slots"] == 2
        assert props["model_alias"] == "beta"
        assert props["model_path"] == "/models/beta.gguf"
        assert props["default_generation_settings"]["n_ctx"] == 512  # 500, rounded up
        assert not props["is_sleeping"]


async def test_without_np_four_slots_may_each_use_the_whole_context() -> None:
    async with running_simulator("-c", "1000") as simulator:
        slots = await get(simulator, "/slots")
        assert [slot["n_ctx"] for slot in slots] == [1024] * 4


async def test_models_lists_the_alias() -> None:
    async with running_simulator(alias="b,a") as simulator:
        listing = await get(simulator, "/v1/models")
        assert [entry["id"] for entry in listing["data"]] == ["a"]
        assert listing["data"][0]["owned_by"] == "llamacpp"


async def test_an_alias_of_the_behaviour_goes_before_the_flag() -> None:
    async with running_simulator(sim={"alias": "impostor"}) as simulator:
        assert (await get(simulator, "/props"))["model_alias"] == "impostor"


async def test_metrics_count_tokens_when_they_are_on() -> None:
    async with running_simulator("--metrics") as simulator:
        await ask(simulator, "/v1/chat/completions", messages=HELLO, max_tokens=3)
        answer = await ask_once(simulator.port, "GET", "/metrics", key=KEY)
        assert answer.headers["content-type"] == "text/plain; version=0.0.4"
        lines = answer.body.decode().splitlines()
        assert f"llamacpp:prompt_tokens_total {PROMPT_TOKENS}" in lines
        assert "llamacpp:tokens_predicted_total 3" in lines
        assert "llamacpp:requests_processing 0" in lines
    async with running_simulator() as simulator:
        assert (await ask_once(simulator.port, "GET", "/metrics", key=KEY)).status == 501


@pytest.mark.parametrize(
    ("text", "count"),
    [("hello there", 2), ("", 0), ("é€😀 x", 4), ("\0\0", 2), ("Hi 1234<|im_end|>!", 5)],
)
async def test_tokens_turn_back_into_the_text(text: str, count: int) -> None:
    async with running_simulator() as simulator:
        tokens = (await ask(simulator, "/tokenize", content=text)).json["tokens"]
        assert len(tokens) == count
        assert (await ask(simulator, "/detokenize", tokens=tokens)).json == {"content": text}
        pieces = (await ask(simulator, "/tokenize", content=text, with_pieces=True)).json["tokens"]
        assert "".join(entry["piece"] for entry in pieces) == text


async def test_the_template_is_chatml() -> None:
    async with running_simulator() as simulator:
        parts = [{"type": "text", "text": "hello "}, {"type": "text", "text": "there"}]
        for content in ("hello there", parts):
            messages = [{"role": "user", "content": content}]
            answer = await ask(simulator, "/apply-template", messages=messages)
            turn = "<|im_start|>user\nhello there<|im_end|>\n<|im_start|>assistant\n"
            assert answer.json == {"prompt": turn}

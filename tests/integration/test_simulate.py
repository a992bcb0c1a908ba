"""`gglib simulate`: an endpoint of its own, from its first line to its exit code."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import client_context, issue_pair
from tests.command_line import Shell
from tests.raw_http import ask_once, open_raw
from tests.simulating import CHAT, KEY, WAIT_SECONDS, Simulated, chat, simulating

SLOW: dict[str, Any] = {"gglib_sim": {"token_seconds": 0.02}, "max_tokens": 20, "stream": True}


async def test_it_says_where_it_is_and_how_to_talk_to_it() -> None:
    async with simulating("--seed", "3") as simulated:
        answer = await simulated.chat(model="gpt-x", max_tokens=3)
        assert (answer.status, answer.json["model"]) == (200, "gpt-x")
        assert answer.headers["x-request-id"].startswith("req_")
        simulated.process.send_signal(signal.SIGINT)
        assert await simulated.exit_code() == 0
    text = "".join(simulated.said)
    assert f"curl {simulated.url}/v1/chat/completions" in text
    assert f'OpenAI(base_url="{simulated.url}/v1"' in text


async def test_a_signal_lets_running_answers_end() -> None:
    async with simulating() as simulated, open_raw(simulated.port) as connection:
        connection.request("POST", CHAT, chat(**SLOW), key=KEY)
        chunks = [await connection.chunk_after_head()]
        simulated.process.send_signal(signal.SIGINT)
        while chunk := await connection.chunk():
            chunks.append(chunk)
        assert chunks[-1] == b"data: [DONE]\n\n"
        assert await simulated.exit_code() == 0
        with pytest.raises(ConnectionRefusedError):
            await simulated.get("/health")


async def test_a_second_signal_cuts_them() -> None:
    async with simulating() as simulated, open_raw(simulated.port) as connection:
        endless = chat(stream=True, gglib_sim={"faults": [{"kind": "endless"}]})
        connection.request("POST", CHAT, endless, key=KEY)
        await connection.chunk_after_head()
        simulated.process.send_signal(signal.SIGTERM)
        await _until_refused(simulated)
        simulated.process.send_signal(signal.SIGTERM)
        assert not (await connection.rest()).endswith(b"0\r\n\r\n")
        assert await simulated.exit_code() == 0


async def _until_refused(simulated: Simulated) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            try:
                await simulated.get("/health")
            except ConnectionRefusedError:
                return
            except (ConnectionResetError, asyncio.IncompleteReadError):
                continue


async def test_connections_are_kept_behind_streams_and_errors() -> None:
    async with simulating() as simulated, open_raw(simulated.port) as connection:
        for body, status in ((chat(stream=True), 200), ({}, 400), (chat(), 200)):
            assert (await connection.ask("POST", CHAT, body, key=KEY)).status == status
        assert (await connection.ask("GET", "/live")).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Bearer whatever"}, 200),
        ({"Authorization": "bearer whatever"}, 200),
        ({"x-api-key": "sk-ant"}, 200),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": "Bearer two words"}, 401),
        ({}, 401),
    ],
)
async def test_any_well_formed_key_opens_it(headers: dict[str, str], status: int) -> None:
    async with simulating() as simulated:
        assert (await simulated.get("/v1/models", headers=headers)).status == status
        assert (await simulated.get("/health")).status == 200


async def test_keys_that_were_given_are_the_only_ones() -> None:
    async with simulating("--api-key", "one", "--api-key", "two") as simulated:
        statuses = [(await simulated.chat(key=key)).status for key in ("one", "two", "three")]
        assert statuses == [200, 200, 401]
        refused = await simulated.chat(key="three")
        assert refused.json["error"]["code"] == "invalid_api_key"
        message = await simulated.post("/v1/messages", headers={"x-api-key": "three"})
        assert message.json["type"] == "error"
        assert message.json["error"]["type"] == "authentication_error"


async def test_pages_of_any_origin_may_use_it_unless_told_otherwise() -> None:
    async with simulating() as simulated:
        asked = {
            "Origin": "http://a",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,x-stainless-os",
        }
        preflight = await ask_once(simulated.port, "OPTIONS", CHAT, headers=asked)
        assert preflight.status == 200
        assert preflight.headers["access-control-allow-origin"] == "*"
        # For browsers `*` is all headers but Authorization.
        wanted = asked["Access-Control-Request-Headers"]
        assert preflight.headers["access-control-allow-headers"] == wanted
        assert "POST" in preflight.headers["access-control-allow-methods"]
        shown = (await simulated.chat()).headers
        assert shown["access-control-allow-origin"] == "*"
        exposed = shown["access-control-expose-headers"].split(", ")
        assert {"x-request-id", "retry-after-ms", "x-ratelimit-reset-tokens"} <= {*exposed}
    async with simulating("--no-cors") as simulated:
        assert "access-control-allow-origin" not in (await simulated.chat()).headers


async def test_another_method_is_told_from_another_path() -> None:
    async with simulating() as simulated:
        wrong = await simulated.get(CHAT, key=KEY)
        unknown = await simulated.get("/v1/nothing", key=KEY)
    assert (wrong.status, wrong.headers["allow"]) == (405, "POST")
    assert wrong.json["error"]["message"].startswith(f"Not allowed to GET on {CHAT}")
    assert (unknown.status, "allow" in unknown.headers) == (404, False)


async def test_an_answer_has_an_identifier_where_the_sdk_of_its_api_looks_for_it() -> None:
    async with simulating() as simulated:
        openai = await simulated.chat()
        anthropic = await simulated.post("/v1/messages", chat(), key=KEY)
        streamed = await simulated.post("/v1/messages", chat(stream=True), key=KEY)
        refused = await simulated.post("/v1/messages", {}, key=KEY)
    assert openai.headers["x-request-id"].startswith("req_")
    for answer in (anthropic, streamed, refused):
        assert answer.headers["request-id"].startswith("req_")
        assert "x-request-id" not in answer.headers


async def test_it_speaks_tls(tmp_path: Path) -> None:
    pair = issue_pair(tmp_path)
    files = ("--tls-cert", str(pair.certificate), "--tls-key", str(pair.key))
    async with (
        simulating(*files) as simulated,
        open_raw(simulated.port, tls=client_context()) as connection,
    ):
        answer = await connection.ask("POST", CHAT, chat(stream=True), key=KEY)
        assert answer.chunks[-1] == b"data: [DONE]\n\n"
        plain = await simulated.get("/health")
        assert (plain.status, plain.json["error"]["code"]) == (400, "https_required")
    assert "https://" in simulated.said[0]


async def test_what_is_no_request_is_refused_as_by_the_gateway() -> None:
    async with simulating() as simulated, open_raw(simulated.port) as connection:
        connection.send(b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n")
        answer = await connection.answer()
        assert answer.status in (400, 501)
        assert answer.json["error"]["message"]
        assert await connection.rest() == b""


async def test_limits_give_429_with_the_time_to_wait_in_both_dialects(tmp_path: Path) -> None:
    behaviour = tmp_path / "sim.toml"
    behaviour.write_text("limits = [{ requests_per_minute = 30, burst = 2 }]\n")
    async with simulating("--behaviour", str(behaviour)) as simulated:
        assert [(await simulated.chat(key="a")).status for _ in range(3)] == [200, 200, 429]
        assert (await simulated.chat(key="b")).status == 200
        refused = await simulated.chat(key="a")
        assert refused.json["error"]["type"] == "rate_limit_error"
        assert refused.json["error"]["code"] == "rate_limit_exceeded"
        assert refused.headers["retry-after"] == "2"
        assert 1000 < int(refused.headers["retry-after-ms"]) <= 2000
        assert refused.headers["x-ratelimit-limit-requests"] == "30"
        message = await simulated.post("/v1/messages", headers={"x-api-key": "a"})
        assert (message.status, message.json["error"]["type"]) == (429, "rate_limit_error")
        reset = await simulated.post("/admin/rate-limits/reset")
        assert reset.json == {"reset": 2}
        assert (await simulated.chat(key="a")).status == 200
        metrics = (await simulated.get("/metrics")).body.decode()
        assert "\nllm_rate_limit_exceeded_total 3\n" in metrics


async def test_more_requests_than_may_be_are_told_that_it_is_overloaded(tmp_path: Path) -> None:
    hold = {"gglib_sim": {"hold_until": str(tmp_path / "go")}}
    async with simulating("--max-concurrent", "1") as simulated:
        async with open_raw(simulated.port) as running:
            running.request("POST", CHAT, chat(**hold), key=KEY)
            while (await simulated.get("/admin/stats")).json["active_requests"] < 1:
                pass
            refused = await simulated.chat()
            assert (refused.status, refused.json["error"]["message"]) == (503, "Overloaded")
            assert refused.headers["retry-after"] == "1"
            body = {"model": "c", "max_tokens": 1, "messages": chat()["messages"]}
            message = await simulated.post("/v1/messages", body, key=KEY)
            assert (message.status, message.json["error"]["type"]) == (529, "overloaded_error")
            (tmp_path / "go").touch()
            assert (await running.answer()).status == 200
        assert (await simulated.chat()).status == 200


async def test_answers_are_told_one_by_one_where_asked() -> None:
    async with simulating("--log-answers") as simulated:
        await simulated.chat()
        await simulated.get("/nowhere", key=KEY)
        simulated.process.terminate()
        assert await simulated.exit_code() == 0
    lines = [json.loads(line) for line in simulated.said[-1].splitlines()]
    assert [(line["path"], line["status"]) for line in lines] == [(CHAT, 200), ("/nowhere", 404)]
    assert all(line["peer"] == "127.0.0.1" and line["seconds"] >= 0 for line in lines)


@pytest.mark.parametrize(
    ("arguments", "code", "telling"),
    [
        (["--scenario", "flakey"], 2, "no scenario 'flakey'"),
        (["--profile", "gtp-4"], 2, "no profile 'gtp-4'"),
        (["--behaviour", "/nowhere.toml"], 2, "/nowhere.toml: No such file"),
        (["--tls-cert", "x"], 2, "--tls-cert and --tls-key go together"),
        (["--port", "99999"], 2, "99999"),
        (["--host", "unix:"], 2, "is no address"),
    ],
)
def test_what_makes_no_sense_is_told_in_one_line(
    tmp_path: Path, arguments: list[str], code: int, telling: str
) -> None:
    said = Shell(tmp_path).failure("simulate", "--port", "0", *arguments, code=code)
    assert telling in said


async def test_a_taken_port_is_told() -> None:
    async with simulating() as simulated:
        process = await asyncio.create_subprocess_exec(
            *_command("--port", str(simulated.port)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert (process.returncode, out) == (1, b"")
        assert b"is taken. Choose another with --port." in err


def _command(*arguments: str) -> list[str]:
    import sys

    return [sys.executable, "-m", "gglib_runtime", "simulate", *arguments]

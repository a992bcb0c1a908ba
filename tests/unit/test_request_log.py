"""What the log shows of bodies: enough to understand them, and no secret."""

from __future__ import annotations

import json
import logging

import pytest

from gglib_proxy import request_log
from gglib_proxy.errors import Refusal, describe_error
from gglib_proxy.request_log import SHOWN_BODY_BYTES, About, request_failed, shown_body

SECRETS = ["hunter2", 'pass"word', "with \\ and \n", "a, b}", "12345"]
NAMES = ["password", "api_key", "API-Key", "apikey", "hf_token", "token", "client_secret"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("secret", SECRETS)
def test_values_of_fields_that_are_secret_are_masked(name: str, secret: str) -> None:
    body = {"model": "tiny", name: secret, "max_tokens": 7}
    for text in (
        json.dumps(body),
        json.dumps(body, indent=2),
        json.dumps({"arguments": json.dumps(body)}),
    ):
        shown = shown_body(text.encode())
        assert not any(part in shown for part in (secret, json.dumps(secret)[1:-1]))
        assert "***" in shown
        assert "tiny" in shown
        assert "max_tokens" in shown
        assert "7" in shown
        assert shown.isprintable()


@pytest.mark.parametrize(
    "secret", ["gg-0123456789abcdefABC", "sk-proj-abc_DEF-123", "hf_abcdefghij", "Bearer abc.def=="]
)
def test_what_looks_like_a_key_is_masked_wherever_it_stands(secret: str) -> None:
    message = {"role": "user", "content": f"use {secret} please"}
    shown = shown_body(json.dumps({"messages": [message]}).encode())
    assert secret not in shown
    assert "please" in shown


def test_a_number_that_is_a_token_is_masked() -> None:
    assert shown_body(b'{"token": 12345, "n": 12345}') == '{"token": "***", "n": 12345}'


def test_only_the_beginning_is_shown() -> None:
    shown = shown_body(b"a" * (SHOWN_BODY_BYTES + 1))
    assert shown == "a" * SHOWN_BODY_BYTES + "…"
    assert shown_body(b"a" * SHOWN_BODY_BYTES) == "a" * SHOWN_BODY_BYTES


def test_a_secret_that_the_end_cuts_is_masked() -> None:
    body = (
        b'{"filler": "'
        + b"x" * (SHOWN_BODY_BYTES - 40)
        + b'", "password": "hunter2hunter2hunter2"}'
    )
    assert "hunter" not in shown_body(body)


def test_bytes_that_are_no_text_stay_on_one_line() -> None:
    assert shown_body(b"\xff\x00\n\xe2\x80\xa8").isprintable()


def test_an_error_of_the_server_is_one_line_with_its_facts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    about = About("POST", "/v1/chat/completions", "req-7", "tiny", 1.2345)
    request_failed(about, describe_error(Refusal(400, "bad", "No.")))
    assert not caplog.records
    request_failed(about, describe_error(Refusal(503, "overloaded", "Later.")))
    (record,) = caplog.records
    assert record.getMessage() == (
        "POST /v1/chat/completions tiny: 503 overloaded after 1234 ms: Later."
    )
    assert (record.levelno, record.request_id) == (logging.WARNING, "req-7")  # type: ignore[attr-defined]


def test_the_log_of_requests_is_gglibs_own() -> None:
    assert request_log.logger.name.startswith("gglib_proxy")

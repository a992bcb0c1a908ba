"""What clients are told about each error, and that the documentation says the same."""

import json
from collections.abc import Iterator

import pytest

from gglib_core import errors
from gglib_core.errors import GglibError, LaunchFailed, LaunchFailure
from gglib_proxy.errors import (
    ERROR_TABLE,
    ErrorAnswer,
    Refusal,
    answer_headers,
    anthropic_type,
    describe_error,
    openai_type,
    render_anthropic,
    render_openai,
    render_sse_anthropic,
    render_sse_openai,
)

BAD_FILE = LaunchFailed("tiny", LaunchFailure.BAD_FILE, "it is cut off", ["line 1", "line 2"], 7.2)
KILLED = LaunchFailed("tiny", LaunchFailure.KILLED, "signal 9", ["line"], 7.2)


def family(parent: type[GglibError]) -> Iterator[type[GglibError]]:
    yield parent
    for child in parent.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from family(child)


def test_who_is_limited_is_told_when_to_come_back() -> None:
    limited = errors.RateLimited("tokens_per_minute", 500, 2.5)
    assert str(limited) == "The limit of 500 tokens per minute is reached. Try again in 3 s."


def test_every_error_class_has_a_row_of_its_own() -> None:
    missing = [each.__name__ for each in family(GglibError) if each not in ERROR_TABLE]
    assert not missing


def test_the_table_has_no_row_for_a_class_that_is_gone() -> None:
    assert set(ERROR_TABLE) == set(family(GglibError))


@pytest.mark.parametrize(
    ("error", "status", "code", "param"),
    [
        (errors.InvalidRequest("no", param="input"), 400, "invalid_request", "input"),
        (errors.UnknownModel("x", ["y"]), 404, "model_not_found", "model"),
        (errors.NoModelNamed(2), 400, "model_required", "model"),
        (errors.MissingCapability("m", "chat", ["rerank"]), 400, "missing_capability", "model"),
        (errors.ContextTooLarge("m", 9, 8), 400, "context_too_large", "num_ctx"),
        (errors.ModelNotLoaded("m"), 409, "model_not_loaded", "model"),
        (errors.QueueFull(3, 2.0), 503, "queue_full", None),
        (errors.QueueTimeout("m", "still loading", 3, 2.0), 503, "queue_timeout", None),
        (errors.EveryModelPinned("m", ["n"]), 409, "all_models_pinned", None),
        (BAD_FILE, 500, "model_load_failed", None),
        (KILLED, 503, "model_load_failed", None),
        (errors.InvalidApiKey(is_missing=True), 401, "invalid_api_key", None),
        (errors.OutOfScope("gg-abc***xyz", "the model 'm'"), 403, "out_of_scope", None),
        (errors.RateLimited("requests_per_minute", 5, 2.5), 429, "rate_limit_exceeded", None),
        (errors.QuotaExceeded("budget_per_day", 5), 403, "quota_exceeded", None),
        (errors.RequestCancelled(), 409, "request_cancelled", None),
        (errors.ConfigError("port is wrong"), 400, "invalid_configuration", None),
        (errors.OwnFileUnusable("pepper is missing"), 500, "own_file_unusable", None),
        (errors.UpstreamUnreachable("m", "refused"), 502, "upstream_unreachable", None),
        (errors.UpstreamLost("m"), 502, "upstream_lost", None),
        (errors.UpstreamTimeout("m", "no byte", 3), 504, "upstream_timeout", None),
    ],
)
def test_an_error_has_its_status_code_and_parameter(
    error: GglibError, status: int, code: str, param: str | None
) -> None:
    answer = describe_error(error)
    assert (answer.status, answer.code, answer.param) == (status, code, param)
    assert answer.message == str(error)
    assert answer.gglib["source"] == "gglib"
    assert answer.gglib["class"] == type(error).__name__


def test_a_bug_tells_the_client_nothing_of_itself() -> None:
    answer = describe_error(ValueError("/secret/path"))
    assert (answer.status, answer.code, answer.type) == (500, "internal_error", "server_error")
    assert b"secret" not in render_openai(answer) + render_anthropic(answer)
    assert b"ValueError" not in render_openai(answer)


def test_what_a_database_says_stays_in_the_log() -> None:
    answer = describe_error(errors.DatabaseError("postgresql://user:secret@host is down"))
    assert answer.status == 500
    assert b"secret" not in render_openai(answer)


def test_a_class_below_a_known_one_gets_its_parents_row() -> None:
    lost = type("LostAgain", (errors.UpstreamLost,), {})
    assert describe_error(lost("m")).code == "upstream_lost"


def test_the_openai_shape_has_its_four_fields_first() -> None:
    body = json.loads(render_openai(describe_error(errors.UnknownModel("x", ["y"]))))
    assert list(body) == ["error"]
    assert list(body["error"]) == ["message", "type", "param", "code", "gglib"]
    assert body["error"] == {
        "message": "The model 'x' does not exist. Did you mean 'y'?",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
        "gglib": {"source": "gglib", "class": "UnknownModel", "nearest": ["y"], "name": "x"},
    }


def test_the_anthropic_shape_names_anthropics_type() -> None:
    body = json.loads(render_anthropic(describe_error(errors.QueueFull(3, 2.0))))
    assert body["type"] == "error"
    assert body["error"]["type"] == "overloaded_error"
    assert body["error"]["message"] == "The queue is full: 3 requests wait already."
    assert body["error"]["gglib"] == {"source": "gglib", "class": "QueueFull", "code": "queue_full"}


def test_a_failed_launch_shows_its_class_and_the_last_lines() -> None:
    lines = [f"line {number}" for number in range(50)]
    error = LaunchFailed("tiny", LaunchFailure.CRASHED, "exit 1", [*lines, "x" * 5000])
    told = json.loads(render_openai(describe_error(error)))["error"]["gglib"]
    assert told["failure"] == "crashed"
    assert told["model"] == "tiny"
    assert told["log"] == [*lines[-19:], "x" * 500]


def test_a_permanent_launch_failure_stops_the_retries_of_sdks() -> None:
    assert answer_headers(describe_error(BAD_FILE)) == [("x-should-retry", "false")]


def test_a_transient_launch_failure_says_when_to_come_back() -> None:
    assert answer_headers(describe_error(KILLED)) == [("retry-after", "8")]


@pytest.mark.parametrize("status", sorted({row.status for row in ERROR_TABLE.values()}))
def test_all_429_and_503_say_when_to_come_back_and_all_409_that_it_is_no_use(status: int) -> None:
    for row in ERROR_TABLE.values():
        if row.status == status:
            assert (row.retry_after_seconds is not None) == (status in (429, 503))
            assert row.should_retry is False or status != 409


@pytest.mark.parametrize(
    ("seconds", "header"),
    [(0, "1"), (0.2, "1"), (1.01, "2"), (1e9, "3600"), (float("inf"), "3600")],
)
def test_retry_after_is_in_whole_seconds(seconds: float, header: str) -> None:
    answer = describe_error(errors.QueueFull(1, seconds))
    assert ("retry-after", header) in answer_headers(answer)


def test_who_has_no_key_is_told_how_to_show_one() -> None:
    answer = describe_error(errors.InvalidApiKey(is_missing=True))
    assert answer_headers(answer) == [("www-authenticate", 'Bearer realm="gglib"')]


def test_an_event_of_a_stream_is_one_event() -> None:
    answer = describe_error(errors.InvalidRequest("two\nlines"))
    openai, anthropic = render_sse_openai(answer), render_sse_anthropic(answer)
    assert openai.startswith(b"data: {")
    assert anthropic.startswith(b"event: error\ndata: {")
    assert openai.endswith(b"}\n\n")
    assert anthropic.endswith(b"}\n\n")
    assert openai.count(b"\n") == 2
    assert anthropic.count(b"\n") == 3


def test_text_that_is_not_unicode_can_still_be_sent() -> None:
    error = LaunchFailed("m", LaunchFailure.CRASHED, "exit 1", ["caf\udce9 é"])
    assert json.loads(render_openai(describe_error(error)))["error"]["gglib"]["log"] == ["caf? é"]


def test_a_refusal_carries_its_own_status_headers_and_fate_of_the_connection() -> None:
    refusal = Refusal(405, "method_not_allowed", "No.", close=False, headers=[("allow", "GET")])
    answer = describe_error(refusal)
    assert isinstance(answer, ErrorAnswer)
    assert (answer.status, answer.code, answer.close) == (405, "method_not_allowed", False)
    assert answer.type == "invalid_request_error"
    assert answer_headers(answer) == [("allow", "GET")]


def test_an_overloaded_refusal_says_when_to_come_back() -> None:
    answer = describe_error(Refusal(503, "overloaded", "Full.", retry_after_seconds=1.5))
    assert answer.close
    assert answer_headers(answer) == [("retry-after", "2")]


@pytest.mark.parametrize(
    ("status", "openai", "anthropic"),
    [
        (400, "invalid_request_error", "invalid_request_error"),
        (404, "invalid_request_error", "not_found_error"),
        (413, "invalid_request_error", "request_too_large"),
        (415, "invalid_request_error", "invalid_request_error"),
        (500, "server_error", "api_error"),
        (502, "server_error", "api_error"),
        (503, "unavailable_error", "overloaded_error"),
        (504, "timeout_error", "timeout_error"),
    ],
)
def test_each_api_has_its_own_word_for_a_status(status: int, openai: str, anthropic: str) -> None:
    assert openai_type(status) == openai
    assert anthropic_type(status) == anthropic


def test_large_limits_are_written_out() -> None:
    assert "12345678 tokens" in str(errors.RateLimited("tokens_per_minute", 12_345_678, 1.0))
    spent = errors.QuotaExceeded("budget_per_day", 1234567.25, 12345.75)
    assert "1234567.25, 12345.75 is left" in str(spent)


def test_it_is_said_whether_an_engine_failed_or_gglib_itself() -> None:
    assert "the engine of 'm'" in str(errors.UpstreamUnreachable("m", "refused"))
    assert "gglib's control plane" in str(errors.UpstreamUnreachable(None, "it has not started"))


def test_what_a_model_can_do_is_not_lost_by_saying_what_else_it_can() -> None:
    said = str(errors.MissingCapability("m", "embeddings", ["chat"]))
    assert said.endswith(": gglib model edit m --capability chat --capability embeddings")

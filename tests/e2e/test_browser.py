"""A browser in front of gglib and real llama.cpp: its own page, and `fetch` to the API."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.chromium import Chromium, needs_chromium, open_chromium
from tests.command_line import Shell
from tests.gguf_files import write_tiny
from tests.serving import Served, chat_body, serving, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, needs_chromium]

READ = """
async (body) => {
  const answer = await fetch("/v1/chat/completions", {
    method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify(body)
  });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  const pieces = [];
  for (;;) {
    const {value, done} = await reader.read();
    if (done) break;
    pieces.push(value);
  }
  return {status: answer.status, type: answer.headers.get("content-type"), pieces};
}
"""
LEAVE = """
async (body) => {
  const leaving = new AbortController();
  const answer = await fetch("/v1/chat/completions", {
    method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify(body),
    signal: leaving.signal
  });
  const reader = answer.body.getReader();
  const {value} = await reader.read();
  leaving.abort();
  return value.length;
}
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Generator[Served]:
    home: Path = tmp_path_factory.mktemp("home")
    shell = Shell(home)
    shell.output("model", "add", write_tiny(home, "tiny-a"), "--threads", "1")
    with serving(shell) as server:
        assert server.chat("tiny-a", max_tokens=1).status_code == 200
        yield server


@pytest.fixture(scope="module")
def browser() -> Generator[Chromium]:
    with open_chromium() as browser:
        yield browser


def run(browser: Chromium, function: str, body: dict[str, Any]) -> Any:
    return browser.evaluate(f"({function.strip()})({json.dumps(body)})")


def events_of(pieces: list[str]) -> list[str]:
    *events, rest = "".join(pieces).split("\n\n")
    assert rest == ""
    return [event.removeprefix("data: ") for event in events if not event.startswith(":")]


def test_the_page_of_the_endpoint_is_shown_as_it_was_made(
    served: Served, browser: Chromium
) -> None:
    """Its style is allowed by its own policy, or the browser would not apply it."""
    browser.open(f"{served.url}/")
    assert "tiny-a" in browser.evaluate("document.body.innerText")
    assert browser.evaluate("getComputedStyle(document.body).maxWidth") == "960px"


def test_fetch_reads_a_stream_event_by_event(served: Served, browser: Chromium) -> None:
    browser.open(f"{served.url}/health")  # of the same origin, and without a policy of its own
    body = chat_body("tiny-a", stream=True, max_tokens=2000, ignore_eos=True)
    answer = run(browser, READ, body)
    assert (answer["status"], answer["type"]) == (200, "text/event-stream")
    *events, last = events_of(answer["pieces"])
    assert last == "[DONE]"
    assert len(events) >= 2000
    assert all(json.loads(event)["object"] == "chat.completion.chunk" for event in events)
    assert len(answer["pieces"]) > 10, "the browser was given the answer in one piece"


def test_fetch_is_told_of_errors_in_json(served: Served, browser: Chromium) -> None:
    browser.open(f"{served.url}/health")
    answer = run(browser, READ, chat_body("nobody", stream=True))
    assert (answer["status"], answer["type"]) == (404, "application/json")
    assert json.loads("".join(answer["pieces"]))["error"]["code"] == "model_not_found"


def test_a_fetch_that_is_aborted_ends_its_request(served: Served, browser: Chromium) -> None:
    browser.open(f"{served.url}/health")
    body = chat_body("tiny-a", stream=True, max_tokens=4000, ignore_eos=True)
    assert run(browser, LEAVE, body) > 0
    wait_until(lambda: [each["leases"] for each in served.shell.json("status")["models"]] == [0])
    assert served.chat("tiny-a").status_code == 200

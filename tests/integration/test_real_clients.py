"""Clients that others wrote, in front of `gglib serve`: curl, `ab`, and the OpenAI SDK for Node.

The SDKs for Python are in `tests/e2e`. What is not installed is skipped, and says so.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.faults import CHAT, DONE, body, faulty_server
from tests.node_sdks import install_packages
from tests.serving import Served

WAIT_SECONDS = 60.0
NODE_SDK = "openai@7.57.0"
TOKENS = 5


def needs(program: str) -> pytest.MarkDecorator:
    reason = f"{program} is not installed"
    return pytest.mark.skipif(shutil.which(program) is None, reason=reason)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Generator[Served]:
    with faulty_server(tmp_path_factory.mktemp("home")) as server:
        assert server.chat("alpha").status_code == 200
        yield server


def run(*command: str | Path, **options: Any) -> str:
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=WAIT_SECONDS, **options
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# curl


def curl(*arguments: str | Path) -> str:
    return run("curl", "--silent", "--show-error", "--noproxy", "*", *arguments)


def chat(**fields: Any) -> tuple[str, ...]:
    """What makes curl ask for a chat."""
    data = json.dumps(body(tokens=TOKENS, **fields))
    return "--header", "Content-Type: application/json", "--data", data


def seen(output: str) -> list[tuple[int, int, str]]:
    """Status, connections made, and HTTP's version of each answer."""
    found = re.findall(r"^= (\d+) (\d+) (\S+)$", output, re.MULTILINE)
    return [(int(status), int(made), version) for status, made, version in found]


WRITE = ("--write-out", "\n= %{http_code} %{num_connects} %{http_version}\n")


@needs("curl")
def test_curl_asks_again_on_the_connection_that_it_has(served: Served) -> None:
    url = served.url + CHAT
    output = curl(*WRITE, *chat(), url, url, served.url + "/v1/models/alpha", url)
    statuses = [(status, made) for status, made, _ in seen(output)]
    assert statuses == [(200, 1), (200, 0), (405, 0), (200, 0)]


@needs("curl")
def test_curl_without_keep_alive_makes_a_connection_for_each(served: Served) -> None:
    url = served.url + CHAT
    output = curl(*WRITE, "--header", "Connection: close", *chat(), url, url)
    assert seen(output) == [(200, 1, "1.1")] * 2


@needs("curl")
@pytest.mark.parametrize("header", ["Connection: close", "Connection: keep-alive", "Accept: */*"])
def test_curl_in_http_1_0(served: Served, header: str) -> None:
    url = served.url + CHAT
    output = curl(*WRITE, "--http1.0", "--header", header, *chat(), url, url)
    assert [status for status, _, _ in seen(output)] == [200, 200]
    assert output.count('"chat.completion"') == 2


@needs("curl")
@pytest.mark.parametrize("version", ["--http1.0", "--http1.1"])
def test_curl_reads_a_stream_to_its_end(served: Served, version: str) -> None:
    output = curl(version, "--no-buffer", *chat(stream=True), served.url + CHAT)
    assert output.endswith(DONE.decode())
    assert output.count("data: ") > TOKENS


@needs("curl")
@pytest.mark.parametrize("how", ["with a length", "in chunks"])
def test_curl_waits_to_be_told_to_send_a_large_body(
    served: Served, tmp_path: Path, how: str
) -> None:
    """curl asks `Expect: 100-continue` for bodies over a mebibyte."""
    large = tmp_path / "large.json"
    large.write_text(json.dumps(body(tokens=TOKENS) | {"padding": "x" * 3_000_000}))
    added = ("--header", "Transfer-Encoding: chunked") if how == "in chunks" else ()
    output = curl(
        *(*WRITE, *added, "--verbose", "--stderr", "-", "--expect100-timeout", "50"),
        *("--header", "Content-Type: application/json", "--header", "Expect: 100-continue"),
        *("--data-binary", f"@{large}", served.url + CHAT),
    )
    assert "< HTTP/1.1 100 Continue" in output
    assert seen(output) == [(200, 1, "1.1")]


@needs("curl")
def test_curl_is_told_that_its_body_is_too_large_before_it_sends_it(
    served: Served, tmp_path: Path
) -> None:
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(100 * 1024**2)
    output = curl(
        *(*WRITE, "--expect100-timeout", "50", "--header", "Expect: 100-continue"),
        *("--write-out", "%{size_upload} sent", "--data-binary", f"@{huge}", served.url + CHAT),
    )
    assert "request_too_large" in output
    assert output.endswith(("\n0 sent", "}0 sent"))


# ab, which speaks HTTP/1.0


@needs("ab")
@pytest.mark.parametrize("keep_alive", [False, True])
def test_ab_gets_all_its_answers(served: Served, tmp_path: Path, *, keep_alive: bool) -> None:
    requests = 200
    document = tmp_path / "body.json"
    document.write_text(json.dumps(body(tokens=TOKENS)))
    options = ["-k"] if keep_alive else []
    output = run(
        *("ab", "-n", str(requests), "-c", "10", *options, "-l"),
        *("-p", document, "-T", "application/json", served.url + CHAT),
    )
    counts = dict(re.findall(r"^([A-Z][\w -]+):\s+(\d+)$", output, re.MULTILINE))
    assert counts["Complete requests"] == str(requests)
    assert counts["Failed requests"] == "0"
    assert "Non-2xx responses" not in counts
    if keep_alive:
        assert counts["Keep-Alive requests"] == str(requests)


# The OpenAI SDK for Node

SCRIPT = """
import OpenAI from "openai";
const [url] = process.argv.slice(2);
const client = new OpenAI({baseURL: `${url}/v1`, apiKey: "unused", maxRetries: 0});
const messages = [{role: "user", content: "hello"}];
const seen = {};

const whole = await client.chat.completions.create({model: "alpha", messages});
seen.whole = {model: whole.model, text: whole.choices[0].message.content};

const stream = await client.chat.completions.create({
  model: "alpha", messages, stream: true, max_tokens: 20
});
seen.chunks = 0;
seen.text = "";
for await (const chunk of stream) {
  seen.chunks += 1;
  seen.text += chunk.choices[0]?.delta?.content ?? "";
}

try {
  await client.chat.completions.create({model: "nobody", messages});
} catch (error) {
  seen.unknown = {name: error.constructor.name, status: error.status, code: error.code};
}

try {
  const failing = await client.chat.completions.create({
    model: "alpha", messages, stream: true, gglib_sim: {
      token_seconds: 0.02, faults: [{kind: "close", after_chunks: 2}]
    }
  });
  for await (const chunk of failing);
} catch (error) {
  seen.lost = {name: error.constructor.name, code: error.code};
}

const left = await client.chat.completions.create({
  model: "alpha", messages, stream: true, gglib_sim: {tokens: 100000, token_seconds: 0.01}
});
for await (const chunk of left) break;
seen.left = left.controller.signal.aborted;

seen.models = [];
for await (const model of client.models.list()) seen.models.push(model.id);
console.log(JSON.stringify(seen));
"""


@pytest.fixture(scope="module")
def node_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script beside the SDK, which npm fetches once and keeps in its own cache."""
    directory = tmp_path_factory.mktemp("node")
    install_packages(directory, NODE_SDK)
    program = directory / "client.mjs"
    program.write_text(SCRIPT)
    return program


@needs("node")
@needs("npm")
def test_the_openai_sdk_for_node(served: Served, node_program: Path) -> None:
    seen = json.loads(run("node", node_program, served.url, cwd=node_program.parent))
    assert seen["whole"]["model"] == "alpha"
    assert seen["whole"]["text"]
    assert seen["chunks"] > 2
    assert seen["text"]
    assert seen["unknown"] == {"name": "NotFoundError", "status": 404, "code": "model_not_found"}
    assert seen["lost"] == {"name": "APIError", "code": "upstream_lost"}
    assert seen["left"] is True
    assert seen["models"] == ["alpha"]

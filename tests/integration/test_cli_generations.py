"""`gglib generations` and `gglib generation`: what people and programs see of their requests."""

from __future__ import annotations

import csv
import io
import json
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from gglib_core.generations import Generation
from gglib_runtime.catalog.database import open_database
from gglib_runtime.catalog.migration import upgrade
from gglib_runtime.generations.rows import insert_rows
from tests.command_line import WAIT_SECONDS, Shell
from tests.generations import generation
from tests.gguf_files import write_tiny

NOW_MS = int(time.time() * 1000)
HOUR_MS = 3_600_000
MASK = "gg-abc***xyz"
OLD = generation(id="gen-old", created_ms=NOW_MS - 2 * HOUR_MS, upstream_id="up-old")
FULL = generation(
    id="gen-full",
    created_ms=NOW_MS - HOUR_MS // 2,
    upstream_id="chatcmpl-9",
    model="org/tiny",
    is_stream=True,
    is_estimated=True,
    prompt_tokens=150,
    cached_tokens=20,
    completion_tokens=75,
    tokens_per_second=55.55,
    first_token_ms=84.4,
    total_ms=1523.4,
    queue_ms=12.0,
    load_ms=11.0,
    prompt_cost=0.0015,
    completion_cost=0.00225,
    currency="EUR",
    swap_id="swap-1",
    key_id=1,
    api_key_id=MASK,
)
FAILED = generation(
    id="gen-bad", created_ms=NOW_MS, status=503, error="queue_full", finish_reason=None
)
ALL = (OLD, FULL, FAILED)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def write(shell: Shell, rows: Sequence[Generation] = ALL) -> None:
    with open_database(shell.data_dir / "gglib.db") as engine:
        upgrade(engine)
        insert_rows(engine, rows)


def lines_of(table: str) -> list[list[str]]:
    return [re.split(r"\s{2,}", line.strip()) for line in table.splitlines()]


def test_the_table_shows_the_last_requests_the_newest_last(shell: Shell) -> None:
    write(shell)
    title, *rows = lines_of(shell.output("generations"))
    assert title[1:] == ["MODEL", "STATUS", "IN", "OUT", "T/S", "FIRST", "TOTAL", "COST", "KEY"]
    assert [row[1:] for row in rows] == [
        ["chat", "200", "0", "0", "-", "-", "0 ms", "-", "-"],
        ["org/tiny", "200", "~150", "~75", "55.5", "84 ms", "1.5 s", "0.003750 EUR", MASK],
        ["chat", "503 queue_full", "0", "0", "-", "-", "0 ms", "-", "-"],
    ]
    assert len(lines_of(shell.output("generations", "-n", "1"))) == 2


def test_requests_of_a_key_show_its_name_for_as_long_as_there_is_such_a_key(shell: Shell) -> None:
    shell.output("key", "create", "alice")
    write(shell)
    assert lines_of(shell.output("generations"))[2][-1] == "alice"
    assert f"alice ({MASK})" in shell.output("generation", "gen-full")
    assert shell.json("generations", "--key", "alice")[0]["api_key_id"] == MASK
    shell.output("key", "rm", "alice")
    assert lines_of(shell.output("generations"))[2][-1] == MASK


def test_an_empty_table_says_so(shell: Shell) -> None:
    assert shell.output("generations") == "There are no generations of that kind.\n"
    assert shell.json("generations") == []


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ((), ["gen-bad", "gen-full", "gen-old"]),
        (("--limit", "2"), ["gen-bad", "gen-full"]),
        (("--model", "org/tiny"), ["gen-full"]),
        (("--failed",), ["gen-bad"]),
        (("--since", "1h"), ["gen-bad", "gen-full"]),
        (("--since", "2100-01-01"), []),
        (("--since", "2000-01-01T12:00:00+02:00", "--failed"), ["gen-bad"]),
        (("--key", "1"), ["gen-full"]),
        (("--key", "gg-abc***xyz"), ["gen-full"]),
        (("--key", "2"), []),
    ],
)
def test_options_say_which_are_shown(
    shell: Shell, options: tuple[str, ...], ids: list[str]
) -> None:
    write(shell)
    assert [each["id"] for each in shell.json("generations", *options)] == ids
    rows = csv.DictReader(io.StringIO(shell.output("generations", "--csv", *options)))
    assert [row["id"] for row in rows] == ids


def test_a_model_is_known_by_its_alias_and_a_key_by_its_name(shell: Shell, tmp_path: Path) -> None:
    shell.output(
        "model", "add", write_tiny(tmp_path, "tiny-a"), "--name", "org/tiny", "--alias", "t"
    )
    shell.json("key", "create", "ci")
    write(shell)
    assert [each["id"] for each in shell.json("generations", "--model", "T")] == ["gen-full"]
    assert [each["id"] for each in shell.json("generations", "--key", "ci")] == ["gen-full"]


@pytest.mark.parametrize("command", ["generations", "swaps"])
def test_a_mistyped_model_is_told_of_where_nothing_is_shown(
    shell: Shell, tmp_path: Path, command: str
) -> None:
    shell.output("model", "add", write_tiny(tmp_path, "tiny-a"))
    write(shell)
    said = shell.run(command, "--model", "tiny-b")
    assert (said.exit_code, said.stderr) == (
        0,
        "There is no model 'tiny-b'. Did you mean 'tiny-a'?\n",
    )
    # One that was removed since has records.
    assert "org/tiny" in shell.output("generations", "--model", "org/tiny")


def test_what_makes_no_sense_is_refused(shell: Shell) -> None:
    shell.json("key", "create", "alice")
    assert "Did you mean 'alice'?" in shell.failure("generations", "--key", "alic")
    assert "There is no API key 'none'" in shell.failure("generations", "--key", "none")
    assert "is neither a duration" in shell.failure("generations", "--since", "x", code=2)
    assert "--csv goes with" in shell.failure("generations", "--csv", "--json", code=2)


def test_an_export_goes_on_over_many_pages(shell: Shell) -> None:
    rows = [generation(id=f"gen-{number}", created_ms=number) for number in range(2100)]
    write(shell, rows)
    found = list(csv.DictReader(io.StringIO(shell.output("generations", "--csv"))))
    assert [row["id"] for row in found] == [row.id for row in reversed(rows)]
    assert len(shell.output("generations", "--csv", "-n", "7").splitlines()) == 8


@pytest.mark.parametrize("generation_id", ["gen-full", "chatcmpl-9"])
def test_one_request_is_shown_whole(shell: Shell, generation_id: str) -> None:
    write(shell)
    shown = dict(
        re.split(r"\s{2,}", line.strip(), maxsplit=1)
        for line in shell.output("generation", generation_id).splitlines()
    )
    assert shown.pop("Time")
    assert shown == {
        "Id": "gen-full",
        "Model": "org/tiny",
        "Endpoint": "/v1/chat/completions (stream)",
        "Status": "200",
        "Finish": "stop",
        "Prompt": "~150 tokens, 20 of them cached",
        "Answer": "~75 tokens, 55.5 a second",
        "Queue": "12 ms",
        "of it, load": "11 ms",
        "First token": "84 ms",
        "Total": "1.5 s",
        "Cost": "0.003750 EUR",
        "Key": "gg-abc***xyz",
        "Provider": "llama-server",
        "Provider was": "healthy",
        "Launch": "launch-1",
        "Swap": "swap-1",
        "Request id": "req-1",
        "Id in the answer": "chatcmpl-9",
    }
    assert shell.json("generation", generation_id)["cost"]["currency"] == "EUR"


def test_a_request_that_is_unknown_is_a_failure(shell: Shell) -> None:
    assert "There is no generation 'gen-none'" in shell.failure("generation", "gen-none")


def test_following_shows_the_last_ones_and_those_to_come(shell: Shell) -> None:
    write(shell)
    with shell.start("generations", "--follow", "--json", "-n", "2") as process:
        assert process.stdout is not None
        shown = [json.loads(process.stdout.readline())["id"] for _ in range(2)]
        write(shell, [generation(id="gen-next", created_ms=NOW_MS + 1)])
        shown.append(json.loads(process.stdout.readline())["id"])
        assert shown == ["gen-full", "gen-bad", "gen-next"]
        assert interrupted(process) == 130


def test_followed_lines_stand_below_their_titles(shell: Shell) -> None:
    write(shell)
    with shell.start("generations", "--follow") as process:
        assert process.stdout is not None
        title, *rows = [process.stdout.readline() for _ in range(4)]
        interrupted(process)
    for row, each in zip(rows, ALL, strict=True):
        assert row[title.index("MODEL") :].startswith(each.model)
        assert row[title.index("STATUS") :].startswith(str(each.status))


def interrupted(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGINT)
    return process.wait(WAIT_SECONDS)

"""`gglib key …` makes and changes API keys, and shows their secrets once."""

from __future__ import annotations

import re
import sqlite3
import time
from pathlib import Path

import pytest

from gglib_core.keys import KeyRing, mask_of
from gglib_runtime.catalog.database import open_database, reading
from gglib_runtime.keys import rows
from gglib_runtime.keys.pepper import read_pepper
from tests.command_line import Shell

SECRET = re.compile(r"gg-[A-Za-z0-9_-]{43}")
DAY = 86400


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def key_of(shell: Shell, secret: str) -> str | None:
    """The name of the key that a server would find by that secret."""
    with open_database(shell.data_dir / "gglib.db") as engine, reading(engine) as connection:
        known = rows.read_keys(connection)
    found = KeyRing(read_pepper(shell.data_dir / "pepper") or b"", known).find(secret)
    return None if found is None else found.name


def test_without_keys_it_is_said_how_to_make_one(shell: Shell) -> None:
    assert "gglib key create NAME" in shell.output("key", "list")
    assert shell.json("key", "list") == []


def test_a_key_is_shown_once_with_the_line_that_uses_it(shell: Shell) -> None:
    said = shell.output("key", "create", "ci")
    assert said.startswith("Made the API key ci (id 1): inference, models; all models; never exp")
    (secret,) = SECRET.findall(said)
    assert f"\n  export OPENAI_API_KEY={secret}\n" in said
    assert "This is the first API key" in said
    assert key_of(shell, secret) == "ci"
    assert "This is the first API key" not in shell.output("key", "create", "other")


def test_programs_get_the_secret_as_key(shell: Shell) -> None:
    made = shell.json("key", "create", "ci")
    assert key_of(shell, made["key"]) == "ci"
    shown = {name: value for name, value in made.items() if name not in ("key", "created")}
    assert shown == {
        "id": 1,
        "name": "ci",
        "mask": mask_of(made["key"]),
        "state": "enabled",
        "endpoints": ["inference", "models"],
        "models": [],
        "expires": None,
        "requests_per_minute": None,
        "tokens_per_minute": None,
        "concurrent_requests": None,
        "budget_per_day": None,
        "budget_per_month": None,
    }
    del made["key"]
    assert shell.json("key", "show", "ci") == made
    assert shell.json("key", "list") == [made]


def test_every_option_of_create_arrives(shell: Shell) -> None:
    options = [
        *("--model", "small-*", "--model", "org/x", "--model", "small-*"),
        *("--endpoint", "logs", "--admin", "--expires", "2031-02-03"),
        *("--requests-per-minute", "60", "--tokens-per-minute", "0", "--concurrent-requests", "4"),
        *("--budget-per-day", "0.5", "--budget-per-month", "10"),
    ]
    made = shell.json("key", "create", "full", *options)
    expected = {
        "models": ["small-*", "org/x"],
        "endpoints": ["admin", "logs"],
        "expires": 1_927_843_200.0,
        "requests_per_minute": 60,
        "tokens_per_minute": 0,
        "concurrent_requests": 4,
        "budget_per_day": 0.5,
        "budget_per_month": 10,
    }
    assert {name: made[name] for name in expected} == expected
    details = shell.output("key", "show", "full")
    for said in ("small-*, org/x", "admin, logs", "2031-02-03 00:00 UTC", "no limit", "0.5"):
        assert said in details
    listed = shell.output("key", "list")
    assert "60 requests per minute" in listed
    assert "no limit of tokens per minute" in listed


def test_large_limits_are_written_out(shell: Shell) -> None:
    amounts = ["--tokens-per-minute", "12345678", "--budget-per-day", "1234567.25"]
    shell.output("key", "create", "big", *amounts)
    for said in (shell.output("key", "show", "big"), shell.output("key", "list")):
        assert "12345678" in said
        assert "1234567.25" in said


def test_an_end_may_be_so_long_from_now(shell: Shell) -> None:
    before = time.time()
    made = shell.json("key", "create", "ci", "--expires", "30d")
    assert before + 30 * DAY <= made["expires"] <= time.time() + 30 * DAY


@pytest.mark.parametrize("text", ["2001-01-01", "0", "soon", "2031-13-01", ""])
def test_an_end_that_is_none_is_refused(shell: Shell, text: str) -> None:
    said = shell.failure("key", "create", "ci", "--expires", text, code=2)
    assert "--expires" in said


def test_what_is_not_named_stays_as_it_is(shell: Shell) -> None:
    shell.output("key", "create", "ci", "--model", "a", "--admin", "--concurrent-requests", "2")
    before = shell.json("key", "show", "ci")
    after = shell.json("key", "edit", "ci", "--tokens-per-minute", "5", "--name", "cd")
    assert after == before | {"tokens_per_minute": 5, "name": "cd"}
    same = shell.output("key", "edit", "cd", "--concurrent-requests", "2")
    assert same == "cd was like that already.\n"
    after = shell.json("key", "edit", "cd", "--model", "b*", "--no-admin", "--expires", "1h")
    assert (after["models"], after["endpoints"]) == (["b*"], ["inference", "models"])
    assert shell.output("key", "edit", "cd", "--endpoint", "logs").startswith("Changed cd (id 1): ")
    words = [f"--clear={word}" for word in ("model", "endpoint", "expires", "concurrent-requests")]
    after = shell.json("key", "edit", "cd", *words, "--clear", "tokens-per-minute")
    assert after == before | {
        "name": "cd",
        "models": [],
        "endpoints": ["inference", "models"],
        "concurrent_requests": None,
    }


def test_an_edit_without_a_change_is_a_mistake(shell: Shell) -> None:
    shell.output("key", "create", "ci")
    assert "Nothing to change was named" in shell.failure("key", "edit", "ci", code=2)


def test_a_key_is_switched_off_and_on(shell: Shell) -> None:
    shell.output("key", "create", "ci")
    assert shell.output("key", "disable", "ci") == "Disabled ci.\n"
    assert shell.json("key", "show", "ci")["state"] == "disabled"
    assert shell.json("key", "enable", "ci")["state"] == "enabled"


def test_an_expired_key_says_so(shell: Shell) -> None:
    shell.output("key", "create", "ci", "--expires", "1h")
    with sqlite3.connect(shell.data_dir / "gglib.db") as connection:
        connection.execute("UPDATE api_keys SET expires = 1")
    connection.close()
    assert shell.json("key", "show", "ci")["state"] == "expired"


def test_a_rotated_key_has_another_secret(shell: Shell) -> None:
    old = shell.json("key", "create", "ci")
    new = shell.json("key", "rotate", "ci")
    assert key_of(shell, old["key"]) is None
    assert key_of(shell, new["key"]) == "ci"
    (secret,) = SECRET.findall(shell.output("key", "rotate", "ci"))
    assert key_of(shell, secret) == "ci"


def test_keys_are_removed_together_or_not_at_all(shell: Shell) -> None:
    for name in ("a", "b", "c"):
        shell.output("key", "create", name)
    assert "There is no API key 'z'" in shell.failure("key", "rm", "a", "z")
    assert len(shell.json("key", "list")) == 3
    said = shell.output("key", "rm", "a", "b", "a")
    assert [line.split(" (")[0] for line in said.splitlines()] == ["Removed a", "Removed b"]
    assert "No API key is left" in shell.output("key", "rm", "c", "--yes")


@pytest.mark.parametrize("command", ["show", "edit", "disable", "enable", "rotate", "rm"])
def test_a_key_that_does_not_exist_is_no_key(shell: Shell, command: str) -> None:
    said = shell.failure("key", command, "ci", *(["--admin"] if command == "edit" else []))
    assert said == "There is no API key 'ci'. `gglib key list` shows those there are."
    shell.json("key", "create", "cio")
    said = shell.failure("key", command, "ci", *(["--admin"] if command == "edit" else []))
    assert said == "There is no API key 'ci'. Did you mean 'cio'?"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create", "a b"), "'a b' is no name for an API key"),
        (("create", "x", "--requests-per-minute", "-1"), "-1 is no limit for requests per minute"),
        (("create", "x", "--model", ""), "'' is no name of models"),
        (("create", "taken"), "There is an API key 'taken' already"),
    ],
)
def test_what_no_key_may_be_is_refused(shell: Shell, arguments: tuple[str, ...], said: str) -> None:
    shell.output("key", "create", "taken")
    assert said in shell.failure("key", *arguments)
    assert len(shell.json("key", "list")) == 1


def test_a_pepper_that_others_may_read_stops_everything(shell: Shell) -> None:
    shell.output("key", "create", "ci")
    (shell.data_dir / "pepper").chmod(0o644)
    said = shell.failure("key", "create", "cd", code=2)
    assert f"chmod 600 {shell.data_dir}/pepper" in said
    assert len(shell.json("key", "list")) == 1


def test_names_are_completed(shell: Shell) -> None:
    for name in ("ci", "cd", "other"):
        shell.output("key", "create", name)
    environ = {
        "_GGLIB_COMPLETE": "bash_complete",
        "COMP_WORDS": "gglib key rm c",
        "COMP_CWORD": "3",
    }
    assert shell.process(environ=environ).stdout.split() == ["plain,ci", "plain,cd"]


def test_a_secret_is_nowhere_but_in_what_was_printed(shell: Shell) -> None:
    secrets = [shell.json("key", "create", "ci")["key"], shell.json("key", "rotate", "ci")["key"]]
    shell.output("key", "disable", "ci")
    outputs = [shell.run("key", command, "ci").output for command in ("show", "enable")]
    outputs.append(shell.run("key", "create", "ci", environ={"GGLIB_DEBUG": "1"}).output)
    outputs.append(shell.output("key", "list", "--json"))
    written = [path.read_bytes() for path in shell.data_dir.rglob("*") if path.is_file()]
    assert len(written) >= 2
    for secret in secrets:
        hidden = secret[12:-4]
        assert not any(hidden in output for output in outputs)
        assert not any(hidden.encode() in content for content in written)

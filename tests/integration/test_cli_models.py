"""`gglib model …` changes the catalog, and says what it did or why it did not."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from tests.command_line import WAIT_SECONDS, Shell, read_terminal
from tests.gguf_files import tiny_bytes, write_tiny


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    directory = tmp_path / "models"
    directory.mkdir()
    write_tiny(directory, "tiny-a")
    write_tiny(directory, "tiny-b")
    return directory


def test_an_empty_catalog_says_how_to_fill_it(shell: Shell) -> None:
    assert "gglib model add PATH" in shell.output("model", "list")
    assert shell.json("model", "list") == []


def test_a_model_is_added_under_its_files_name(shell: Shell, models: Path) -> None:
    said = shell.output("model", "add", models / "tiny-a.gguf")
    assert said.startswith("Added tiny-a (id 1): llama, 167K, F32, 671 KiB, ")
    entry = shell.json("model", "show", "tiny-a")
    assert entry["paths"] == [str(models / "tiny-a.gguf")]
    assert entry["capabilities"] == ["chat"]
    assert entry["facts"]["context_length"] == 4096
    assert entry["context"] is None


def test_every_option_of_add_arrives(shell: Shell, models: Path) -> None:
    options = [
        *("--name", "mine", "--alias", "gpt-4", "--alias", "org/x", "--ctx", "256"),
        *("--parallel", "2", "--threads", "3", "--gpu-layers", "all", "--capability", "chat"),
        *("--capability", "embeddings", "--tag", "x", "--arg=--no-warmup", "--arg", "-lv"),
        *("--arg=1", "--env", "A=b=c", "--max-concurrent", "4", "--pin", "--preload"),
        *("--idle-seconds", "1m30s", "--input-cost-per-1k", "0.0005"),
        *("--output-cost-per-1k", "0.0015", "--currency", "EUR"),
    ]
    added = shell.json("model", "add", models / "tiny-a.gguf", *options)
    expected = {
        "name": "mine",
        "aliases": ["gpt-4", "org/x"],
        "context": 256,
        "parallel": 2,
        "threads": 3,
        "gpu_layers": "all",
        "capabilities": ["chat", "embeddings"],
        "tags": ["x"],
        "arguments": ["--no-warmup", "-lv", "1"],
        "environment": {"A": "b=c"},
        "max_concurrent": 4,
        "is_pinned": True,
        "is_preloaded": True,
        "idle_seconds": 90.0,
        "input_cost_per_1k": 0.0005,
        "output_cost_per_1k": 0.0015,
        "currency": "EUR",
    }
    assert added | expected == added
    assert shell.json("model", "show", "org/x") == added


def test_a_price_can_be_set_changed_and_taken_away(shell: Shell, models: Path) -> None:
    free = shell.json("model", "add", models / "tiny-a.gguf")
    prices = ("input_cost_per_1k", "output_cost_per_1k", "currency")
    assert [free[each] for each in prices] == [0, 0, "USD"]
    assert "Price" not in shell.output("model", "show", "tiny-a")
    shell.output("model", "edit", "tiny-a", "--output-cost-per-1k", "0.00002", "--currency", "CHF")
    assert "0 in, 2e-05 out CHF per 1,000 tokens" in shell.output("model", "show", "tiny-a")
    assert "three capital letters" in shell.failure("model", "edit", "tiny-a", "--currency", "€")
    gone = shell.json("model", "edit", "tiny-a", "--output-cost-per-1k", "0")
    assert [gone[each] for each in prices] == [0, 0, "CHF"]


def test_a_file_is_added_once_unless_it_gets_a_name(shell: Shell, models: Path) -> None:
    shell.output("model", "add", models / "tiny-a.gguf")
    link = models / "link.gguf"
    link.symlink_to(models / "tiny-a.gguf")
    assert "already, as 'tiny-a'" in shell.failure("model", "add", link)
    assert shell.output("model", "add", link, "--name", "again").startswith("Added again (id 2)")


def test_a_name_that_is_taken_asks_for_another(shell: Shell, models: Path) -> None:
    shell.output("model", "add", models / "tiny-a.gguf", "--alias", "tiny-b")
    message = shell.failure("model", "add", models / "tiny-b.gguf")
    assert message == (
        "The name 'tiny-b' is taken by the model 'tiny-a'. Give another one with --name."
    )


def test_what_cannot_be_added_is_one_line(shell: Shell, models: Path) -> None:
    (models / "bad.gguf").write_bytes(b"GGUF")
    assert str(models / "bad.gguf") in shell.failure("model", "add", models / "bad.gguf")
    assert "cannot be read" in shell.failure("model", "add", models / "none.gguf")
    assert f"gglib model scan {models}" in shell.failure("model", "add", models)
    assert "gglib chooses" in shell.failure("model", "add", models / "tiny-a.gguf", "--arg=--port")
    usage = shell.failure("model", "add", models / "tiny-a.gguf", "--env", "A", code=2)
    assert usage.endswith("'A' has no '='. Try 'gglib model add --help'.")
    assert shell.json("model", "list") == []


def test_an_unknown_model_brings_what_is_alike(shell: Shell, models: Path) -> None:
    shell.output("model", "scan", models)
    message = shell.failure("model", "show", "tiny-aa")
    assert message.startswith("There is no model 'tiny-aa'. Did you mean 'tiny-a'")
    hint = "`gglib model list` shows those there are."
    assert shell.failure("model", "rm", "x") == f"There is no model 'x'. {hint}"
    assert shell.failure("model", "edit", "9", "--pin") == f"There is no model '9'. {hint}"


def test_a_model_is_found_by_name_alias_id_and_without_case(shell: Shell, models: Path) -> None:
    shell.output("model", "add", models / "tiny-a.gguf", "--alias", "gpt-4")
    for name in ("tiny-a", "gpt-4", "1", "TINY-A"):
        assert shell.json("model", "show", name)["id"] == 1


def test_show_and_list_are_readable(shell: Shell, models: Path) -> None:
    shell.output("model", "add", models / "tiny-a.gguf", "--alias", "gpt-4", "--pin")
    listed = shell.output("model", "list").splitlines()
    assert listed[0].split() == ["ID", "NAME", "SIZE", "PARAMS", "QUANT", "TRAINED", "CAN"]
    assert listed[1].split() == ["1", "tiny-a", "671", "KiB", "167K", "F32", "4096", "chat"]
    shown = dict(line.split(maxsplit=1) for line in shell.output("model", "show", "1").splitlines())
    assert shown["Aliases"].strip() == "gpt-4"
    assert shown["Pinned"].strip() == "yes"
    assert "Threads" not in shown


def test_edit_changes_what_is_named_and_nothing_else(shell: Shell, models: Path) -> None:
    before = shell.json("model", "add", models / "tiny-a.gguf", "--ctx", "128", "--pin", "--tag=x")
    options = ["--name", "new", "--no-pin", "--tag", "y", "--remove-tag", "x", "--clear", "ctx"]
    after = shell.json("model", "edit", "tiny-a", *options)
    changed = {"name": "new", "is_pinned": False, "tags": ["y"], "context": None}
    assert after == before | changed
    assert shell.json("model", "show", "new") == after
    assert shell.output("model", "edit", "new", "--ctx", "64") == "Changed new.\n"
    assert shell.output("model", "edit", "new", "--ctx", "64") == "new was like that already.\n"


def test_edit_refuses_what_makes_no_sense(shell: Shell, models: Path) -> None:
    shell.output("model", "scan", models)
    assert "Nothing to change" in shell.failure("model", "edit", "1", code=2)
    assert "is taken" in shell.failure("model", "edit", "1", "--alias", "tiny-b")
    assert "4096" in shell.failure("model", "edit", "1", "--ctx", "5000")
    assert "no duration" in shell.failure("model", "edit", "1", "--idle-seconds", "x", code=2)
    assert "No such option" in shell.failure("model", "edit", "1", "--context", "1", code=2)


def test_edit_takes_another_file(shell: Shell, models: Path) -> None:
    shell.output("model", "add", models / "tiny-a.gguf")
    embedder = write_tiny(models, "tiny-embed")
    entry = shell.json("model", "edit", "tiny-a", "--path", embedder)
    assert (entry["paths"], entry["capabilities"]) == ([str(embedder)], ["embeddings"])
    assert entry["facts"]["architecture"] == "bert"


def test_edit_changes_the_engine(shell: Shell, models: Path) -> None:
    shell.output("model", "add", models / "tiny-a.gguf")
    assert shell.json("model", "edit", "tiny-a", "--engine", "simulator")["engine"] == "simulator"
    assert shell.json("model", "edit", "tiny-a", "--clear", "engine")["engine"] is None
    shell.output("model", "add", "imagined", "--engine", "simulator")
    assert "has no file" in shell.failure("model", "edit", "imagined", "--clear", "engine")


def test_capabilities_that_were_given_outlive_the_file(shell: Shell, models: Path) -> None:
    shell.output("model", "add", models / "tiny-a.gguf", "--capability", "embeddings")
    entry = shell.json("model", "edit", "tiny-a", "--path", models / "tiny-b.gguf")
    assert entry["capabilities"] == ["embeddings"]


def test_rm_takes_models_out_and_leaves_the_files(shell: Shell, models: Path) -> None:
    shell.output("model", "scan", models)
    said = shell.output("model", "rm", "tiny-a", "2", "tiny-b")
    assert said.splitlines() == [
        f"Removed {name}; {models / name}.gguf is still there." for name in ("tiny-a", "tiny-b")
    ]
    assert shell.json("model", "list") == []
    assert (models / "tiny-a.gguf").exists()


def test_rm_of_several_is_all_or_nothing(shell: Shell, models: Path) -> None:
    shell.output("model", "scan", models)
    assert shell.failure("model", "rm", "tiny-a", "x").startswith("There is no model 'x'.")
    assert len(shell.json("model", "list")) == 2


@pytest.mark.parametrize(("answer", "code", "left"), [(b"n\n", 1, 2), (b"y\n", 0, 1)])
def test_rm_asks_at_a_terminal(
    shell: Shell, models: Path, answer: bytes, code: int, left: int
) -> None:
    shell.output("model", "scan", models)
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer)
        done = shell.process("model", "rm", "tiny-a", stdin=theirs)
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == code
    assert "Take tiny-a out of the catalog? [y/N]" in done.stderr
    assert len(shell.json("model", "list")) == left


def test_rm_does_not_ask_who_is_sure(shell: Shell, models: Path) -> None:
    shell.output("model", "scan", models)
    ours, theirs = pty.openpty()
    try:
        done = shell.process("model", "rm", "tiny-a", "--yes", stdin=theirs)
    finally:
        os.close(ours)
        os.close(theirs)
    assert (done.returncode, done.stderr) == (0, "")


def test_scan_reports_every_file(shell: Shell, models: Path) -> None:
    below = models / "org" / "repo"
    below.mkdir(parents=True)
    (below / "UPPER.GGUF").write_bytes(tiny_bytes("tiny-embed"))
    (below / "mmproj-f16.gguf").write_bytes(b"never read")
    (below / "notes.txt").write_bytes(b"")
    (below / "tiny-b.gguf").write_bytes(tiny_bytes("tiny-tools"))
    (models / "broken.gguf").write_bytes(b"GGUF")
    shell.output("model", "add", models / "tiny-a.gguf")
    found = {finding["path"]: finding for finding in shell.json("model", "scan", models)}
    outcomes = {str(Path(path).relative_to(models)): f["outcome"] for path, f in found.items()}
    assert outcomes == {
        "broken.gguf": "refused",
        "tiny-a.gguf": "known",
        "tiny-b.gguf": "added",
        "org/repo/UPPER.GGUF": "added",
        "org/repo/mmproj-f16.gguf": "skipped",
        "org/repo/tiny-b.gguf": "refused",
    }
    assert "is taken by" in found[str(below / "tiny-b.gguf")]["reason"]
    assert [model["name"] for model in shell.json("model", "list")] == ["tiny-a", "tiny-b", "UPPER"]


def test_scan_again_adds_nothing(shell: Shell, models: Path) -> None:
    lines = shell.output("model", "scan", models).splitlines()
    assert lines[0] == f"added   {models}/tiny-a.gguf as tiny-a"
    assert lines[-1] == "2 added."
    assert shell.output("model", "scan", models).splitlines()[-1] == "2 known."


def test_a_rehearsed_scan_says_the_same_and_adds_nothing(shell: Shell, models: Path) -> None:
    (models / "more").mkdir()
    (models / "more" / "tiny-a.gguf").write_bytes(tiny_bytes("tiny-tools"))
    rehearsed = shell.json("model", "scan", models, "--dry-run")
    assert shell.output("model", "scan", models, "--dry-run").endswith(
        "2 added, 1 refused. Nothing was changed (--dry-run).\n"
    )
    assert shell.json("model", "list") == []
    assert shell.json("model", "scan", models) == rehearsed


def test_scan_takes_the_shards_of_a_model_together(shell: Shell, models: Path) -> None:
    for number in (1, 2, 3):
        name = f"big-0000{number}-of-00003.gguf"
        (models / name).write_bytes(b"no shard of anything")
    (models / "big-00001-of-00002.gguf").write_bytes(b"")
    found = [Path(each["path"]).name for each in shell.json("model", "scan", models)]
    assert found == [
        "big-00001-of-00002.gguf",
        "big-00001-of-00003.gguf",
        "tiny-a.gguf",
        "tiny-b.gguf",
    ]


def test_scan_of_nothing(shell: Shell, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert shell.output("model", "scan", empty) == f"There is no .gguf file below {empty}.\n"
    assert "does not exist" in shell.failure("model", "scan", tmp_path / "none", code=2)


def test_tables_fit_a_narrow_terminal(shell: Shell, models: Path) -> None:
    long = models / f"{'long-name-' * 8}Q4_K_M.gguf"
    (models / "tiny-a.gguf").rename(long)
    options = ["--capability", "chat", "--capability", "embeddings"]
    shell.output("model", "add", long, *options)
    ours, theirs = pty.openpty()
    environ = {"COLUMNS": "80", "TERM": "xterm", "NO_COLOR": "1"}
    with shell.start("model", "list", stdout=theirs, environ=environ) as process:
        os.close(theirs)
        printed = read_terminal(ours)
        assert process.wait(timeout=WAIT_SECONDS) == 0
    lines = re.sub(r"\x1b\[[01]m", "", printed).splitlines()
    assert not any("\x1b" in line for line in lines)
    assert max(map(len, lines)) <= 80
    name_column = "".join(line[4:].split()[0] for line in lines[1:] if line[4:8].strip())
    assert name_column == long.stem
    assert "…" not in printed


def test_a_broken_pipe_is_quiet(shell: Shell, models: Path) -> None:
    shell.output("model", "scan", models)
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = shell.process("model", "list", stdout=writer, stderr=subprocess.PIPE)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")

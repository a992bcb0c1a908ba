"""The command line as a whole: help, exit codes, one line for every error, and what it costs."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from gglib_core import __version__
from gglib_core.errors import ConfigError, GglibError
from gglib_runtime.cli.failures import CommandFailed, ExitCode, NoServer
from gglib_runtime.cli.program import Program, program

DOCUMENTATION = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
SHARED_OPTIONS = {"--help", "--json", "--data-dir", "--config", "--set", "--version"}
INHERITED_OPTIONS = {
    "gglib model edit": "gglib model add",
    "gglib key edit": "gglib key create",
}


def commands(
    command: click.Command = program, path: tuple[str, ...] = ("gglib",)
) -> Iterator[tuple[str, click.Command]]:
    yield " ".join(path), command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, (*path, name))


ALL = list(commands())
LEAVES = [
    pytest.param(path, command, id=path)
    for path, command in ALL
    if not isinstance(command, click.Group)
]


def options_of(command: click.Command) -> set[str]:
    return {
        name
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("--")
    } - SHARED_OPTIONS


def section(path: str) -> str:
    found = re.search(rf"^### {path}\n(.*?)(?=^##|\Z)", DOCUMENTATION, re.DOTALL | re.MULTILINE)
    assert found is not None, f"docs/cli.md has no section `### {path}`"
    return found[1]


@pytest.mark.parametrize(("path", "command"), ALL)
def test_every_command_explains_itself(path: str, command: click.Command) -> None:
    result = CliRunner().invoke(program, [*path.split()[1:], "--help"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"Usage: {path}")
    assert command.get_short_help_str(200).endswith((".", ")"))
    for option in options_of(command):
        assert option in result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines())


@pytest.mark.parametrize("group", [[], ["model"], ["key"]])
def test_a_list_of_commands_has_a_whole_line_for_each(group: list[str]) -> None:
    result = CliRunner().invoke(program, [*group, "--help"], terminal_width=80)
    below = [path.split()[-1] for path, _ in ALL if path.split()[1:-1] == group and path != "gglib"]
    listed = result.stdout.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in listed] == below
    assert all(line.endswith(".") and "..." not in line for line in listed)


def test_shells_complete_commands_with_what_they_do() -> None:
    context = click.Context(program)
    offered = program.shell_complete(context, "gen")
    assert [item.value for item in offered] == ["generations", "generation"]
    assert offered[1].help == "Show all that is known of one request."


@pytest.mark.parametrize(("path", "command"), LEAVES)
def test_the_documentation_has_every_command_and_option(path: str, command: click.Command) -> None:
    text = section(path) + section(INHERITED_OPTIONS.get(path, path))
    missing = {option for option in options_of(command) if f"`{option}" not in text}
    assert not missing


def test_the_documentation_has_no_command_that_does_not_exist() -> None:
    documented = re.findall(r"^### (gglib .*)$", DOCUMENTATION, re.MULTILINE)
    assert sorted(documented) == sorted(path for path, _ in (leaf.values for leaf in LEAVES))


@pytest.mark.parametrize(("path", "command"), LEAVES)
def test_what_the_documentation_says_of_options_is_an_option(
    path: str, command: click.Command
) -> None:
    documented = set(re.findall(r"`(--[a-z0-9-]+)", section(path)))
    short = {"--rope-scaling"}
    assert documented <= options_of(command) | short | SHARED_OPTIONS


def test_the_version_is_printed() -> None:
    assert CliRunner().invoke(program, ["--version"]).stdout == f"gglib {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["model"], ["db"], ["config"]])
def test_a_group_alone_shows_its_help(arguments: list[str]) -> None:
    result = CliRunner().invoke(program, arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"Usage: {' '.join(['gglib', *arguments])} ")


@pytest.mark.parametrize(
    ("arguments", "begin", "command"),
    [
        (["modle"], "No such command 'modle'. Did you mean 'model'?", "gglib"),
        (["model", "lits"], "No such command 'lits'. Did you mean 'list'?", "gglib model"),
        (["xyzzy"], "No such command 'xyzzy'.", "gglib"),
        (["model", "show"], "Missing argument 'MODEL'.", "gglib model show"),
        (["serve", "--prot", "1"], "No such option", "gglib serve"),
    ],
)
def test_a_wrong_command_line_is_one_line(arguments: list[str], begin: str, command: str) -> None:
    result = CliRunner().invoke(program, arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"gglib: {begin}")
    assert result.stderr.endswith(f" Try '{command} --help'.\n")
    assert result.stderr.count("\n") == 1


def test_a_wrong_setting_is_one_line() -> None:
    result = CliRunner().invoke(program, ["config", "show", "--set", "log_format=x"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "gglib: A setting is wrong: log_format = 'x' (--set): expected console or json\n"
    )


def test_a_setting_without_a_value_is_refused() -> None:
    result = CliRunner().invoke(program, ["config", "show", "--set", "port"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--set 'port' has no value: write it as KEY=VALUE." in result.stderr


def failing(error: BaseException) -> Program:
    @click.command()
    def fail() -> None:
        raise error

    group = Program("gglib", places={})
    group.list_commands = lambda ctx: ["fail"]  # type: ignore[method-assign]
    group.get_command = lambda ctx, cmd_name: fail  # type: ignore[method-assign]
    return group


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (GglibError("It broke."), 1, "gglib: It broke."),
        (ConfigError("It is wrong."), 2, "gglib: It is wrong."),
        (CommandFailed("It cannot be."), 1, "gglib: It cannot be."),
        (
            NoServer(Path("/data")),
            3,
            "gglib: No server runs for /data. Start one with `gglib serve`.",
        ),
        (PermissionError(13, "Permission denied", "/x"), 1, "gglib: /x: Permission denied"),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            1,
            "gglib: The disk is full. Free some space and try again.",
        ),
        (
            OSError(errno.EDQUOT, "Disk quota exceeded", "/x"),
            1,
            "gglib: /x: The disk is full. Free some space and try again.",
        ),
        (
            RuntimeError("two\nlines"),
            1,
            "gglib: unexpected RuntimeError: two lines; run with GGLIB_DEBUG=1 for the traceback",
        ),
        (
            ValueError(),
            1,
            "gglib: unexpected ValueError; run with GGLIB_DEBUG=1 for the traceback",
        ),
    ],
)
def test_every_error_is_one_line_and_a_code(error: Exception, code: int, line: str) -> None:
    result = CliRunner().invoke(failing(error), ["fail"], env={"GGLIB_DEBUG": None})
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", f"{line}\n")


def test_the_traceback_is_there_for_who_wants_it() -> None:
    result = CliRunner().invoke(failing(RuntimeError("x")), ["fail"], env={"GGLIB_DEBUG": "1"})
    assert result.exit_code == 1
    assert result.stderr.startswith("Traceback (most recent call last):")
    assert result.stderr.endswith("\ngglib: unexpected RuntimeError: x\n")


def test_ctrl_c_is_quiet() -> None:
    result = CliRunner().invoke(failing(KeyboardInterrupt()), ["fail"])
    assert (result.exit_code, result.output.strip()) == (ExitCode.INTERRUPTED, "")

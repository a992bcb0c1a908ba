"""The command line: `gglib` and its sub-commands.

Each command lives in a module of its own that imports what it needs when it runs, so that
`gglib --help` costs no more than click. Not here: what the commands work with.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line of this process; ends the process."""
    try:
        from gglib_runtime.cli.program import program
    except KeyboardInterrupt:  # an impatient Ctrl-C is no crash either
        raise SystemExit(130) from None
    program.main(prog_name="gglib")

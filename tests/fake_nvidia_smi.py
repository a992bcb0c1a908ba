"""An `nvidia-smi` that says what a test wants it to, and notes what it was asked."""

from __future__ import annotations

from pathlib import Path

_SCRIPT = """\
#!/bin/sh
echo "${{1%%=*}}" >> {questions}
case "$1" in
--query-gpu=*) cat {free} ;;
--query-compute-apps=*) for p in /proc/[0-9]*; do echo "${{p#/proc/}}, $(cat {held})"; done ;;
esac
"""


class FakeNvidiaSmi:
    """A program in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._questions = directory / "questions"
        self._free = directory / "free"
        self._held = directory / "held"
        self._program = directory / "nvidia-smi"
        self.environ = {"PATH": f"{directory}:/usr/bin:/bin"}
        self.say_free(8000)
        self.say_held("[N/A]")
        self.become(_SCRIPT.format(questions=self._questions, free=self._free, held=self._held))

    @property
    def questions(self) -> list[str]:
        """The first words of all questions so far."""
        return self._questions.read_text().splitlines() if self._questions.exists() else []

    def say_free(self, *mebibytes: int | str) -> None:
        """One number for each card."""
        self._free.write_text("".join(f"{each}\n" for each in mebibytes))

    def say_held(self, mebibytes: int | str) -> None:
        """What every process holds."""
        self._held.write_text(f"{mebibytes}")

    def become(self, script: str) -> None:
        """Be another program from now on."""
        self._program.write_text(script)
        self._program.chmod(0o755)

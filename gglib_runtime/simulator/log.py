"""llama-server's log lines on stderr, in its format.

Lines are written with a blocking call on purpose: llama-server, too, freezes when nobody drains
its pipe.
"""

from __future__ import annotations

import os
import time

_STDERR = 2


class EngineLog:
    """Writes lines like `0.00.012.478 I srv  llama_server: model loaded`."""

    __slots__ = ("_began", "_chatter", "_tells_answers", "is_on")

    def __init__(
        self,
        *,
        is_on: bool,
        tells_answers: bool = True,
        chatter_lines: int = 0,
        chatter_line_bytes: int = 0,
    ) -> None:
        """Without `tells_answers` single requests leave no lines."""
        self.is_on = is_on
        self._tells_answers = is_on and tells_answers
        self._began = time.monotonic()
        self._chatter = (("x" * chatter_line_bytes) + "\n") * chatter_lines

    def server(self, function: str, text: str, level: str = "I") -> None:
        if self.is_on:
            self._write(f"{self._stamp()} {level} srv  {function[:12]:>12}: {text}\n")

    def stamped(self, line: str) -> None:
        """A line that lacks its time stamp only, where it is a log line at all."""
        if self.is_on and line[1:2] == " ":
            line = f"{self._stamp()} {line}"
        self.bare(line)

    def bare(self, text: str) -> None:
        """A line without a stamp, printed even where logging is off."""
        self._write(text + "\n")

    def chatter(self) -> None:
        if self._chatter:
            self._write(self._chatter)

    def launched(self, slot: int, task: int) -> None:
        if self._tells_answers:
            start = f"{self._stamp()} I slot launch_slot_: id {slot:2} | task {task} | "
            self._write(start + "processing task, is_child = 0\n")
        self.chatter()

    def released(
        self, slot: int, task: int, prompt: tuple[int, float], predicted: tuple[int, float]
    ) -> None:
        """The lines at an answer's end; tokens and milliseconds for prompt and prediction."""
        if not self._tells_answers:
            return
        stamp = self._stamp()
        who = f"id {slot:2} | task {task} |"
        timing = f"{stamp} I slot print_timing: {who}"
        tokens = prompt[0] + predicted[0]
        self._write(
            f"{timing} prompt eval time = {prompt[1]:10.2f} ms / {prompt[0]:5} tokens\n"
            f"{timing}        eval time = {predicted[1]:10.2f} ms / {predicted[0]:5} tokens\n"
            f"{timing}       total time = {prompt[1] + predicted[1]:10.2f} ms / {tokens:5} tokens\n"
            f"{stamp} I slot      release: {who} stop processing: n_tokens = {tokens}, "
            "truncated = 0\n"
        )

    def _stamp(self) -> str:
        microseconds = int((time.monotonic() - self._began) * 1_000_000)
        seconds, rest = divmod(microseconds, 1_000_000)
        minutes, seconds = divmod(seconds, 60)
        return f"{minutes}.{seconds:02}.{rest // 1000:03}.{rest % 1000:03}"

    @staticmethod
    def _write(text: str) -> None:
        data = text.encode()
        try:
            while data:
                data = data[os.write(_STDERR, data) :]
        except OSError:  # the reader has gone, which does not concern llama-server either
            return

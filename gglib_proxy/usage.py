"""What an answer says of the tokens it took, read while it passes and never changed.

A small JSON answer is read whole. Of a large one and of a stream only the beginning and the end are
looked at, which is where engines say it: llama-server has `timings` and `usage` behind a
completion, and `usage` before embeddings; Anthropic's streams tell the prompt in their first event.

Not here: what is recorded of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from gglib_proxy.usage_fields import (
    Answer,
    Counts,
    Details,
    Usage,
    decode_answer,
    decode_answers,
    decode_counts,
    decode_timings,
)

_WHOLE_BYTES: Final = 8192
"""Of JSON that is read whole."""
_LOOKED_AT_BYTES: Final = 4096
"""At either end of what is larger."""
_STREAM_HEAD_BYTES: Final = 2048
"""Of a stream, for its first event; there may be thousands of them, and each holds that much."""
_KEPT_PIECES: Final = 4
"""At the end of a stream: its last events may come apart."""
_MOST_TOKENS: Final = 1 << 53

# Inside a string a quote bears a backslash, so these names are names of the document's own.
_timings = re.compile(rb'"timings"\s*:\s*(\{[^{}]*\})').findall
_usages = re.compile(rb'"usage"\s*:\s*(\{(?:[^{}]|\{[^{}]*\})*\})').findall
_ids = re.compile(rb'"id"\s*:\s*"([^"\\]{1,200})"').findall
_reasons = re.compile(rb'"(?:finish_reason|stop_reason|stop_type)"\s*:\s*"([a-z_]{1,40})"').findall
_endings = re.compile(rb'"type"\s*:\s*"response\.(completed|incomplete|failed)"').findall
_statuses = re.compile(rb'"status"\s*:\s*"(completed|incomplete|failed)"').findall
_is_response = re.compile(rb'"object"\s*:\s*"response"').search
_T = TypeVar("_T")
_NOTHING: Final = Answer()


class UsageReader:
    """Takes the pieces of one answer's body as they pass."""

    __slots__ = ("_bytes", "_head", "_is_stream", "_pieces", "_tail")

    def __init__(self, *, is_stream: bool) -> None:
        self._is_stream = is_stream
        self._head: list[bytes] = []
        self._tail: list[bytes] | None = None  # the last pieces, each where it replaced another
        self._pieces = 0
        self._bytes = 0

    def feed(self, pieces: list[bytes]) -> None:
        """Take the next pieces; they are kept only as far as they are looked at."""
        for piece in pieces:
            self.take(piece)

    def take(self, piece: bytes) -> None:
        """As `feed`, with one."""
        count = self._pieces
        self._pieces = count + 1
        tail = self._tail
        if tail is not None:
            tail[count % _KEPT_PIECES] = piece
            return
        self._head.append(piece)
        self._bytes += len(piece)
        if self._bytes > (_STREAM_HEAD_BYTES if self._is_stream else _WHOLE_BYTES):
            self._part()

    def _part(self) -> None:
        """From now on the beginning and the end are kept, no more what is between them."""
        self._tail = [b""] * _KEPT_PIECES
        for at, piece in enumerate(self._head):
            self._tail[at % _KEPT_PIECES] = piece
        kept = _STREAM_HEAD_BYTES if self._is_stream else _LOOKED_AT_BYTES
        self._head = [b"".join(self._head)[:kept]]

    def _end(self, tail: list[bytes]) -> bytes:
        oldest = self._pieces % _KEPT_PIECES
        return b"".join((*tail[oldest:], *tail[:oldest]))

    def usage(self, *, is_whole: bool, answers: int = 1) -> Usage:
        """What was said; `is_whole` tells whether the answer came to its end.

        `answers` is how many the request asked for.
        """
        if not self._pieces:
            return Usage(is_estimated=not is_whole)
        head = self._head[0] if len(self._head) == 1 else b"".join(self._head)
        if self._tail is None and is_whole and not self._is_stream:
            return _of_answer(head, answers)
        tail = head if self._tail is None else self._end(self._tail)
        answer = _scan(head[:_LOOKED_AT_BYTES], tail[-_LOOKED_AT_BYTES:], is_stream=self._is_stream)
        if answer.stop_reason is None:
            answer.stop_reason = _ending(head, tail, is_stream=self._is_stream)
        return _told(answer, self._estimate(is_whole), answers)

    def _estimate(self, is_whole: bool) -> int | None:
        """Engines send an event for each token, mostly; the last two say how it ended."""
        if not self._is_stream:
            return None if is_whole else 0
        return max(0, self._pieces - 2) if is_whole else self._pieces


def usage_of(pieces: list[bytes], *, is_stream: bool, is_whole: bool, answers: int = 1) -> Usage:
    """As a reader that was fed these pieces only, which most answers come in."""
    if is_whole and not is_stream and len(pieces) == 1 and len(pieces[0]) <= _WHOLE_BYTES:
        return _of_answer(pieces[0], answers)
    reader = UsageReader(is_stream=is_stream)
    reader.feed(pieces)
    return reader.usage(is_whole=is_whole, answers=answers)


def _of_answer(body: bytes, answers: int) -> Usage:
    if answers > 1 and body.startswith(b"["):
        return _of_all([_told(each, None) for each in _read(body, decode_answers) or ()])
    return _told(_read(body, decode_answer) or _NOTHING, None, answers)


def _of_all(usages: list[Usage]) -> Usage:
    """Of llama-server's own completions of several prompts, each of which tells what it took."""
    if not usages:
        return Usage(is_estimated=True)
    return Usage(
        prompt_tokens=sum(each.prompt_tokens for each in usages),
        cached_tokens=sum(each.cached_tokens for each in usages),
        completion_tokens=sum(each.completion_tokens for each in usages),
        is_estimated=any(each.is_estimated for each in usages),
        finish_reason=usages[-1].finish_reason,
    )


def _told(answer: Answer, estimate: int | None, answers: int = 1) -> Usage:
    counts, timings = answer.usage, answer.timings
    prompt = completion = speed = None
    cached = 0
    if counts is not None:
        prompt, cached, completion = _counted(counts)
    if timings is not None:
        speed = timings.predicted_per_second
        if prompt is None and timings.prompt_n is not None:
            prompt = timings.prompt_n + max(0, timings.cache_n or 0)
        cached = cached or timings.cache_n or 0
        completion = timings.predicted_n if completion is None else completion
    is_told = completion is not None or (prompt is not None and estimate is None)
    if completion is None:
        completion = estimate or 0
    if answers > 1 and timings is not None and completion == timings.predicted_n:
        is_told = False  # llama-server tells of one of them: it may stand for all
        completion = max(completion, completion * answers if estimate is None else estimate)
    return Usage(
        answer.id,
        prompt if prompt and 0 < prompt <= _MOST_TOKENS else 0,
        cached if 0 < cached <= _MOST_TOKENS else 0,
        completion if 0 < completion <= _MOST_TOKENS else 0,
        not is_told,
        speed if speed and 0 < speed < _MOST_TOKENS else None,
        _reason(answer),
    )


def _counted(counts: Counts) -> tuple[int | None, int, int | None]:
    """The tokens of the prompt, those of them that came from a cache, and the answer's."""
    prompt, completion = counts.prompt_tokens, counts.completion_tokens
    if prompt is None and counts.input_tokens is not None:
        # Anthropic's leave out what came from or went to a cache.
        prompt = counts.input_tokens + (counts.cache_read_input_tokens or 0)
        prompt += counts.cache_creation_input_tokens or 0
    if counts.output_tokens is not None:
        completion = counts.output_tokens
    details = counts.prompt_tokens_details or counts.input_tokens_details
    cached = None if details is None else details.cached_tokens
    return prompt, cached or counts.cache_read_input_tokens or 0, completion


def _reason(answer: Answer) -> str | None:
    if answer.choices:
        return answer.choices[-1].finish_reason
    if answer.object == "response" and type(answer.status) is str:
        return answer.status
    return answer.stop_reason or answer.stop_type


def _scan(head: bytes, tail: bytes, *, is_stream: bool) -> Answer:
    """The same from the two ends of an answer, which may overlap."""
    counts = _last(_usages(tail), decode_counts)
    first = _last(_usages(head)[:1], decode_counts)
    if counts is None:
        counts = first
    elif first is not None:
        prompt, _, completion = _counted(counts)
        if prompt is None:
            prompt, cached, _ = _counted(first)
            counts = Counts(prompt, completion, prompt_tokens_details=Details(cached))
    reasons = _reasons(tail)
    return Answer(
        id=_id(head, tail, is_stream=is_stream),
        usage=counts,
        timings=_last(_timings(tail), decode_timings),
        stop_reason=reasons[-1].decode() if reasons else None,
    )


def _ending(head: bytes, tail: bytes, *, is_stream: bool) -> str | None:
    """How a response ended: a stream's last event holds all of it, a document has a status."""
    if is_stream:
        endings = _endings(tail)
        return endings[-1].decode() if endings else None
    if not _is_response(head[:_LOOKED_AT_BYTES]):
        return None
    found = {each for text in (head, tail) for each in _statuses(text)}
    return next(
        (each.decode() for each in (b"failed", b"incomplete", *found) if each in found), None
    )


def _id(head: bytes, tail: bytes, *, is_stream: bool) -> str | None:
    """A stream says it in its first event; a document before or behind what else bears ids."""
    is_first = is_stream or head.startswith(b'{"id"')
    found = _ids(head)[:1] if is_first else _ids(tail)[-1:]
    return found[0].decode("utf-8", "replace") if found else None


def _last(found: list[bytes], decode: Callable[[bytes], _T]) -> _T | None:
    return _read(found[-1], decode) if found else None


def _read(text: bytes, decode: Callable[[bytes], _T]) -> _T | None:
    try:
        return decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None

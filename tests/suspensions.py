"""Lets something happen at a chosen await of a coroutine, so that a test can meet each of them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Suspensions(Generic[T]):
    """Awaits `work`; calls `hook` when it suspends for the `number`-th time (from 1)."""

    def __init__(
        self,
        work: Coroutine[Any, Any, T],
        number: int | None = None,
        hook: Callable[[], object] = lambda: None,
    ) -> None:
        self.count = 0
        self._work = work
        self._number = number
        self._hook = hook

    def __await__(self) -> Generator[Any, Any, T]:
        resume: Callable[[], Any] = lambda: self._work.send(None)  # noqa: E731
        while True:
            try:
                awaited = resume()
            except StopIteration as done:
                return done.value
            self.count += 1
            if self.count == self._number:
                self._hook()
            resume = yield from self._pass_on(awaited)

    def _pass_on(self, awaited: Any) -> Generator[Any, Any, Callable[[], Any]]:
        try:
            value = yield awaited
        except BaseException as thrown:
            error = thrown
            return lambda: self._work.throw(error)
        return lambda: self._work.send(value)

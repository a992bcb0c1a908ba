"""gglib that keeps no books of its requests: what the gate costs is measured against it.

Neither limits nor records nor counts, and no usage read; the rest is gglib as it is. Run as
`python -m benchmarks.without_books <arguments of gglib>`.
"""

from __future__ import annotations

from typing import Any, cast

from gglib_proxy.books import Account, Books
from gglib_proxy.tally import Tally
from gglib_runtime import compose
from gglib_runtime.cli import main


class _NoAccount:
    """Stands where an account would, and is told all the same."""

    is_stream = False

    def header_lines(self) -> bytes:
        return b""

    def answer_began(self, *, is_stream: bool) -> None:
        pass

    def answer_received(self, pieces: list[bytes], now: float) -> None:
        pass

    def close(self, lease: object, **what: object) -> None:
        pass


class _NoTally(Tally):
    def request_ended(self, method: str, path: str, status: int, seconds: float) -> None:
        pass


_NO_ACCOUNT = cast("Account", _NoAccount())


class _NoBooks(Books):
    def __init__(self, **parts: Any) -> None:  # noqa: ANN401 -- as those of Books
        super().__init__(**parts, tally=_NoTally())

    def open_account(self, *_: object, **__: object) -> Account:
        return _NO_ACCOUNT


if __name__ == "__main__":
    compose.Books = _NoBooks
    main()

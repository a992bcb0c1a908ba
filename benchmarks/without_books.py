"""gglib that keeps no books of its requests: what the gate costs is measured against it.

Neither limits nor records nor counts, and no usage read; the rest is gglib as it is. Run as
`python -m benchmarks.without_books <arguments of gglib>`.
"""

from __future__ import annotations

from functools import partial
from typing import cast

from gglib_proxy.books import Books
from gglib_runtime import compose
from gglib_runtime.cli import main

if __name__ == "__main__":
    compose.Books = cast("type[Books]", partial(Books, is_kept=False))
    main()

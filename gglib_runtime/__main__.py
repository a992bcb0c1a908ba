"""`python -m gglib_runtime` is the same as `gglib`."""

from gglib_runtime.cli import main

main()

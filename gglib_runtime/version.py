"""The version of this program, known without asking the package's metadata."""

from gglib_core import __version__ as VERSION  # noqa: N812

__all__ = ["VERSION"]

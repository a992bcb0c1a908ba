"""All tables of the database together, whichever package they belong to.

Imported by who makes tables, not by who queries them. Not here: the tables. Each package that has
some keeps them in a `tables` of its own, on the one metadata, and is named here: what is missing
here is in no new database.
"""

from __future__ import annotations

from gglib_runtime.catalog.tables import metadata
from gglib_runtime.generations import indexes
from gglib_runtime.generations import tables as generations
from gglib_runtime.keys import tables as keys
from gglib_runtime.swaps import tables as swaps

PACKAGES = (generations, indexes, keys, swaps)

__all__ = ["PACKAGES", "metadata"]

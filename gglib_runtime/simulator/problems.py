"""What is wrong with a file or a JSON value that tells the simulator what to do, in words.

msgspec knows where in the value the error is; here that place comes first, as one would write it.
"""

from __future__ import annotations

import re

_PLACE = re.compile(r"^(?P<problem>.*) - at `(?:key in )?\$\.?(?P<place>[^`]*)`$", re.DOTALL)


def explained(error: Exception) -> str:
    """`error` with the field that it is about in front, where one is."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    found = _PLACE.match(str(error))
    if found is None:
        return str(error)
    place = found["place"] or "the whole"
    return f"{place}: {found['problem']}"

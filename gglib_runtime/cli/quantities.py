"""Numbers as people read them: sizes, counts, elapsed time.

Not here: numbers as settings have them (`gglib_runtime.settings.units`), which lose nothing.
"""

from __future__ import annotations


def rounded_size(size_bytes: int | None) -> str | None:
    """About `size_bytes`, with a unit: `4.6 GiB`."""
    if size_bytes is None:
        return None
    amount = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1000:
            return (
                f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"
            )
        amount /= 1024
    return f"{amount:.1f} TiB"


def rounded_count(count: int | None) -> str | None:
    """About `count`, as parameters are counted: `7.2B`."""
    if count is None:
        return None
    for unit, scale in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if count >= scale:
            return f"{count / scale:.3g}{unit}"
    return str(count)


def elapsed(seconds: float) -> str:
    """About `seconds`, in the two largest units: `3m12s`."""
    whole = int(seconds)
    units = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
    for index, (unit, scale) in enumerate(units[:-1]):
        if whole >= scale:
            smaller, smaller_scale = units[index + 1]
            return f"{whole // scale}{unit}{whole % scale // smaller_scale:02}{smaller}"
    return f"{whole}s"

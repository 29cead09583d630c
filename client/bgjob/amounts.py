"""Amounts as people read them."""

from __future__ import annotations

from typing import Final

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_SPANS: Final = (("day", 86_400), ("h", 3_600), ("min", 60))


def size_text(size: int) -> str:
    """Bytes in the largest unit that they fill, rounded, with one decimal below ten: 214 MiB, 1.5 KiB."""
    amount, unit = float(size), 0
    while round(amount) >= 1024 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    digits = 0 if round(amount, 1) >= 10 or amount == int(amount) else 1
    return f"{amount:.{digits}f} {_UNITS[unit]}"


def duration_text(seconds: float) -> str:
    """A time span in its largest unit: `5 s`, `2 min`, `3 h`, `4 days`."""
    whole = round(seconds)
    for unit, length in _SPANS:
        if whole >= length:
            count = whole // length
            return f"{count} {unit}{'s' if unit == 'day' and count != 1 else ''}"
    return f"{whole} s"

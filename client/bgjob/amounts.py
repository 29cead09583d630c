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


def span_text(seconds: float) -> str:
    """A time span as exactly as a person needs it: 120 ms, 1.5 s, 3 min 20 s, 2 h 5 min, 1 d 1 h."""
    if seconds < 0.9995:
        return f"{max(0.0, seconds) * 1000:.0f} ms" if seconds else "0 s"
    if seconds < 10:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3_600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3_600} h {whole % 3_600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3_600} h"


def about_text(seconds: float) -> str:
    """A time span in its largest unit: `5 s`, `2 min`, `3 h`, `4 days`."""
    whole = round(seconds)
    for unit, length in _SPANS:
        if whole >= length:
            count = whole // length
            return f"{count} {unit}{'s' if unit == 'day' and count != 1 else ''}"
    return f"{whole} s"

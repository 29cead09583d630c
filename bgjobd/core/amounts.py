"""Amounts as people read them."""

from __future__ import annotations

from typing import Final

_UNITS: Final = ("bytes", "KiB", "MiB", "GiB", "TiB")


def size_text(size: int) -> str:
    """A number of bytes in the largest unit that it fills, rounded, with one decimal below ten: 214 MiB, 1.5 KiB."""
    if size == 1:
        return "1 byte"
    amount, unit = float(size), 0
    while round(amount) >= 1024 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    is_exact = unit == 0 or round(amount, 1) >= 10 or amount == int(amount)
    return f"{amount:.0f} {_UNITS[unit]}" if is_exact else f"{amount:.1f} {_UNITS[unit]}"

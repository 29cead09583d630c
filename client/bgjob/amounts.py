"""Amounts as people read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

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


def limits_text(policy: Mapping[str, Any]) -> str:
    """The limits of a class that there are: "slots 2, memory 256 MiB, processes 64 (not enforced here)"."""
    told = [
        f"{name.replace('_', ' ')} {tell(policy[name])}"
        + (" (not enforced here)" if name in policy["unenforced"] else "")
        for name, tell in _LIMITS.items()
        if policy.get(name) is not None  # a daemon before this one may not tell of it
    ]
    return ", ".join(told) or "none"


_LIMITS: Final[Mapping[str, Callable[[Any], str]]] = {
    "slots": str,
    "memory": size_text,
    "cpu": span_text,
    "cpu_share": "{:g} cores".format,
    "open_files": str,
    "processes": str,
    "file_size": size_text,
    "nice": str,
    "max_output": size_text,
    "work_limit": size_text,
    "user": str,
    "group": str,
    "writable": lambda places: ", ".join(places) or "nothing",
}
"""How those are told that no caller can set."""

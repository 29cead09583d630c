"""Amounts as people read and write them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

_WRITTEN_SPAN: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(|ms|s|m|h|d)", re.ASCII)
_SECONDS: Final = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_ZERO_BEHIND: Final = re.compile(r"(?<=\D) 0 \w+$", re.ASCII)
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_SPANS: Final = (("s", 1), ("min", 60), ("h", 3_600), ("day", 86_400))


def size_text(size: int) -> str:
    """Bytes in the largest unit that they fill, rounded, with one decimal below ten: 214 MiB, 1.5 KiB."""
    amount, unit = float(size), 0
    while round(amount) >= 1024 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    digits = 0 if round(amount, 1) >= 10 or amount == int(amount) else 1
    return f"{amount:.{digits}f} {_UNITS[unit]}"


def many_of(count: int, what: str) -> str:
    """So many of them: 1 job, 1,204 jobs."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


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


def set_span_text(seconds: float) -> str:
    """The same as somebody would set it, without a zero behind: 1 h, 5 min, 1 min 30 s."""
    return _ZERO_BEHIND.sub("", span_text(seconds))


def rough_span_text(seconds: float) -> str:
    """A time span as an estimate is told: 240 ms, 1.5 s, 40 s, 1 min 20 s, 2 h, 1 h 10 min."""
    if seconds < 9.95:
        return span_text(float(f"{seconds:.2g}"))
    step = next(step for most, step in _ROUGHLY if seconds < most)
    left, told = round(seconds / step) * step, []
    for unit, length in reversed(_SPANS):
        count, left = divmod(left, length)
        told += [f"{count} {unit}{'s' if unit == 'day' and count != 1 else ''}"] if count else []
    return " ".join(told)


_ROUGHLY: Final = ((60.0, 1), (600.0, 10), (3_600.0, 60), (36_000.0, 600), (math.inf, 3_600))
"""Below so many seconds, to so many."""


def expected_text(p50: float, p95: float, left: float | None = None, times: float | None = None) -> str:
    """How long what runs may take, in seconds: by others, what is `left`, or how many `times` as long it runs."""
    told = f"half end within {rough_span_text(p50)}, 95 of 100 within {rough_span_text(p95)}"
    if times is not None:
        return f"runs {times:,.0f} times as long as usual: {told}"
    return told if left is None else f"{told}; about {rough_span_text(left)} left"


def try_span(written: object) -> float | None:
    """Seconds, of a number of them or of text such as "90", "500ms", "5m", "2h"; None of anything else."""
    if isinstance(written, str):
        match = _WRITTEN_SPAN.fullmatch(written)
        return None if match is None else float(match[1]) * _SECONDS[match[2]]
    if isinstance(written, bool) or not isinstance(written, int | float):
        return None
    return float(written) if 0 <= written < math.inf else None


def about_text(seconds: float) -> str:
    """A time span that is past in its largest unit: `5 s`, `2 min`, `3 h`, `4 days`."""
    return _about(-seconds)


def relative_text(seconds: float) -> str:
    """An instant so many seconds from now, in its largest unit: `in 2 h`; `5 min ago` where they are negative."""
    return f"in {_about(seconds)}" if seconds >= 0 else f"{_about(seconds)} ago"


def _about(seconds: float) -> str:
    count, unit = in_largest_unit(seconds, _SPANS)
    return f"{count} {unit}{'s' if unit == 'day' and count != 1 else ''}"


def in_largest_unit(seconds: float, units: Sequence[tuple[str, int]]) -> tuple[int, str]:
    """How far away that is, in the largest of the units that it fills; `units` come with seconds, the smallest first.

    What is to come is rounded: who is to wait 1:59:59 is not told of 1 h. What is past, a negative number, is cut.
    """
    half = 0.5 if seconds > 0 else 0.0
    found = 0, ""
    for (unit, length), (_, more) in pairwise([*units, ("", math.inf)]):
        found = math.floor(abs(seconds) / length + half), unit
        if found[0] * length < more:
            break
    return found


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
    "rate": str,
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
    "network": lambda without: "no TCP" if without == "no-tcp" else without,
    "umask": str,
}
"""How those are told that no caller can set."""

"""The view of two attempts side by side: shapes what the daemon says; no sockets, no markup."""

from __future__ import annotations

from bgjob import comparing, sides
from bgjob.comparing import MOST_LINES, Place, try_place

from ..exchange import Request, Response
from .means import Means, Values

_MOST_WRITTEN = 40
_NAMES_ONE = "An attempt is the number of its job, a dot and its own: 5121.2"


class CompareViews:
    """Of one page."""

    def __init__(self, means: Means) -> None:
        self._means = means

    def two(self, request: Request) -> Response:
        """What differs between `a` and `b`, or between `a` and the last that completed."""
        written = [request.query.get(name, "").strip()[:_MOST_WRITTEN] for name in ("a", "b")]
        a, b = map(try_place, written)
        values: Values = {"written": written, "problem": None, "found": None, "most_lines": MOST_LINES}
        if a is None or (written[1] and b is None):
            return self._means.shown(request, "compare.html", values | {"problem": _NAMES_ONE})
        return self._means.shown(request, "compare.html", values | self._compared(a, b))

    def _compared(self, a: Place, b: Place | None) -> Values:
        try:
            one, other = sides.both_of(self._means.slow, a, b)
        except sides.NoAttemptError as error:
            return {"problem": str(error)}
        found = comparing.as_json(comparing.compared(one, other))
        return {"found": found, "written": [found["a"], found["b"]]}

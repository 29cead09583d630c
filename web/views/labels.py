"""The view of labels: which jobs have, how many, and how the newest of them stand; no sockets, no markup."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

from bgjob.labels import is_label

from ..exchange import Request, Response
from .means import Means

PATH: Final = "/labels"


class LabelViews:
    """Of one page."""

    def __init__(self, means: Means) -> None:
        self._means = means

    def overview(self, request: Request) -> Response:
        """Labels in their order, those that begin as is asked, from behind one; what could be none is not asked for."""
        prefix, after = (request.query.get(name, "") for name in ("q", "after"))
        prefix, after = prefix if is_label(prefix) else "", after if is_label(after) else ""
        found = self._means.slow.labels(
            prefix=prefix or None, after=after or None, limit=self._means.settings.per_page
        )
        begin = {"q": prefix} if prefix else {}
        values = {
            "labels": found.items,
            "prefix": prefix,
            "first": self._address(begin) if after else None,
            "further": None if found.next is None else self._address({**begin, "after": found.next}),
        }
        return self._means.shown(request, "labels.html", values)

    def _address(self, query: dict[str, str]) -> str:
        return self._means.settings.at(f"{PATH}?{urlencode(query)}" if query else PATH)

"""The view of labels: which jobs have, how many, and how the newest of them stand; no sockets, no markup."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from bgjob import Client
from bgjob.labels import is_label

from .exchange import Request, Response

PATH = "/labels"

Told = dict[str, Any]


class LabelViews:
    """Of one page, which has the client, for what takes looking for. `shown` makes a view of values."""

    def __init__(
        self, client: Client, per_page: int, shown: Callable[[Request, str, Told], Response]
    ) -> None:
        self._client = client
        self._per_page = per_page
        self._shown = shown

    def overview(self, request: Request) -> Response:
        """Labels in their order, those that begin as is asked, from behind one; what could be none is not asked for."""
        prefix, after = (request.query.get(name, "") for name in ("q", "after"))
        prefix, after = prefix if is_label(prefix) else "", after if is_label(after) else ""
        found = self._client.labels(prefix=prefix or None, after=after or None, limit=self._per_page)
        begin = {"q": prefix} if prefix else {}
        values = {
            "labels": found.items,
            "prefix": prefix,
            "first": _address(begin) if after else None,
            "further": None if found.next is None else _address({**begin, "after": found.next}),
        }
        return self._shown(request, "labels.html", values)


def _address(query: dict[str, str]) -> str:
    return f"{PATH}?{urlencode(query)}" if query else PATH

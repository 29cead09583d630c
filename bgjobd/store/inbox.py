"""What applications have submitted in their own transactions, and is no job yet; PostgreSQL alone has such a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bgjob.codec import JsonObject, parse_parameters
from bgjob.errors import InvalidParameterError, ProtocolError, RequestError
from bgjobd.store.engines import Execute

AT_ONCE: Final = 100

_SELECT: Final = """
    SELECT id, class_name, method_name, parameters, options, role FROM inbox WHERE id > :after ORDER BY id LIMIT :count
"""
_LOCK: Final = "SELECT id FROM inbox WHERE id IN (SELECT value FROM json_each(:ids)) FOR UPDATE SKIP LOCKED"
TAKE: Final = "DELETE FROM inbox WHERE id = :id"


@dataclass(frozen=True, slots=True)
class Sent:
    """One of it, as it was sent by a session of `role`; `asked` is the request, or why that could not be read."""

    id: int
    class_name: str
    method_name: str
    role: str
    asked: JsonObject | RequestError


def waiting(execute: Execute, after: int, max_depth: int) -> Sequence[Sent]:
    """The next of them behind an id, which are committed; a request has so many levels at most."""
    rows = execute(_SELECT, {"after": after, "count": AT_ONCE}).fetchall()
    return [
        Sent(
            id, class_name, method_name, role, _read(class_name, method_name, parameters, options, max_depth)
        )
        for id, class_name, method_name, parameters, options, role in rows
    ]


def locked(execute: Execute, ids: Sequence[int]) -> frozenset[int]:
    """Those of them that are there still, and in no other daemon's hands."""
    return frozenset(id for (id,) in execute(_LOCK, {"ids": json.dumps(ids)}).fetchall())


def _read(
    class_name: str, method_name: str, parameters: str, options: str, max_depth: int
) -> JsonObject | RequestError:
    """The request that it would be at the socket."""
    names = json.dumps({"class_name": class_name, "method_name": method_name})
    text = f'{names[:-1]}, "parameters": {parameters}, "options": {options}}}'
    try:
        return parse_parameters(text.encode(), max_depth)
    except InvalidParameterError as error:
        return error
    except ProtocolError:  # it is too deep
        return InvalidParameterError(parameter="parameters")

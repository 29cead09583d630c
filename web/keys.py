"""The busiest keys of the queues that say anything of keys, as the daemon tells them; shapes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from bgjob import Client
from bgjob.errors import InvalidParameterError, MethodNotFoundError
from bgjob.text import key_rules

_MOST_KEYS: Final = 10
_MOST_QUEUES: Final = 10


def busiest(client: Client, queues: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each of these queues that has jobs with keys its busiest keys, the queues first in which most jobs wait.

    Of more than ten queues the rest is left out. A daemon that is older than this page tells of none, nor does one that
    has been told meanwhile of other queues.
    """
    asked = [one for one in queues if key_rules(one) or one["behind"]]
    asked = sorted(asked, key=lambda one: -one["pending"])[:_MOST_QUEUES]
    try:
        found = [(one["name"], client.keys(one["name"], busiest=True, limit=_MOST_KEYS)) for one in asked]
    except (MethodNotFoundError, InvalidParameterError):
        return []
    return [{"queue": name, "keys": listed.items} for name, listed in found if listed.items]

"""How hosts that share a database stand beside each other, as a person is told it; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bgjob.words import ChangeKind


def with_old_code(hosts: Sequence[Mapping[str, Any]], changes: Iterable[Mapping[str, Any]]) -> set[str]:
    """The names of hosts that live, and for which others of the same classes have loaded other code since. Where
    classes differ, so does the code.

    A reload that brought nothing new is no news of what is newest: a host's files may not be there yet.
    """
    loaded = [one["what"] for one in changes if one["kind"] == ChangeKind.LOADED]
    latest: dict[frozenset[str], str] = {}
    alive = [one for one in hosts if one["state"] == "alive" and one["code_version"] is not None]
    for code in (what.get("code") for what in loaded if what.get("code") != what.get("was")):
        for one in alive:
            if one["code_version"] == code:
                latest.setdefault(frozenset(one["classes"]), code)
    return {
        one["name"]
        for one in alive
        if latest.get(frozenset(one["classes"]), one["code_version"]) != one["code_version"]
    }

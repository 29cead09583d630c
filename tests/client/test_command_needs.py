"""What `bgjob needs` tells, and its exit codes."""

from __future__ import annotations

from typing import Any, cast

import pytest

from bgjob.answers import Needed
from bgjob.client import Client
from bgjob.commands import arguments

NEED: dict[str, Any] = {
    "kind": "unavailable",
    "subject": "a.B",
    "since": "2025-11-25T12:00:00.000000Z",
    "sentence": "a.B cannot be used: ImportError",
    "hint": "mend it, and reload",
}


class Telling:
    """A client of a daemon that needs this."""

    def __init__(self, *found: dict[str, Any], more: int = 0) -> None:
        self._found = Needed(list(found), more)

    def needs(self) -> Needed:
        return self._found


def run(client: Telling, *words: str) -> int:
    given = arguments.parse(["needs", *words])
    return int(given.run(cast(Client, client), given))


def test_each_need_has_a_line_and_what_to_do_below_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Telling(NEED, NEED | {"kind": "oldest_pending", "hint": None}, more=3)) == 1
    assert capsys.readouterr().out.splitlines() == [
        "unavailable     a.B cannot be used: ImportError",
        "                mend it, and reload",
        "oldest_pending  a.B cannot be used: ImportError",
        "                and 3 more",
    ]


def test_where_nothing_needs_anybody_the_exit_code_is_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Telling()) == 0
    assert capsys.readouterr() == ("", "bgjob: nothing needs anybody\n")


def test_programs_get_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Telling(NEED, more=1), "--json") == 1
    assert '"more":1' in capsys.readouterr().out.replace(" ", "")

"""Which jobs of an outbox need no row; that a daemon takes them, tests/daemon/test_inbox.py sees."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from bgjob import submitting_calls
from bgjob.outbox.direct import KNOWN_FOR, NOTHING, Found, Looks, may_be, takes
from bgjob.outbox.rows import Row, new_row
from bgjob.testing import inline

DIRECT = Found(is_direct=True, has_table=True)


def row(parameters: Any = None, retry_count: int = 0, **options: Any) -> Row:
    job = submitting_calls.job_of("shop.Mail", "send", parameters, retry_count, options)  # type: ignore[arg-type]
    return new_row(job, None, None, datetime.now(UTC))


@pytest.mark.parametrize(
    ("asked", "is_direct"),
    [
        (row({"to": "ä", "at": 1.5}, priority=3, delay=60, key="c1", queue="mail", after=[7]), True),
        (row(retry_count=1), False),
        (row(unique_key="a"), False),
        (row(unique_for=60.0), False),
        (row(at_latest=60.0), False),
    ],
)
def test_what_the_function_cannot_do_as_the_socket_does_wants_a_row(asked: Row, is_direct: bool) -> None:
    assert takes(DIRECT, asked, is_attempt=False) is is_direct
    assert not takes(NOTHING, asked, is_attempt=False)


def test_in_an_attempt_the_row_tells_by_which_job_unless_there_is_no_table() -> None:
    assert not takes(DIRECT, row(), is_attempt=True)
    assert takes(Found(is_direct=True, has_table=False), row(), is_attempt=True)


def test_nobody_looks_where_a_daemon_was_named_or_something_stands_in_for_it() -> None:
    assert may_be(None)
    assert not may_be("/run/bgjobd/bgjobd.sock")
    with inline():
        assert not may_be(None)


def test_what_was_found_is_known_for_a_minute() -> None:
    now = 0.0
    looks = Looks(lambda: now)
    assert looks.try_known("shop") is None
    assert looks.note("shop", [(True, False)]) == (True, False)
    now = KNOWN_FOR - 1
    assert looks.try_known("shop") == (True, False)
    assert looks.try_known("other") is None
    now = KNOWN_FOR
    assert looks.try_known("shop") is None

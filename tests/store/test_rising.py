"""How many jobs an error has failed in the last hour, and in a usual one, by what is counted of it."""

from __future__ import annotations

import pytest

from bgjob.fingerprints import Whence
from bgjobd.core.job import Ending
from bgjobd.core.need_kinds import RisingError
from bgjobd.core.spans import DAY, HOUR, begin
from bgjobd.store.reader import Reader
from bgjobd.store.spans import Spans
from tests.store.samples import NOW, Store
from tests.store.test_spans import MAIL, ONCE, later, reader, run, spans  # noqa: F401  # the fixtures

WHENCE = Whence("0123456789abcdef", "myapp.mail:send", "mail.py:88", None)
NO_ROUTE = Ending.failed("OSError", "no route", "Traceback …", error_class="builtins.OSError", whence=WHENCE)
TODAY = float(begin(NOW, DAY))


def fail(store: Store, jobs: int, at: float) -> None:
    store.now = at
    for _ in range(jobs):
        run(store, NO_ROUTE, took=0.0, policy=ONCE)


def rising(store: Store, reader: Reader, spans: Spans) -> RisingError | None:  # noqa: F811
    return next(iter(reader.needs.rising(spans.counted, store.now)), None)


def test_jobs_of_the_last_hour_are_held_against_those_of_a_usual_one(
    store: Store,
    spans: Spans,  # noqa: F811
    reader: Reader,  # noqa: F811
) -> None:
    fail(store, 24, TODAY - 4 * DAY + HOUR)
    fail(store, 48, TODAY - 2 * DAY + HOUR)
    later(store)
    assert rising(store, reader, spans) is not None
    fail(store, 2, TODAY + 10 * HOUR + 1800)
    fail(store, 3, TODAY + 11 * HOUR + 900)
    found = RisingError(1, "OSError at mail.py:88 in send", MAIL, 4, 72 / 96, TODAY + 10 * HOUR)
    assert rising(store, reader, spans) == found  # 3 and three quarters of 2
    later(store, 15 * 60)
    assert rising(store, reader, spans) == found
    store.now += 2 * HOUR
    assert rising(store, reader, spans) is None


def test_of_an_error_that_is_known_for_less_than_a_day_nobody_knows_what_is_usual(
    store: Store,
    spans: Spans,  # noqa: F811
    reader: Reader,  # noqa: F811
) -> None:
    fail(store, 5, TODAY + 9 * HOUR)
    found = rising(store, reader, spans)
    assert found is not None
    assert (found.failed, found.usual, found.since) == (5, None, TODAY + 9 * HOUR)


@pytest.mark.parametrize("days", [1, 20])
def test_as_long_as_nothing_was_counted_nothing_is_usual(
    store: Store,
    spans: Spans,  # noqa: F811
    reader: Reader,  # noqa: F811
    days: int,
) -> None:
    """As after an upgrade: the error is older than what is counted."""
    store.ledger._spans = None
    fail(store, 5, TODAY - days * DAY)
    store.ledger._spans = spans
    fail(store, 5, TODAY + 9 * HOUR)
    found = rising(store, reader, spans)
    assert found is not None
    assert (found.failed, found.usual) == (5, None)

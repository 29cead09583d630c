"""Jobs and log entries that pages are made of, and what is on a page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from bgjob.words import EntryType
from bgjobd.core.edges import Place
from bgjobd.core.gate import KeyRules
from bgjobd.core.job import Call, Ending
from bgjobd.core.planner import Lanes
from bgjobd.store.committed import LogLine
from bgjobd.store.items.attempts import AttemptNotes, Note, Noted
from bgjobd.store.pages.page import Page
from tests.core.samples import UNKNOWN
from tests.store.samples import (
    COMPLETED,
    FAILED,
    NOW,
    Store,
    asked,
    cancels,
    ends,
    starts,
    submission,
    waits,
)

SAID: Final = (
    Note(NOW, EntryType.INFO, "half", 0.5),
    Note(NOW, EntryType.INFO, "Background job is at home"),
    Note(NOW, EntryType.INFO, "Background job started"),
)
"""A step of progress, and what is none and says that it is."""


def ids(page: Page) -> list[int]:
    return [row["id"] for row in page.rows]


def all_pages(ask: Callable[[int | None], Page]) -> list[dict[str, Any]]:
    """All rows from page to page, each page's `next` given to the following."""
    page = ask(None)
    rows = list(page.rows)
    while page.next is not None:
        page = ask(page.next)
        rows += page.rows
    return rows


def every_status(store: Store) -> dict[str, int]:
    """A job of each word that a list understands; `pending` waits for a slot only."""
    retrying = store.run_one()
    store.commit(ends(retrying, FAILED))
    snoozed = store.run_one()
    store.commit(ends(snoozed, Ending.snoozed(60)))
    waiting = store.run_one()
    store.commit(waits(waiting, delay=60))
    key = f"customer:{retrying}"
    running = store.run_one(key=key)
    shared = Lanes(0, keys={"default": KeyRules(slots=1)})
    ((behind,),) = store.commit(submission(asked(key=key)), lanes=shared).answers
    completed, failed = (store.run_one(retry_count=3) for _ in range(2))
    store.commit(ends(completed, COMPLETED), ends(failed, FAILED))
    review = store.run_one()
    store.commit(ends(review, UNKNOWN))
    pending, scheduled, cancelled = store.submit(
        asked(queue="closed"), asked(scheduled_at=NOW + 60), asked(queue="closed")
    )
    (blocked,) = store.submit(asked(schedule="nightly", place=Place(waits_for=1), scheduled_at=NOW + 60))
    store.commit(cancels(cancelled))
    return {
        "blocked": blocked,
        "behind": behind.id,
        "retrying": retrying,
        "snoozed": snoozed,
        "waiting": waiting,
        "running": running,
        "completed": completed,
        "failed": failed,
        "review": review,
        "pending": pending,
        "scheduled": scheduled,
        "cancelled": cancelled,
    }


def ended(store: Store, ending: Ending = FAILED, after: float = 0.0) -> int:
    """A job that ended so many seconds after `NOW`."""
    job_id = store.run_one(retry_count=3)
    store.commit(ends(job_id, ending, at=NOW + after))
    return job_id


def said(store: Store, *messages: str, job_id: int = 1) -> None:
    store.commit(*[Noted(job_id, None, EntryType.INFO, message) for message in messages])


def messages_of(page: Page) -> list[str]:
    return [row["message"] for row in page.rows]


def lives(store: Store) -> list[LogLine]:
    """All that was logged while jobs of two classes lived, and one talked."""
    other = Call("myapp.jobs.Other", "send", "{}")
    parts = [
        store.commit(submission(asked(), asked(call=other), asked(method="send")), lanes=Lanes(3)),
        store.commit(starts(1), ends(1, FAILED), starts(2), ends(2, COMPLETED), cancels(3)),
        store.commit(
            AttemptNotes(3, 1, 0, (Note(NOW, EntryType.FAILURE, "İstanbul: 50% CANCELLED", None), *SAID)),
            ends(3, FAILED),
        ),
    ]
    return [line for part in parts for line in part.lines]

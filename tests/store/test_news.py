"""What a daemon reads of what others have committed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bgjob.words import Status
from bgjobd.core.verdict import StopReason
from bgjobd.store import news
from bgjobd.store.items.attempts import ValueNote
from bgjobd.store.reader import Reader
from tests.store.samples import COMPLETED, NOW, Store, asked, cancels, does, ends


@pytest.fixture
def reader(store: Store) -> Iterator[Reader]:
    reader = Reader(store.state_dir)
    yield reader
    reader.close()


def test_entries_behind_a_known_one_come_with_their_jobs_as_they_stand(store: Store, reader: Reader) -> None:
    first = store.run_one()
    known = reader.last_log_id()
    committed = store.commit(ends(first, COMPLETED))
    found = reader.news(known, (), {})
    assert found.lines == list(committed.lines)
    assert found.last == committed.lines[-1].id
    assert [(job.id, job.status) for job in found.jobs] == [(first, Status.COMPLETED)]
    assert found.summaries == {first: reader.summary(first)}


def test_a_job_that_is_asked_for_comes_without_an_entry(store: Store, reader: Reader) -> None:
    (job_id,) = store.submit(asked())
    last = reader.last_log_id()
    found = reader.news(last, [job_id, 99], {})
    assert (found.lines, found.last) == ([], last)
    assert [job.id for job in found.jobs] == [job_id]


def test_of_very_many_entries_come_the_first_and_nothing_of_their_jobs(
    store: Store, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(news, "_MOST_ENTRIES", 2)
    ids = store.submit(asked(), asked(), asked())
    found = reader.news(0, (), {})
    assert ([line.job_id for line in found.lines], found.last, found.has_more) == (ids[:2], 2, True)
    assert found.jobs == ()


def test_values_come_of_jobs_that_have_changed_and_are_followed(store: Store, reader: Reader) -> None:
    job_id = store.run_one()
    store.commit(does(job_id, *(ValueNote(NOW, number, None, str(number)) for number in range(3))))
    last = reader.last_log_id()
    assert [value.value for value in reader.news(last, [job_id], {job_id: 1}).values] == ["1", "2"]
    assert reader.news(last, [job_id], {}).values == []
    assert reader.news(last, (), {job_id: 0}).values == []


def test_what_has_ended_or_is_gone_or_is_to_be_stopped_is_found(store: Store, reader: Reader) -> None:
    ended = store.run_one()
    store.commit(ends(ended, COMPLETED))
    cancelled, running = store.run_one(), store.run_one()
    store.commit(cancels(cancelled))
    found = reader.missed([ended, running, 99], [99], [(cancelled, 1), (running, 1)])
    assert found.ended == [ended, 99]
    assert found.groups == [99]
    assert found.stops == [((cancelled, 1), StopReason.CANCELLED)]

"""On which host an attempt is, and what of that is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bgjobd.core.planner import Lanes
from bgjobd.host.clock import to_text
from bgjobd.store.filters import JobFilter
from bgjobd.store.items.attempts import OutputEnded
from bgjobd.store.items.retention import Deletion
from bgjobd.store.kept_outputs import KeptOutput
from bgjobd.store.reader import Reader
from bgjobd.store.statements import of_slots
from tests.store.samples import COMPLETED, FAILED, LOST, NOW, USAGE, Store, asked, ends


@pytest.fixture
def shared(store: Store, engine: str) -> Store:
    """A store that several hosts may work from."""
    if engine == "sqlite":
        pytest.skip("a file has one host")
    return store


def a_host(store: Store, id: int, name: str, **columns: Any) -> int:
    """A host that works from the store's database."""
    row = {"id": id, "uuid": f"uuid-{id}", "name": name, "boot_id": "b", "term": 1, "beats": 1}
    row |= {"seen_at": to_text(NOW), "version": "1", "schema": 1, "slots": 4, "queues": "[]", "classes": "[]"}
    row |= columns
    names = ", ".join(row)
    store.database.execute_sql(
        f"INSERT INTO hosts ({names}) VALUES ({', '.join('?' * len(row))})", (*row.values(),)
    )
    return id


def place_on(store: Store, job_id: int, host: int) -> None:
    """Have the job's attempts be on the host."""
    store.database.execute_sql("UPDATE job_attempts SET host = ? WHERE job_id = ?", (host, job_id))


def test_an_attempt_is_told_with_the_name_of_its_host_wherever_it_is_told(store: Store) -> None:
    web2 = a_host(store, 2, "web2")
    there, here = store.run_one(), store.run_one()
    place_on(store, there, web2)
    reader = Reader(store.state_dir)
    try:
        assert [one["host"] for one in reader.running()] == ["web2", None]
        assert [one["job_id"] for one in reader.running("web2")] == [there]
        assert [row["host"] for row in reader.list(JobFilter(), now=NOW).rows] == [None, "web2"]
        stored = reader.job(there)
        assert stored is not None
        assert [attempt["host"] for attempt in stored.attempts] == ["web2"]
        assert reader.job(here).attempts[0]["host"] is None  # type: ignore[union-attr]
    finally:
        reader.close()


def test_a_list_has_the_jobs_alone_whose_latest_attempt_is_on_the_host(store: Store) -> None:
    web2 = a_host(store, 2, "web2")
    there, elsewhere = store.run_one(), store.run_one()
    place_on(store, there, web2)
    place_on(store, elsewhere, a_host(store, 3, "web3"))
    reader = Reader(store.state_dir)
    try:

        def found(**wanted: Any) -> list[int]:
            return [row["id"] for row in reader.list(JobFilter(**wanted), now=NOW).rows]

        assert found(host="web2") == [there]
        assert found(host="web4") == []
        assert found(host="web2", status=("running",)) == [there]
        store.commit(ends(there, COMPLETED))
        assert found(host="web2", status=("completed",)) == [there]
        assert found(host="web2", status=("running",)) == []
    finally:
        reader.close()


def lanes(host: str, *classes: str, **given: Any) -> Lanes:
    """Slots of a host that has these classes."""
    return replace(Lanes(100, **given), host=host, known=frozenset(classes))


def claimed(store: Store, lanes: Lanes) -> list[int]:
    return [claim.job.id for claim in store.claim(lanes)]


def test_a_job_of_a_class_that_the_host_does_not_have_waits_for_another_and_keeps_nobody(
    store: Store,
) -> None:
    theirs = store.submit(*(asked(class_name="shop.Theirs", priority=9) for _ in range(3)))
    (ours,) = store.submit(asked(class_name="shop.Ours"))
    assert claimed(store, replace(lanes("web1", "shop.Ours"), slots=2)) == [ours]
    assert claimed(store, lanes("web2", "shop.Ours", "shop.Theirs")) == theirs


def test_where_there_is_one_host_a_class_may_be_any(store: Store) -> None:
    ids = store.submit(asked(class_name="shop.Gone"), asked())
    assert claimed(store, Lanes(5)) == ids


def test_a_job_that_asks_for_a_host_is_started_by_that_alone_in_the_order_of_all(shared: Store) -> None:
    first, there, last = shared.submit(asked(), asked(host="web2", priority=1), asked(priority=-1))
    assert shared.job(there)["host_wanted"] == "web2"
    one, two = (replace(lanes(name, "myapp.jobs.ExampleJob"), slots=1) for name in ("web1", "web2"))
    assert claimed(shared, one) == [first]
    shared.commit(ends(first, COMPLETED))
    assert claimed(shared, two) == [there]
    shared.commit(ends(there, FAILED))
    shared.now += 60
    assert claimed(shared, one) == [last]
    shared.commit(ends(last, COMPLETED))
    assert claimed(shared, one) == []
    assert claimed(shared, two) == [there]


def test_jobs_that_ask_for_a_host_keep_the_slots_of_queues_and_classes(shared: Store) -> None:
    name = "shop.Narrow"
    shared.submit(*(asked(class_name=name, host="web1") for _ in range(3)), asked(class_name=name))
    (wide,) = shared.submit(asked(class_name="shop.Wide", host="web1"))
    assert claimed(shared, lanes("web1", name, "shop.Wide", classes={name: 2})) == [1, 2, wide]
    assert claimed(shared, lanes("web1", name, "shop.Wide", queues={"default": 3})) == []


def test_a_claim_looks_at_nothing_that_asks_for_another_host(shared: Store) -> None:
    shared.submit(*(asked(host="web9") for _ in range(2000)), asked())
    run = shared.database.execute_sql
    run("ANALYZE background_jobs")
    for statement, given in (
        (of_slots.SELECT_READY_OF_QUEUES, {"places": '[["default", 5], ["mail", 5]]'}),
        (
            of_slots.SELECT_READY_OF_CLASS,
            {"queue": "default", "class_name": "myapp.jobs.ExampleJob", "count": 5},
        ),
        (of_slots.IS_ANY_PINNED, {"host": "web1"}),
    ):
        plan = "\n".join(line for (line,) in run(f"EXPLAIN ANALYZE {statement}", given).fetchall())
        assert "Rows Removed" not in plan, plan
        assert "Seq Scan on background_jobs" not in plan, plan


def output_of(store: Store, job_id: int, number: int = 1) -> tuple[str | None, KeptOutput | None]:
    reader = Reader(store.state_dir)
    try:
        place = reader.hosts.place_of(job_id, number)
        return place.host, place.kept
    finally:
        reader.close()


def test_what_an_attempt_has_printed_is_known_to_others_once_it_has_ended(store: Store) -> None:
    there = store.run_one()
    place_on(store, there, a_host(store, 2, "web2"))
    assert output_of(store, there) == ("web2", None)
    store.commit(OutputEnded(there, 1, b"begin\0", b"end", 12), ends(there, COMPLETED))
    assert output_of(store, there) == ("web2", KeptOutput(b"begin\0", b"end", 12))
    store.commit(OutputEnded(there, 1, b"other", b"", 0), OutputEnded(99, 1, b"of nobody", b"", 0))
    assert output_of(store, there) == ("web2", KeptOutput(b"begin\0", b"end", 12))
    assert output_of(store, there, 2) == output_of(store, 99) == (None, None)


def test_of_an_attempt_that_printed_nothing_that_is_known_and_of_one_that_was_lost_nothing(
    store: Store,
) -> None:
    silent, unseen, here = store.run_one(), store.run_one(), store.run_one()
    web2 = a_host(store, 2, "web2")
    for job_id in (silent, unseen):
        place_on(store, job_id, web2)
    usage = replace(USAGE, output_bytes=0)
    store.commit(ends(silent, COMPLETED, usage=usage), ends(unseen, LOST), ends(here, COMPLETED))
    assert output_of(store, silent) == ("web2", KeptOutput())
    assert output_of(store, unseen) == ("web2", None)
    assert output_of(store, here) == (None, None)


def test_what_was_kept_of_the_output_goes_with_its_job(shared: Store) -> None:
    gone = shared.run_one()
    shared.commit(OutputEnded(gone, 1, b"begin", b"", 0), ends(gone, COMPLETED))
    shared.submit(asked())  # whose entry is the newest, so that the other may go
    assert shared.count("job_outputs") == 1
    deleted = shared.answer(Deletion((gone,), last_entry=10**9))
    assert deleted.jobs == (gone,)
    assert (shared.count("job_outputs"), shared.count("background_jobs")) == (0, 1)


@pytest.mark.parametrize(
    ("offset", "limit", "found"),
    [
        (0, 100, (0, b"abcd")),
        (2, 1, (2, b"c")),
        (4, 100, (14, b"wxyz")),
        (9, 2, (14, b"wx")),
        (16, 100, (16, b"yz")),
        (18, 100, (18, b"")),
        (30, 100, (30, b"")),
    ],
)
def test_what_is_kept_is_read_as_a_file_with_a_hole_is(
    offset: int, limit: int, found: tuple[int, bytes]
) -> None:
    kept = KeptOutput(b"abcd", b"wxyz", 10)
    assert (len(kept), kept.read(offset, limit)) == (18, found)

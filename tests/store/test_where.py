"""On which host an attempt is, and what of that is told."""

from __future__ import annotations

from typing import Any

from bgjobd.host.clock import to_text
from bgjobd.store.filters import JobFilter
from bgjobd.store.reader import Reader
from tests.store.samples import COMPLETED, NOW, Store, ends


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

"""How often a transaction waits for a server of PostgreSQL: as often for many items as for one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from bgjob.words import EntryType
from bgjobd.core.hosts import Profile, Term
from bgjobd.core.job import Ending
from bgjobd.core.planner import Lanes
from bgjobd.store import hosts
from bgjobd.store.committed import Committed
from bgjobd.store.engines.postgres import Postgres
from bgjobd.store.hosts import Joined, Newcomer
from bgjobd.store.items.attempts import AttemptNotes, Note
from bgjobd.store.items.daemons import Look
from bgjobd.store.items.hosts import Beat
from bgjobd.store.items.item import Item
from bgjobd.store.ledger import Ledger
from tests.postgresql import Places, PostgreSQL
from tests.proxy import Proxy, proxied
from tests.store.samples import (
    COMPLETED,
    FAILED,
    NOW,
    Store,
    asked,
    begun,
    cancels,
    does,
    done,
    ends,
    starts,
    submission,
)

QUEUES = {"default": None, "mail": 2, "nightly": 1}
KNOWN = frozenset(["myapp.jobs.ExampleJob"])
PROFILE = Profile(4, tuple(QUEUES), tuple(KNOWN))
OPEN = Lanes(100, QUEUES, host="web1", known=KNOWN)
FULL = Lanes(1, QUEUES, host="web1", known=KNOWN)
HALF = Note(NOW, EntryType.INFO, "half", 0.5)


@dataclass
class Counted:
    """A host's ledger, on a way to the server that counts."""

    store: Store
    proxy: Proxy
    term: Term

    def trips(self, *items: Item, lanes: Lanes) -> tuple[Committed, int]:
        before = self.proxy.trips
        committed = self.store.commit(*items, lanes=lanes)
        assert not [answer for answer in committed.answers if isinstance(answer, Exception)]
        return committed, self.proxy.trips - before

    def running(self, count: int) -> list[int]:
        """The ids of so many jobs whose first attempts are claimed."""
        self.store.submit(*[asked(queue=queue) for queue in [*QUEUES][:1] * count])
        return [claim.job.id for claim in self.store.claim(OPEN)]


@pytest.fixture
def counted(
    places: Places, postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Counted]:
    known = places.known()
    place = places.at(tmp_path)
    joined = hosts.join(place, Newcomer("uuid", "web1", "boot", 600.0, "1.0", PROFILE, 5.0))
    assert isinstance(joined, Joined)
    with proxied(postgresql.directory) as proxy:
        told = psycopg.conninfo.conninfo_to_dict(place.address) | {"host": str(proxy.directory)}
        store = Store.on(Postgres(psycopg.conninfo.make_conninfo("", **told)))
        store.ledger = Ledger(store.database, "boot", lambda: 1.0, joined.term)
        store.ledger.told_as = "web1"
        store.commit(Beat(PROFILE), lanes=OPEN)
        yield Counted(store, proxy, joined.term)
        store.close()
    places.take_back(known)


def test_a_submit_waits_for_what_others_did_for_its_key_and_id_for_the_slots_and_for_the_commit(
    counted: Counted,
) -> None:
    committed, trips = counted.trips(submission(asked(idempotency_key="k")), lanes=FULL.closed())
    assert committed.claims == ()
    assert trips == 4


def test_a_claim_waits_once_more_for_all_queues_together(counted: Counted) -> None:
    committed, trips = counted.trips(*[submission(asked(queue=queue)) for queue in QUEUES], lanes=OPEN)
    assert {claim.job.queue for claim in committed.claims} == {*QUEUES}
    assert trips == 5


def test_an_end_whose_slot_is_given_to_the_next_waits_six_times(counted: Counted) -> None:
    (job_id,) = counted.running(1)
    counted.store.submit(asked())
    committed, trips = counted.trips(starts(job_id), ends(job_id, COMPLETED), lanes=FULL)
    assert len(committed.claims) == len(committed.ended) == 1
    assert trips == 6


def test_a_look_where_nothing_is_to_be_done_waits_four_times_and_a_beat_once_more(counted: Counted) -> None:
    assert counted.trips(Look(), lanes=FULL)[1] == 4
    assert counted.trips(Beat(None), lanes=FULL)[1] == 5


def test_a_beat_by_itself_waits_once(counted: Counted) -> None:
    counted.store.commit(Look(), lanes=FULL)
    before = counted.proxy.trips
    assert counted.store.ledger.try_beat([Beat(may_be_alone=True)]) is not None
    assert counted.proxy.trips - before == 1


def items(job_ids: Sequence[int]) -> list[Item]:
    """Four of each kind in a row, of so many jobs that run."""
    completing, failing, stepping, unready = (job_ids[place::4] for place in range(4))
    return [
        *(submission(asked(idempotency_key=f"k{id}"), asked(queue="mail")) for id in job_ids),
        *(starts(id) for id in job_ids),
        *(AttemptNotes(id, 1, 0, (HALF,)) for id in completing),
        *(ends(id, COMPLETED) for id in completing),
        *(ends(id, FAILED) for id in failing),
        *(does(id, begun("pack"), done("pack", '{"boxes":3}')) for id in stepping),
        *(ends(id, Ending.not_started("no memory")) for id in unready),
        *(cancels(id) for id in unready),
    ]


@pytest.mark.parametrize("count", [4, 32])
def test_a_transaction_of_items_of_all_sorts_waits_nine_times_however_many_they_are(
    counted: Counted, count: int
) -> None:
    job_ids = counted.running(count)
    committed, trips = counted.trips(*items(job_ids), lanes=OPEN)
    assert len(committed.claims) > count
    assert trips == 9

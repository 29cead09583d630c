"""A commit whose answer is lost: the next connection tells what has become of it, so nothing is lost, or done twice."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import psycopg
import pytest
from peewee import OperationalError

from bgjob.errors import StorageUnavailableError
from bgjobd.core.planner import Lanes
from bgjobd.host.clock import Clock, from_text
from bgjobd.store import writer as writers
from bgjobd.store.committed import Committed
from bgjobd.store.database import UncertainCommitError
from bgjobd.store.engines import CommitFate
from bgjobd.store.engines.postgres import Postgres
from bgjobd.store.engines.postgres_transactions import PostgresDatabase, Transaction
from bgjobd.store.entrusted import Entrusted
from bgjobd.store.history import History
from bgjobd.store.items.daemons import Look
from bgjobd.store.writer import Delivery, Writer
from tests.engines import Engines
from tests.postgresql import Places, PostgreSQL
from tests.proxy import Lost, Proxy, proxied
from tests.store.samples import BOOT, COMPLETED, NO_SLOTS, Store, asked, ends, starts, submission
from tests.support import eventually

PATIENCE = 20.0


@pytest.fixture
def store(places: Places, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Store]:
    known = places.known()
    monkeypatch.setattr(Engines, "at", places.at)
    store = Store(tmp_path)
    yield store
    store.close()
    places.take_back(known)


@pytest.fixture
def proxy(postgresql: PostgreSQL) -> Iterator[Proxy]:
    with proxied(postgresql.directory) as proxy:
        yield proxy


class Office:
    """A writer whose way to the database is the proxy's, and what it has delivered: answers by ticket, and lines."""

    def __init__(
        self, store: Store, proxy: Proxy, lanes: Lanes = NO_SLOTS, history: History | None = None
    ) -> None:
        place: Postgres = store.state_dir
        told = psycopg.conninfo.conninfo_to_dict(place.address) | {"host": str(proxy.directory)}
        self.place = Postgres(psycopg.conninfo.make_conninfo("", **told))
        self._deliveries: Queue[Delivery] = Queue()
        self.writer = Writer(self.place, BOOT, Clock(), lanes, self._deliveries.put, history=history)
        self.answers: dict[Any, list[Any]] = {}
        self.committed: list[Committed] = []

    def ask(self, item: Any, ticket: Any = "asked") -> Any:
        """The first answer to it."""
        self.writer.put(Entrusted(item, ticket))
        return self.wait_for(ticket)

    def wait_for(self, ticket: Any) -> Any:
        while ticket not in self.answers:
            self.take(self._deliveries.get(timeout=PATIENCE))
        return self.answers[ticket][0]

    def finish(self) -> None:
        self.writer.finish()
        while not self._deliveries.empty():
            self.take(self._deliveries.get())

    def take(self, delivery: Delivery) -> None:
        for ticket, answer in delivery.answered:
            self.answers.setdefault(ticket, []).append(answer)
        if delivery.committed is not None:
            self.committed.append(delivery.committed)


def loses(proxy: Proxy, *losses: Lost | None) -> None:
    """The next commits lose this, and those behind them nothing."""
    left = list(losses)
    proxy.loses = lambda: left.pop(0) if left else None


@pytest.fixture
def office(store: Store, proxy: Proxy) -> Iterator[Office]:
    office = Office(store, proxy)
    office.writer.start()
    office.ask(Look())
    office.answers.clear()
    yield office
    office.finish()


@pytest.mark.parametrize("lost", Lost)
def test_a_submit_gets_its_true_answer_though_that_of_its_commit_was_lost(
    store: Store, proxy: Proxy, office: Office, lost: Lost
) -> None:
    store.submit(asked())
    loses(proxy, lost)
    (stored,) = office.ask(submission(asked()))
    assert stored.created
    assert store.job(stored.id)["status"] == "pending"
    assert store.count("background_jobs") == 2


@pytest.mark.parametrize("lost", Lost)
def test_what_happened_is_stored_once_and_told_once(
    store: Store, proxy: Proxy, office: Office, lost: Lost
) -> None:
    job_id = store.run_one()
    loses(proxy, lost)
    office.writer.put(Entrusted(starts(job_id), "start"), Entrusted(ends(job_id, COMPLETED), "end"))
    assert office.wait_for("end").status == "completed"
    assert store.messages(job_id).count("Background job completed processing") == 1
    assert [len(answers) for answers in office.answers.values()] == [1, 1]
    assert store.attempts(job_id)[0]["outcome"] == "completed"


def test_the_lines_that_are_told_have_the_ids_that_are_stored(
    store: Store, proxy: Proxy, office: Office
) -> None:
    loses(proxy, Lost.ANSWER)
    office.ask(submission(asked(), asked()))
    told = [line.id for line in office.committed[-1].lines] or [
        line.id for line in office.committed[-2].lines
    ]
    assert told == [row["id"] for row in store.rows("SELECT id FROM job_logs ORDER BY id")]


def test_a_claim_whose_answer_was_lost_is_told_so_that_it_starts(store: Store, proxy: Proxy) -> None:
    store.submit(asked())
    office = Office(store, proxy, Lanes(1))
    office.writer.start()
    loses(proxy, Lost.ANSWER)
    office.ask(Look())
    office.finish()
    claims = [claim for committed in office.committed for claim in committed.claims]
    assert [claim.job.id for claim in claims] == [1]
    assert [claim.token for claim in claims] == [store.attempts(1)[0]["token"]]


def test_a_caller_who_would_wait_too_long_is_refused_and_what_happened_waits_on(
    store: Store, proxy: Proxy, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "_IN_DOUBT_FOR", 0.01)
    monkeypatch.setattr(writers, "_FIRST_PAUSE", 1.0)  # there is no try before that
    job_id = store.run_one()

    def cut() -> Lost:
        proxy.cut()
        return Lost.ANSWER

    proxy.loses = cut
    office.writer.put(Entrusted(submission(asked()), "submit"), Entrusted(ends(job_id, COMPLETED), "end"))
    refused = office.wait_for("submit")
    assert isinstance(refused, StorageUnavailableError)
    assert refused.parameters["may_be_stored"]
    proxy.loses = lambda: None
    proxy.mend()
    assert office.wait_for("end").status == "completed"
    assert store.messages(job_id).count("Background job completed processing") == 1


def test_what_another_history_of_the_database_may_have_forgotten_is_as_uncertain_as_ever(
    store: Store, proxy: Proxy, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = store.run_one()
    monkeypatch.setattr(PostgresDatabase, "fate_of", lambda database, transaction: CommitFate.UNKNOWN)
    loses(proxy, Lost.WISH)
    office.writer.put(Entrusted(submission(asked()), "submit"), Entrusted(ends(job_id, COMPLETED), "end"))
    refused = office.wait_for("submit")
    assert isinstance(refused, StorageUnavailableError)
    assert refused.parameters["may_be_stored"]
    assert office.wait_for("end").status == "completed"


def try_fate(store: Store, transaction: Any) -> CommitFate | None:
    """None while it is under way."""
    try:
        fate: CommitFate = store.database.fate_of(transaction)
    except OperationalError:
        return None
    return fate


def doubted(proxy: Proxy, office: Office) -> Any:
    """A transaction that the server knows, and whose commit never came."""
    loses(proxy, Lost.WISH)
    database = office.place.open_for_writing()
    database.begin_writing()
    with pytest.raises(UncertainCommitError) as error:
        database.commit_writing()
    database.roll_back()
    return error.value.transaction


def test_the_server_tells_the_fate_of_transactions_of_its_own_history_alone(
    store: Store, proxy: Proxy, office: Office
) -> None:
    transaction = doubted(proxy, office)
    eventually(lambda: try_fate(store, transaction) is CommitFate.ABORTED)
    store.database._origin = "another"
    assert store.database.fate_of(transaction) is CommitFate.UNKNOWN
    store.database._origin = None
    assert store.database.fate_of(transaction) is CommitFate.UNKNOWN


@pytest.mark.parametrize("lost", Lost)
def test_after_a_failover_what_the_transaction_wrote_tells_whether_it_is_there(
    store: Store, proxy: Proxy, office: Office, lost: Lost
) -> None:
    origins = iter(["the old one", "the new one"])

    class OfAnother(Postgres):
        def open_for_writing(self) -> PostgresDatabase:
            database = super().open_for_writing()
            database._origin = next(origins)
            return database

    office.writer._engine = OfAnother(office.place.address)
    proxy.drop()
    eventually(lambda: not isinstance(office.ask(submission(asked()), object()), Exception))
    loses(proxy, lost)
    (stored,) = office.ask(submission(asked()), "lost")
    assert [row["id"] for row in store.rows(ALL)] == [1, stored.id]
    assert store.messages(stored.id) == store.messages(1)


def test_an_id_that_the_server_has_not_given_yet_says_nothing(store: Store) -> None:
    transaction = postgres_transaction(store, str(2**40))
    assert store.database.fate_of(transaction) is CommitFate.UNKNOWN


def test_a_transaction_that_is_under_way_is_waited_for(store: Store, office: Office) -> None:
    database = office.place.open_for_writing()
    database.begin_writing()
    database.check_term()
    transaction = postgres_transaction(store, database._transaction)
    with pytest.raises(OperationalError, match="still at the transaction") as error:
        store.database.fate_of(transaction)
    assert office.place.is_trouble(error.value)
    database.roll_back()
    database.close()
    assert store.database.fate_of(transaction) is CommitFate.ABORTED


def postgres_transaction(store: Store, id: str) -> Any:
    return Transaction(store.database._origin, id)


def end_of_connections(store: Store, chance: random.Random) -> None:
    """End one connection to the database, if there is one."""
    own = store.rows("SELECT pg_backend_pid() AS pid")[0]["pid"]
    others = [
        row["pid"]
        for row in store.rows("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
        if row["pid"] != own
    ]
    if others:
        store.rows("SELECT pg_terminate_backend(?::integer)", chance.choice(others))


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_whatever_is_lost_of_commits_each_submit_and_each_end_is_stored_once(
    store: Store, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(writers, "_FIRST_PAUSE", 0.01)
    chance = random.Random(seed)
    office = Office(store, proxy, Lanes(1000))
    proxy.loses = lambda: chance.choice([*Lost, None, None, None])
    office.writer.start()
    keys = [f"key{number}" for number in range(30)]
    for key in keys:
        if chance.random() < 0.1:
            end_of_connections(store, chance)
        while isinstance(office.ask(submission(asked(idempotency_key=key)), key), StorageUnavailableError):
            del office.answers[key]
    office.ask(Look(), "claims")
    claims = [claim for committed in office.committed for claim in committed.claims]
    assert sorted(claim.job.id for claim in claims) == [row["id"] for row in store.rows(ALL)]
    for claim in claims:
        if chance.random() < 0.1:
            end_of_connections(store, chance)
        office.writer.put(Entrusted(ends(claim.job.id, COMPLETED, claim.job.attempt), claim.job.id))
        office.wait_for(claim.job.id)
    proxy.loses = lambda: None
    office.finish()
    assert [row["status"] for row in store.rows(ALL)] == ["completed"] * len(keys)
    assert {row["idempotency_key"] for row in store.rows(ALL)} == set(keys)
    for row in store.rows(ALL):
        assert store.messages(row["id"]).count("Background job completed processing") == 1
    told = [line.id for committed in office.committed for line in committed.lines]
    assert told == [row["id"] for row in store.rows("SELECT id FROM job_logs ORDER BY id")]


ALL = "SELECT * FROM background_jobs ORDER BY id"


# A database that has gone back, and its time


def test_a_server_that_has_forgotten_what_it_acknowledged_gets_nothing_started_until_somebody_accepts(
    store: Store, proxy: Proxy, tmp_path: Path
) -> None:
    history = History(tmp_path)
    office = Office(store, proxy, Lanes(1), history)
    office.writer.start()
    try:
        office.ask(submission(asked()))
        store.database.execute_sql("DELETE FROM job_logs WHERE id = (SELECT max(id) FROM job_logs)")
        proxy.drop()
        eventually(lambda: not isinstance(office.ask(submission(asked()), object()), Exception))
        assert history.trouble is not None
        assert "its newest log entry is 1, and 2 was acknowledged" in history.trouble
        office.committed.clear()
        office.ask(ends(1, COMPLETED), "end")
        assert [committed.claims for committed in office.committed] == [()]
        assert History(tmp_path).trouble == history.trouble
        history.accept()
        office.ask(Look(), "look")
        assert [claim.job.id for claim in office.committed[-1].claims] == [2]
        assert History(tmp_path).trouble is None
    finally:
        office.finish()


def test_what_others_wrote_meanwhile_is_no_going_back(store: Store, proxy: Proxy, tmp_path: Path) -> None:
    history = History(tmp_path)
    office = Office(store, proxy, NO_SLOTS, history)
    office.writer.start()
    try:
        office.ask(submission(asked()))
        store.submit(asked())
        proxy.drop()
        eventually(lambda: not isinstance(office.ask(submission(asked()), object()), Exception))
        assert history.trouble is None
    finally:
        office.finish()


def test_beats_that_are_gone_show_it_as_well(store: Store, tmp_path: Path) -> None:
    history = History(tmp_path)
    history.acknowledge_beats(5)
    history.beats = lambda database: 5
    history.compare(store.database)
    assert history.trouble is None
    history.beats = lambda database: 4
    history.compare(store.database)
    assert history.trouble is not None


def test_what_is_stored_has_the_servers_time(
    store: Store, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "bgjobd.store.engines.postgres_transactions._TIME",
        "SELECT extract(epoch FROM clock_timestamp())::float8 + 3600",
    )
    office = Office(store, proxy)
    office.writer.start()
    try:
        (stored,) = office.ask(submission(asked()))
    finally:
        office.finish()
    created = from_text(store.job(stored.id)["created_at"])
    assert abs(created - time.time() - 3600) < 60

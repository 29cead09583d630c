"""All of a database copied into one of the other engine, and back: whole, or not at all, and into nobody else's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bgjobd.core.facts import AttemptEnded
from bgjobd.core.hosts import Profile
from bgjobd.core.job import Ending
from bgjobd.host.clock import to_text
from bgjobd.store import moving
from bgjobd.store.crossing import MOVED, Crossing, sum_of
from bgjobd.store.database import NoDatabaseError, UnusableDatabaseError, open_for_writing
from bgjobd.store.engines.filling import filling_of
from bgjobd.store.engines.postgres import Postgres
from bgjobd.store.engines.sqlite import Sqlite
from bgjobd.store.items.attempts import JobFact, OutputEnded
from bgjobd.store.items.daemons import DaemonStarted
from bgjobd.store.items.retention import Deletion
from bgjobd.store.items.schedules import ScheduleDefined, SchedulePaused, SchedulePut, SchedulesDefined
from bgjobd.store.migrations import COPIED_AT, STEPS
from bgjobd.store.moving import (
    HostsLiveError,
    MailWaitsError,
    Moved,
    OwnHost,
    TargetInUseError,
    UnlikeError,
    move,
)
from bgjobd.store.statements.of_copies import COPYINGS
from tests.postgresql import PostgreSQL
from tests.store.samples import COMPLETED, NOW, Store, asked, does, done, ends
from tests.store.test_hosts import Host

OWN = OwnHost(
    "7c4fd7a1-8d2b-4df1-9d43-0f9e6f3a6c11", "web1", "boot", "1.0", 600.0, Profile(4, ("default",), ("C",))
)
Rows = dict[str, list[tuple[Any, ...]]]


@pytest.fixture
def empty(postgresql: PostgreSQL) -> Postgres:
    """A database without any table."""
    return Postgres(postgresql.dsn(postgresql.database()))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    (tmp_path / "from").mkdir()
    store = Store(tmp_path / "from")
    yield store
    store.close()


def goes(source: Sqlite | Postgres, target: Sqlite | Postgres) -> Moved:
    return move(source, target, OWN, lambda *_: None)


def rows_of(engine: Sqlite | Postgres) -> Rows:
    """By table, but for what says that they are a copy."""
    with closing(engine.open_for_reading()) as database:
        found = {one.table: list(database.walk(one.select, ())) for one in COPYINGS}
    return found | {"properties": [row for row in found["properties"] if row[0] != MOVED]}


def one_of_each(database: Any) -> None:
    """A row in every table, with a value in every column, by its kind; ids up to 70."""
    for number, one in enumerate(COPYINGS):
        if one.table == "properties":
            continue
        kinds = {row[1]: row[2] for row in database.execute_sql(f'PRAGMA table_info("{one.table}")')}
        made = {"INTEGER": 50 + number, "REAL": 0.1 + number, "TEXT": "ü%:?☃", "BLOB": b"\0\xff"}
        given = [made.get(kinds[name], f"{name} {number}") for name in one.columns]
        database.execute_sql(one.insert, tuple(given))


def test_a_file_goes_to_a_server_and_back_with_every_table_column_and_value(
    store: Store, empty: Postgres, tmp_path: Path
) -> None:
    store.submit(asked(), asked(parameters={"to": "☃"}))
    one_of_each(store.database)
    store.database.execute_sql("UPDATE job_outputs SET job_id = (SELECT max(id) FROM background_jobs)")
    store.database.execute_sql("DELETE FROM hosts")
    store.database.execute_sql("UPDATE job_attempts SET host = NULL, hook_host = NULL")
    store.database.execute_sql("UPDATE schedules SET set_by = NULL")
    source, back = Sqlite(store.state_dir), Sqlite(tmp_path)
    heard: list[tuple[int, int]] = []
    moved = move(source, empty, OWN, lambda *told: heard.append(told))
    goes(empty, back)
    assert rows_of(back) == rows_of(source)
    assert moved.rows["background_jobs"] == 3
    assert heard[-1][0] == heard[-1][1] == moved.rows.total()
    known = rows_of(empty)
    assert {name: rows for name, rows in known.items() if name != "hosts"} == {
        name: rows for name, rows in rows_of(source).items() if name != "hosts"
    }


def test_ids_go_on_where_they_were_whatever_was_deleted(
    store: Store, empty: Postgres, tmp_path: Path
) -> None:
    ids = store.submit(*[asked() for _ in range(5)])
    store.database.execute_sql("DELETE FROM background_jobs WHERE id > 2")
    goes(Sqlite(store.state_dir), empty)
    goes(empty, Sqlite(tmp_path))
    for place in (empty, tmp_path):
        with closing(Store.on(place)) as there:
            assert there.submit(asked()) == [max(ids) + 1]


def test_an_attempt_that_runs_is_of_the_host_that_moved_and_ends_there(store: Store, empty: Postgres) -> None:
    ended, running = store.run_one(), 0
    store.commit(ends(ended, COMPLETED))
    running = store.run_one()
    store.commit(does(running, done("a")))
    assert goes(Sqlite(store.state_dir), empty).running == 1
    with closing(Store.on(empty)) as there:
        (host,) = there.rows("SELECT id, uuid, name, term FROM hosts WHERE left_at IS NOT NULL")
        assert (host["uuid"], host["name"]) == (OWN.uuid, "web1")
        assert [there.attempts(id)[0]["host"] for id in (ended, running)] == [None, host["id"]]
        there.commit(JobFact(running, AttemptEnded(1, COMPLETED, NOW, None)))
        assert there.job(running)["status"] == "completed"


def test_a_schedule_of_the_configuration_is_of_the_host_that_moved_and_no_other_ends_it(
    store: Store, empty: Postgres
) -> None:
    store.commit(SchedulesDefined((ScheduleDefined("nightly", "{}", is_new=True),)))
    store.commit(
        SchedulePut(ScheduleDefined("me/own", "{}", is_new=True), uid=1000, made_by="uid 1000", most=9)
    )
    store.commit(SchedulePaused("nightly"))
    goes(Sqlite(store.state_dir), empty)
    with closing(Host.called(empty, "web2")) as other:
        (own,) = other.rows("SELECT id FROM hosts WHERE uuid = ?", OWN.uuid)
        other.answer(SchedulesDefined(()))
        assert other.rows("SELECT name, set_by, paused_at, removed_at FROM schedules ORDER BY name") == [
            {"name": "me/own", "set_by": None, "paused_at": None, "removed_at": None},
            {"name": "nightly", "set_by": own["id"], "paused_at": to_text(NOW), "removed_at": None},
        ]


def test_what_was_kept_of_an_output_goes_with_its_job_in_a_file_as_well(
    store: Store, empty: Postgres, tmp_path: Path
) -> None:
    ended = store.run_one()
    store.commit(ends(ended, COMPLETED))
    store.submit(asked())  # whose entry is the newest, so that the other may go
    goes(Sqlite(store.state_dir), empty)
    with closing(Store.on(empty)) as there:
        there.commit(OutputEnded(ended, 1, b"begin", b"", 0))
    goes(empty, Sqlite(tmp_path))
    with closing(Store(tmp_path)) as back:
        assert back.count("job_outputs") == 1
        assert back.answer(Deletion((ended,), last_entry=10**9)).jobs == (ended,)
        assert back.count("job_outputs") == 0


def test_what_a_file_has_kept_of_outputs_of_jobs_that_are_gone_stays_behind(
    store: Store, empty: Postgres
) -> None:
    (job_id,) = store.submit(asked())
    for kept in (job_id, job_id + 1):
        store.database.execute_sql("INSERT INTO job_outputs VALUES (?, 1, x'00', x'', 0)", (kept,))
    heard: list[tuple[int, int]] = []
    move(Sqlite(store.state_dir), empty, OWN, lambda *told: heard.append(told))
    assert [row[0] for row in rows_of(empty)["job_outputs"]] == [job_id]
    assert heard[-1][0] == heard[-1][1]


def test_where_there_is_one_host_nothing_of_hosts_stays(
    store: Store, empty: Postgres, tmp_path: Path
) -> None:
    store.run_one()
    goes(Sqlite(store.state_dir), empty)
    with psycopg.connect(empty.address) as connection:
        connection.execute("INSERT INTO bgjobd.consequences VALUES ('host', 1, 0), ('job', 1, 0)")
    goes(empty, Sqlite(tmp_path))
    found = rows_of(Sqlite(tmp_path))
    assert found["hosts"] == []
    assert found["consequences"] == [("job", 1, 0)]
    with closing(Store(tmp_path)) as there:
        assert there.attempts(1)[0]["host"] is None


def test_a_nul_is_stored_as_what_stands_for_it_and_told(store: Store, empty: Postgres) -> None:
    job_id = store.run_one()
    store.commit(ends(job_id, Ending.failed("ValueError", "a\0b", "Trace\0back")))
    moved = goes(Sqlite(store.state_dir), empty)
    assert moved.nul["job_attempts.error_message"] == 1
    with closing(Store.on(empty)) as there:
        assert there.attempts(job_id)[0]["error_message"] == "a\ufffdb"


# Into what


def test_it_can_be_repeated_until_somebody_has_used_the_copy(store: Store, empty: Postgres) -> None:
    store.submit(asked())
    source = Sqlite(store.state_dir)
    goes(source, empty)
    store.submit(asked())
    assert goes(source, empty).rows["background_jobs"] == 2
    with closing(Store.on(empty)) as there:
        there.submit(asked())
    with pytest.raises(TargetInUseError, match=r"something of its own, in background_jobs; name one"):
        goes(source, empty)
    with closing(Store.on(empty)) as there:
        assert there.count("background_jobs") == 3


def test_a_copy_is_not_that_of_another_database(store: Store, empty: Postgres, tmp_path: Path) -> None:
    goes(Sqlite(store.state_dir), empty)
    goes(Sqlite(store.state_dir), empty)
    store.submit(asked())
    goes(Sqlite(store.state_dir), empty)
    with closing(Store(tmp_path)) as other:
        other.submit(asked())
        with pytest.raises(TargetInUseError):
            goes(Sqlite(tmp_path), empty)


def test_tables_that_nobody_has_used_are_filled(store: Store, empty: Postgres) -> None:
    empty.prepare(lambda: None)
    store.submit(asked())
    goes(Sqlite(store.state_dir), empty)
    assert rows_of(empty)["properties"] == rows_of(Sqlite(store.state_dir))["properties"]


def test_a_database_where_a_daemon_has_but_started_is_filled(store: Store, empty: Postgres) -> None:
    empty.prepare(lambda: None)
    with closing(Store.on(empty)) as there:
        there.commit(DaemonStarted("1.2"))
    store.commit(DaemonStarted("1.2"))
    goes(Sqlite(store.state_dir), empty)
    assert rows_of(empty)["changes"] == rows_of(Sqlite(store.state_dir))["changes"]


def test_tables_of_another_version_are_not_filled(store: Store, empty: Postgres) -> None:
    empty.prepare(lambda: None)
    with psycopg.connect(empty.address) as connection:
        connection.execute("UPDATE bgjobd.schema_version SET version = version - 1")
    with pytest.raises(TargetInUseError, match=f"of version {len(STEPS) - 1}"):
        goes(Sqlite(store.state_dir), empty)


def test_a_database_is_not_moved_into_itself(store: Store, empty: Postgres) -> None:
    goes(Sqlite(store.state_dir), empty)
    with pytest.raises(TargetInUseError, match="it is this very database"):
        goes(empty, Postgres(f"{empty.address} application_name=other"))


def lives(place: Postgres, uuid: str, seen_at: float) -> None:
    with psycopg.connect(place.address) as connection:
        connection.execute(
            "INSERT INTO bgjobd.hosts (uuid, name, boot_id, term, beats, seen_at, lost_after, version, schema, slots, "
            "queues, classes) VALUES (%s, 'web2', 'b', 1, 1, %s, 600, '1.0', 18, 4, '[]', '[]')",
            (uuid, to_text(seen_at)),
        )


@pytest.mark.parametrize("is_source", [True, False], ids=["there", "in the other"])
def test_a_host_that_lives_refuses_it_and_is_named(
    store: Store, empty: Postgres, tmp_path: Path, is_source: bool
) -> None:
    empty.prepare(lambda: None)
    lives(empty, "another", time.time())
    both = (empty, Sqlite(tmp_path)) if is_source else (Sqlite(store.state_dir), empty)
    with pytest.raises(HostsLiveError, match="web2 works from"):
        goes(*both)


def test_hosts_that_are_gone_and_the_own_one_refuse_nothing(empty: Postgres, tmp_path: Path) -> None:
    empty.prepare(lambda: None)
    lives(empty, OWN.uuid, time.time())
    lives(empty, "another", time.time() - 601)
    goes(empty, Sqlite(tmp_path))


@pytest.mark.parametrize("is_source", [True, False], ids=["there", "in the other"])
def test_what_applications_have_sent_is_not_left_behind_and_not_overwritten(
    store: Store, empty: Postgres, tmp_path: Path, is_source: bool
) -> None:
    goes(Sqlite(store.state_dir), empty)
    with psycopg.connect(empty.address) as connection:
        connection.execute("SELECT bgjobd.submit('a.B', 'run')")
    both = (empty, Sqlite(tmp_path)) if is_source else (Sqlite(store.state_dir), empty)
    with pytest.raises(MailWaitsError if is_source else TargetInUseError):
        goes(*both)


# What goes wrong


def test_where_there_is_nothing_nothing_is_made(empty: Postgres, tmp_path: Path) -> None:
    with pytest.raises(NoDatabaseError):
        goes(Sqlite(tmp_path), empty)
    with pytest.raises(UnusableDatabaseError, match="there is nothing in it"):
        goes(empty, Sqlite(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_what_did_not_arrive_as_it_was_is_found_and_nothing_of_it_stays(
    store: Store, empty: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = 'INSERT INTO "queues" ("name", "paused_at", "resumes_at") VALUES (?, ?, ?)'
    store.database.execute_sql(text, ("default", "now", None))
    broken = [
        one._replace(insert=text.replace("(?,", "(upper(?),")) if one.table == "queues" else one
        for one in COPYINGS
    ]
    monkeypatch.setattr(moving, "COPYINGS", tuple(broken))
    with pytest.raises(UnlikeError, match="table queues came to 1 rows"):
        goes(Sqlite(store.state_dir), empty)
    assert rows_of(empty)["queues"] == []


def test_a_move_that_is_interrupted_leaves_the_other_as_it_was(store: Store, empty: Postgres) -> None:
    store.submit(asked())
    goes(Sqlite(store.state_dir), empty)
    before = rows_of(empty)
    store.submit(asked())

    def interrupt(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        move(Sqlite(store.state_dir), empty, OWN, interrupt)
    assert rows_of(empty) == before


def test_a_backup_that_was_put_in_place_is_taken_over_first(store: Store, empty: Postgres) -> None:
    store.submit(asked())
    store.database.execute_sql("INSERT INTO properties VALUES (?, 'then')", (COPIED_AT,))
    assert goes(Sqlite(store.state_dir), empty).is_restored
    assert [name for name, *_ in rows_of(empty)["queues"]] == ["default"]


# Rows


def test_zero_is_one_number() -> None:
    assert sum_of("rates", ("full_at",), [(0.0,)]) == sum_of("rates", ("full_at",), [(-0.0,)])
    assert sum_of("rates", ("full_at",), [(0.0,)]) != sum_of("rates", ("full_at",), [(None,)])


def test_the_word_of_a_copy_stays_behind_and_counts_for_nothing() -> None:
    columns = ("name", "value")
    crossed = Crossing(has_nul=True, loses_hosts=False).of_table("properties", columns)
    assert crossed((MOVED, "{}")) is None
    assert sum_of("properties", columns, [(MOVED, "{}"), ("a", "b")]) == sum_of(
        "properties", columns, [("a", "b")]
    )


def test_neither_statements_nor_transactions_of_a_move_are_ended_for_they_take_long(empty: Postgres) -> None:
    with closing(empty.open_for_writing()) as database:
        filling_of(database).take_time()
        for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
            assert database.execute_sql(f"SHOW {name}").fetchone() == ("0",)


def test_counters_are_set_back_as_well(empty: Postgres, tmp_path: Path) -> None:
    empty.prepare(lambda: None)
    Sqlite(tmp_path).prepare(lambda: None)
    for database in (empty.open_for_writing(), open_for_writing(tmp_path)):
        with closing(database):
            filling = filling_of(database)
            for newest in (7, 3):
                filling.set_counters({"background_jobs": newest})
                assert filling.counters()["background_jobs"] == newest

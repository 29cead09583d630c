"""`bgjobd check` of a database: what a look at SQLite, or at the server and at other hosts, comes to."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from bgjobd.commands import check as checking
from bgjobd.commands import check_database
from bgjobd.commands.findings import Finding, Severity
from bgjobd.config import loading, sections
from bgjobd.config.shared_rules import shared_rules
from bgjobd.daemon.schedule_definitions import definition_of
from bgjobd.store.database import FILE_NAME
from bgjobd.store.engines import OldSnapshot, sqlite
from bgjobd.store.engines.postgres import Postgres
from bgjobd.store.migrations import STEPS
from bgjobd.store.reader import Reader
from bgjobd.store.server_look import KnownHost, ServerLook, look
from tests.postgresql import USER, PostgreSQL

WELL = ServerLook(
    version=170002,
    encoding="UTF8",
    user="bgjobd",
    settings={"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"},
    round_trip=0.0002,
    connections=97,
    schema=len(STEPS),
)
WEB2 = KnownHost("u2", "web2", "1.0", '["default"]', 3.0, 600.0, has_left=False)


def config(tmp_path: Path, more: str = "", environ: dict[str, str] | None = None) -> sections.Config:
    file = tmp_path / "bgjobd.toml"
    file.write_text(
        "[daemon]\nsocket = 's.sock'\nstate_dir = 'state'\nruntime_dir = 'run'\nlog_dir = 'log'\n"
        f"[web]\nenabled = false\n[hosts]\nname = 'web1'\n{more}"
    )
    return loading.load(file, environ or {}, is_root=False)


def told(tmp_path: Path, seen: ServerLook, more: str = "") -> list[Finding]:
    """What is not well."""
    found = check_database.judge(seen, config(tmp_path, more), "1.0")
    return [one for one in found if one.severity is not Severity.OK]


@pytest.mark.parametrize(
    ("version", "messages"),
    [
        ((3, 39, 5), ["database: SQLite is 3.39.5 here, and 3.40 is the oldest that is tested"]),
        ((3, 40, 0), []),
        ((4, 0, 0), []),
    ],
)
def test_an_sqlite_that_is_older_than_those_that_are_tested_is_doubtful(
    version: tuple[int, ...], messages: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "VERSION", version)
    found = check_database.findings(config(tmp_path), "1.0")
    assert [one.told.partition(";")[0] for one in found] == messages
    assert all(one.severity is Severity.DOUBTFUL for one in found)


def test_a_log_whose_database_is_gone_is_told_before_a_start_refuses_it(tmp_path: Path) -> None:
    own = config(tmp_path)
    own.daemon.state_dir.mkdir()
    (own.daemon.state_dir / f"{FILE_NAME}-wal").write_bytes(b"what was stored")
    assert any("put the file back; or" in one.told for one in check_database.findings(own, "1.0"))


def test_a_server_that_is_well_is_told_with_its_version_and_distance(tmp_path: Path) -> None:
    found = check_database.judge(WELL, config(tmp_path), "1.0")
    assert [str(one).split(maxsplit=1)[1] for one in found] == [
        f"database: PostgreSQL 17, UTF-8, schema version {len(STEPS)} of {len(STEPS)}, as role bgjobd",
        "database: a round trip takes 0.2 ms",
    ]


@pytest.mark.parametrize(
    ("seen", "severity", "message"),
    [
        (replace(WELL, version=130004), Severity.BROKEN, "it is PostgreSQL 13, and 14 is the oldest"),
        (replace(WELL, encoding="LATIN1"), Severity.BROKEN, "its encoding is LATIN1"),
        (replace(WELL, is_switched=True), Severity.BROKEN, "as one in transaction mode"),
        (replace(WELL, is_relayed=True), Severity.REMARK, "something speaks for the server"),
        (
            replace(WELL, of_others=("hosts",)),
            Severity.BROKEN,
            "does not own all tables of schema bgjobd (hosts)",
        ),
        (replace(WELL, can_make=False), Severity.BROKEN, "GRANT CREATE, USAGE ON SCHEMA bgjobd TO bgjobd"),
        (
            replace(WELL, can_make=False, schema=0),
            Severity.BROKEN,
            "CREATE SCHEMA bgjobd AUTHORIZATION bgjobd",
        ),
        (replace(WELL, settings={"fsync": "off"}), Severity.DOUBTFUL, "ALTER SYSTEM SET fsync = on"),
        (replace(WELL, settings={"full_page_writes": "off"}), Severity.DOUBTFUL, "full_page_writes is off"),
        (
            replace(WELL, settings={"synchronous_commit": "off"}),
            Severity.DOUBTFUL,
            "ALTER ROLE bgjobd SET synchronous_commit = on",
        ),
        (replace(WELL, round_trip=0.006), Severity.REMARK, "a round trip takes 6.0 ms"),
        (
            replace(WELL, clock_difference=-6.0),
            Severity.DOUBTFUL,
            "the server's is 6 s behind this machine's",
        ),
        (
            replace(WELL, connections=3),
            Severity.DOUBTFUL,
            "1 daemons take 4 connections, and the server has 3",
        ),
        (
            replace(WELL, connections=7, hosts=(WEB2,)),
            Severity.DOUBTFUL,
            "2 daemons take 8 connections, and the server has 7",
        ),
        (replace(WELL, snapshot=OldSnapshot(7, 61.0, "ada, psql")), Severity.REMARK, "process 7 (ada, psql)"),
        (replace(WELL, snapshot=OldSnapshot(7, 3601.0, "ada")), Severity.DOUBTFUL, "pg_terminate_backend(7)"),
        (replace(WELL, hosts=(replace(WEB2, name="web1"),)), Severity.BROKEN, "another one is called web1"),
        (
            replace(WELL, hosts=(replace(WEB2, away=601.0),)),
            Severity.REMARK,
            "web2 has not been seen for 601 s",
        ),
        (
            replace(WELL, hosts=(replace(WEB2, version="0.9"),)),
            Severity.REMARK,
            "web2 runs bgjobd 0.9, and this",
        ),
    ],
)
def test_what_is_not_well_is_told_with_what_to_do(
    tmp_path: Path, seen: ServerLook, severity: Severity, message: str
) -> None:
    (found,) = told(tmp_path, seen)
    assert found.severity is severity
    assert message in found.told
    assert ";" in found.told


@pytest.mark.parametrize(
    "seen",
    [
        replace(WELL, hosts=(WEB2,)),
        replace(WELL, hosts=(replace(WEB2, name="web1", has_left=True),)),
        replace(WELL, snapshot=OldSnapshot(7, 59.0, "ada")),
        replace(WELL, clock_difference=4.9, round_trip=0.005),
    ],
    ids=["a host that lives", "a host of the same name that left", "a young snapshot", "near enough"],
)
def test_what_is_well_is_not_complained_of(tmp_path: Path, seen: ServerLook) -> None:
    assert told(tmp_path, seen) == []


def test_the_own_host_is_no_other_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "host.json").write_text('{"uuid": "u2"}')
    assert told(tmp_path, replace(WELL, hosts=(replace(WEB2, name="web1"),))) == []


def test_queues_that_another_host_has_as_well_are_told(tmp_path: Path) -> None:
    found = check_database.judge(replace(WELL, hosts=(WEB2,)), config(tmp_path), "1.0")
    assert "hosts: queue default is shared with web2" in [one.told for one in found]


def test_what_another_host_says_otherwise_of_what_counts_for_all_is_told_by_its_key(tmp_path: Path) -> None:
    rules = """
        [queues.default]
        slots_per_key = 2
        [queues.mail]
        [approved]
        "shop.Import" = { rate = "10/1s" }
        [retention]
        logs = "30d"
    """
    theirs = shared_rules(config(tmp_path, rules)) | {
        "queues.default.slots_per_key": "3",
        "queues.elsewhere.share": "key",
        'approved."shop.Import".rate': "none",
        "retention.logs": "false",
    }
    told_of = [one.told.partition(";")[0] for one in told(tmp_path, with_rules(theirs), rules)]
    assert told_of == [
        'hosts: approved."shop.Import".rate is none at web2, and 10 in 1 s here',
        "hosts: queues.default.slots_per_key is 3 at web2, and 2 here",
        "hosts: retention.logs is false at web2, and 2,592,000 s here",
    ]
    assert told(tmp_path, with_rules(shared_rules(config(tmp_path, rules))), rules) == []
    assert told(tmp_path, with_rules(theirs, has_left=True), rules) == []


def with_rules(rules: dict[str, str], **others: Any) -> ServerLook:
    return replace(WELL, hosts=(replace(WEB2, rules=json.dumps(rules), **others),))


def test_a_schedule_that_another_host_has_set_otherwise_is_told_and_who_it_is(tmp_path: Path) -> None:
    nightly = "[schedules.nightly]\njob = 'shop.Import::run'\ncron = '{} 2 * * *'\n"
    meant = definition_of(config(tmp_path, nightly.format(30)).schedules["nightly"])
    seen = replace(WELL, hosts=(WEB2,), schedules=(("nightly", meant, "u2"), ("weekly", "{}", "u2")))
    assert told(tmp_path, seen, nightly.format(30)) == []
    (found,) = told(tmp_path, seen, nightly.format(45))
    assert found.severity is Severity.REMARK
    assert found.told.startswith(
        "hosts: web2 has set schedule nightly otherwise; the next start or reload here"
    )
    gone = replace(seen, hosts=(replace(WEB2, has_left=True),))
    assert told(tmp_path, gone, nightly.format(45)) == []


def test_roles_that_may_submit_and_cannot_are_told_with_the_statements(tmp_path: Path) -> None:
    seen = replace(WELL, may_submit=False)
    assert told(tmp_path, seen) == []
    (found,) = told(tmp_path, seen, "[access.roles]\nshop = 'www-data'\n")
    assert found.severity is Severity.DOUBTFUL
    assert "GRANT EXECUTE ON FUNCTION bgjobd.submit TO bgjobd_submitter" in found.told


# A real server


@pytest.fixture
def place(postgresql: PostgreSQL) -> Postgres:
    place = Postgres(postgresql.dsn(postgresql.database()))
    place.prepare(lambda: None)
    return place


def test_a_look_finds_the_server_as_it_is(place: Postgres) -> None:
    with psycopg.connect(place.address, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO bgjobd.hosts (uuid, name, boot_id, term, beats, seen_at, lost_after, version, schema, slots, "
            "queues, classes, rules) SELECT 'u2', 'web2', 'b', 1, 1, "
            "to_char(now() AT TIME ZONE 'UTC' - interval '1 minute', "
            """'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 600, '1.0', 18, 4, '["default"]', '[]', '{}'"""
        )
        connection.execute(
            "INSERT INTO bgjobd.schedules (name, definition, since, cursor, set_by) SELECT 'nightly', '{}', '', '', id "
            "FROM bgjobd.hosts"
        )
    with psycopg.connect(place.address) as old:
        old.execute("SELECT txid_current()")
        pid = old.info.backend_pid
        seen = look(place)
        with closing(Reader(place)) as reader:
            told = reader.oldest_snapshot()
    assert told is not None
    assert (told.pid, 0 < told.seconds < 600) == (pid, True)
    assert (seen.encoding, seen.user, seen.schema) == ("UTF8", USER, len(STEPS))
    assert (seen.is_switched, seen.is_relayed, seen.of_others) == (False, False, ())
    assert seen.can_make
    assert seen.may_submit
    assert seen.settings["fsync"] == "off"
    assert abs(seen.clock_difference) < 5
    assert seen.snapshot is not None
    assert seen.snapshot.pid == pid
    (host,) = seen.hosts
    assert (host.name, host.lives, 55 < host.away < 90, host.rules) == ("web2", True, True, "{}")
    assert seen.schedules == (("nightly", "{}", "u2"),)


def test_a_role_that_may_make_nothing_is_seen(postgresql: PostgreSQL, place: Postgres) -> None:
    with psycopg.connect(place.address, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"CREATE ROLE guest_of_{name} LOGIN")
        connection.execute(f"GRANT USAGE ON SCHEMA bgjobd TO guest_of_{name}")
        connection.execute(f"GRANT SELECT ON bgjobd.schema_version, bgjobd.hosts TO guest_of_{name}")
    seen = look(Postgres(place.address.replace(f"user={USER}", f"user=guest_of_{name}")))
    assert not seen.can_make
    assert "background_jobs" in seen.of_others


def test_check_tells_of_the_server_and_names_one_that_is_away_once(
    tmp_path: Path, postgresql: PostgreSQL, place: Postgres
) -> None:
    with psycopg.connect(place.address) as connection:
        name = connection.info.dbname
    address = f"postgresql://{USER}@/{name}?host={quote(str(postgresql.directory), safe='')}"
    lines = str(checking.check(config(tmp_path, environ={"BGJOBD_DAEMON__DATABASE": address}))).splitlines()
    assert any("fsync is off" in line for line in lines)
    nowhere = f"postgresql:///shop?host={quote(str(tmp_path), safe='')}"
    lines = str(checking.check(config(tmp_path, environ={"BGJOBD_DAEMON__DATABASE": nowhere}))).splitlines()
    assert len([line for line in lines if "cannot be used" in line]) == 1

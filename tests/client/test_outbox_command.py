"""`bgjob outbox`, over an SQLite file, with what stands in for a daemon; over PostgreSQL
it is in `test_outbox.py`.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from bgjob import command
from bgjob.outbox import DDL, Outbox
from bgjob.outbox.dsn import connected
from bgjob.testing import recorded

AWAY = "/nowhere"


@pytest.fixture
def path(tmp_path: Path) -> str:
    """An SQLite file with an outbox of three jobs."""
    path = tmp_path / "shop?.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(DDL["sqlite"])
        for to in ("ada", "bob", "eve"):
            Outbox().submit(connection, "shop.Mail", "send", {"to": to})
        connection.commit()
    return str(path)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*words: str) -> tuple[int, str, str]:
        code = command.main(["outbox", "--socket", AWAY, *words])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


Run = Callable[..., tuple[int, str, str]]


def test_all_that_stays_is_submitted_however_young(path: str, run: Run) -> None:
    with recorded() as jobs:
        assert run("--dsn", path) == (0, "3 jobs submitted\n", "")
        assert run("--dsn", f"sqlite:///{path}") == (0, "0 jobs submitted\n", "")
    assert [job.parameters["to"] for job in jobs] == ["ada", "bob", "eve"]


def test_without_a_daemon_all_stays(path: str, run: Run) -> None:
    code, out, err = run("--dsn", path)
    assert (code, out) == (69, "0 jobs submitted, 3 to be submitted later\n")
    assert "no daemon answers" in err


def test_what_is_refused_is_told_listed_and_tried_again(path: str, run: Run) -> None:
    with recorded(approved=["shop.Other"]):
        code, out, err = run("--dsn", path, "--json")
    refused = json.loads(out)["refused"]
    assert (code, len(refused), err.count("--again")) == (77, 3, 3)
    assert run("--dsn", path, "--list")[1].count("refused  shop.Mail is not an approved class") == 3
    with recorded():
        assert run("--dsn", path) == (0, "0 jobs submitted\n", "")
        assert run("--dsn", path, "--again", refused[0]["key"]) == (0, "1 job submitted\n", "")
        assert run("--dsn", path, "--again") == (0, "2 jobs submitted\n", "")
        assert run("--dsn", path, "--again", refused[0]["key"])[0] == 4


def test_the_list_says_what_is_to_run_and_no_parameters(path: str, run: Run) -> None:
    hostile = json.dumps({"class_name": "\x1b[2J\n"})
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE bgjob_outbox SET request = '[' WHERE request LIKE '%bob%'")
        connection.execute("UPDATE bgjob_outbox SET request = ? WHERE request LIKE '%eve%'", (hostile,))
        connection.execute("UPDATE bgjob_outbox SET refused = '\x1b[2J' WHERE request = '['")
        connection.commit()
    rows = json.loads(run("--dsn", path, "--list", "--json")[1])["rows"]
    assert [row["class_name"] for row in rows] == ["shop.Mail", "?", "\x1b[2J\n"]
    assert all(row["created_at"].endswith("Z") for row in rows)
    code, shown, _ = run("--dsn", path, "--list")
    assert (code, shown.count("waits"), "ada" in shown) == (0, 2, False)
    assert "\x1b" not in shown


def test_rows_that_anybody_may_have_written_stop_no_other(path: str, run: Run) -> None:
    with closing(sqlite3.connect(path)) as connection:
        forged = "INSERT INTO bgjob_outbox (key, request, created_at) VALUES (?, CAST(? AS text), '2026')"
        connection.execute(forged, (b"blob", b'{"class_name": "a.B", "options": {}}'))
        connection.execute(forged, ("cut", b"\xff"))
        connection.execute(forged, ("half", b'{"class_name": "a.B", "options": {"queue": "\\ud800"}}'))
        connection.execute("UPDATE bgjob_outbox SET created_at = 'yesterday' WHERE request LIKE '%eve%'")
        connection.commit()
    assert json.loads(run("--dsn", path, "--list", "--json")[1])["rows"][-1]["created_at"] is None
    assert run("--dsn", path, "--list")[0] == 0
    with recorded() as jobs:
        code, out, _ = run("--dsn", path, "--json")
    told = json.loads(out)
    assert (code, told["submitted"], len(told["refused"]), len(jobs)) == (77, 3, 3, 3)


def test_an_empty_outbox_is_told(path: str, run: Run) -> None:
    with recorded():
        run("--dsn", path)
    assert run("--dsn", path, "--list") == (0, "", "bgjob: no job is in the outbox\n")


@pytest.mark.parametrize(
    ("dsn", "told"),
    [
        ("nothing.db", "unable to open database file"),
        ("host=/nowhere dbname=shop", "No such file or directory"),
        ("postgresql+asyncpg://shop@/shop?host=/nowhere", "No such file or directory"),
    ],
)
def test_a_database_that_is_not_there_is_told_on_a_line(
    dsn: str, told: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run("--dsn", dsn)
    assert (code, out, err.count("\n")) == (69, "", 1)
    assert told in err
    assert not list(tmp_path.iterdir())


def test_a_table_that_is_not_there_is_told_with_what_makes_it(tmp_path: Path, run: Run) -> None:
    sqlite3.connect(tmp_path / "empty.db").close()
    code, _, err = run("--dsn", str(tmp_path / "empty.db"))
    assert (code, "--ddl" in err) == (69, True)


def test_a_driver_that_is_not_installed_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    code, _, err = run("--dsn", "dbname=shop")
    assert (code, "pip install 'psycopg[binary]'" in err) == (69, True)


def test_a_path_is_no_more_than_a_path(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        connected(str(tmp_path / "a?mode=rwc"))
    assert not list(tmp_path.iterdir())

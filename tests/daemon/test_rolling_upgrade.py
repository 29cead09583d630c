"""A rolling upgrade: a daemon of the version before beside a newer one, at one database, while jobs run at both."""

from __future__ import annotations

import ast
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import psycopg
import pytest

from bgjobd.store.migrations import STEPS
from tests.daemon.running import RunningDaemon, daemon
from tests.postgresql import USER, PostgreSQL
from tests.support import eventually

ROOT = Path(__file__).resolve().parents[2]
MIGRATIONS = "bgjobd/store/migrations.py"
SCHEMA = "bgjobd/store/engines/postgres_schema.py"
PROBE = "probes.Probe"


class Schema(NamedTuple):
    """What a source tree knows: how many steps there are, and those of PostgreSQL by their numbers, as written."""

    version: int
    steps: dict[int, str]


def schema_of(migrations: str, schema: str) -> Schema:
    (steps,) = _values(migrations, "STEPS")
    (of_postgres,) = _values(schema, "POSTGRES_STEPS")
    assert isinstance(steps, ast.Tuple)
    assert isinstance(of_postgres, ast.Dict)
    each = zip(of_postgres.keys, of_postgres.values, strict=True)
    return Schema(len(steps.elts), {ast.literal_eval(key): ast.dump(step) for key, step in each if key})


def _values(source: str, name: str) -> list[ast.expr]:
    return [
        node.value
        for node in ast.parse(source).body
        if isinstance(node, ast.AnnAssign) and node.value is not None and ast.unparse(node.target) == name
    ]


def is_before(older: Schema, newer: Schema) -> bool:
    """Whether the newer one has all steps of the older, unchanged, and more."""
    has_all = all(newer.steps.get(number) == step for number, step in older.steps.items())
    return older.version < newer.version and has_all


def git(*words: str) -> str:
    return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=True).stdout


def try_commit_before() -> str | None:
    """The newest commit whose schema is one that this one's follows; None where no history tells."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        return None
    newer = schema_of((ROOT / MIGRATIONS).read_text(), (ROOT / SCHEMA).read_text())
    for commit in git("rev-list", "--first-parent", "HEAD", "--", MIGRATIONS, SCHEMA).split():
        try:
            older = schema_of(git("show", f"{commit}:{MIGRATIONS}"), git("show", f"{commit}:{SCHEMA}"))
        except subprocess.CalledProcessError:
            return None  # before there was PostgreSQL, or of a history that was cut off
        if is_before(older, newer):
            return commit
    return None


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a daemon of the commit before the last migration."""
    commit = try_commit_before()
    if commit is None:
        pytest.skip("no git history here that has the commit before the last migration")
    tree = tmp_path_factory.mktemp("older")
    archive = subprocess.run(
        ["git", "-C", ROOT, "archive", commit, "bgjobd", "client"], capture_output=True, check=True
    )
    subprocess.run(["tar", "-x", "-C", tree], input=archive.stdout, check=True)
    return {"PYTHONPATH": f"{tree}{os.pathsep}{tree / 'client'}", "PYTHONSAFEPATH": "1"}


class Pair:
    """Two hosts at one database, whatever their versions."""

    def __init__(self, server: PostgreSQL, directory: Path) -> None:
        self._directory = directory
        self._dsn = server.dsn(name := server.database())
        self._address = f"postgresql://{USER}@/{name}?host={quote(str(server.directory), safe='')}"

    @contextmanager
    def host(self, name: str, version: dict[str, str]) -> Iterator[RunningDaemon]:
        (self._directory / name).mkdir()
        environ = {"BGJOBD_DAEMON__DATABASE": self._address, "BGJOBD_HOSTS__NAME": name} | version
        beat = {"BGJOBD_HOSTS__BEAT": "250ms"}
        queue = f"[queues]\ndefault = {{}}\n{name} = {{}}\n"
        with daemon(self._directory / name, settings=queue, environ=environ | beat) as running:
            yield running

    def version(self) -> int:
        """Of the database's tables."""
        ((version,),) = self.ask("SELECT version FROM schema_version")
        assert isinstance(version, int)
        return version

    def ask(self, sql: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self._dsn, options="-csearch_path=bgjobd") as connection:
            return connection.execute(sql).fetchall()  # type: ignore[arg-type]  # the texts are of these tests


def at_each(hosts: list[RunningDaemon], count: int) -> list[int]:
    """Submit so many at each host, to be run by any; their ids, once all are done."""
    ids = []
    for number in range(count):
        for running in hosts:
            with running.client() as client:
                ids.append(client.run_background_job(PROBE, "echo", {"value": number}).id)
    for running in hosts:
        with running.client() as client:
            assert {client.wait(id, 30)["status"] for id in ids} == {"completed"}
    return ids


@pytest.mark.long
@pytest.mark.timeout(240)  # it starts three daemons, one of them of code that nothing has compiled
def test_a_newer_daemon_brings_the_database_up_to_date_beside_an_older_one_which_goes_on(
    postgresql: PostgreSQL, tmp_path: Path, older: dict[str, str]
) -> None:
    pair = Pair(postgresql, tmp_path)
    with pair.host("old", older) as old:
        at_each([old], 8)
        assert pair.version() < len(STEPS)
        go, ledger = tmp_path / "go", tmp_path / "ledger"
        with old.client() as client:
            job = client.run_background_job(PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)}).id
            eventually(ledger.exists)
            with pair.host("new", {}) as new:
                assert pair.version() == len(STEPS)
                at_each([old, new], 8)
                for running in (old, new):
                    with running.client() as asked:
                        assert {one["name"]: one["state"] for one in asked.hosts()} == {
                            "old": "alive",
                            "new": "alive",
                        }
                for running, other in ((old, "new"), (new, "old")):
                    with running.client() as asked:
                        pinned = asked.run_background_job(PROBE, "echo", {"value": other}, queue=other)
                        assert pinned.result(20) == other
                go.touch()
                with new.client() as asked:
                    assert asked.wait(job, 30)["status"] == "completed"
                assert ledger.read_text().count("start") == 1
                assert old.stop(signal.SIGTERM) == 0
                old.start_with(old_as_new(old))
                at_each([old, new], 2)
                assert not [line for each in (old, new) for line in each.lines() if "bug:" in line]
        assert pair.ask("SELECT count(*) FROM job_attempts WHERE outcome <> 'completed'") == [(0,)]


def old_as_new(running: RunningDaemon) -> dict[str, str]:
    """The environment in which it is of this version."""
    return {
        name: value
        for name, value in running._environ.items()
        if name not in ("PYTHONPATH", "PYTHONSAFEPATH")
    }

"""Daemons that share a database, as different hosts: each has its own attempts, and sees to those of lost ones."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from bgjob.errors import HostGoneError, HostNotFoundError, InvalidParameterError
from bgjobd.commands import check_database
from bgjobd.config import loading
from bgjobd.forkserver import host_fence
from tests.daemon.running import RunningDaemon, daemon, is_alive
from tests.postgresql import USER, PostgreSQL
from tests.support import eventually

PROBE = "probes.Probe"
STUBBORN = """
import signal
from probes import Probe


class Stubborn(Probe):
    def wait_for(self, path, ledger):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return super().wait_for(path, ledger)


class Once(Probe):
    pass
"""
QUICK = 'beat = "250ms"\nlost_after = "5s"'


class Site:
    """A database, and the hosts that work from it."""

    def __init__(self, postgresql: PostgreSQL, directory: Path) -> None:
        self._dsn = postgresql.dsn(name := postgresql.database_with_tables())
        self._directory = directory
        address = f"postgresql://{USER}@/{name}?host={quote(str(postgresql.directory), safe='')}"
        self.environ = {"BGJOBD_DAEMON__DATABASE": address}

    @contextmanager
    def host(
        self, name: str, hosts: str = "", place: str | None = None, changes: str = ""
    ) -> Iterator[RunningDaemon]:
        """A daemon of its own directories, as the host of this name."""
        directory = self._directory / (place or name)
        directory.mkdir(exist_ok=True)
        approved = (
            '"stubborn.Stubborn" = {}\n"stubborn.Once" = { retry_lost = false }\n"hooked.Hooked" = {}\n'
        )
        settings = f'{approved}[hosts]\nname = "{name}"\n{hosts}\n[queues]\n{place or name} = {{}}\n'
        modules = {"stubborn": STUBBORN, "hooked": HOOKED}
        with daemon(directory, settings, environ=self.environ, modules=modules, changes=changes) as running:
            yield running

    def rows(self, sql: str) -> list[Any]:
        with psycopg.connect(self._dsn, options="-csearch_path=bgjobd") as connection:
            return connection.execute(sql).fetchall()

    def change(self, sql: str) -> None:
        with psycopg.connect(self._dsn, options="-csearch_path=bgjobd") as connection:
            connection.execute(sql)


@pytest.fixture
def site(postgresql: PostgreSQL, tmp_path: Path) -> Site:
    return Site(postgresql, tmp_path)


def test_two_hosts_run_jobs_and_a_restart_of_one_leaves_the_others_attempts_alone(
    site: Site, tmp_path: Path
) -> None:
    with site.host("web1") as web1, site.host("web2") as web2:
        jobs = {}
        for running in (web1, web2):
            with running.client() as client:
                go, ledger = running.directory / "go", running.directory / "ledger"
                given = {"path": str(go), "ledger": str(ledger)}
                jobs[running] = client.run_background_job(PROBE, "wait_for", given).id
                eventually(ledger.exists)
        web2.stop(signal.SIGKILL)
        web2.start()
        for running in (web1, web2):
            (running.directory / "go").touch()
            with running.client() as client:
                assert client.wait(jobs[running], 30)["status"] == "completed"
        assert site.rows("SELECT count(*), count(DISTINCT host) FROM job_attempts") == [(2, 2)]


def test_a_host_whose_name_another_one_has_does_not_start(site: Site) -> None:
    with site.host("web1"):
        with pytest.raises(RuntimeError) as ended, site.host("web1", place="elsewhere"):
            pass
        assert "the daemon ended with 75" in str(ended.value)
        assert "another host that is called web1 works from this database" in str(ended.value)


def test_the_fence_of_a_daemon_stands_from_its_term_on_though_no_beat_was_stored_yet(site: Site) -> None:
    began = time.clock_gettime(time.CLOCK_BOOTTIME)
    with site.host("web1", QUICK, changes=NO_BEAT) as running:
        until = host_fence.try_read(str(running.directory / "run" / "fence"))
        assert until is not None
        assert began < until < time.clock_gettime(time.CLOCK_BOOTTIME) + 2.5


NO_BEAT = """
from bgjobd.daemon.hosts import Hosts


async def keep(hosts):
    pass


Hosts.keep = keep
"""


def test_a_daemon_whose_term_somebody_else_has_taken_ends_and_does_not_take_it_back(site: Site) -> None:
    with site.host("web1", QUICK) as running:
        site.change("UPDATE hosts SET term = term + 1")
        assert running.process is not None
        assert running.process.wait(30) == 75
        assert site.rows("SELECT term FROM hosts") == [(2,)]
        assert any("another daemon has taken the place of host web1" in line for line in running.lines())


def test_a_clone_of_a_host_that_lives_is_refused_by_its_name_and_has_an_identity_of_its_own_from_then_on(
    site: Site, tmp_path: Path
) -> None:
    with site.host("web1", RARE) as web1:
        (tmp_path / "clone" / "state").mkdir(parents=True, mode=0o700)
        shutil.copy(web1.directory / "state" / "host.json", tmp_path / "clone" / "state")
        go, ledger = web1.directory / "go", web1.directory / "ledger"
        with web1.client() as client:
            job = client.run_background_job(PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)}).id
            eventually(ledger.exists)
            with (
                pytest.raises(RuntimeError, match="ended with 75") as ended,
                site.host("web1", RARE, place="clone", changes=ANOTHER_LIFE),
            ):
                pass
            assert "another host that is called web1 works from this database" in str(ended.value)
            with site.host("web2", RARE, place="clone", changes=ANOTHER_LIFE):
                assert site.rows("SELECT name, term FROM hosts ORDER BY id") == [("web1", 1), ("web2", 1)]
            go.touch()
            assert client.wait(job, 30)["status"] == "completed"
        assert [line.split()[0] for line in ledger.read_text().splitlines()] == ["start", "end"]


RARE = 'beat = "2s"'
ANOTHER_LIFE = """
from bgjobd.core.verdict import Life
from bgjobd.host import life

life.own = lambda: Life("another", "another")
"""


def test_what_a_lost_host_ran_is_run_elsewhere_once_it_was_ended_there(site: Site) -> None:
    with site.host("web1", QUICK) as web1, site.host("web2", QUICK) as web2:
        go, ledger = web2.directory / "go", web2.directory / "ledger"
        with web2.client() as client:
            job = client.run_background_job(PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)}).id
        first = int(eventually(lambda: ledger.exists() and ledger.read_text().split()[1:])[0])
        web2.stop(signal.SIGKILL)
        eventually(lambda: ledger.read_text().count("start") == 2)
        assert not is_alive(first)
        go.touch()
        with web1.client() as client:
            assert client.wait(job, 30)["status"] == "completed"
        assert ledger.read_text().count("end") == 1
        lost = "host web2 counts as lost: it was not seen for 5 s"
        eventually(lambda: any(lost in line for line in web1.lines()))
        web2.start()
        with web2.client() as client:
            assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1
        assert site.rows(OUTCOMES.format(job)) == [(1, "lost", 2), (2, "completed", 1)]


OUTCOMES = "SELECT number, outcome, host FROM job_attempts WHERE job_id = {} ORDER BY number"


def test_what_nobody_may_repeat_goes_on_and_its_own_end_is_told_when_its_lost_host_is_back(
    site: Site,
) -> None:
    with site.host("web1", QUICK) as web1, site.host("web2", QUICK) as web2:
        go, ledger = web2.directory / "go", web2.directory / "ledger"
        with web2.client() as client:
            given = {"path": str(go), "ledger": str(ledger)}
            job = client.run_background_job("stubborn.Once", "wait_for", given).id
        pid = int(eventually(lambda: ledger.exists() and ledger.read_text().split()[1:])[0])
        web2.stop(signal.SIGKILL)
        with web1.client() as client:
            assert client.wait(job, 30)["status"] == "failed"
        go.touch()
        eventually(lambda: not is_alive(pid))  # what still ended would be killed
        assert ledger.read_text().count("end") == 1
        web2.start()
        with web2.client() as client:
            eventually(lambda: LATE in [entry["message"] for entry in client.logs(id=job).items])
        assert site.rows(OUTCOMES.format(job)) == [(1, "lost", 2)]


def kill(running: RunningDaemon) -> None:
    """The daemon and its fork server, so that nobody ends what runs there, as the host's fence would have it."""
    server = running.fork_server()
    running.stop(signal.SIGKILL)
    os.kill(server, signal.SIGKILL)


LATE = "attempt 1 completed on host web2 after it had counted as lost"


def test_an_attempt_that_goes_on_when_its_lost_host_is_back_is_killed(site: Site) -> None:
    with site.host("web1", QUICK), site.host("web2", QUICK) as web2:
        go, ledger = web2.directory / "go", web2.directory / "ledger"
        with web2.client() as client:
            client.run_background_job(PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)})
        eventually(ledger.exists)
        kill(web2)
        eventually(lambda: ledger.read_text().count("start") == 2)
        first, second = (int(line.split()[1]) for line in ledger.read_text().splitlines())
        assert is_alive(first)
        web2.start()
        eventually(lambda: not is_alive(first))
        assert is_alive(second)
        go.touch()


def test_a_host_that_leaves_with_nothing_running_is_not_lost(site: Site) -> None:
    with site.host("web1", QUICK) as web1:
        with site.host("web2", QUICK) as web2:
            assert web2.stop() == 0
        beats = site.rows("SELECT beats FROM hosts WHERE name = 'web1'")[0][0]
        eventually(lambda: site.rows("SELECT beats FROM hosts WHERE name = 'web1'")[0][0] > beats + 24)
        assert site.rows("SELECT left_at IS NOT NULL, lost_at FROM hosts WHERE name = 'web2'") == [
            (True, None)
        ]
        assert not any("counts as lost" in line for line in web1.lines())


def test_a_living_host_that_is_said_to_be_lost_is_back_in_its_next_term_and_its_late_end_is_told(
    site: Site,
) -> None:
    with site.host("web1", QUICK) as web1, site.host("web2", QUICK) as web2:
        go, ledger = web2.directory / "go", web2.directory / "ledger"
        with web2.client() as client:
            given = {"path": str(go), "ledger": str(ledger)}
            job = client.run_background_job("stubborn.Stubborn", "wait_for", given).id
        eventually(ledger.exists)
        with web1.client() as client:
            with pytest.raises(InvalidParameterError):
                client.host_lost("web3")
            with pytest.raises(InvalidParameterError):
                client.host_lost("web1")
            client.host_lost("web2")
            eventually(lambda: ledger.read_text().count("start") == 2)
            eventually(lambda: [(one["name"], one["state"]) for one in client.hosts()] == ALIVE)
            assert [(one["term"], one["is_own"]) for one in client.hosts()] == [(1, True), (2, False)]
            go.touch()
            assert client.wait(job, 30)["status"] == "completed"
            eventually(lambda: LATE in [entry["message"] for entry in client.logs(id=job).items])
        with web2.client() as client:
            assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1
        eventually(lambda: any("host web2 is back, in term 2" in line for line in web2.lines()))


def test_a_host_that_is_drained_leaves_the_jobs_to_others_until_its_daemon_is_started_again(
    site: Site,
) -> None:
    with site.host("web1", QUICK) as web1, site.host("web2", QUICK) as web2:
        go, ledger = web2.directory / "go", web2.directory / "ledger"
        with web2.client() as client:
            job = client.run_background_job(PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)}).id
        eventually(ledger.exists)
        with web1.client() as client:
            assert client.drain("web2")["running"] == 1
            assert [one["state"] for one in client.hosts()] == ["alive", "draining"]
            with pytest.raises(HostNotFoundError):
                client.drain("web3")
        with web2.client() as client:
            waiting = client.run_background_job(PROBE, "echo", {"value": 1}, queue="web2")
            eventually(lambda: "drains" in client.why(waiting.id))
            go.touch()
            assert client.wait(job, 30)["status"] == "completed"
            assert "drains" in client.why(waiting.id)
        assert web2.stop() == 0
        with web1.client() as client, pytest.raises(HostGoneError, match="its state is left"):
            client.drain("web2")
        assert any("host web2 drains, as asked for by uid" in line for line in web2.lines())
        web2.start()
        with web2.client() as client:
            assert client.wait(waiting.id, 30)["status"] == "completed"


HOOKED = """
from pathlib import Path


class Hooked:
    MAX_RETRIES = 0

    def run(self):
        raise ValueError("no")

    def failed(self, error):
        with open(Path(__file__).parents[1] / "called", "a") as called:
            called.write(Path(__file__).parent.name + "\\n")
"""


def test_a_hook_that_a_lost_host_had_not_called_is_called_by_another_one_once(
    site: Site, tmp_path: Path
) -> None:
    called = tmp_path / "called"
    with site.host("web1", QUICK) as web1, site.host("web2", QUICK) as web2:
        with web2.client() as client:
            job = client.run_background_job("hooked.Hooked", "run")
            client.wait(job.id, 30)
        eventually(lambda: called.exists() and called.read_text() == "web2\n")
        kill(web2)
        site.change(f"UPDATE job_attempts SET hook_called_at = NULL WHERE job_id = {job.id}")  # it had not
        eventually(lambda: called.read_text() == "web2\nweb1\n")
        assert web1.stop() == 0
        web2.start()
        with web2.client() as client:
            assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1
        assert called.read_text() == "web2\nweb1\n"


ALIVE = [("web1", "alive"), ("web2", "alive")]


def test_check_tells_what_a_host_that_runs_says_otherwise_where_it_counts_for_all(
    site: Site, tmp_path: Path
) -> None:
    schedule = '[schedules.nightly]\njob = "probes.Probe::echo"\ncron = "30 {} * * *"\n'
    file = tmp_path / "bgjobd.toml"
    with site.host("web2", f"{QUICK}\n{schedule.format(2)}") as web2:
        other = web2.config.read_text().replace("30 2 * * *", "30 3 * * *")
        file.write_text(
            f"{other}default = {{ slots_per_key = 2 }}\n".replace(str(web2.directory), str(tmp_path))
        )
        config = loading.load(file, site.environ, is_root=False)
        wanted = "slots_per_key", "schedule nightly"

        def told() -> list[str]:
            found = [one.told for one in check_database.findings(config, "1")]
            return [one for one in found if any(word in one for word in wanted)]

        eventually(lambda: len(told()) == len(wanted))
        apart = told()
    assert [one.partition(";")[0] for one in apart] == [
        "hosts: queues.default.slots_per_key is none at web2, and 2 here",
        "hosts: web2 has set schedule nightly otherwise",
    ]


def test_where_the_database_is_a_file_the_one_host_is_told(tmp_path: Path) -> None:
    with daemon(tmp_path, settings='[hosts]\nname = "alone"') as running, running.client() as client:
        (one,) = client.hosts()
        assert (one["name"], one["state"], one["is_own"], one["id"]) == ("alone", "alive", True, None)
        assert one["slots"] == 4
        assert "probes.Probe" in one["classes"]
        assert client.host_accept() is False
        with pytest.raises(InvalidParameterError):
            client.host_lost("web2")

"""What a user sees of hosts, and asks of them: two daemons of one database, one of which is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bgjob import Client
from bgjob.errors import ElsewhereError, InvalidParameterError
from tests.daemon import warm
from tests.daemon.running import RunningDaemon
from tests.daemon.test_hosts import PROBE, QUICK, Site
from tests.postgresql import PostgreSQL
from tests.support import eventually


@pytest.fixture
def site(postgresql: PostgreSQL, tmp_path: Path) -> Site:
    return Site(postgresql, tmp_path)


def waiting_for(directory: Path) -> dict[str, Any]:
    return {"path": str(directory / "go"), "ledger": str(directory / "ledger")}


def listed(client: Client, job_id: int) -> tuple[str, str | None]:
    """Its status, and where its latest attempt is."""
    (job,) = [job for job in client.list().items if job["id"] == job_id]
    return job["status"], job["host"]


def bgjob(running: RunningDaemon, *words: str) -> str:
    """What the command says on stderr."""
    return warm.run(["--socket", str(running.socket), *words], program="bgjob").stderr


def test_a_job_for_a_queue_of_another_host_runs_there_and_is_told_of_here(site: Site, tmp_path: Path) -> None:
    with site.host("web1", QUICK) as web1, site.host("web2", QUICK), web1.client() as client:
        job = client.run_background_job(PROBE, "wait_for", waiting_for(tmp_path), queue="web2")
        eventually(lambda: listed(client, job.id) == ("running", "web2"))
        assert [job["id"] for job in client.list(host="web2").items] == [job.id]
        assert client.list(host="web1").items == []
        eventually((tmp_path / "ledger").exists)
        (attempt,) = client.running()
        assert (attempt["host"], attempt["cpu"], attempt["memory"]) == ("web2", None, None)
        assert client.running("web1") == []
        assert client.why(job.id).startswith(f"job {job.id} runs on host web2")
        for ask in (lambda: list(client.output_parts(job.id, 1)), lambda: client.stack(job.id)):
            with pytest.raises(ElsewhereError) as refused:
                ask()
            assert refused.value.parameters == {"host": "web2"}
        said = bgjob(web1, "output", str(job.id))
        assert said.startswith("bgjob: that is on host web2; `ssh web2 bgjob ")
        assert said.endswith(f" output {job.id}`\n")
        (tmp_path / "go").touch()
        eventually(lambda: listed(client, job.id) == ("completed", "web2"))
        with pytest.raises(InvalidParameterError, match=r"options\.queue"):
            client.run_background_job(PROBE, "echo", queue="web3")


def test_the_output_of_an_attempt_that_has_ended_elsewhere_is_told_here(site: Site) -> None:
    kept = f'{QUICK}\noutputs = "16"'
    with site.host("web1", QUICK) as web1, site.host("web2", kept), web1.client() as client:
        said, silent, long = (
            client.run_background_job(PROBE, method, given, host="web2").id
            for method, given in (
                ("say", {"text": "a"}),
                ("echo", {}),
                ("say", {"text": "begins " + 100 * "x" + " ends"}),
            )
        )
        eventually(lambda: {listed(client, job) for job in (said, silent, long)} == {("completed", "web2")})
        assert b"".join(part.data for part in client.output_parts(said, 1)) == b"a\nto stderr\n"
        assert b"".join(part.data for part in client.output_parts(silent, 1)) == b""
        head, tail, *_ = client.output_parts(long, 1)
        assert (head.data, tail.data, tail.left_out) == (b"begins x", b" stderr\n", 107)


def test_a_job_that_asks_for_a_host_runs_there_and_one_for_nobody_is_refused(site: Site) -> None:
    with site.host("web1", QUICK) as web1, site.host("web2", QUICK), web1.client() as client:
        ids = [client.run_background_job(PROBE, "echo", host=name).id for name in ("web1", "web2", "web1")]
        for job_id, name in zip(ids, ("web1", "web2", "web1"), strict=True):
            eventually(lambda job_id=job_id, name=name: listed(client, job_id) == ("completed", name))
        assert site.rows("SELECT host_wanted FROM background_jobs ORDER BY id") == [
            ("web1",),
            ("web2",),
            ("web1",),
        ]
        with pytest.raises(InvalidParameterError, match=r"options\.host"):
            client.run_background_job(PROBE, "echo", host="web9")


def test_an_occurrence_of_a_schedule_that_two_hosts_have_becomes_one_job(site: Site) -> None:
    every = f'{QUICK}\n[schedules.often]\njob = "{PROBE}::echo"\nevery = "1s"\n'
    with site.host("web1", every), site.host("web2", every):
        eventually(lambda: site.rows("SELECT count(*) >= 4 FROM background_jobs") == [(True,)])
    assert site.rows("SELECT count(*) - count(DISTINCT occurrence) FROM background_jobs") == [(0,)]


def test_a_host_whose_own_definition_differs_says_so_and_makes_no_jobs_of_it(site: Site) -> None:
    each = [
        f'{QUICK}\n[schedules.often]\njob = "{PROBE}::echo"\nevery = "1s"\npriority = {priority}\n'
        for priority in (1, 2)
    ]
    with site.host("web1", each[0]) as web1, site.host("web2", each[1]), web1.client() as client:
        eventually(lambda: site.rows("SELECT set_by FROM schedules") == [(2,)])
        why = "host web2 has another definition of it, which holds"
        eventually(lambda: client.stats()["refused_schedules"] == {"often": why})
        last = site.rows("SELECT max(id) FROM background_jobs")[0][0] or 0
        eventually(
            lambda: site.rows(f"SELECT count(*) >= 2 FROM background_jobs WHERE id > {last}") == [(True,)]
        )
        assert site.rows(f"SELECT DISTINCT priority FROM background_jobs WHERE id > {last}") == [(2,)]
        eventually(lambda: any(f"schedule often: {why}" in line for line in web1.lines()))

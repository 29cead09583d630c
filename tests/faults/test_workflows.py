"""Jobs that come after others at their worst: deaths at each moment; no callback is missing, and none runs twice."""

from __future__ import annotations

import random
import shutil
import signal
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bgjob.words import IfFailed
from bgjobd.core.edges import NewGroup, Take, Ties
from bgjobd.core.planner import Lanes
from bgjobd.store.audit import Audit
from bgjobd.store.items.daemons import Look
from bgjobd.store.items.submissions import Flow
from tests.daemon.running import RunningDaemon, daemon
from tests.faults import books
from tests.faults.acts import Act, copied, is_killed, points_of
from tests.faults.injecting import needs_root
from tests.faults.knife import why_impossible
from tests.protocol.peers import connect, ours
from tests.store.flows import NEVER_AGAIN, after, flow, group, job
from tests.store.samples import COMPLETED, SUBMITTER, Store, ends, starts
from tests.support import eventually

OBSTACLE = why_impossible()
CASCADE = 1000


# What is under way when somebody dies


def an_end(store: Store) -> None:
    """Of a job that others take something of, a member of a group among them, behind which a callback waits."""
    taking = after(job(0), takes=(Take("v", job(0)),))
    member = replace(taking, group=group(0))
    store.answer(flow(after(), taking, member, after(group(0)), groups=[NewGroup()]))
    start(store, 1)


def a_cascade(store: Store) -> None:
    """A job that is to fail, for which a thousand members of a group are cancelled; the callback runs all the same."""
    members = [after(job(0), group=group(0)) for _ in range(CASCADE)]
    callback = after(group(0), if_failed=IfFailed.RUN)
    store.answer(flow(after(), *members, callback, groups=[NewGroup()]))
    start(store, 1)


def a_seal(store: Store) -> None:
    """A group in another one, whose member has ended, and behind which a callback waits."""
    nested = [NewGroup(is_open=True), NewGroup(parent=group(0))]
    store.answer(flow(Ties(group=group(1)), after(group(0)), groups=nested))
    start(store, 1)
    store.commit(ends(1, COMPLETED))


def start(store: Store, *ids: int) -> None:
    store.claim(Lanes(1000))
    store.commit(*[starts(id) for id in ids])


def complete(store: Store) -> None:
    """What the daemon makes of the journal of job 1, as often as it finds one."""
    if store.job(1)["status"] == "running":
        store.commit(ends(1, COMPLETED))


def fail(store: Store) -> None:
    """The same, and what follows, a portion a transaction."""
    if store.job(1)["status"] == "running":
        store.commit(ends(1, NEVER_AGAIN))
    while store.count("consequences"):
        store.commit(Look())


def seal(store: Store) -> None:
    store.commit(Flow((), SUBMITTER, seals=(1,)))


CASES: dict[str, tuple[Act, Act, dict[str, int]]] = {
    "an end": (an_end, complete, {"completed": 4}),
    "a cascade": (a_cascade, fail, {"cancelled": CASCADE, "completed": 1, "failed": 1}),
    "a seal": (a_seal, seal, {"completed": 2}),
}
"""What there is, what happens then, and how all jobs have ended once it has."""


@needs_root
@pytest.mark.skipif(OBSTACLE is not None, reason=str(OBSTACLE))
@pytest.mark.parametrize("most", [4, pytest.param(None, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
@pytest.mark.parametrize("case", CASES)
def test_who_settles_is_killed_at_each_system_call_and_each_callback_runs_once(
    tmp_path: Path, case: str, most: int | None
) -> None:
    prepare, act, ended = CASES[case]
    place = tmp_path / "place"
    place.mkdir()
    with closing(Store(place)) as store:
        prepare(store)
    tried = points_of(act, copied(place, tmp_path / "trial"), tmp_path / "log", most)
    struck = 0
    for number, (call, when) in enumerate(tried):
        there = copied(place, tmp_path / str(number))
        struck += is_killed(act, there, f"{call}:signal=SIGKILL:when={when}", tmp_path / "log")
        assert_right(act, there, ended)
        shutil.rmtree(there)
    assert struck > len(tried) / 2, "strace has killed next to nobody"


def assert_right(act: Act, state_dir: Path, ended: dict[str, int]) -> None:
    """Both as it was left, and once the next daemon has done it, and has run what may run."""
    with closing(Store(state_dir)) as store:
        assert_balance(store)
        act(store)
        while claims := store.claim(Lanes(1000)):
            ids = [claim.job.id for claim in claims]
            store.commit(*[starts(id) for id in ids], *[ends(id, COMPLETED) for id in ids])
        assert_balance(store)
        statuses = store.rows("SELECT status, count(*) AS number FROM background_jobs GROUP BY 1")
        assert {row["status"]: row["number"] for row in statuses} == ended
        assert store.rows("SELECT job_id FROM job_attempts WHERE number > 1") == []


def assert_balance(store: Store) -> None:
    with closing(Audit(store.state_dir)) as audit:
        assert audit.oddities() == ()
        assert audit.odd_groups() == ()


# A daemon that is killed


@pytest.mark.parametrize(
    ("kills", "members"),
    [(2, 400), pytest.param(20, 100_000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])],
)
def test_a_callback_runs_once_however_often_the_daemon_is_killed_while_the_members_run(
    tmp_path: Path, kills: int, members: int
) -> None:
    """Some members run; the others are cancelled for one that fails, a hundred a transaction."""
    go, ledger, chance = tmp_path / "go", tmp_path / "ledger", random.Random(21)
    with daemon(tmp_path, books.SETTINGS, modules=books.MODULES) as running:
        group_id, callback, ids = gathered(running, go, ledger, members)
        go.touch()
        for _ in range(kills):
            before = unfinished(running, group_id)
            eventually(lambda before=before: unfinished(running, group_id) < before or before == 0)
            within(chance.uniform(0.0, 0.1))
            running.stop(signal.SIGKILL)
            running.start()
        with running.client() as client:
            client.get(callback).wait(300)
        books.check(running, [callback, *ids], ledger)
        lines = books.lines_of(ledger)
        assert [line.what for line in lines if line.job == callback] == ["start", "end"]
        ended = {
            line.job for line in lines[: [line.job for line in lines].index(callback)] if line.what == "end"
        }
        assert ended >= set(ids)
        (counts,) = running.query("SELECT total, unfinished, completed, cancelled FROM job_groups")
        assert counts == (members, 0, len(ids), members - len(ids))


def gathered(running: RunningDaemon, go: Path, ledger: Path, members: int) -> tuple[int, int, list[int]]:
    """A group in portions, with some members that run once `go` is there; the callback after it; the ids of these."""
    given = {"class_name": books.LEDGERED, "parameters": {"ledger": str(ledger)}}
    waiting = {"ledger": str(ledger), "path": str(go)}
    gate = given | {"method_name": "fail_behind", "parameters": waiting, "ref": "gate"}
    with connect(running) as peer:

        def submit(**asked: Any) -> dict[str, Any]:
            reply = peer.ask(ours("SubmitMany", **asked))
            assert reply.error is None, reply
            return dict(reply.parameters)

        first = submit(jobs=[gate], groups=[{"ref": "g", "open": True}])
        within_it = {"group": {"id": first["groups"][0]}}
        quick = given | {"method_name": "wait_for", "parameters": waiting, "options": within_it}
        ids = submit(jobs=[quick] * 20)["ids"]
        behind = within_it | {"after": [{"id": first["ids"][0]}]}
        left = members - len(ids)
        for start in range(0, left, 2000):
            tied = given | {"method_name": "quick", "options": behind}
            submit(jobs=[tied] * min(2000, left - start))
        last = {"after": [{"group": first["groups"][0]}], "if_failed": "run"}
        callback = submit(jobs=[given | {"method_name": "quick", "options": last}], seal=first["groups"])
    return first["groups"][0], callback["ids"][0], ids


def unfinished(running: RunningDaemon, group_id: int) -> int:
    ((count,),) = running.query(f"SELECT unfinished FROM job_groups WHERE id = {group_id}")
    return int(count)


def within(seconds: float) -> None:
    """Let some time pass."""
    end = time.monotonic() + seconds
    eventually(lambda: time.monotonic() >= end)

"""Steps and waits of real attempts: what their journals say of them, and what comes to the next attempt."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bgjobd.forkserver import journal as journals
from bgjobd.forkserver import journal_file, journal_lines, spool_names, steps
from bgjobd.forkserver.order import Order
from bgjobd.forkserver.steps import StepKeeper
from tests.forkserver.driven import DrivenServer, Told, fork_server, order
from tests.forkserver.test_sandbox import SYSTEM_PYTHON, account, as_root, passable

__all__ = ["passable"]

MODULE = """
import asyncio, os, sys, threading
from pathlib import Path
import bgjob


class Job:
    def __init__(self, context: bgjob.JobContext):
        self.context = context

    def ship(self, effects):
        step = self.context.step
        paid = step("charge", self.effect, effects, "charge")
        made = [step(f"label {n}", self.effect, effects, f"label {n}") for n in range(2)]
        return {"results": [paid, *made], "steps": dict(self.context.steps),
                "tokens": [self.context.token("charge"), self.context.token("label 0")]}

    def effect(self, effects, name):
        with open(effects, "a") as file:
            file.write(f"{name}\\n")
        return (name, {1: 2})

    def large(self, size, effects):
        text = self.context.step("one", lambda: "x" * size)
        try:
            Path(effects).write_text(text)
        except OSError as error:
            return error.strerror

    def wait(self, way):
        getattr(self, f"_wait_{way}")()
        return "it went on"

    def _wait_plainly(self):
        self.context.sleep(60)

    def _wait_for_a_signal(self):
        self.context.wait_for("p\\u00e4cked", timeout=5)

    def _wait_until(self):
        from datetime import datetime, timezone
        self.context.sleep_until(datetime(2100, 1, 1, tzinfo=timezone.utc))

    def _wait_within_a_bare_except(self):
        while True:
            try:
                self.context.sleep(60)
            except:
                return

    def _wait_and_leave(self):
        try:
            self.context.sleep(60)
        finally:
            sys.exit(3)

    def _wait_in_a_thread(self):
        threading.excepthook = lambda told: None
        thread = threading.Thread(target=self.context.sleep, args=(60,))
        thread.start()
        thread.join()

    def _wait_in_a_loop(self):
        async def method():
            await self.context.sleep(60)
        asyncio.run(method())

    def _wait_side_by_side(self):
        async def method():
            await asyncio.gather(asyncio.sleep(60), self.context.sleep(60))
        asyncio.run(method())

    def _wait_in_a_group(self):
        async def method():
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(60))
                group.create_task(self.context.sleep(60))
        asyncio.run(method())

    def _wait_in_a_task_of_nobody(self):
        async def method():
            self.kept = asyncio.create_task(self.context.sleep(60))
            await asyncio.sleep(0.01)
        asyncio.run(method())

    async def wait_async(self):
        await self.context.step("one", self.later)
        await self.context.sleep(60)

    async def later(self):
        return 1

    def close(self, effects):
        os.closerange(3, 256)
        open("/dev/null")
        open("/dev/null")
        try:
            self.context.step("charge", self.effect, effects, "charge")
        except OSError as error:
            print(error)
            self.context.sleep(1)

    def fork(self, effects):
        if os.fork() == 0:
            try:
                self.context.step("charge", self.effect, effects, "charge")
            except bgjob.StepError as error:
                self.effect(effects, str(error))
            os._exit(0)
        os.wait()
        self.context.step("charge", self.effect, effects, "charge")

    def fail(self, effects):
        try:
            self.context.step("charge", self.effect, effects, "not kept")
        except bgjob.StepError as error:
            self.effect(effects, str(error))
        raise ValueError

    def failed(self, error):
        self.context.step("charge", self.effect, str(error.message), "charge")

    def drop(self):
        return "no step"


class NoContext:
    def drop(self):
        return "no step"
"""
APPROVED: dict[str, Any] = {"stepping.Job": None, "stepping.NoContext": None}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DrivenServer]:
    directory = tmp_path_factory.mktemp("stepping")
    (directory / "stepping.py").write_text(MODULE)
    with fork_server(directory, approved=APPROVED) as server:
        yield server


_jobs = iter(range(1, 1000))


def run(
    server: DrivenServer,
    method: str,
    carry: dict[str, Any] | None = None,
    job: int | None = None,
    name: str = "Job",
    more: dict[str, Any] | None = None,
    **parameters: Any,
) -> Told:
    """The journal of an attempt, which is given what earlier ones have carried over to it."""
    job = next(_jobs) if job is None else job
    number = 1
    while (server.spool / f"{job}.{number}.journal").exists():
        number += 1
    if carry is not None:
        (server.spool / f"{job}.{number}.carry").write_text(json.dumps(carry))
    asked = {"class_name": f"stepping.{name}", "seed": f"db {job} 0", "carries": carry is not None}
    server.send({**order(job, method, number, **parameters), **asked, **(more or {})})
    assert server.receive()["type"] == "ended"
    journal = server.journal(job, number)
    assert journal is not None
    return journal


def carried(*journals_before: Told) -> dict[str, Any]:
    """What the daemon makes of these for the next attempt."""
    found = [note for told in journals_before for note in told.notes if note["type"] == "step"]
    return {"steps": [[note["name"], note["result"], note["is_awaited"]] for note in found], "waits": []}


def told(journal: Told) -> list[tuple[str, str]]:
    return [(note["type"], note["name"]) for note in journal.notes if "name" in note]


def outcome_of(journal: Told) -> journal_lines.Record:
    assert journal.outcome is not None
    return journal.outcome


def test_a_step_is_on_record_before_the_next_begins_and_the_next_attempt_has_its_result(
    server: DrivenServer, tmp_path: Path
) -> None:
    job, effects = next(_jobs), tmp_path / "effects"
    first = run(server, "ship", job=job, effects=str(effects))
    assert told(first) == [
        (kind, name) for name in ("charge", "label 0", "label 1") for kind in ("began", "step")
    ]
    known = carried(first)
    known["steps"].pop()
    second = run(server, "ship", known, job=job, effects=str(effects))
    assert told(second) == [("began", "label 1"), ("step", "label 1")]
    assert outcome_of(first)["result"] == outcome_of(second)["result"]
    assert outcome_of(first)["result"]["results"][0] == ["charge", {"1": 2}]
    assert effects.read_text().splitlines() == ["charge", "label 0", "label 1", "label 1"]


def test_a_token_is_of_the_job_its_life_and_the_steps_name(server: DrivenServer, tmp_path: Path) -> None:
    job, effects = next(_jobs), str(tmp_path / "effects")
    of = [
        outcome_of(run(server, "ship", job=job, effects=effects, more=more))["result"]["tokens"]
        for more in ({}, {}, {"seed": f"db {job} 1"}, {"seed": f"db {job + 1} 0"})
    ]
    assert of[0] == of[1]
    assert len({token for tokens in of for token in tokens}) == 6
    assert {len(token) for tokens in of for token in tokens} == {32}


WAYS = [
    *("plainly", "within_a_bare_except", "and_leave", "in_a_thread", "in_a_loop", "side_by_side"),
    *("in_a_group", "in_a_task_of_nobody"),
]


@pytest.mark.parametrize("way", WAYS)
def test_a_wait_is_the_outcome_however_the_attempt_goes_on(server: DrivenServer, way: str) -> None:
    found = outcome_of(run(server, "wait", way=way))
    assert (found["outcome"], found["kind"], found["turn"], found["delay"]) == ("suspended", "sleep", 1, 60.0)


def test_what_is_waited_for_is_in_the_outcome(server: DrivenServer) -> None:
    found = outcome_of(run(server, "wait", way="for_a_signal"))
    assert (found["kind"], found["name"], found["delay"], found["until"]) == ("signal", "päcked", 5.0, None)
    found = outcome_of(run(server, "wait", way="until"))
    assert (found["kind"], found["delay"], found["until"]) == ("until", None, 4_102_444_800.0)


def test_a_method_of_a_loop_awaits_steps_and_sleeps(server: DrivenServer) -> None:
    journal = run(server, "wait_async")
    assert told(journal) == [("began", "one"), ("step", "one")]
    assert outcome_of(journal)["outcome"] == "suspended"
    waits = [["sleep", "", 1, None, False]]
    later = run(server, "wait_async", {**carried(journal), "waits": waits})
    assert outcome_of(later)["outcome"] == "completed"


def test_that_the_job_has_closed_its_journal_is_found_before_the_function_is_called(
    server: DrivenServer, tmp_path: Path
) -> None:
    effects = tmp_path / "effects"
    journal = run(server, "close", effects=str(effects))
    assert (journal.outcome, journal.notes, effects.exists()) == (None, (), False)


def test_a_carry_that_the_job_has_closed_is_nothing_that_is_read(
    server: DrivenServer, tmp_path: Path
) -> None:
    effects = tmp_path / "effects"
    run(server, "close", {"steps": [["charge", "1", False]], "waits": []}, effects=str(effects))
    assert not effects.exists()


def test_a_forked_copy_of_the_attempt_runs_no_step(server: DrivenServer, tmp_path: Path) -> None:
    effects = tmp_path / "effects"
    assert told(run(server, "fork", effects=str(effects))) == [("began", "charge"), ("step", "charge")]
    copys, own = effects.read_text().splitlines()
    assert ("that it has forked, has no steps" in copys, own) == (True, "charge")


def test_a_hook_has_no_steps(server: DrivenServer, tmp_path: Path) -> None:
    job, effects = next(_jobs), tmp_path / "effects"
    error = {"outcome": "failed", "error_type": "ValueError", "message": str(effects), "traceback": ""}
    asked = {"class_name": "stepping.Job", "error": error, "kind": spool_names.HOOK}
    server.send({**order(job, "fail"), **asked})
    assert server.receive()["type"] == "ended"
    place = os.open(server.spool, os.O_RDONLY)
    try:
        journal = journals.try_read(place, spool_names.file_name(job, 1, spool_names.HOOK))
    finally:
        os.close(place)
    assert journal is not None
    assert journal.outcome is not None
    assert journal.outcome["error_class"] == "bgjob.jobs.StepError"
    assert not effects.exists()


@pytest.mark.parametrize("name", ["Job", "NoContext"])
def test_an_attempt_that_completes_tells_which_finished_steps_did_not_come(
    server: DrivenServer, name: str
) -> None:
    known = {
        "steps": [["charge", "1", False], ["läbel", "2", True]],
        "waits": [["sleep", "", 1, None, False]],
    }
    journal = run(server, "drop", known, name=name)
    (left,) = journal.notes
    assert (left["type"], json.loads(left["names"])) == ("left", ["charge", "läbel"])
    assert outcome_of(journal)["result"] == "no step"
    assert run(server, "drop", {"steps": [], "waits": []}, name=name).notes == ()


@pytest.mark.parametrize("way", ["plainly", "within_a_bare_except"])
def test_of_an_attempt_that_waits_nothing_is_told_of_steps_that_may_come_yet(
    server: DrivenServer, way: str
) -> None:
    assert run(server, "wait", {"steps": [["charge", "1", False]], "waits": []}, way=way).notes == ()


def test_without_what_it_is_to_carry_over_an_attempt_does_not_start(server: DrivenServer) -> None:
    job = next(_jobs)
    server.send({**order(job, "drop"), "class_name": "stepping.Job", "carries": True})
    told = server.receive()
    assert (told["type"], "spool" in told["reason"]) == ("not_started", True)
    assert server.journal(job) is None


@as_root
def test_an_attempt_of_another_user_in_its_cage_has_steps_as_well(passable: Path) -> None:
    (passable / "stepping.py").write_text(MODULE)
    effects = passable / "effects"
    effects.touch()
    effects.chmod(0o666)
    limits = {"account": account(), "memory": 400 * 2**20, "open_files": 40}
    with fork_server(passable, python=SYSTEM_PYTHON, approved=APPROVED, limits=limits) as server:
        server.spool.chmod(0o700)
        job = next(_jobs)
        first = run(server, "ship", job=job, effects=str(effects))
        known = carried(first)
        known["steps"].pop()
        (server.spool / f"{job}.2.carry").touch(0o600)
        second = run(server, "ship", known, job=job, effects=str(effects))
    assert outcome_of(second)["result"] == outcome_of(first)["result"]
    assert effects.read_text().splitlines() == ["charge", "label 0", "label 1", "label 1"]


def test_how_large_files_may_become_is_no_limit_of_steps_and_waits(tmp_path: Path) -> None:
    (tmp_path / "stepping.py").write_text(MODULE)
    with fork_server(tmp_path, approved=APPROVED, limits={"file_size": 4096}) as server:
        told = run(server, "large", size=100_000, effects=str(tmp_path / "effects"))
        assert [len(record.get("result", "")) for record in told.notes] == [0, 100_002]
        assert outcome_of(told)["result"] == "File too large"
        assert outcome_of(run(server, "wait", way="plainly"))["outcome"] == "suspended"


# The keeper, without a process


def keeper(append: Callable[[bytes, int], None], **more: Any) -> StepKeeper:
    asked = Order(1, 1, "aa", "a.A", "run", {}, seed="db 1 0")
    return StepKeeper(asked, None, append, **{"is_own": lambda: True, "end": lambda line: None, **more})


def test_a_step_that_finds_no_room_waits_for_some_with_its_result_in_hand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(steps, "_FIRST_PAUSE", 0.0)
    room = iter([errno.ENOSPC, errno.EDQUOT, errno.EIO, None])
    kept: list[bytes] = []

    def append(line: bytes, left: int) -> None:
        trouble = next(room)
        if trouble is not None:
            raise OSError(trouble, os.strerror(trouble))
        kept.append(line)

    keeper(append).finished("one", '"done"', False)
    (line,) = kept
    record = json.loads(line)
    assert (record["name"], record["result"], record["is_awaited"]) == ("one", '"done"', False)


def test_a_result_for_which_there_will_be_no_room_is_no_reason_to_wait() -> None:
    def append(line: bytes, left: int) -> None:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))

    with pytest.raises(OSError, match="File too large"):
        keeper(append).finished("one", "1", False)


def test_that_it_began_costs_a_step_nothing_where_there_is_no_room_and_is_told_a_thousand_times() -> None:
    tried: list[int] = []

    def append(line: bytes, left: int) -> None:
        tried.append(left)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    kept = keeper(append)
    for _ in range(journal_lines.MAX_STEPS + 5):
        kept.began("one")
    assert tried == [journal_file.RESERVE] * journal_lines.MAX_STEPS


def test_an_honest_attempt_tells_no_more_than_is_read_of_it() -> None:
    line = journal_lines.step(
        2**22, 1e9 + 1e-6, "\x01" * 255, json.dumps('"' * (journal_lines.MAX_RESULT // 2 - 1)), True
    )
    assert len(line) <= journals._LONGEST_NOTE
    names = [f"{n:04d}" + "\x01" * 251 for n in range(1000)]
    record = journals._try_record(journal_lines.left(7, 1.0, names).rstrip())
    assert record is not None
    assert names[: len(json.loads(record["names"]))] == json.loads(record["names"])

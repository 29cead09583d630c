"""What a job, its class, its configuration and a person may say about another attempt, and the hooks of a class."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from bgjob import InvalidParameterError, InvalidStateError, JobFailedError, JobNotFoundError
from bgjob.client import Client
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

MODULE = '''
import json, os, signal, time
from pathlib import Path
import bgjob


class Asking:
    """Says by itself what is to become of it."""

    def retry_in(self, delay):
        raise bgjob.Retry("the mail server is busy", delay=delay)

    def retry(self):
        raise bgjob.Retry

    def give_up(self):
        raise bgjob.Fail("no such account")

    def snooze_once(self, marker, delay):
        if not Path(marker).exists():
            Path(marker).touch()
            raise bgjob.Snooze(delay)
        return "awake"

    def snooze_badly(self):
        raise bgjob.Snooze("tomorrow")

    def be_throttled(self, retry_after, of):
        raise bgjob.Throttled(retry_after, of)

    def fail(self):
        raise ValueError("no recipient")


class Polite(Asking):
    """May hold no others."""


class Held(Asking):
    """Is held for as long as these tests last, as the next one is."""


class LongHeld(Asking):
    pass


class Eager(Asking):
    MAX_RETRIES = 5
    RETRY_DELAY = 0.5
    BACKOFF = "exponential"
    MAX_RETRY_DELAY = 7.5


class Wrong:
    MAX_RETRIES = "many"

    def run(self):
        pass


class Beyond:
    MAX_RETRIES = 101

    def run(self):
        pass


class Hooked:
    """Has hooks that write down what they are told."""

    def retry_delay(self, attempt, error):
        if "raise" in str(error):
            raise RuntimeError("no idea")
        if "nothing" in str(error):
            return None
        return 0.01 if "quick" in str(error) else 3600.0

    def failed(self, error):
        path = os.environ["BOOK"]
        has_trace = "Traceback" in (error.traceback or "")
        told = [os.getpid(), str(error), error.outcome, error.error_type, error.message, has_trace]
        with open(path, "a") as book:
            book.write(json.dumps(told) + "\\n")

    def fail(self, message):
        raise ValueError(message)

    def crash(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def fine(self):
        return "fine"


class HookFails(Hooked):
    def failed(self, error):
        raise LookupError("nobody to tell")
'''
NAMES = ("Asking", "Held", "LongHeld", "Eager", "Wrong", "Beyond", "Hooked", "HookFails")
SETTINGS = "\n".join(f'"asking.{name}" = {{}}' for name in NAMES) + '\n"asking.Polite" = { throttle = false }'


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("book") / "book"


@pytest.fixture(scope="module")
def running(engine: str, tmp_path_factory: pytest.TempPathFactory, book: Path) -> Iterator[RunningDaemon]:
    directory = tmp_path_factory.mktemp("retries")
    with daemon(directory, SETTINGS, f'env = {{ BOOK = "{book}" }}', modules={"asking": MODULE}) as running:
        yield running


@pytest.fixture
def client(running: RunningDaemon) -> Iterator[Client]:
    with running.client() as client:
        yield client


def delay_of(job: dict[str, Any]) -> float:
    """Seconds from the end of the latest attempt to the next."""
    ended, due = (
        datetime.fromisoformat(text) for text in (job["attempts"][-1]["finished_at"], job["scheduled_at"])
    )
    return (due - ended).total_seconds()


def waiting(job: Any) -> dict[str, Any]:
    """The job once it waits for its next attempt."""
    eventually(lambda: job.refresh()["status"] == "pending" and job.snapshot["attempts"])
    return job.snapshot  # type: ignore[no-any-return]


# What a job says


def test_a_job_that_asks_for_a_retry_gets_it_when_it_wants_and_spends_one(client: Client) -> None:
    job = waiting(client.run_background_job("asking.Asking", "retry_in", {"delay": 1234.5}))
    assert 1234 < delay_of(job) < 1236
    assert (job["retry_count"], job["error"]) == (1, "Retry: the mail server is busy")


def test_a_retry_without_a_delay_takes_the_policys(client: Client) -> None:
    job = waiting(client.run_background_job("asking.Asking", "retry", retry_delay=77.0))
    assert 76 < delay_of(job) < 78


def test_a_job_that_asks_for_a_retry_and_has_none_left_fails(client: Client) -> None:
    job = client.run_background_job("asking.Asking", "retry_in", {"delay": 0}, max_retries=0)
    with pytest.raises(JobFailedError, match="the mail server is busy"):
        job.result(20)


def test_a_job_that_says_that_it_fails_is_not_retried(client: Client) -> None:
    job = client.run_background_job("asking.Asking", "give_up", max_retries=5)
    with pytest.raises(JobFailedError, match="Fail: no such account"):
        job.result(20)
    assert len(job.snapshot["attempts"]) == 1


def test_a_snooze_starts_another_attempt_later_and_spends_nothing(client: Client, tmp_path: Path) -> None:
    parameters = {"marker": str(tmp_path / "marker"), "delay": 0.05}
    job = client.run_background_job("asking.Asking", "snooze_once", parameters, max_retries=0)
    assert job.result(20) == "awake"
    assert job.snapshot["retry_count"] == 0
    assert [attempt["outcome"] for attempt in job.snapshot["attempts"]] == ["snoozed", "completed"]


def test_a_snooze_waits_as_long_as_it_says(client: Client, tmp_path: Path) -> None:
    parameters = {"marker": str(tmp_path / "marker"), "delay": 500}
    job = waiting(client.run_background_job("asking.Asking", "snooze_once", parameters))
    assert 499 < delay_of(job) < 501


def test_a_snooze_without_a_number_is_the_jobs_own_mistake(client: Client) -> None:
    job = client.run_background_job("asking.Asking", "snooze_badly", max_retries=0)
    with pytest.raises(JobFailedError, match="ValueError: a delay is a number of seconds"):
        job.result(20)


@pytest.mark.parametrize(
    ("name", "retry_after", "of", "delay", "message"),
    [
        ("Held", 500, "class", 500, "throttled for 500 s: no other of its class starts until"),
        ("LongHeld", 7200, "class", 3600, "throttled for 3600 s: no other of its class starts until"),
        ("Asking", 500, "job", 500, "snoozed until"),
        ("Polite", 500, "class", 500, "throttled for 500 s: it alone, until"),
    ],
)
def test_a_job_that_is_throttled_waits_as_a_snoozed_one_and_its_log_tells_who_waits_with_it(
    client: Client, name: str, retry_after: float, of: str, delay: float, message: str
) -> None:
    parameters = {"retry_after": retry_after, "of": of}
    handle = client.run_background_job(f"asking.{name}", "be_throttled", parameters, max_retries=0)
    job = waiting(handle)
    assert delay - 1 < delay_of(job) < delay + 1
    assert (job["attempts"][0]["outcome"], job["attempts"][0]["spends_retry"]) == ("snoozed", False)
    assert any(entry["message"].startswith(f"Background job {message} ") for entry in handle.logs().items)
    told = next(one for one in client.classes() if one["name"] == f"asking.{name}")
    is_held = "no other" in message
    assert (told["held_until"], told["held_by"]) == (
        (job["scheduled_at"], handle.id) if is_held else (None, None)
    )


def test_a_job_without_a_key_that_asks_to_hold_others_of_its_key_fails(client: Client) -> None:
    job = client.run_background_job("asking.Asking", "be_throttled", {"retry_after": 60, "of": "key"})
    with pytest.raises(JobFailedError, match='Throttled: of = "key", and the job has no key'):
        job.result(20)
    assert [attempt["outcome"] for attempt in job.snapshot["attempts"]] == ["failed"]


# What its class, the configuration and the caller say


def test_class_attributes_hold_where_nobody_else_says_anything(client: Client) -> None:
    job = client.run_background_job("asking.Eager", "give_up").refresh()
    names = ("max_retries", "retry_delay", "backoff", "max_retry_delay")
    assert [job[name] for name in names] == [5, 0.5, "exponential", 7.5]


def test_the_caller_comes_before_the_class(client: Client) -> None:
    job = client.run_background_job("asking.Eager", "give_up", max_retries=2, retry_delay=9.0).refresh()
    assert (job["max_retries"], job["retry_delay"], job["backoff"]) == (2, 9.0, "exponential")


def test_the_configuration_comes_before_class_attributes(tmp_path: Path) -> None:
    settings = '"asking.Eager" = { max_retries = 4, backoff = "constant" }'
    with daemon(tmp_path, settings, modules={"asking": MODULE}) as running, running.client() as client:
        job = client.run_background_job("asking.Eager", "give_up").refresh()
        assert (job["max_retries"], job["backoff"], job["retry_delay"]) == (4, "constant", 0.5)


def test_a_class_attribute_that_makes_no_sense_makes_the_class_unavailable(client: Client) -> None:
    reasons = {one["name"]: one["unavailable"] for one in client.classes()}
    assert reasons["asking.Wrong"] == "its attribute MAX_RETRIES must be a whole number, not 'many'"
    assert (
        reasons["asking.Beyond"]
        == "its attribute MAX_RETRIES must be at most the cap of [retry], 100, not 101"
    )


def test_a_caller_may_not_ask_for_more_than_the_cap(client: Client) -> None:
    with pytest.raises(InvalidParameterError, match=r"options\.max_retries"):
        client.run_background_job("asking.Asking", "fail", max_retries=101)


def test_exponential_delays_double_with_full_jitter_and_stay_below_their_bound(client: Client) -> None:
    options: dict[str, Any] = {"backoff": "exponential", "retry_delay": 1000.0, "max_retries": 9}
    jobs = [client.run_background_job("asking.Asking", "fail", **options) for _ in range(8)]
    delays = [delay_of(waiting(job)) for job in jobs]
    assert all(0 <= delay <= 1001 for delay in delays)
    assert len({round(delay) for delay in delays}) > 4


def test_classes_tells_the_policy_of_each(client: Client) -> None:
    policies = {one["name"]: one["policy"] for one in client.classes()}
    expected = {
        "queue": "default",
        "priority": 0,
        "timeout": None,
        "max_retries": 5,
        "retry_delay": 0.5,
        "backoff": "exponential",
        "max_retry_delay": 7.5,
        "retry_lost": True,
        "crashes": 3,
        "retry_on": None,
        "throttle": True,
        "unknown": "failed",
    }
    assert {name: policies["asking.Eager"][name] for name in expected} == expected
    assert policies["asking.Wrong"] is None
    assert policies["asking.Polite"]["throttle"] is False


def test_only_the_outcomes_of_retry_on_are_retried(tmp_path: Path) -> None:
    settings = '"asking.Hooked" = { retry_on = ["failed"], max_retries = 1, retry_delay = 0 }'
    app = 'env = { BOOK = "/dev/null" }'
    with daemon(tmp_path, settings, app, modules={"asking": MODULE}) as running, running.client() as client:
        crashed = client.run_background_job("asking.Hooked", "crash")
        failed = client.run_background_job("asking.Hooked", "fail", {"message": "quick"})
        assert len(crashed.wait(20)["attempts"]) == 1
        assert len(failed.wait(20)["attempts"]) == 2


@pytest.mark.parametrize(("retry_lost", "attempts"), [("false", 1), ("true", 2)])
def test_a_lost_attempt_is_retried_unless_its_class_says_no(
    tmp_path: Path, retry_lost: str, attempts: int
) -> None:
    settings = f'"asking.Asking" = {{ retry_lost = {retry_lost}, max_retries = 1, retry_delay = 0 }}'
    with daemon(tmp_path, settings, modules={"asking": MODULE}) as running:
        with running.client() as client:
            job = client.run_background_job(
                "asking.Asking", "snooze_once", {"marker": "/nowhere/x", "delay": 9}
            )
            job.wait(20)
            # As after a reboot: the attempt belongs to another boot.
        running.stop()
        with running.changing() as database:
            database.execute("UPDATE background_jobs SET status='running', finished_at=NULL, retry_count=0")
            database.execute("DELETE FROM job_attempts WHERE number > 1")
            database.execute("UPDATE job_attempts SET outcome=NULL, finished_at=NULL, boot_id='another'")
        running.start()
        with running.client() as client:
            ended = client.wait(job.id, 20)
    assert ended["attempts"][0]["outcome"] == "lost"
    assert len(ended["attempts"]) == attempts


# What a person says


def test_a_failed_job_that_a_person_retries_has_all_its_retries_again(client: Client) -> None:
    job = client.run_background_job("asking.Asking", "fail", max_retries=1, retry_delay=0.01, retry_count=1)
    assert job.wait(20)["status"] == "failed"
    job.retry()
    assert job.wait(20)["status"] == "failed"
    assert [attempt["number"] for attempt in job.snapshot["attempts"]] == [1, 2, 3]
    assert job.snapshot["retry_count"] == 1


def test_a_cancelled_job_may_be_retried(client: Client) -> None:
    job = client.run_background_job("probes.Probe", "echo", {"value": 3}, delay=3600)
    job.cancel()
    job.retry()
    assert job.result(20) == 3
    assert job.snapshot["cancel_requested_at"] is None


def test_what_runs_or_has_completed_cannot_be_retried_and_then_none_is(client: Client) -> None:
    done = client.run_background_job("probes.Probe", "echo")
    done.result(20)
    failed = client.run_background_job("asking.Asking", "give_up")
    failed.wait(20)
    with pytest.raises(InvalidStateError, match=f"job {done.id} is completed"):
        client.retry(failed.id, done.id)
    with pytest.raises(JobNotFoundError):
        client.retry(failed.id, 2**40)
    assert failed.refresh()["status"] == "failed"


# Hooks


def told(book: Path) -> list[list[Any]]:
    return [json.loads(line) for line in book.read_text().splitlines()] if book.exists() else []


def test_a_class_may_say_itself_when_its_job_is_tried_again(client: Client) -> None:
    job = waiting(client.run_background_job("asking.Hooked", "fail", {"message": "slow"}))
    assert 3599 < delay_of(job) < 3601


@pytest.mark.parametrize("message", ["nothing", "raise"])
def test_a_hook_that_says_nothing_or_raises_leaves_the_policys_delay(
    client: Client, running: RunningDaemon, message: str
) -> None:
    job = waiting(client.run_background_job("asking.Hooked", "fail", {"message": message}, retry_delay=33.0))
    assert 32 < delay_of(job) < 34
    logged = running.query(f"SELECT message FROM job_logs WHERE job_id = {job['id']} AND type = 'failure'")
    assert any("retry_delay raised RuntimeError: no idea" in line for (line,) in logged) == (
        message == "raise"
    )


def test_the_failed_hook_is_called_once_after_the_last_attempt_in_a_child_of_its_own(
    client: Client, book: Path
) -> None:
    book.unlink(missing_ok=True)
    job = client.run_background_job("asking.Hooked", "fail", {"message": "quick"}, max_retries=1)
    assert job.wait(20)["status"] == "failed"
    eventually(lambda: told(book))
    client.run_background_job("asking.Hooked", "fine").result(20)
    ((pid, text, outcome, kind, message, has_trace),) = told(book)
    assert pid not in [attempt["pid"] for attempt in job.snapshot["attempts"]]
    assert (text, outcome, kind, message) == ("ValueError: quick", "failed", "ValueError", "quick")
    assert has_trace


def test_the_failed_hook_hears_of_a_crash_too(client: Client, book: Path) -> None:
    book.unlink(missing_ok=True)
    client.run_background_job("asking.Hooked", "crash", max_retries=0).wait(20)
    eventually(lambda: told(book))
    assert told(book)[0][2:4] == ["signalled", None]


def test_a_hook_that_fails_is_told_in_the_jobs_log_and_changes_nothing(
    client: Client, running: RunningDaemon
) -> None:
    job = client.run_background_job("asking.HookFails", "fail", {"message": "quick"}, max_retries=0)
    job.wait(20)
    query = f"SELECT message FROM job_logs WHERE job_id = {job.id} AND message LIKE 'the failed hook%'"
    eventually(lambda: running.query(query))
    assert running.query(query) == [("the failed hook: LookupError: nobody to tell",)]
    assert job.refresh()["status"] == "failed"


def test_hooks_leave_nothing_in_the_spool(client: Client, running: RunningDaemon, book: Path) -> None:
    book.unlink(missing_ok=True)
    client.run_background_job("asking.Hooked", "fail", {"message": "quick"}, max_retries=0).wait(20)
    eventually(lambda: told(book))
    eventually(lambda: running.spooled() == [])


def test_a_hook_cannot_be_submitted(client: Client) -> None:
    methods = {one["name"]: [m["name"] for m in one["methods"]] for one in client.classes()}
    assert methods["asking.Hooked"] == ["crash", "fail", "fine"]


def test_a_hook_that_was_owed_when_the_daemon_was_killed_is_called_by_the_next(tmp_path: Path) -> None:
    book = tmp_path / "book"
    with daemon(tmp_path, SETTINGS, f'env = {{ BOOK = "{book}" }}', modules={"asking": MODULE}) as running:
        with running.client() as client:
            server = running.fork_server()
            job = client.run_background_job("asking.Hooked", "fail", {"message": "quick"}, max_retries=0)
            job.wait(20)
            eventually(lambda: running.spooled() == [])
        running.stop(signal.SIGKILL)
        # As if it had been killed between the end's commit and the hook: the journal is there, the hook's is not.
        book.unlink()
        (running.spool / f"{job.id}.1.journal").write_bytes(
            b'{"v":1,"type":"started","token":"aa","pid":1,"start_time":0,"pidfd_inode":1,"boot_id":"b",'
            b'"monotonic":0,"at":0}\\n'
        )
        running.start()
        assert running.fork_server() != server
        eventually(lambda: told(book))
        assert told(book)[0][1] == "ValueError: quick"
        eventually(lambda: running.spooled() == [])

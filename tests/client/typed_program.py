"""A program that uses every public name of the client as its documentation says; it is type-checked, never run."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, MutableMapping
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

import bgjob
import bgjob.outbox
import bgjob.testing
from bgjob import (
    AsyncClient,
    AsyncFollowing,
    AsyncJob,
    AsyncJobGroup,
    Backoff,
    BgjobError,
    Client,
    CodeLoadingError,
    DaemonUnavailableError,
    Fail,
    Filter,
    Following,
    Job,
    JobCancelledError,
    JobContext,
    JobExpiredError,
    JobFailedError,
    JobForReviewError,
    JobGroup,
    Outcome,
    OutputPart,
    Page,
    RequestError,
    Retry,
    Snooze,
    Status,
    Throttled,
    WaitTimeoutError,
    aio,
    as_completed,
    run_background_job,
    wait,
)
from bgjob.answers import StackRead, StepsRead

Json = dict[str, Any]


class Email:
    """A job class with all that may be injected and raised."""

    MAX_RETRIES = 5

    def __init__(self, context: JobContext) -> None:
        self._context = context

    def send(self, to: str) -> str:
        self._context.progress(0.5, "half")
        self._context.logger.info("sending")
        if self._context.stop_reason is not None or self._context.remaining == 0.0:
            raise Retry("not now", delay=3.0)
        if not to:
            raise Fail("nobody")
        if self._context.attempt == 1:
            raise Throttled(retry_after=60, of="class")
        raise Snooze(1.5)

    def failed(self, error: bgjob.AttemptError) -> None:
        print(error.outcome == Outcome.FAILED, error.error_type)


class Shipping:
    """A job of steps, which have the types of what they call."""

    def ship(self, order: int, context: JobContext) -> str:
        paid: str = context.step("charge", self._charge, order, key=context.token("charge"))
        context.sleep(3600)
        try:
            packed: dict[str, int] = context.wait_for("packed", timeout=5)
        except bgjob.SignalTimeout:
            return paid
        except (bgjob.StepError, bgjob.InvalidResult, bgjob.Suspended) as error:
            return f"{error} {context.steps['charge']}"
        return f"{paid} {packed}"

    def crawl(self, context: JobContext) -> int:
        state: MutableMapping[str, Any] = context.state
        state["cursor"] = 1
        cursor: int = state.get("cursor", 0) + state.pop("before", 0)
        return cursor

    async def ship_later(self, context: JobContext) -> str:
        return await context.step("charge", self._charge_later)

    def _charge(self, order: int, key: str = "") -> str:
        return f"{order} {key}"

    async def _charge_later(self) -> str:
        return "paid"


class Stubborn(Client):
    """A client with retries of its own."""

    MAX_RETRIES = 7
    RETRY_DELAY = 0.5


def use_functions() -> None:
    job = run_background_job(
        Email, "send", {"to": "a"}, 1, queue="mail", backoff=Backoff.EXPONENTIAL, delay=2
    )
    assert_type(job, Job)
    jobs = [job, run_background_job("myapp.jobs.Email", "send")]
    assert_type(as_completed(jobs, timeout=3.0), Iterator[Job])
    assert_type(wait(jobs), tuple[list[Job], list[Job]])


def use_client() -> None:
    with Stubborn("unix:/run/bgjobd.sock", timeout=2.5) as client:
        jobs = client.submit_many([{"class_name": Email, "method_name": "send"}])
        assert_type(jobs, list[Job])
        assert_type(client.get(1), Job)
        page = client.list(status=["failed", "retrying"], class_name=Email, search="x", limit=5)
        assert_type(page, Page[Json])
        assert_type(page.items, list[Json])
        assert_type(page.next, int | None)
        assert_type(client.logs(count=10_000).total, int | None)
        client.list(status=Status.FAILED, queue="q", method_name="m", before=page.next)
        assert_type(client.logs(id=1, type="failure", search="x", after=0).is_complete, bool)
        assert_type(client.follow_logs(class_name=Email, limit=0), Following[Json])
        assert_type(client.output(1, number=2), bytes)
        assert_type(client.output_parts(1), list[OutputPart])
        assert_type(client.follow_output(1), Following[OutputPart])
        assert_type(client.watch([1, 2]), Following[Json])
        assert_type(client.watch(queue="mail"), Following[Json])
        client.cancel(1, 2)
        client.retry(3, from_start=True)
        assert_type(client.again(1, from_step="mail"), Job)
        client.list(again_of=1)
        client.change(1, 2, priority=5, queue="mail", at=None, timeout=timedelta(minutes=1), max_retries=0)
        assert_type(client.pause("mail", resumes_in=timedelta(minutes=10)), str | None)
        client.resume()
        assert_type(client.schedules(next=5), list[Json])
        occurrences = client.occurrences("nightly", limit=20)
        assert_type(occurrences.items, list[Json])
        client.occurrences("nightly", before=occurrences.next)
        assert_type(client.run_schedule("nightly"), Job)
        client.pause_schedule("nightly")
        client.resume_schedule("nightly")
        assert_type(client.classes(), list[Json])
        assert_type(client.limits(), dict[str, str])
        assert_type(client.stats(usage=True), Json)
        assert_type(client.ping(), Json)
        assert_type(client.reload(), str)
        assert_type(client.wait(1, timeout=1.0), Json)
        assert_type(client.as_completed(jobs), Iterator[Job])


def use_job(job: Job) -> None:
    assert_type(job.id, int)
    assert_type(job.snapshot, Json)
    assert_type(job.refresh(), Json)
    assert_type(job.wait(1), Json)
    assert_type(job.logs(), Page[Json])
    assert_type(job.logs(follow=True), Following[Json])
    assert_type(job.output(), bytes)
    with job.output(follow=True) as parts:
        for number, data, left_out, offset in parts:
            assert_type((number, data, left_out, offset), tuple[int, bytes, int, int])
        assert_type(OutputPart(1, b"x").marked, bytes)
    assert_type(next(job.watch()), Json)
    job.cancel()
    job.retry()
    job.change(expires_at=None)
    assert_type(job.signal("packed", {"parcels": 2}, key="k"), bool)
    job.retry(from_start=True)
    assert_type(job.again({"to": "a@b"}, from_step="mail", idempotency_key="k").id, int)
    assert_type(job.steps(), StepsRead)
    assert_type(job.stack(), StackRead)
    job.settle(completed=False, why="no money")
    try:
        job.result(timeout=30)
    except JobExpiredError as error:
        assert_type(error.job, Json)
    except JobForReviewError as error:
        assert_type(error.job, Json)
        job.settle(step="charge", result={"id": 7})
    except (JobFailedError, JobCancelledError) as error:
        assert_type(error.job, Json)
    except RequestError as error:
        assert_type(error.parameters, Json)
    except (WaitTimeoutError, CodeLoadingError, DaemonUnavailableError, BgjobError):
        pass


def use_groups(client: Client, job: Job) -> None:
    pages = client.group(5)
    assert_type(pages, JobGroup)
    assert_type((pages.id, pages.snapshot, pages.refresh()), tuple[int, Json, Json])
    assert_type(pages.wait(timeout=3.0), Json)
    assert_type(pages.jobs(limit=3), Page[Json])
    pages.seal()
    pages.cancel()
    assert_type(pages.retry(), int)
    assert_type(client.groups(state="open", limit=3), Page[Json])
    client.list(group=pages)
    client.list(group=5)
    assert_type(client.graph(1, limit=200).edges, list[Json])
    client.retry(1, anyway=True)
    job.retry(anyway=True)
    run_background_job(Email, "send", after=[job, pages, 12], if_failed="run", group=pages)
    run_background_job(Email, "send", after=(one for one in [1, 2]), if_failed=bgjob.IfFailed.WAIT, group=5)


def use_errors(
    options: bgjob.Options,
) -> type[bgjob.JobError | bgjob.ProtocolError | bgjob.InternalError] | None:
    """Every refusal is a RequestError, and what Python calls it too."""
    try:
        run_background_job("a.B", "c", **options)
    except (bgjob.NotApprovedError, bgjob.MethodNotApprovedError, bgjob.PermissionDeniedError) as error:
        assert_type(error.filename, Any)  # of PermissionError
    except (
        bgjob.InvalidNameError,
        bgjob.InvalidParameterError,
        bgjob.InvalidParametersError,
        bgjob.TooLargeError,
    ) as error:
        check_value(error)
    except (
        bgjob.JobNotFoundError,
        bgjob.GroupNotFoundError,
        bgjob.ScheduleNotFoundError,
        bgjob.ErrorGroupNotFoundError,
    ) as error:
        check_lookup(error)
    except (
        bgjob.ShuttingDownError,
        bgjob.StorageUnavailableError,
        bgjob.QueueFullError,
        bgjob.TooManyConnectionsError,
        bgjob.TooManySignalsError,
        bgjob.StepNotFoundError,
    ) as error:
        assert_type(error.parameters, Json)
    except (
        bgjob.BehindFailedError,
        bgjob.ChangedError,
        bgjob.ClassUnavailableError,
        bgjob.GroupSealedError,
        bgjob.DuplicateError,
        bgjob.IdempotencyConflictError,
        bgjob.InvalidStateError,
        bgjob.NotForReviewError,
        bgjob.ReloadFailedError,
    ) as error:
        assert_type(error.error_name, str)
    return None


def check_tests(error: bgjob.NoDaemonInTestsError) -> AssertionError:
    return error


def check_value(error: ValueError) -> None: ...


def check_lookup(error: LookupError) -> None: ...


class TellingClient(Client):
    MAX_RETRIES = 5
    RETRY_DELAY = 2.5

    def on_away(self, error: BgjobError) -> None:
        print(error)

    def on_back(self) -> None:
        print("back")


def submit_with_times() -> None:
    soon = datetime.now(UTC) + timedelta(minutes=5)
    TellingClient().run_background_job("a.B", "c", at=soon, retry_delay=timedelta(seconds=3))


async def use_coroutines() -> None:
    async with AsyncClient(timeout=1.0) as client:
        job = await client.run_background_job(Email, "send", {"to": "a"}, priority=1, key="a")
        assert_type(job, AsyncJob)
        assert_type(await client.submit_many([]), list[AsyncJob])
        assert_type(await client.get(1), AsyncJob)
        assert_type(await client.list(status="pending"), Page[Json])
        assert_type(await client.logs(id=1), Page[Json])
        assert_type(client.follow_logs(), AsyncFollowing[Json])
        assert_type(await client.output(1), bytes)
        assert_type(client.follow_output(1), AsyncFollowing[OutputPart])
        assert_type(await client.reload(), str)
        matched = await client.matching(Filter(status="failed", class_name=Email), "retry")
        assert_type(matched.jobs, int)
        done = await client.retry_matching(Filter(error=14), as_of=matched.as_of, expected=matched.jobs)
        assert_type(done.change, int | None)
        await client.cancel(1)
        await client.retry(1)
        await client.change(1, priority=5)
        await client.pause()
        await client.resume()
        assert_type(
            [await client.stats(usage=True), await client.ping(), *await client.classes()], list[Json]
        )
        async with client.watch(class_name=Email) as changes:
            async for change in changes:
                assert_type(change, Json)
        async for ended in client.as_completed([job], 5.0):
            assert_type(ended, AsyncJob)
        async for ended in aio.as_completed([job]):
            assert_type(ended, AsyncJob)
        assert_type(await aio.wait([job], 1.0), tuple[list[AsyncJob], list[AsyncJob]])
        assert_type(await job.wait(1.0), Json)
        assert_type(await job.refresh(), Json)
        assert_type(await job.logs(), Page[Json])
        assert_type(job.logs(follow=True), AsyncFollowing[Json])
        assert_type(await job.output(), bytes)
        assert_type(await client.output_parts(1, 2), list[OutputPart])
        assert_type(job.output(follow=True), AsyncFollowing[OutputPart])
        assert_type(await anext(job.watch()), Json)
        pages = await client.group(5)
        assert_type(pages, AsyncJobGroup)
        assert_type(await pages.wait(), Json)
        await client.run_background_job(Email, "send", after=[job, pages])
        await job.cancel()
        await job.retry(from_start=True)
        assert_type((await job.again()).id, int)
        await job.change(at="2034-12-04T14:31:53Z")
        print(await job.result(timeout=3.0))


def use_outbox(connection: sqlite3.Connection) -> None:
    connection.executescript(bgjob.outbox.DDL["sqlite"])
    outbox = bgjob.outbox.Outbox(timeout=1.0)
    assert_type(outbox.submit(connection, Email, "send", {"to": "a"}, queue="mail"), str)
    assert_type(outbox.flush(connection), bgjob.outbox.Flushed)
    assert_type(bgjob.outbox.Flushed().submitted, int)


async def use_outbox_of_coroutines(connection: Any) -> None:
    outbox = bgjob.outbox.AsyncOutbox()
    assert_type(await outbox.submit(connection, "myapp.jobs.Email", "send"), str)
    assert_type(await outbox.flush(connection), bgjob.outbox.Flushed)


def use_testing() -> None:
    with bgjob.testing.inline(approved={Email, "myapp.jobs.Report"}) as jobs:
        run_background_job(Email, "send", {"to": "a"})
    assert_type(jobs, bgjob.testing.Jobs)
    (job,) = jobs.of(Email, "send")
    assert_type(job, bgjob.testing.SubmittedJob)
    assert_type((job.id, job.class_name, job.method_name, job.retry_count), tuple[int, str, str, int])
    assert_type(job.parameters, Json)
    assert_type(job.options, Json)
    assert_type(job.status, Status)
    assert_type(job.error, str | None)
    with bgjob.testing.recorded() as jobs:
        assert_type(len(jobs), int)
        assert_type(jobs[0].snapshot, Json)


@bgjob.testing.recorded()
def use_a_decorator(count: int) -> str:
    return str(count)


assert_type(use_a_decorator(1), str)

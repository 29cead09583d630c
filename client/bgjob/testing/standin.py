"""What answers in place of a daemon: one that records jobs, and one that also runs them at once; what is told of jobs,
what is asked of them, how one is run and what a submission may say are elsewhere.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from bgjob import codec, request_values, sending, submission_rules
from bgjob.codec import JsonObject, Request
from bgjob.errors import (
    BgjobError,
    DuplicateError,
    InvalidParameterError,
    InvalidParametersError,
    MethodNotApprovedError,
    NotApprovedError,
    TooLargeError,
)
from bgjob.testing import listing, submissions
from bgjob.testing.arguments import misfits, not_to_be_taken
from bgjob.testing.attempts import attempt, tell_failed_hook
from bgjob.testing.group_answers import GroupAnswers
from bgjob.testing.job_book import JobBook
from bgjob.testing.many import ManyAnswers
from bgjob.testing.met_errors import ErrorBook
from bgjob.testing.put_schedules import PutSchedules
from bgjob.testing.reading import ReadAnswers
from bgjob.testing.stepping import StepBook
from bgjob.testing.submissions import Submission, instant
from bgjob.testing.submitted import copied
from bgjob.testing.targets import target_of
from bgjob.testing.ties import Names, Node
from bgjob.testing.wishes import WishAnswers
from bgjob.words import INTERFACE, SERVICE, Outcome, Status

MAX_SNOOZES: Final = 5
"""How often a job may ask for a snooze, which nobody waits for here, before it fails."""


class NothingRunsError(BgjobError):
    """The end of a job was waited for that is only recorded, or comes after what does not end."""

    def __init__(self, job_id: int, waits_for: str | None = None, waiting_on: str | None = None) -> None:
        self._made_of = (job_id, waits_for, waiting_on)
        why = "is only recorded and will never end; use bgjob.testing.inline() to run jobs"
        if waits_for is not None:
            why = f"comes after {waits_for}, which has not ended, and nothing runs meanwhile"
        if waiting_on is not None:
            why = f"waits for {waiting_on}; use job.signal(), or bgjob.testing.time_out(job)"
        super().__init__(f"job {job_id} {why}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._made_of


class NotAnsweredError(BgjobError, NotImplementedError):
    """A method was called that needs a daemon."""

    def __init__(self, method: str) -> None:
        self._made_of = (method,)
        super().__init__(f"bgjob.testing does not answer {method}; that needs a daemon")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._made_of


class Recorder:
    """Answers what a daemon would that starts nothing."""

    _runs = False

    def __init__(
        self, approved: Iterable[str | type] | None, signals: Mapping[str, Iterable[Any]] | None = None
    ) -> None:
        self._book = JobBook()
        self.jobs = self._book.jobs
        self._approved = None if approved is None else {request_values.class_name_of(cls) for cls in approved}
        self._steps = StepBook(signals or {})
        self._errors = ErrorBook()
        self._claimed: set[int] = set()
        self._reads = ReadAnswers(self._book, self._steps, self._try_open_before)
        wishes = WishAnswers(self._book, self._steps, self._proceed, self._checked_alone)
        groups = GroupAnswers(self._book.flows, self._book.lock, self._proceed, wishes.retry)
        schedules = PutSchedules(self._checked_alone, self._submit_of_schedule)
        self._answers: dict[str, Callable[[JsonObject], JsonObject]] = {
            f"{INTERFACE}.Submit": self._submit,
            f"{INTERFACE}.SubmitMany": self._submit_many,
            f"{INTERFACE}.Wait": self._wait,
            f"{INTERFACE}.Hosts": self._hosts,
            f"{INTERFACE}.Needs": lambda given: {"needs": [], "more": 0},
            f"{INTERFACE}.Alerts": lambda given: {"alerts": [], "next": None},
            f"{INTERFACE}.Pause": lambda given: {"resumes_at": submissions.try_end_of_pause(given)},
            f"{INTERFACE}.Resume": lambda given: {},
            **self._reads.answers,
            **wishes.answers,
            **groups.answers,
            **ManyAnswers(self._book.rows, wishes.retry, wishes.cancel).answers,
            **self._errors.answers,
            **schedules.answers,
            f"{SERVICE}.GetInfo": lambda given: _INFO,
        }

    def answer(self, request: Request) -> JsonObject:
        received = _received(request)
        answer = self._answers.get(received.method)
        if answer is None:
            raise NotAnsweredError(received.method)
        submission_rules.check_ids(received.parameters)
        return copied(answer(received.parameters))

    def stream(self, request: Request) -> Iterable[JsonObject]:
        received = _received(request)
        if received.method == f"{INTERFACE}.Values":
            return self._steps.of(self._book.row(received.parameters["id"])).values.told(received.parameters)
        if received.method != f"{INTERFACE}.Watch":
            raise NotAnsweredError(received.method)
        ids = received.parameters.get("ids")
        rows = None if ids is None else [self._book.row(one) for one in ids]
        return [{"job": None}] if rows is None else [{"job": listing.summary(row)} for row in rows]

    # What the two do differently

    def _policy(self, given: JsonObject, taken: Collection[str]) -> JsonObject:
        """What the class says where the caller does not. Raises the refusal of what could not run; `taken` are the
        parameters that come from results.

        Who imports no class knows nothing of it.
        """
        return {}

    def _run(self, row: JsonObject) -> None:
        """Bring a pending job to its end."""

    def _proceed(self, rows: Iterable[JsonObject]) -> None:
        """Run those that wait for nothing, in order, and then what that frees."""
        waiting = deque(rows)
        while waiting:
            row = waiting.popleft()
            if not self._claim(row):
                continue
            try:
                self._run(row)
            finally:
                with self._book.lock:
                    self._claimed.discard(row["id"])
                    waiting += self._book.flows.tell(Node("job", row["id"]))
                    waiting += self._woken(row)

    def _woken(self, row: JsonObject) -> list[JsonObject]:
        """The job, where a signal came while it stopped to wait for that."""
        is_waiting = row["status"] == Status.PENDING and row["waiting_on"] is not None
        return [row] if self._runs and is_waiting and self._steps.of(row).may_go_on() else []

    def _claim(self, row: JsonObject) -> bool:
        """Whether the job is to run now, and nobody else has it run."""
        with self._book.lock:
            is_free = row["status"] == Status.PENDING and not row["waits_for"]
            if not self._runs or not is_free or row["id"] in self._claimed:
                return False
            self._claimed.add(row["id"])
            return True

    # The methods

    def _submit(self, given: JsonObject) -> JsonObject:
        job = {name: value for name, value in given.items() if name != "check_only"}
        submission_rules.check_shape(job)
        if job.get("ref") is not None:
            raise InvalidParameterError(parameter="ref")
        wanted = self._checked(job, Names())
        if given.get("check_only"):
            return {"id": 0, "created": False}
        try:
            stored = self._book.store([wanted])
        except InvalidParameterError as error:
            parameter = error.parameters["parameter"]
            raise InvalidParameterError(parameter=parameter.removeprefix("jobs.0.")) from None
        except DuplicateError as error:
            raise DuplicateError(id=error.parameters["id"]) from None
        (one,) = stored.jobs
        self._proceed(stored.free)
        return {"id": one.row["id"], "created": one.created} | ({"replaced": True} if one.replaced else {})

    def _submit_of_schedule(self, wanted: Submission) -> JsonObject:
        stored = self._book.store([wanted])
        (one,) = stored.jobs
        if not one.created:
            raise DuplicateError(id=one.row["id"])
        self._proceed(stored.free)
        return one.row

    def _submit_many(self, given: JsonObject) -> JsonObject:
        submission_rules.check_many(given)
        names = Names()
        groups = [names.group(one, place) for place, one in enumerate(given.get("groups") or [])]
        is_bulk = given.get("each") is not None
        jobs = submissions.one_by_one(given) if is_bulk else given.get("jobs") or []
        name, key = ("each", "keys.{}") if is_bulk else ("jobs", "jobs.{}.options.idempotency_key")
        for index, job in enumerate(jobs):
            submission_rules.check_shape(job, f"{name}.{index}.")
        wanted = [
            self._checked_one_of_many(f"{name}.{index}", job, names, index) for index, job in enumerate(jobs)
        ]
        stored = self._book.store(wanted, key, groups, given.get("seal") or ())
        self._proceed(stored.free)
        told: JsonObject = {"ids": [one.row["id"] for one in stored.jobs], "groups": stored.groups}
        told["created"] = [one.created for one in stored.jobs]
        if any(one.replaced for one in stored.jobs):
            told["replaced"] = [one.replaced for one in stored.jobs]
        return told

    def _wait(self, given: JsonObject) -> JsonObject:
        row = self._book.named(given)
        if row["status"] == Status.PENDING:  # for ever, whatever time is given
            raise NothingRunsError(row["id"], self._try_open_before(row), row["waiting_on"])
        return {"job": row, "next": None}

    def _try_open_before(self, row: JsonObject) -> str | None:
        """The first of what the job comes after that is not done; None where no job runs, whatever it comes after."""
        return self._book.flows.try_open_before(row) if self._runs else None

    def _hosts(self, given: JsonObject) -> JsonObject:
        return {"hosts": [_host(len(self._reads.running()), self._approved)]}

    def time_out(self, job_id: int) -> None:
        """The time of the job's wait for a signal is over. Raises ValueError where it has none."""
        row = self._book.row(job_id)
        with self._book.lock:
            self._steps.of(row).time_out()
        self._proceed([row])

    # Submissions

    def _checked_alone(self, given: JsonObject) -> Submission:
        return self._checked(given, Names())

    def _checked(self, given: JsonObject, names: Names) -> Submission:
        """Raises the refusal of a submission whose shape is right, in the daemon's order."""
        submissions.check_names_and_size(given)
        ties = names.ties(given.get("options") or {})
        if self._approved is not None and given["class_name"] not in self._approved:
            raise NotApprovedError(class_name=given["class_name"])
        policy = self._policy(given, ties.takes)
        submissions.check_meaning(given.get("options") or {})
        return Submission(given, policy, ties)

    def _checked_one_of_many(self, place: str, given: JsonObject, names: Names, index: int) -> Submission:
        """The same, where a refusal tells the job's place in the list."""
        try:
            wanted = self._checked(given, names)
            names.name_job(given, index)
            return wanted
        except (InvalidParameterError, InvalidParametersError, TooLargeError) as error:
            raise submission_rules.of_one(place, error) from None


class Runner(Recorder):
    """Answers what a daemon would that is done at once."""

    _runs = True

    def _policy(self, given: JsonObject, taken: Collection[str]) -> JsonObject:
        target = target_of(given["class_name"])
        function = target.try_method(given["method_name"])
        if function is None:
            names = {"class_name": given["class_name"], "method_name": given["method_name"]}
            raise MethodNotApprovedError(**names)
        parameters, task = given.get("parameters") or {}, target.tasks.get(given["method_name"])
        problems = not_to_be_taken(function, taken, parameters, task)
        problems = problems or misfits(function, parameters | dict.fromkeys(taken), task)
        if problems:
            raise InvalidParametersError(problems=problems)
        return target.policy

    def _run(self, row: JsonObject) -> None:
        target = target_of(row["class_name"])
        snoozes, kept = 0, self._steps.of(row)
        while row["status"] == Status.PENDING and kept.settle():
            outcome = attempt(row, target, kept, snoozes < MAX_SNOOZES, self._errors)
            snoozes += outcome is Outcome.SNOOZED
        if row["status"] == Status.FAILED:
            tell_failed_hook(row, target)


_INFO: Final = {
    "vendor": "bgjobd",
    "product": "bgjob.testing",
    "version": "",
    "url": "",
    "interfaces": [SERVICE, INTERFACE],
}


def _host(running: int, approved: Collection[str] | None) -> JsonObject:
    """The one that this process is on, as Hosts has it."""
    unset = (
        "id",
        "term",
        "lost_after",
        "code_version",
        "clock_difference",
        "trouble",
        "left_at",
        "lost_at",
        "drained_at",
    )
    return dict.fromkeys(unset) | {
        "name": socket.gethostname() or "localhost",
        "is_own": True,
        "state": "alive",
        "seen_at": instant(),
        "unseen_for": 0.0,
        "running": running,
        "slots": 1,
        "queues": ["default"],
        "classes": sorted(approved or ()),
        "version": "",
    }


def _received(request: Request) -> Request:
    """The request as it arrives at a daemon: through JSON, read as strictly. Raises what a client or a daemon does."""
    try:
        return codec.parse_request(sending.frame_of(request)[:-1])
    except codec.IntegerOutOfRangeError as error:
        raise InvalidParameterError(parameter=error.parameter) from None

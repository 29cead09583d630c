"""A job of bgjob.testing.inline() ends as one of a real daemon does, and what one refuses the other refuses too."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest

import bgjob.testing
from bgjob import Client, Job, RequestError, wait
from bgjobd import forkserver
from bgjobd.core.job import Ending
from tests.client import jobs_of_tests
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually, total

MODULE = "parity_jobs"
APPROVED = [
    name
    for name, member in vars(jobs_of_tests).items()
    if isinstance(member, type) and member.__module__ == jobs_of_tests.__name__
]


class Case(NamedTuple):
    """A job, as a sentence and as it is submitted."""

    sentence: str
    target: str
    parameters: dict[str, Any] = {}  # noqa: RUF012  # nobody changes them
    retry_count: int = 0
    options: dict[str, Any] = {}  # noqa: RUF012  # nobody changes them

    def submit(self, client: Client) -> Job:
        class_name, _, method_name = self.target.partition("::")
        if "." not in class_name:
            class_name = f"{MODULE}.{class_name}"
        return client.run_background_job(
            class_name, method_name, self.parameters, self.retry_count, **self.options
        )


VALUES = {
    "pair": ["2024-12-04", "x"],
    "days": ["2024-12-04"],
    "tags": ["b", "a"],
    "by_number": {"1": "1.50"},
    "stay": {"street": "s", "since": "2024-12-04"},
    "raw": "é",
    "place": "/srv",
    "maybe": "2024-12-04",
}
ANNOTATED = {
    "when": "2024-12-04",
    "amount": 1.5,
    "colour": "red",
    "address": {"street": "s", "since": "2020-01-01"},
    "ids": ["00000000-0000-0000-0000-000000000001"],
}
AS_PYTHON_HAS_THEM = {
    "when": date(2024, 12, 4),
    "amount": Decimal("1.5"),
    "colour": jobs_of_tests.Colour.RED,
    "address": jobs_of_tests.Address("s", date(2020, 1, 1)),
    "ids": {UUID(int=1)},
}

OTHERS = {
    "span": "PT90M",
    "net": "10.0.0.0/8",
    "row": ["2024-12-04", 3],
    "number": 7,
    "colour": "red",
    "flags": {"true": "2024-12-04"},
    "weights": {"1.5": 2},
    "dated": {"on": "2024-12-04"},
}
OTHERS_AS_PYTHON_HAS_THEM = {
    "span": timedelta(minutes=90),
    "net": IPv4Network("10.0.0.0/8"),
    "row": jobs_of_tests.Row(date(2024, 12, 4), 3),
    "number": jobs_of_tests.Number(7),
    "colour": jobs_of_tests.Colour.RED,
    "flags": {True: date(2024, 12, 4)},
    "weights": {1.5: 2},
    "dated": jobs_of_tests.Dated(date(2024, 12, 4)),
}

CASES = [
    # How methods are called
    Case("a result comes back", "Plain::echo", {"value": [1, "é", None, {"a": 1.5}]}),
    Case("no result is null", "Plain::echo"),
    Case("keys are text", "Plain::echo", {"value": {1: {2: 3}}}),
    Case("a tuple is a list", "Plain::return_a_tuple"),
    Case("the whole mapping is given", "Plain::whole", {"b": 1, "a": 2}),
    Case("the whole mapping may be empty", "Plain::whole"),
    Case("the whole mapping is converted", "Values::whole", {"street": "s", "since": "2024-12-04"}),
    Case("a whole mapping with a default is given", "Values::whole_or_nothing"),
    Case("any names are given", "Values::any_names", {"first": 1, "second": 2}),
    Case("a parameter is only by name", "Values::only_by_name", {"when": "2024-12-04"}),
    Case("a coroutine is awaited", "Plain::later", {"value": 1}),
    Case("a coroutine's result is JSON", "Raising::return_a_coroutine"),
    Case("an inherited method runs", "Child::echo", {"value": 1}),
    Case("steps run once, sleeps end attempts", "Stepped::sleeps"),
    Case("retries are counted anew behind a step", "Stepped::fails_on_the_way", {}, 0, {"max_retries": 1}),
    Case("values are told", "Stepped::emits"),
    Case("a step comes once an attempt", "Stepped::twice", {}, 0, {"max_retries": 1}),
    Case("the result of a step is JSON", "Stepped::no_json", {}, 0, {"max_retries": 1}),
    Case("a context is given twice", "WithContext::look"),
    Case("values are converted", "Plain::annotated", ANNOTATED),
    Case("values that JSON has not are given as they are", "Plain::annotated", AS_PYTHON_HAS_THEM),
    Case(
        "no value is converted beside what nobody can read",
        "Plain::annotated_unreadably",
        {"when": "2024-12-04"},
    ),
    Case("values in containers are converted", "Values::take", VALUES),
    Case("values of other types are converted", "Values::others", OTHERS),
    Case("values of other types are given as they are", "Values::others", OTHERS_AS_PYTHON_HAS_THEM),
    Case("1.0 is a whole number", "Plain::later", {"value": 1.0}),
    Case("a bare set is a set", "Values::bare", {"tags": ["a"]}),
    Case("a value fits", "Values::share", {"pairs": {"number": 2}}),
    Case("a value does not fit", "Values::share", {"pairs": {"number": 3}}),
    Case("an object cannot be made", "CannotBeMade::run", {"when": "2024-12-04"}),
    # Errors and retries
    Case("a class says how often", "Flaky::fail"),
    Case("the caller says how often", "Flaky::fail", {}, 0, {"max_retries": 4}),
    Case("the caller wants no retry", "Flaky::fail", {}, 0, {"max_retries": 0}),
    Case("the count starts at the caller's", "Flaky::fail", {}, 1),
    Case("the count starts at the end", "Flaky::fail", {}, 2),
    Case("the count starts beyond the end", "Flaky::fail", {}, 7),
    Case("nobody says how often", "Plain::exit", {"code": 1}),
    Case("a job gives up", "Flaky::give_up"),
    Case("a job gives up in words of its own", "Raising::never_again"),
    Case("a job asks for a retry", "Raising::retry_soon"),
    Case("a job asks for a retry and has none", "Raising::retry_soon", {}, 1),
    Case("a job snoozes and fails", "Raising::snooze_and_fail"),
    Case("a job is throttled", "Raising::be_throttled"),
    Case("a job without a key is throttled by it", "Raising::be_throttled", {"of": "key"}),
    Case("a job fails and snoozes", "Raising::fail_and_snooze"),
    Case("an error has no text", "Raising::without_text"),
    Case("an error is of a nested class", "Raising::its_own"),
    Case("an error cannot be printed", "Raising::unprintable"),
    Case("an error's text is no UTF-8", "Raising::with_a_lone_surrogate"),
    Case("an error's text is long", "Raising::at_length"),
    Case("a coroutine fails", "Raising::later"),
    Case("a coroutine is cancelled", "Raising::cancel"),
    Case("a coroutine exits", "Raising::exit_later"),
    Case("a method calls another wrongly", "Raising::call_with_too_much"),
    Case("a hook says when", "AsksWhen::fail"),
    Case("a hook is not asked", "AsksWhen::give_up"),
    Case("a hook fails", "AsksOddly::fail"),
    Case("a failed hook fails", "FailsInHook::fail"),
    # Exits
    *(
        Case(f"a job exits with {code!r}", "Raising::exit", {"code": code})
        for code in (0, 3, None, True, 256, -1, "a message", 1.5)
    ),
    # Results that are none
    Case("a set is no result", "Plain::return_a_set"),
    Case("a loop is no result", "Raising::return_a_loop"),
    Case("NaN is no result", "Raising::return_what_is_not_finite"),
    Case("a lone surrogate is no result", "Raising::return_a_lone_surrogate"),
    Case("a large result is none", "Raising::return_much"),
    Case("a result is nested deeply", "Plain::nest", {"depth": 101}),
    Case("a result is nested too deeply", "Plain::nest", {"depth": 102}),
    # What is asked for
    Case(
        "all options are kept",
        "Plain::echo",
        {},
        1,
        {
            "delay": 0.01,
            "priority": -3,
            "timeout": 60,
            "retry_delay": 1,
            "backoff": "exponential",
            "max_retries": 100,
        },
    ),
    Case("the past is no reason to wait", "Plain::echo", {}, 0, {"at": "2024-12-04T14:31:53+01:00"}),
]

REFUSED = [
    Case("a class name has an empty part", "a..b::run"),
    Case("a class name is long", f"{'x' * 256}.y::run"),
    Case("a method name has a dot", "Plain::a.b"),
    Case("a method name is empty", "Plain::"),
    Case("a module does not import", "broken.Job::run"),
    Case("a constructor needs more", "NeedsMore::run"),
    Case("a maker needs more", "NeedsMoreByNew::run"),
    Case("a class is abstract", "Abstract::run"),
    Case("there is no such method", "Plain::nothing"),
    Case("a method is hidden", "Plain::_hidden"),
    Case("a method is the constructor", "WithContext::__init__"),
    Case("a method is borrowed", "Plain::borrowed"),
    Case("a method is another class's", "Offers::echo"),
    Case("a method is of Python's own base", "Offers::run"),
    Case("a method is static", "Offers::static"),
    Case("a method is the class's", "Offers::of_the_class"),
    Case("a method is a property", "Offers::computed"),
    Case("a method is a lambda", "Offers::short"),
    Case("a method takes values by position", "Offers::by_position", {"value": 1}),
    Case("a method was taken away", "Silenced::whole"),
    Case("a method is a hook", "Flaky::failed"),
    Case("a method is the other hook", "Offers::retry_delay"),
    Case("a parameter is missing", "Plain::nest"),
    Case("a context without an annotation is missing", "WithContext::look_for", {"value": 1}),
    Case("a context without an annotation is not what is wrong", "WithContext::look_for", {"context": 1}),
    Case("parameters are missing", "Plain::annotated", {"when": "2024-12-04"}),
    Case("a parameter is unknown", "Plain::echo", {"colour": 1}),
    Case("parameters are unknown", "Plain::echo", {"colour": 1, "shape": 2}),
    Case("a parameter is missing, another unknown", "Plain::nest", {"colour": 1}),
    Case("a context is given", "WithContext::run", {"value": 1, "context": 1}),
    Case("parameters are large", "Plain::echo", {"value": "x" * 65536}),
    Case("a number is large", "Plain::echo", {"value": 2**63}),
    Case("the count is negative", "Plain::echo", {}, -1),
    *(
        Case(f"an option is {options}", "Plain::echo", {}, 0, options)
        for options in (
            {"colour": 1},
            {"priority": "high"},
            {"priority": 1.5},
            {"delay": -1},
            {"delay": 1e12},
            {"delay": "1"},
            {"traceparent": "00-1-2-01"},
            {"traceparent": 5},
            {"labels": "tenant:7"},
            {"labels": ["x" * 65]},
            {"labels": ["a\n"]},
            {"labels": [5]},
            {"labels": ["a"] * 11},
            {"at": "soon"},
            {"at": "2024-12-04T14:31:53"},
            {"at": 5},
            {"at": "2024-12-04T14:31:53Z", "delay": 1},
            {"queue": 1},
            {"timeout": 0},
            {"timeout": True},
            {"max_retries": True},
            {"max_retries": 101},
            {"max_retries": -1},
            {"retry_delay": -0.5},
            {"backoff": "linear"},
            {"backoff": 1},
            {"idempotency_key": ""},
            {"idempotency_key": "x" * 256},
            {"colour": 1, "delay": -1},
        )
    ),
]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """A daemon whose classes can be imported here under the same names."""
    source = Path(jobs_of_tests.__file__).read_text()
    settings = "\n".join(f'"{MODULE}.{name}" = {{}}' for name in APPROVED)
    environ = {"BGJOBD_RETRY__MAX_RETRIES": "3", "BGJOBD_RETRY__RETRY_DELAY": "0.01"}
    directory = tmp_path_factory.mktemp("parity")
    with (
        pytest.MonkeyPatch.context() as patch,
        daemon(directory, settings, environ=environ, modules={MODULE: source}, has_pydantic=True) as running,
    ):
        patch.syspath_prepend(str(directory))
        yield running


@pytest.fixture(scope="module")
def client(running: RunningDaemon) -> Iterator[Client]:
    with running.client() as client:
        yield client


@pytest.fixture(scope="module")
def by_daemon(client: Client) -> dict[str, Any]:
    """Every job of the table, once it has ended."""
    jobs = {case.sentence: case.submit(client) for case in CASES}
    assert wait(jobs.values(), 50)[1] == []
    return {sentence: job.refresh() for sentence, job in jobs.items()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sentence)
@pytest.mark.filterwarnings("ignore:.* raised :RuntimeWarning")
def test_a_job_ends_as_with_a_daemon(case: Case, client: Client, by_daemon: dict[str, Any]) -> None:
    with bgjob.testing.inline():
        here = case.submit(client).refresh()
    assert told(here) == told(by_daemon[case.sentence])


@pytest.mark.parametrize("after", [0, 2, -2, 99])
def test_values_are_told_as_by_a_daemon(client: Client, by_daemon: dict[str, Any], after: int) -> None:
    job = client.get(by_daemon["values are told"]["id"])
    theirs = [one._replace(at="") for one in job.stream(after, places=True)]
    page = client.values(job.id, after=after, limit=2)
    with bgjob.testing.inline():
        here = Case("", "Stepped::emits").submit(client)
        assert [one._replace(at="") for one in here.stream(after, places=True)] == theirs
        assert list(here.stream(after)) == [one.value for one in theirs]
        own = client.values(here.id, after=after, limit=2)
    blank = [[one._replace(at="") for one in each.values] for each in (own, page)]
    assert blank[0] == blank[1]
    assert own[1:] == page[1:]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.sentence)
def test_what_a_daemon_refuses_is_refused_with_the_same_words(case: Case, client: Client) -> None:
    theirs = refusal(lambda: case.submit(client))
    with bgjob.testing.inline() as jobs:
        assert refusal(lambda: case.submit(client)) == theirs
    assert list(jobs) == []


@pytest.mark.parametrize("name", ["OddRetries", "TooManyRetries"])
def test_a_class_with_odd_attributes_is_unavailable(name: str, client: Client) -> None:
    case = Case("", f"{name}::run")
    kind, parameters = refusal(lambda: case.submit(client))
    with bgjob.testing.inline():
        here, told = refusal(lambda: case.submit(client))
    assert here is kind
    for one in (told, parameters):
        assert one["reason"].startswith("its attribute MAX_RETRIES ")


BAD_JOBS: list[list[dict[str, Any]]] = [
    [{"method_name": "nothing"}],
    [{"parameters": {"colour": 1}}],
    [{"parameters": [1]}],
    [{"retry_count": "1"}],
    [{"colour": 1}],
    [{"method_name": None}],
    [{"options": {"delay": -1}}],
    [{"options": {"max_retries": 101}}],
    [{"options": {"idempotency_key": "many"}}, {"options": {"idempotency_key": "many"}, "retry_count": 1}],
    [{"method_name": "nothing"}, {"retry_count": -1}],
]


@pytest.mark.parametrize("bad", BAD_JOBS, ids=json.dumps)
def test_one_bad_job_of_many_is_refused_with_its_place(bad: list[dict[str, Any]], client: Client) -> None:
    good = {"class_name": f"{MODULE}.Plain", "method_name": "echo"}
    many = [good, *(good | one for one in bad)]
    theirs = refusal(lambda: client.submit_many(many))
    with bgjob.testing.inline() as jobs:
        assert refusal(lambda: client.submit_many(many)) == theirs
    assert list(jobs) == []


SETTLED: list[dict[str, Any]] = [
    {"completed": True},
    {},
    {"completed": False, "step": "charge"},
    {"completed": False, "result": 1},
    {"completed": True, "why": "no"},
    {"step": "charge", "why": "no"},
]


def test_a_person_asks_again_and_is_refused_alike(client: Client) -> None:
    def scene() -> list[Any]:
        failing = Case("", "Flaky::fail", {}, 1).submit(client)
        failing.wait(20)
        failing.retry()
        failing.wait(20)
        done = Case("", "Plain::echo").submit(client)
        done.wait(20)
        return [
            told(failing.refresh()),
            [attempt["number"] for attempt in failing.snapshot["attempts"]],
            refusal(done.retry, without="id"),
            refusal(failing.cancel, without="id"),
            refusal(lambda: client.retry(failing.id, done.id), without="id"),
            refusal(lambda: done.settle(completed=True, result=1), without="id"),
            refusal(lambda: failing.settle(completed=False, why="no"), without="id"),
            refusal(lambda: failing.settle(step="charge"), without="id"),
            *[refusal(lambda said=said: client.settle(10**9, **said)) for said in SETTLED],
            refusal(lambda: client.get(10**9)),
            refusal(lambda: client.list(status=["failed", "dancing"])),
            refusal(lambda: client.list(limit=1001)),
            refusal(lambda: client.list(until="soon")),
            refusal(lambda: client.list(outcome="bad")),
            refusal(lambda: client.list(sort="upside down")),
            refusal(lambda: client.list(sort="ended", status=["failed", "running"])),
            refusal(lambda: client.list(count=0)),
            refusal(lambda: client.list(count=100_001)),
        ]

    theirs = scene()
    with bgjob.testing.inline():
        assert scene() == theirs


def test_what_has_ended_runs_again_and_is_refused_alike(client: Client) -> None:
    def scene() -> list[Any]:
        failing = Case("", "Stepped::fails_on_the_way", {}, 0, {"max_retries": 0, "priority": 3}).submit(
            client
        )
        failing.wait(20)
        failing.retry()
        failing.wait(20)
        other = failing.again(from_step="step 1", idempotency_key="again")
        other.wait(20)
        steps = [(one["name"], one["number"], one["attempt"], one["tries"]) for one in other.steps().steps]
        before = {one["name"]: one["token"] for one in failing.steps().steps}
        failing.retry(from_start=True)
        failing.wait(20)
        (step,) = failing.steps().steps
        holder = Case("", "Plain::echo", {}, 0, {"unique_key": "k", "delay": 3600.0}).submit(client)
        return [
            told(other.refresh()),
            [other.snapshot["priority"], other.snapshot["again_of"] == failing.id],
            steps,
            [one["id"] == other.id for one in client.list(again_of=failing.id)],
            failing.again(from_step="step 1", idempotency_key="again").id == other.id,
            [step["name"], step["attempt"], step["token"] == before["step 0"]],
            refusal(lambda: failing.again(idempotency_key="again"), without="id"),
            refusal(lambda: failing.again({"nix": 1}), without="id"),
            refusal(lambda: failing.again(from_step="step 1"), without="id"),
            refusal(lambda: failing.again(from_step=""), without="id"),
            refusal(lambda: failing.again(idempotency_key=""), without="id"),
            refusal(lambda: client.again(10**9)),
            refusal(lambda: client.again(0)),
            holder.refresh()["status"] in ("pending", "completed"),  # inline waits for no time
        ]

    theirs = scene()
    with bgjob.testing.inline():
        assert scene() == theirs


def test_attempts_come_in_pages_as_with_a_daemon(client: Client) -> None:
    def scene() -> list[Any]:
        job = Case("", "Flaky::fail", {}, 0, {"max_retries": 3, "retry_delay": 0}).submit(client)
        job.wait(20)
        pages = [
            client.get(job.id, before=before, limit=limit)
            for before, limit in ((None, None), (None, 2), (3, None), (3, 1), (1, None), (None, 4))
        ]
        return [
            [[attempt["number"] for attempt in page.snapshot["attempts"]] for page in pages],
            refusal(lambda: client.get(job.id, limit=0)),
            refusal(lambda: client.get(job.id, limit=1001)),
            refusal(lambda: client.get(job.id, before=0)),
        ]

    theirs = scene()
    assert theirs[0] == [[1, 2, 3, 4], [3, 4], [1, 2], [2], [], [1, 2, 3, 4]]
    with bgjob.testing.inline():
        assert scene() == theirs


def test_an_idempotency_key_stands_for_one_request(client: Client) -> None:
    def scene() -> list[Any]:
        def submit(value: Any, retry_count: int = 0, **options: Any) -> Job:
            options["idempotency_key"] = "one"
            return Case("", "Plain::echo", {"value": value}, retry_count, options).submit(client)

        first = submit({"a": 1, "b": 2})
        assert submit({"b": 2, "a": 1}).id == first.id
        assert submit({"a": 1, "b": 2}, traceparent=f"00-{'a' * 32}-{'b' * 16}-01").id == first.id
        assert client.get(key="one").id == client.wait(key="one", timeout=20)["id"] == first.id
        return [
            *(refusal(lambda ask=ask: ask(key="none")) for ask in (client.get, client.wait)),
            refusal(lambda: client.get(first.id, key="one")),
            refusal(client.get),
            refusal(lambda: submit(2), without="id"),
            refusal(lambda: submit({"a": True, "b": 2}), without="id"),
            refusal(lambda: submit({"a": 1, "b": 2}, 1), without="id"),
            refusal(lambda: submit({"a": 1, "b": 2}, delay=1), without="id"),
        ]

    theirs = scene()
    with bgjob.testing.inline() as jobs:
        assert scene() == theirs
        assert len(jobs) == 1


def test_a_schedule_that_is_put_is_told_and_run_and_refused_the_same(client: Client) -> None:
    differs = dict.fromkeys(("next", "last", "description", "uid", "made_by"))
    job = {"job": f"{MODULE}.Plain::echo", "parameters": {"value": 7}}

    def scene() -> list[Any]:
        def refused(name: str, **definition: Any) -> tuple[type[Exception], list[str]]:
            kind, told = refusal(lambda: client.put_schedule(name, job | definition))
            return kind, [problem["path"] for problem in told.get("problems", ())]

        seen: list[Any] = [client.put_schedule("a/b", job | {"every": "20000d", "jitter": "5m"})]
        seen += [client.put_schedule("a/b", job | {"cron": "0 0 1 1 *", "overlap": "wait"})]
        client.pause_schedule("a/b")
        (told,) = client.schedules(name="a/b")
        seen.append(told | differs | {"paused_at": told["paused_at"] is not None})
        ran = client.run_schedule("a/b")
        seen.append((ran.result(20), ran.snapshot["schedule"]))
        (row,) = client.occurrences("a/b", limit=1).items
        assert (row["job_id"], row["at"]) == (ran.id, ran.snapshot["occurrence"])
        seen.append({name: row[name] for name in ("count", "verdict", "reason", "status")})
        seen += [refused(name, every="1h") for name in ("nightly", "a/", "a/..", "a/b\n")]
        seen += [refused("a/c", every="soon"), refused("a/c", every="1h", nonsense=1), refused("a/c")]
        seen += [refused("a/c", every="1h", job="Plain"), refused("a/c", every="1h", max_retries=101)]
        seen += [refused("a/c", every="1h", job=f"{MODULE}.Plain::none")]
        seen += [refused("a/c", every="1h", parameters={"other": 1})]
        client.delete_schedule("a/b")
        return [*seen, refusal(lambda: client.delete_schedule("a/b"))]

    theirs = scene()
    with bgjob.testing.inline():
        assert scene() == theirs


def test_a_check_stores_nothing(client: Client) -> None:
    def scene() -> list[Any]:
        def check(method: str, **options: Any) -> int:
            return client.run_background_job(f"{MODULE}.Plain", method, check_only=True, **options).id

        return [
            check("echo"),
            refusal(lambda: check("none")),
            refusal(lambda: check("echo", max_retries=101)),
        ]

    theirs = scene()
    assert theirs[0] == 0
    with bgjob.testing.inline() as jobs:
        assert scene() == theirs
        assert len(jobs) == 0


@pytest.mark.parametrize("how", ["raise", "exit", "set"])
def test_the_failed_hook_is_told_the_same(how: str, client: Client, running: RunningDaemon) -> None:
    book = running.directory / "book"

    def scene() -> str:
        Case("", "Mourned::end", {"how": how}).submit(client).wait(20)
        eventually(book.exists)
        text = book.read_text()
        book.unlink()
        return text

    theirs = scene()
    with bgjob.testing.inline():
        assert scene() == theirs


@pytest.mark.parametrize(
    ("how", "beneath"),
    [
        ("raise", Ending.failed("ValueError", "stopped")),
        ("exit", Ending.exited(5)),
        ("snooze", Ending.snoozed(1.0)),
    ],
)
def test_a_job_that_cancels_itself_ends_as_cancelled(how: str, beneath: Ending) -> None:
    theirs = Ending.cancelled(beneath)
    with bgjob.testing.inline() as jobs:
        Client().run_background_job(jobs_of_tests.Raising, "cancel_itself", {"how": how})
    assert (jobs[0].status, jobs[0].error) == ("cancelled", theirs.error)
    assert jobs[0].snapshot["attempts"][0]["outcome"] == theirs.outcome


def test_a_job_that_returns_although_it_is_cancelled_has_completed() -> None:
    with bgjob.testing.inline() as jobs:
        Client().run_background_job(jobs_of_tests.Raising, "cancel_itself", {"how": "return"})
    assert (jobs[0].status, jobs[0].result) == ("completed", [None, "cancelled"])


def test_pydantic_makes_what_is_its_own(client: Client) -> None:
    case = Case("", "Models::take", {"token": "t0ken", "order": {"number": "7", "on": "2024-12-04"}})
    theirs = case.submit(client).result(20)
    with bgjob.testing.inline():
        assert case.submit(client).result() == theirs


def test_a_summary_has_the_keys_that_a_daemons_has(client: Client, by_daemon: dict[str, Any]) -> None:
    theirs = client.list(limit=1).items[0]
    with bgjob.testing.inline():
        Case("", "Plain::echo").submit(client)
        assert client.list().items[0].keys() == theirs.keys()


def test_a_list_tells_a_total_where_one_is_asked_for(client: Client) -> None:
    def scene() -> list[Any]:
        jobs = [Case("", "Plain::echo", options={"priority": 7}).submit(client) for _ in range(3)]
        wait(jobs, 20)
        method = {"class_name": f"{MODULE}.Plain", "method_name": "echo"}
        first = client.list(**method, limit=1)
        return [
            total(client.list, **method, limit=1, count=2),
            total(client.list, **method, limit=1, before=first.next, count=1),
            total(client.list, search="nosuch", count=5),
            client.list(**method).total,
        ]

    theirs = scene()
    with bgjob.testing.inline():
        assert scene() == theirs == [2, 1, 0, None]


def test_a_search_finds_the_same_values_of_parameters(client: Client) -> None:
    def scene() -> list[int]:
        Case("", "Plain::echo", {"value": ['a "ward" in C:\\x', {"inner": None}, 4, 7]}).submit(
            client
        ).result(20)
        words = ('"WARD"', "c:\\x", "inner", "value", "4,7", 'x"')
        return [len(client.list(search=word, method_name="echo", limit=1).items) for word in words]

    theirs = scene()
    with bgjob.testing.inline():
        assert scene() == theirs == [1, 1, 1, 0, 0, 0]


def test_jobs_that_have_ended_are_listed_by_their_end_although_one_is_retried_meanwhile(
    client: Client,
) -> None:
    jobs: list[Job] = []

    def scene() -> list[Any]:
        began_at = datetime.now(UTC)
        jobs[:] = [Case("", "Plain::echo", options={"delay": 3600}).submit(client) for _ in range(4)]
        for place in (1, 3, 0):
            jobs[place].cancel()
        places = {job.id: place for place, job in enumerate(jobs)}
        ended = {"status": "cancelled", "class_name": f"{MODULE}.Plain", "since": began_at}
        first = client.list(**ended, limit=2, count=9)
        by_end = client.list(class_name=ended["class_name"], since=began_at, sort="ended")
        client.retry(first.items[-1]["id"])
        following = client.list(**ended, before=first.next)
        later = client.list(**ended | {"since": datetime.now(UTC) + timedelta(hours=1)})
        before = client.list(**ended, until=began_at)
        by_id = client.list(**ended, sort="id")
        ran = client.list(**ended, longer_than=0), client.list(**ended, outcome="failed")
        found = (first, following, later, before, by_id, by_end, *ran)
        return [first.total, *([places[job["id"]] for job in page] for page in found)]

    found = [3, [0, 3], [1], [], [], [1, 0], [0, 3, 1], [], []]
    assert scene() == found
    jobs[2].cancel()
    jobs[3].wait(20)
    with bgjob.testing.recorded():
        assert scene() == found


def test_what_runs_has_the_keys_that_a_daemon_tells(client: Client, tmp_path: Path) -> None:
    parameters = {"path": f"{tmp_path}/go", "ledger": f"{tmp_path}/ledger"}
    job = client.run_background_job("probes.Probe", "wait_for", parameters)
    (theirs,) = eventually(client.running)
    (tmp_path / "go").touch()
    job.wait(20)
    with bgjob.testing.inline():
        looked = Case("", "Plain::look_around").submit(client)
        (here,) = looked.result()
        assert client.running() == []
        looks = [
            Case("", "Plain::look_around", {"label": label}, options={"labels": ["own"]}).submit(client)
            for label in ("own", "others")
        ]
        assert [[one["job_id"] for one in look.result()] for look in looks] == [[looks[0].id], []]
    assert here.keys() == theirs.keys()
    assert (here["job_id"], here["number"], here["method_name"]) == (looked.id, 1, "look_around")
    assert (here["pid"], here["cpu"], here["memory"]) == (None, None, None)


def test_why_is_told_of_an_end_in_the_same_words_but_for_its_time(client: Client) -> None:
    def scene() -> list[str]:
        jobs = [
            Case("", "Plain::later", {"value": 1}).submit(client),
            Case("", "Raising::never_again").submit(client),
        ]
        wait(jobs, 20)
        return [
            re.sub(r"job \d+ | at \S+?( UTC, (just now|\d+ s ago))?(?=[,:] )", "", job.why()) for job in jobs
        ]

    theirs = [sentence.replace("; such an end is not retried)", ")") for sentence in scene()]
    with bgjob.testing.inline():
        assert scene() == theirs


def test_why_a_job_never_runs_that_is_only_recorded() -> None:
    with bgjob.testing.recorded(), Client() as client:
        job = client.run_background_job("any.Class", "run")
        assert job.why() == f"job {job.id} is only recorded and will never run: there is no daemon here"
        job.cancel()
        assert job.why() == f"job {job.id} was cancelled at {job.refresh()['finished_at']}"


def told(job: dict[str, Any]) -> dict[str, Any]:
    """What does not differ from one run to the next, and which keys there are."""
    same = ("status", "retry_count", "max_retries", "backoff", "priority", "queue", "timeout", "parameters")
    attempts = [
        {name: attempt[name] for name in ("number", "outcome", "exit_code")} for attempt in job["attempts"]
    ]
    return {
        **{name: job[name] for name in (*same, "result")},
        "error": without_reason(job["error"]),
        "keys": job.keys() | job["attempts"][0].keys(),
        "attempts": attempts,
        "errors": [
            (
                one["error_type"],
                one["error_class"],
                without_reason(f"{one['error_type']}: {one['error_message']}"),
            )
            for one in job["attempts"]
        ],
        "traces": [own_frames(one["traceback"]) for one in job["attempts"]],
    }


def without_reason(error: str | None) -> str | None:
    """The error; of misfitting parameters only that, for it is pydantic that finds the words there."""
    return "InvalidParameters" if error is not None and error.startswith("InvalidParameters: ") else error


def own_frames(trace: str | None) -> Any:
    """The first frame that a traceback shows."""
    lines = [line for line in (trace or "").splitlines() if line.startswith("  File ")]
    return lines[:1]


def refusal(ask: Any, without: str = "") -> tuple[type[Exception], dict[str, Any]]:
    """What the request is refused with; problems in any order, `without` the parameter that differs."""
    with pytest.raises(RequestError) as caught:
        ask()
    parameters = {name: value for name, value in caught.value.parameters.items() if name != without}
    if "problems" in parameters:
        parameters["problems"] = sorted(parameters["problems"], key=lambda one: one["message"])
    return type(caught.value), parameters


@pytest.mark.parametrize(
    "name", ["class_rules.py", "module_rules.py", "fingerprints.py", "testing/error_texts.py"]
)
def test_fork_servers_and_the_client_go_by_one_file(name: str) -> None:
    """A link in the tree, which a wheel has as a second copy."""
    ours = Path(bgjob.__file__).parent / name
    assert Path(forkserver.__file__).with_name(ours.name).read_bytes() == ours.read_bytes()

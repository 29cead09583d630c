"""What is asked and how: requests, keys, what cannot be sent, the daemon's address; without a socket."""

from __future__ import annotations

import pickle
import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from pydantic import SecretBytes

import bgjob.testing
from bgjob import Client, addresses, calls, errors, retrying, sending, submitting_calls
from bgjob.codec import JsonObject
from bgjob.errors import (
    BgjobError,
    InvalidParametersError,
    JobNotFoundError,
    ProtocolError,
    TooLargeError,
    WaitTimeoutError,
)
from bgjob.keys import is_made_here
from bgjob.predecessors import result_of
from tests.client.scripted import broken


class Email:
    """A class whose name stands for it."""


def test_a_submission_names_the_class_carries_a_key_and_leaves_open_what_nobody_gave() -> None:
    job = {"class_name": Email, "method_name": "send", "parameters": None, "options": {"queue": None}}
    call = submitting_calls.submit(job, None, 2.5)
    assert call.method == "org.bgjobd.Jobs.Submit"
    options = call.parameters.pop("options")
    assert call.parameters == {"class_name": f"{__name__}.Email", "method_name": "send"}
    assert options.pop("retry_delay") == 2.5
    assert is_made_here(options.pop("idempotency_key"))
    assert options == {}


def test_the_callers_own_options_come_before_the_clients() -> None:
    options = {"max_retries": 1, "idempotency_key": "mine"}
    call = submitting_calls.submit({"class_name": "a.B", "method_name": "c", "options": options}, 9, None)
    assert call.parameters["options"] == {"max_retries": 1, "idempotency_key": "mine"}
    assert not is_made_here("mine")


def test_every_submission_has_a_key_of_its_own() -> None:
    job = {"class_name": "a.B", "method_name": "c"}
    different = [job, *[{"class_name": "a.B", "method_name": "d"}] * 100]
    jobs = submitting_calls.submit_many(different, None, None).parameters["jobs"]
    assert len({one["options"]["idempotency_key"] for one in jobs}) == 101
    keys = submitting_calls.submit_many([job] * 100, None, None).parameters["keys"]
    assert len(set(keys)) == 100
    assert all(map(is_made_here, keys))


def nested(depth: int) -> list[Any]:
    return [nested(depth - 1)] if depth else []


@pytest.mark.parametrize(
    ("parameters", "error", "told"),
    [
        ({"text": "a\0b"}, InvalidParametersError, "a text holds a NUL character"),
        ({"deep": nested(40)}, InvalidParametersError, "nested"),
        ({"large": "x" * 2**20}, TooLargeError, "the limit is 1048576"),
    ],
)
def test_a_request_that_daemons_hang_up_on_is_told_as_what_it_is(
    parameters: JsonObject, error: type[BgjobError], told: str
) -> None:
    job = {"class_name": "a.B", "method_name": "c", "parameters": parameters}
    tries = retrying.Tries(submitting_calls.submit(job, None, None), deadline=5.0)
    assert tries.pause_after(broken(was_sent=True), True, 0.0) == 0.0
    with pytest.raises(error, match=told):
        tries.pause_after(broken(was_sent=True), True, 0.1)


class Circle(dict[str, Any]):
    """A mapping that holds itself."""

    def __init__(self) -> None:
        super().__init__(self_=self, other=self)


class Day(Enum):
    FIRST = date(2026, 12, 4)


@dataclass(slots=True)
class Unset:
    a: int


def of_unset() -> str:
    """What this Python says of it."""
    with pytest.raises(AttributeError) as caught:
        _ = Unset.__new__(Unset).a
    return str(caught.value)


class Liar:
    """What says that it is a mapping, and is none."""

    @property
    def __class__(self) -> type:  # type: ignore[override]  # that is the lie
        return dict

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"no {name}")


@dataclass(eq=False)
class Node:
    """One with as many as are wanted below it, each of which knows it."""

    parent: Node | None = None
    below: list[Node] | set[Node] = field(default_factory=list)


def node_with(count: int, kind: type[list[Any]] | type[set[Any]]) -> Node:
    node = Node()
    node.below = kind(Node(node) for _ in range(count))
    return node


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"a": {"when": [date(2026, 12, 4), float("inf")]}}, r"a\.when\.1: Out of range float values"),
        ({"n": {float("nan")}}, r"n\.0: Out of range float values"),
        ({"n": float("nan")}, "n: Out of range float values are not JSON compliant"),
        ({"t": "\ud800"}, "t: 'utf-8' codec can't encode"),
        ({"t": Circle()}, r"t\.self_\.[a-z_.]*\.self_: it is nested deeper than 32 levels"),
        ({"day": date(2026, 12, 4), "t": Circle()}, r"t(\.self_)+: it is nested deeper than 32 levels"),
        ({"t": node_with(10, list)}, r"t(\.below\.0\.parent)+(\.below)?: it is nested deeper than 32 levels"),
        ({"t": node_with(1, set)}, r"t(\.below\.0\.parent)+.*: it is nested deeper than 32 levels"),
    ],
)
def test_what_json_cannot_hold_is_named_with_its_place(parameters: JsonObject, told: str) -> None:
    job = {"class_name": "a.B", "method_name": "c", "parameters": parameters}
    with pytest.raises(InvalidParametersError, match=told):
        sending.frame_of(submitting_calls.submit(job, None, None).request)


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"a": {"when": [1, 2j]}}, "a.when.1: JSON has no form for a value of type complex"),
        ({"t": {(1, 2): 3}}, "t: JSON has no form for a key of type tuple"),
        ({"days": {date(2026, 12, 4): b"x"}}, "days.2026-12-04: JSON has no form for a value of type bytes"),
        (
            {"pin": SecretBytes(b"\xff")},
            "pin: JSON has no form for a value of type pydantic.SecretBytes: it is no UTF-8",
        ),
        ({"n": [Decimal("NaN")]}, "n.0: JSON has no form for a value of type decimal.Decimal: it is NaN"),
        (
            {"day": Day.FIRST},
            "day: JSON has no form for a value of type tests.Day: its value, of type datetime.date, is not read again",
        ),
        ({"n": {"a": {date(2026, 12, 4): 1, "2026-12-04": 2}}}, "n.a: two keys are written alike"),
        ({"n": {1: {2}, "1": 2}}, "n: two keys are written alike"),
        (
            {"t": [Unset.__new__(Unset)]},
            f"t.0: JSON has no form for a value of type tests.Unset: AttributeError: {of_unset()}",
        ),
        (
            {"t": Liar()},
            "t: JSON has no form for a value of type tests.Liar: TypeError: 'Liar' object is not iterable",
        ),
        ({"ids": {b"x"}}, "ids.0: JSON has no form for a value of type bytes"),
        (
            {"context": bgjob.JobContext(1, 1)},
            "context: JSON has no form for a value of type bgjob.JobContext",
        ),
    ],
)
def test_a_value_of_a_type_that_json_has_no_form_for_is_named_with_its_place(
    parameters: JsonObject, told: str
) -> None:
    job = {"class_name": "a.B", "method_name": "c", "parameters": parameters}
    with pytest.raises(TypeError, match=f"^{re.escape(told)}$"):
        sending.frame_of(submitting_calls.submit(job, None, None).request)
    with bgjob.testing.recorded(), pytest.raises(TypeError, match=f"^{re.escape(told)}$"):
        bgjob.run_background_job("a.B", "c", parameters)


def test_times_of_datetime_are_sent_as_a_daemon_takes_them() -> None:
    options = {"at": datetime(2026, 12, 4, 14, 31, tzinfo=UTC), "retry_delay": timedelta(minutes=5)}
    sent = submitting_calls.submit({"class_name": "a.B", "method_name": "c", "options": options}, 3, None)
    told = sent.parameters["options"]
    assert (told["at"], told["retry_delay"], told["max_retries"]) == ("2026-12-04T14:31:00+00:00", 300.0, 3)


def test_a_job_without_a_class_is_left_to_the_daemon_to_refuse() -> None:
    assert (
        "class_name"
        not in submitting_calls.submit_many([{"method_name": "c"}], None, None).parameters["jobs"][0]
    )


@pytest.mark.parametrize(
    "error",
    [
        *(
            broken(was_sent=True),
            errors.NoAnswerError("/x", 5.0),
            errors.unreachable("/x", OSError(2, "gone")),
        ),
        *(JobNotFoundError(id=3), bgjob.JobFailedError({"id": 1, "error": "E: x"}), ProtocolError("no JSON")),
        *(bgjob.Throttled(5.0), bgjob.Throttled(7200.0, "key"), bgjob.Throttled(of="job")),
        *(bgjob.Snooze(5.0), bgjob.Retry("why", delay=3.0), bgjob.Fail("why"), WaitTimeoutError("late")),
        bgjob.AttemptError("failed", "ValueError", "x", None),
        *(errors.OpenTransactionError(), errors.TableOfDjangoError()),
        *(bgjob.testing.NothingRunsError(1, "job 2"), bgjob.testing.NotAnsweredError("Logs")),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_survives_the_way_to_another_process(error: Exception) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy)) == (type(error), str(error))
    assert vars(error).items() <= vars(copy).items()


def test_a_throttled_job_says_for_how_long_and_for_whom() -> None:
    error = bgjob.Throttled()
    assert (error.delay, error.of, str(error)) == (60.0, "class", "throttled for 60 s")
    assert bgjob.Throttled(3601, of="key").delay == 3600.0
    assert isinstance(error, bgjob.Snooze)  # what knows no Throttled takes it for that


@pytest.mark.parametrize("seconds", [0, 0.0, -1, "60", None, True, float("nan"), float("inf")])
def test_a_job_is_throttled_for_some_time(seconds: Any) -> None:
    with pytest.raises(ValueError, match="seconds"):
        bgjob.Throttled(seconds)


@pytest.mark.parametrize("of", ["queue", "", None, ["class"]])
def test_a_job_throttles_its_class_its_key_or_itself(of: Any) -> None:
    with pytest.raises(ValueError, match="of is one of class, key, job, not"):
        bgjob.Throttled(60, of=of)


def test_filters_that_are_not_given_are_not_sent_and_one_status_is_a_list() -> None:
    call = calls.list_jobs(status="failed", class_name=Email, limit=5)
    assert call.parameters == {"status": ["failed"], "class_name": f"{__name__}.Email", "limit": 5}
    assert calls.list_jobs().parameters == {}
    more = {
        "until": datetime(2026, 11, 28, tzinfo=UTC),
        "longer_than": timedelta(seconds=10),
        "sort": "ended",
    }
    assert calls.list_jobs(**more).parameters == {
        "until": "2026-11-28T00:00:00+00:00", "longer_than": 10.0, "sort": "ended",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("address", "environ", "path"),
    [
        ("/x", {"BGJOBD_SOCKET": "/y"}, "/x"),
        ("unix:/x", {}, "/x"),
        (None, {"BGJOBD_SOCKET": "unix:/y", "XDG_RUNTIME_DIR": "/own"}, "/y"),
        (None, {"XDG_RUNTIME_DIR": "/own"}, "/own/bgjobd.sock"),
        (None, {"XDG_RUNTIME_DIR": "/none"}, "/run/bgjobd.sock"),
        (None, {}, "/run/bgjobd.sock"),
    ],
)
def test_the_socket_is_the_address_the_variable_the_persons_or_the_systems(
    address: str | None, environ: dict[str, str], path: str
) -> None:
    assert addresses.socket_path(address, environ, lambda path: path.startswith("/own")) == path


# What a job comes after


def options_of(parameters: JsonObject | None = None, **options: Any) -> JsonObject:
    call = submitting_calls.submit(submitting_calls.job_of("a.B", "c", parameters, 0, options), None, None)
    asked: JsonObject = call.parameters["options"]
    return {name: value for name, value in asked.items() if name != "idempotency_key"}


def test_a_job_comes_after_handles_ids_and_what_the_socket_calls_so() -> None:
    job, group = bgjob.Job(Client("/x"), 7), bgjob.JobGroup(Client("/x"), 5)
    after = options_of(after=iter([job, group, 12, {"group": 6}]), if_failed="run", group=group)
    assert after == {
        "after": [{"id": 7}, {"group": 5}, {"id": 12}, {"group": 6}],
        "if_failed": "run",
        "group": {"id": 5},
    }
    assert options_of(group=5) == options_of(group={"id": 5}) == {"group": {"id": 5}}
    assert calls.list_jobs(group=group).parameters == {"group": 5}


@pytest.mark.parametrize("after", [12, "12", ["12"], [True], [None], {"id": 12}, [12.0]])
def test_what_is_no_predecessor_is_refused_at_once(after: Any) -> None:
    with pytest.raises(TypeError, match="after"):
        options_of(after=after)


def test_a_job_is_a_member_of_no_job() -> None:
    with pytest.raises(TypeError, match="a job is a member of a group, not of <Job 7"):
        options_of(group=bgjob.Job(Client("/x"), 7))


def test_a_parameter_that_is_a_result_is_taken_by_a_pointer() -> None:
    job = bgjob.Job(Client("/x"), 7)
    given = {"day": 3, "all": result_of(12), "rows": result_of(job, "a/b", "~", 0)}
    assert options_of(given)["take"] == {
        "all": {"of": {"id": 12}},
        "rows": {"of": {"id": 7}, "pointer": "/a~1b/~0/0"},
    }


def test_a_result_that_is_to_come_is_a_parameter_and_no_part_of_one() -> None:
    call = submitting_calls.submit(
        submitting_calls.job_of("a.B", "c", {"rows": [result_of(12)]}, 0, {}), None, None
    )
    with pytest.raises(TypeError, match=r"rows\.0: JSON has no form"):
        sending.frame_of(call.request)
    with pytest.raises(TypeError, match="no text"):
        f"all of {result_of(12)}"
    assert repr(result_of(12, "rows", 0)) == "<result of 12 at /rows/0>"


def test_a_call_that_runs_again_has_a_key_of_its_own_by_which_a_repeat_is_known() -> None:
    made = calls.again(12, None, None, None)
    (key,) = made.keyed(errors.QueueFullError(queue="mail", limit=1)).idempotency_keys
    assert (is_made_here(key), made.may_repeat) == (True, True)
    given = calls.again(12, {"to": "x"}, "mail", "k")
    asked = {"id": 12, "parameters": {"to": "x"}, "from_step": "mail", "idempotency_key": "k"}
    assert given.parameters == asked
    assert given.keyed(errors.DuplicateError(id=3)).idempotency_keys == ("k",)

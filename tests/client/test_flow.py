"""Flows as they are asked for: who comes after whom, what has no order, what takes several requests; with no daemon."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bgjob
import bgjob.testing
from bgjob import (
    Client,
    Draft,
    Step,
    TooLargeError,
    call,
    chain,
    flow_requests,
    group,
    job,
    result_of,
    submitting_calls,
)
from bgjob.codec import JsonObject
from bgjob.errors import (
    IdempotencyConflictError,
    InvalidParameterError,
    InvalidParametersError,
    ProtocolError,
    QueueFullError,
)
from bgjob.flow import Flow
from bgjob.flow_requests import Retries, Stored, asking
from bgjob.keys import REPEATED_WITHIN, KeysLeft, is_made_here
from bgjob.sending import check_frame
from bgjob.words import MAX_EDGES, MAX_FRAME, MAX_PREDECESSORS
from tests.client.jobs_of_tests import Plain

REPORT = "myapp.jobs.Report"


def draft(method: str, parameters: JsonObject | None = None, **options: Any) -> Draft:
    return job(REPORT, method, parameters, name=method, **options)


def asked(*steps: Step, within: int | None = None) -> JsonObject:
    """The one request for steps side by side."""
    request: JsonObject = next(asking(steps, KeysLeft(), Retries(None, None), lambda: 0.0, within)).parameters
    return request


def order(*steps: Step) -> dict[str, list[str]]:
    """The jobs in their order, each with what it comes after."""
    return {
        one["ref"]: [next(iter(of.values())) for of in one["options"].get("after", [])]
        for one in asked(*steps)["jobs"]
    }


# Chains and groups


def test_each_step_of_a_chain_comes_after_the_one_before() -> None:
    a, b, c = draft("a"), draft("b"), draft("c")
    assert order(chain(a, b, c)) == {"a": [], "b": ["a"], "c": ["b"]}
    assert order(chain(chain(a, chain(b)), c)) == order(chain([a, b], c)) == order(chain(a, b, c))


def test_what_comes_after_a_group_comes_after_all_of_it() -> None:
    members = [draft("a"), chain(draft("b"), draft("c"))]
    request = asked(chain(draft("first"), group(members, name="pages"), draft("last")))
    named = {one["ref"]: one["options"] for one in request["jobs"]}
    assert list(named) == ["first", "a", "b", "c", "last"]
    assert named["last"]["after"] == [{"group_ref": "#g0"}]
    assert [named[member]["after"] for member in "abc"] == [
        [{"ref": "first"}],
        [{"ref": "first"}],
        [{"ref": "b"}],
    ]
    assert all(named[member]["group"] == {"ref": "#g0"} for member in "abc")
    (pages,) = request["groups"]
    assert is_made_here(pages.pop("idempotency_key"))
    assert pages == {"ref": "#g0", "name": "pages"}


def test_a_group_in_a_group_is_a_member_of_it() -> None:
    outer = group(draft("a"), group(draft("b"), name="inner", open=True, idempotency_key="k"), name="outer")
    first, second = asked(outer)["groups"]
    assert (first["name"], "group" in first) == ("outer", False)
    assert second == {
        "ref": "#g1",
        "name": "inner",
        "open": True,
        "idempotency_key": "k",
        "group": {"ref": "#g0"},
    }


@pytest.mark.parametrize(
    "empty",
    [group(), chain(), group(chain(), group(name="x")), chain(chain(), group()), group().and_(chain())],
)
def test_a_step_without_jobs_cuts_no_chain(empty: Step) -> None:
    a, b = draft("a"), draft("b")
    assert order(chain(a, empty, b)) == {"a": [], "b": ["a"]}
    assert order(chain(empty, a, b)) == {"a": [], "b": ["a"]}
    assert order(chain(a, empty).and_(draft("c", after=[empty]))) == {"a": [], "c": ["a"]}


def test_an_open_group_without_members_is_waited_for() -> None:
    assert order(chain(draft("a"), group(open=True), draft("b"))) == {"a": [], "b": ["#g0"]}


def test_a_group_that_others_fill_and_members_come_after_is_submitted_before_their_group() -> None:
    filled = group(open=True)
    with pytest.raises(ValueError, match=r"no order: .*'b'.* comes after <Group of 0>, which has no jobs"):
        asked(filled, group(draft("a"), draft("b", after=[filled])))
    assert order(filled, group(draft("a", after=[filled]), draft("b"))) == {"a": ["#g0"], "b": []}
    assert order(chain(filled, group(draft("a"), draft("b")))) == {"a": ["#g0"], "b": ["#g0"]}


def test_a_draft_that_is_there_twice_is_one_job() -> None:
    a, b, c = draft("a"), draft("b"), draft("c")
    assert order(chain(a, c).and_(chain(b, c), a)) == {"a": [], "b": [], "c": ["a", "b"]}
    assert order(chain(a, c), chain(b, c)) == {"a": [], "b": [], "c": ["a", "b"]}


def test_a_job_comes_after_drafts_steps_and_what_is_stored() -> None:
    a, b, stored = draft("a"), draft("b"), bgjob.Job(Client("/x"), 7)
    pages = chain(b, group(draft("c"), draft("d")))
    last = draft("last", after=[a, pages, stored, 12, {"group": 5}, 12])
    after = asked(last.and_(a, pages))["jobs"][-1]["options"]["after"]
    assert after == [{"ref": "a"}, {"group_ref": "#g0"}, {"id": 7}, {"id": 12}, {"group": 5}]


def test_all_that_a_group_waits_for_stands_before_its_first_member() -> None:
    late = draft("late")
    members = group(draft("a"), draft("b", after=[late]))
    assert list(order(members, late)) == ["late", "a", "b"]


def test_a_step_between_two_side_by_side_comes_after_both() -> None:
    a, b, c = draft("a"), draft("b"), draft("c")
    assert order(chain(a.and_(b), c)) == {"a": [], "b": [], "c": ["a", "b"]}


def test_a_chain_of_thousands_made_one_by_one_has_an_order() -> None:
    flow = chain()
    for number in range(2000):
        flow = chain(flow, job(REPORT, "page", name=str(number)))
    assert list(order(flow)) == [str(number) for number in range(2000)]


# What has no order


def test_a_flow_that_a_loop_has_made_has_an_order_however_deep_its_steps_are() -> None:
    flow: Step = draft("a")
    for number in range(1000):
        flow = chain(flow.and_(job(REPORT, "page")), job(REPORT, "page", name=str(number)))
    jobs = {one["ref"]: one["options"] for one in asked(flow)["jobs"] if "ref" in one}
    assert [ref for ref in jobs if not ref.startswith("#")] == ["a", *map(str, range(1000))]
    assert jobs["999"]["after"][0] == {"ref": "998"}
    assert len(jobs["999"]["after"]) == 2


def test_a_step_that_stands_in_many_others_is_laid_once() -> None:
    flow: Step = draft("a")
    for number in range(40):
        flow = chain(flow, group(job(REPORT, "x"))).and_(chain(flow, draft(f"y{number}")))
    last = draft("last", after=[flow])
    jobs = asked(flow, last)["jobs"]
    assert len(jobs) == 82
    (after,) = [one["options"]["after"] for one in jobs if one.get("ref") == "last"]
    assert [*after[0], after[1]] == ["group_ref", {"ref": "y39"}]


@pytest.mark.parametrize(
    ("flow", "limit"),
    [
        (lambda: chain(side_by_side(1000), side_by_side(1000)), MAX_EDGES),
        (lambda: chain(side_by_side(1001), group(draft("last"))), MAX_PREDECESSORS),
    ],
)
def test_what_comes_after_more_than_a_daemon_takes_is_too_large_at_once(
    flow: Callable[[], Step], limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_requests, "frame_of", None)  # nothing is written out
    with pytest.raises(TooLargeError) as error:
        asked(flow())
    assert error.value.parameters["limit"] == limit
    assert "Draft" in error.value.__notes__[0]


def side_by_side(count: int) -> Step:
    return draft("a").and_([job(REPORT, "page") for _ in range(1, count)])


def test_a_circle_is_named_with_its_jobs() -> None:
    a = draft("a")
    b = draft("b", after=[a])
    c = draft("c", after=[b])
    with pytest.raises(ValueError, match="the flow has no order") as circle:
        asked(chain(c, a), b)
    told = re.findall(r"<Draft '(.)', of myapp.jobs.Report::.> comes after <Draft '(.)'", str(circle.value))
    assert set(told) == {("b", "a"), ("c", "b"), ("a", "c")}


def test_a_job_without_a_name_is_told_in_a_circle_by_its_place() -> None:
    a = job("myapp.jobs.Report", "page")
    b = job("myapp.jobs.Report", "page", after=[a])
    with pytest.raises(ValueError, match=r"job 2, <Draft of .*::page>, comes after job 3, <Draft") as circle:
        asked(group(draft("c")), chain(b, a))
    assert "job 3, <Draft of myapp.jobs.Report::page>, comes after job 2" in str(circle.value)


def test_what_a_member_comes_after_is_not_after_another_member() -> None:
    a = draft("a")
    between = draft("between", after=[a])
    with pytest.raises(
        ValueError, match=r"'b',.*'between',.*'a',.*is in it as well, or ends before the group"
    ):
        asked(group(a, draft("b", after=[between])).and_(between))


def test_a_member_does_not_come_after_its_own_group() -> None:
    a = draft("a")
    pages = group(a)
    with pytest.raises(ValueError, match=r"<Draft 'a',.*is in <Group of 1>, and comes after it"):
        asked(chain(pages, a))


@pytest.mark.parametrize("both", [lambda a: group(a).and_(group(a)), lambda a: group(group(a), a)])
def test_a_job_is_in_one_group_alone(both: Callable[[Draft], Step]) -> None:
    with pytest.raises(ValueError, match=r"<Draft 'a',.*is in two groups"):
        asked(both(draft("a")))


def test_a_draft_with_a_group_of_its_own_is_in_no_other() -> None:
    (member,) = asked(draft("a", group=5))["jobs"]
    assert member["options"]["group"] == {"id": 5}
    with pytest.raises(ValueError, match=r"<Draft 'a',.*is in two groups"):
        asked(group(draft("a", group=5)))
    with pytest.raises(ValueError, match=r"is in two groups"):
        asked(draft("a", group=5), within=6)


def test_what_is_not_in_the_flow_is_no_predecessor() -> None:
    a = draft("a")
    for after in (a, chain(a), group(a)):
        with pytest.raises(ValueError, match=r"is not in the flow: put it there by and_"):
            asked(draft("b", after=[after]))
    with pytest.raises(TypeError, match="has no id: submit it before, or both in one flow"):
        draft("b", after=[a]).submit(Client("/x"))


def test_groups_are_in_one_another_eight_deep_at_most() -> None:
    flow: Step = draft("a")
    for _ in range(8):
        flow = group(flow)
    assert len(asked(flow)["groups"]) == 8
    with pytest.raises(ValueError, match="at most 8 are in one another"):
        asked(group(flow))


def test_two_jobs_of_a_flow_have_two_names() -> None:
    with pytest.raises(ValueError, match="two jobs of the flow are called 'a'"):
        asked(chain(draft("a"), draft("b"), draft("a")))


def test_what_to_do_about_failures_is_not_asked_where_nothing_can_fail() -> None:
    (last,) = asked(chain(group(), draft("last", if_failed="run")))["jobs"]
    assert "if_failed" not in last["options"]


def test_a_delay_does_not_go_with_what_a_job_comes_after() -> None:
    with pytest.raises(ValueError, match="has a delay and comes after others"):
        asked(chain(draft("a"), draft("b", delay=5)))


# Results


def test_a_result_is_taken_and_so_waited_for() -> None:
    a, pages = draft("a"), group(draft("b"), draft("c"))
    given = {"day": 3, "rows": result_of(a, "rows", 0), "all": result_of(pages), "old": result_of(12, "x/y")}
    last = draft("last", given)
    jobs = asked(last.and_(a, pages))["jobs"]
    assert [one["ref"] for one in jobs] == ["a", "b", "c", "last"]
    assert jobs[-1]["parameters"] == {"day": 3}
    assert jobs[-1]["options"]["take"] == {
        "rows": {"of": {"ref": "a"}, "pointer": "/rows/0"},
        "all": {"of": {"group_ref": "#g0"}},
        "old": {"of": {"id": 12}, "pointer": "/x~1y"},
    }


def test_an_empty_group_has_results_though_nothing_waits_for_it() -> None:
    none = group()
    (job,) = asked(chain(none, draft("last", {"all": result_of(none)})))["jobs"]
    assert "after" not in job["options"]
    assert job["options"]["take"] == {"all": {"of": {"group_ref": "#g0"}}}


def test_what_is_called_by_a_type_checked_call_takes_results_too() -> None:
    first = job(Plain.echo, value=1)
    last = call(Plain.echo, value=result_of(first))
    jobs = asked(chain(first, last))["jobs"]
    assert [one["method_name"] for one in jobs] == ["echo", "echo"]
    assert jobs[1]["options"]["take"] == {"value": {"of": {"ref": "#0"}}}


@pytest.mark.parametrize(
    "made",
    [
        lambda result: draft("a", {"rows": [result]}),
        lambda result: draft("a", {"rows": {"first": ({result: 1}, {"x": result})}}),
        lambda result: job(Plain.whole, params=result),
        lambda result: draft("a", {"text": f"all of {result}"}),
        lambda result: result_of(chain(draft("a"))),
        lambda result: result_of(None),  # type: ignore[arg-type]
        lambda result: result_of(draft("a"), 1.5),  # type: ignore[arg-type]
        lambda result: result_of(draft("a"), "rows", None),  # type: ignore[arg-type]
        lambda result: result_of(draft("a"), True),
    ],
)
def test_a_result_in_a_wrong_place_is_a_mistake_at_once(made: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError):
        made(result_of(draft("first")))


@pytest.mark.parametrize(
    "made",
    [
        lambda: draft("a", after=12),
        lambda: draft("a", after=["b"]),
        lambda: draft("a", if_failed="ignore"),
        lambda: draft("a", group=draft("b")),
        lambda: job(REPORT, "a", name="#1"),
        lambda: job(REPORT, "a", name="x" * 65),
        lambda: draft("a", colour=1),
        lambda: draft("a", take={}),
        lambda: draft("a", delay=-1),
        lambda: draft("a", delay=1, at="2027-01-01T00:00:00Z"),
        lambda: draft("a", delay=1, after=[12]),
        lambda: draft("a", priority="high"),
        lambda: draft("a", queue=5),
        lambda: draft("a", idempotency_key=""),
        lambda: job(REPORT, "a", retry_count=-1),
        lambda: job("a b", "a"),
        lambda: job(REPORT, "a.b"),
        lambda: job(REPORT, "a", name=5),  # type: ignore[call-overload]
        lambda: job(REPORT, "a", name="\ud800"),
        lambda: draft("a", after=[0]),
        lambda: draft("a", after=[10**30]),
        lambda: draft("a", after=[10**5000]),
        lambda: draft("a", after=[{}]),
        lambda: draft("a", after=[{"id": 1, "group": 2}]),
        lambda: draft("a", after=[{"id": "1"}]),
        lambda: draft("a", after=[{"ref": 1}]),
        lambda: draft("a", {"x": result_of(-1)}),
        lambda: result_of(draft("a"), "rows", -1),
        lambda: draft("a", expires_in=60, expires_at="2027-01-01T00:00:00Z"),
        lambda: draft("a", unique_key="k", at_latest=60),
        lambda: draft("a", unique_key="k", at_latest=60, if_held="refuse"),
        lambda: draft("a", group="x"),
        lambda: draft("a", group=0),
        lambda: draft("a", group={"group": 1}),
        lambda: group(name=5),  # type: ignore[arg-type]
        lambda: group(name="x" * 256),
        lambda: group(idempotency_key=""),
        lambda: group(open="yes"),  # type: ignore[arg-type]
        lambda: job(Plain.later, 1, name="x"),
        lambda: job(Plain.later, 1, after=[12]),
        lambda: asked(chain(draft("a", if_failed="run"), draft("b"))),
        lambda: chain("a.B"),  # type: ignore[arg-type]
        lambda: group(12),  # type: ignore[arg-type]
        lambda: job(),  # type: ignore[call-overload]
        lambda: job("a.B"),  # type: ignore[call-overload]
    ],
)
def test_what_no_daemon_is_asked_for_is_a_mistake_at_once(made: Callable[[], Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        made()


def test_parameters_that_are_nested_too_deeply_are_a_mistake_at_once() -> None:
    in_itself: list[Any] = []
    in_itself.append(in_itself)
    shared: Any = []
    for _ in range(40):
        shared = [shared, shared]
    for value in (in_itself, shared):
        with pytest.raises(InvalidParametersError, match="nested deeper than 32"):
            draft("a", {"x": value})


def test_a_draft_of_a_typed_call_gets_a_name_and_is_told_by_it_and_by_its_numbers() -> None:
    first = job(Plain.echo, value=1).named("first")
    later = first.options(after=[12])
    assert asked(later)["jobs"][0]["ref"] == "first"
    assert repr(later) == "<Draft 'first', of tests.client.jobs_of_tests.Plain::echo(value=1)>"
    assert (
        repr(job(Plain.echo, value="secret")) == "<Draft of tests.client.jobs_of_tests.Plain::echo(value=…)>"
    )
    many = {f"number{number}": 10**5000 for number in range(1000)}
    assert len(repr(draft("a", many))) < 130


def test_a_draft_keeps_what_it_was_given() -> None:
    after = iter([12])
    first = job(Plain, "echo", {"value": 1}, 2, after=after, if_failed="wait", queue="mail", name="first")
    (asked_for,) = asked(first.options(priority=3))["jobs"]
    assert asked_for.pop("options").items() >= {
        ("if_failed", "wait"), ("queue", "mail"), ("priority", 3)
    }  # fmt: skip
    assert asked_for == {
        "class_name": "tests.client.jobs_of_tests.Plain",
        "method_name": "echo",
        "parameters": {"value": 1},
        "retry_count": 2,
        "ref": "first",
    }


# Requests


def answered(
    steps: list[Step],
    keys_left: KeysLeft,
    fails_at: int | None = None,
    within: int | None = None,
    now: float = 0.0,
) -> tuple[list[tuple[str, JsonObject]], Stored | None]:
    """What is asked of a daemon that has a job 1, then 2, and a group 5; it refuses the request of this number."""
    made = asking(steps, keys_left, Retries(None, None), lambda: now, within)
    sent: list[tuple[str, JsonObject]] = []
    count = 0
    try:
        call = next(made)
        while True:
            check_frame(call.request)
            asked = call.parameters
            sent.append((call.method.rpartition(".")[2], asked))
            if len(sent) == fails_at:
                made.throw(QueueFullError(queue="default", limit=1))
            new = len(asked.get("each", asked.get("jobs", ())))
            ids, groups = [*range(count + 1, count + 1 + new)], [5 for _ in asked.get("groups", ())]
            count += new
            call = made.send(call.parse({"ids": ids, "groups": groups}))
    except StopIteration as end:
        return sent, end.value
    except QueueFullError:
        return sent, None


def many(count: int, size: int = 1000) -> list[Draft]:
    return [job(REPORT, "page", {"text": "x" * size, "number": number}) for number in range(count)]


def test_a_group_that_fits_no_request_goes_in_portions_and_is_sealed_in_the_end() -> None:
    pages = group(many(2000), name="pages")
    sent, stored = answered([pages], KeysLeft())
    assert stored is not None
    assert [stored.groups[pages], *stored.jobs.values()] == [5, *range(1, 2001)]
    (_, first), *portions, last = sent
    assert first.pop("jobs") == []
    assert first["groups"][0].items() >= {("name", "pages"), ("open", True)}
    assert [len(portion["each"]) > 900 for _, portion in portions] == [True, True, False]
    assert [portion["options"] for _, portion in portions] == [{"group": {"id": 5}}] * 3
    assert last == ("SealGroup", {"id": 5})


def test_what_is_around_a_large_group_goes_first_in_one_request_with_the_group_open() -> None:
    pages = group(many(2000), name="pages")
    first, last = draft("first"), draft("last", {"title": result_of(pages)})
    sent, stored = answered([chain(first, pages, last)], KeysLeft())
    assert stored is not None
    assert [stored.jobs[first], stored.jobs[last], len(stored.jobs)] == [1, 2, 2002]
    (_, begin), *portions, end = sent
    assert [one["ref"] for one in begin["jobs"]] == ["first", "last"]
    assert begin["jobs"][1]["options"].items() >= {"after": [{"group_ref": "#g0"}]}.items()
    assert begin["groups"][0]["open"]
    members = [one["options"] for _, portion in portions for one in portion["jobs"]]
    assert len(portions) == 3
    assert [(one["after"], one["group"]) for one in members] == [([{"id": 1}], {"id": 5})] * 2000
    assert end == ("SealGroup", {"id": 5})


def test_in_a_portion_jobs_come_after_those_of_the_same_by_name_and_after_others_by_id() -> None:
    pairs = [
        chain(job(REPORT, "load", {"text": "x" * 1000}), job(REPORT, "page", {"text": "x" * 1000}))
        for _ in range(500)
    ]
    sent, _ = answered([group(pairs)], KeysLeft())
    after = [next(iter(one["options"]["after"][0])) for _, one in sent[1:-1] for one in one["jobs"][-300:]]
    assert {*after} == {"id", "ref"}


def test_a_portion_has_no_more_predecessors_than_a_daemon_takes() -> None:
    first = chain().and_(job(REPORT, "load") for _ in range(100))
    pages = group(job(REPORT, "page") for _ in range(300))
    sent, _ = answered([chain(first, pages)], KeysLeft())
    told = [sum(len(one["options"].get("after", ())) for one in request["jobs"]) for _, request in sent[1:-1]]
    assert told == [20_000, 10_000]


def test_an_error_in_a_portion_says_which_group_is_open() -> None:
    made = asking([group(many(2000))], KeysLeft(), Retries(None, None), lambda: 0.0)
    next(made)
    made.send(submitting_calls.submit_flow([], [], []).parse({"ids": [], "groups": [5]}))
    with pytest.raises(QueueFullError) as error:
        made.throw(QueueFullError(queue="default", limit=1))
    assert "group 5 is open" in error.value.__notes__[0]


def test_members_that_differ_go_one_by_one_in_fewer_at_a_time() -> None:
    mixed = [one.options(priority=place % 2) for place, one in enumerate(many(1000))]
    sent, stored = answered([group(mixed)], KeysLeft())
    assert stored is not None
    assert len(stored.jobs) == 1000
    assert [800 < len(one["jobs"]) < 900 for _, one in sent[1:-1]] == [True, False]


def test_an_open_group_stays_open_and_one_that_is_there_gets_its_members_in_portions() -> None:
    sent, _ = answered([group(many(2000), open=True)], KeysLeft())
    assert {method for method, _ in sent} == {"SubmitMany"}
    sent, stored = answered([*many(2000)], KeysLeft(), within=7)
    assert stored is not None
    assert [(method, one["options"]) for method, one in sent] == [("SubmitMany", {"group": {"id": 7}})] * 3


def test_a_repeat_after_an_error_asks_for_the_same_jobs_and_the_next_one_for_others() -> None:
    keys_left = KeysLeft()
    pages = group(many(2000))
    failed, stored = answered([pages], keys_left, fails_at=3)
    assert stored is None
    again, _ = answered([pages], keys_left)
    assert again[:3] == failed
    others, _ = answered([pages], keys_left)
    assert keys_of(others).isdisjoint(keys_of(again))
    assert not keys_left


def test_what_is_submitted_long_after_an_error_is_no_repeat() -> None:
    keys_left = KeysLeft()
    failed, _ = answered([draft("a")], keys_left, fails_at=1)
    later, _ = answered([draft("a")], keys_left, now=REPEATED_WITHIN + 1)
    assert keys_of(later).isdisjoint(keys_of(failed))
    assert not keys_left


def test_keys_that_another_flow_has_are_not_used_again() -> None:
    keys_left = KeysLeft()
    made = asking([draft("a")], keys_left, Retries(None, None), lambda: 0.0)
    next(made)
    with pytest.raises(IdempotencyConflictError):
        made.throw(IdempotencyConflictError(id=3))
    assert not keys_left


def test_jobs_keep_keys_of_their_own() -> None:
    (first,) = asked(draft("a", idempotency_key="mine"))["jobs"]
    assert key(first) == "mine"


@pytest.mark.parametrize(
    "flow",
    [
        lambda: chain(group(many(2000)), group(many(2000))),
        lambda: (pages := many(2000)) and chain(group(pages), draft("last", {"page": result_of(pages[7])})),
        lambda: chain(group(open=True), group(many(2000)), draft("last")),
        lambda: (pages := group(many(2000))).and_(group(draft("a"), draft("b", after=[pages]))),
        lambda: chain(many(2000)),
        lambda: chain(many(1)).and_(many(2000)),
    ],
)
def test_another_flow_that_fits_no_request_is_too_large(flow: Callable[[], Step]) -> None:
    with pytest.raises(TooLargeError) as error:
        asked(flow())
    assert error.value.parameters["limit"] == MAX_FRAME


@pytest.mark.parametrize(
    ("flow", "answer"),
    [
        (lambda: group(draft("a")), {"ids": [1], "groups": []}),
        (lambda: chain(draft("a")), {"ids": []}),
        (lambda: group(many(2000)), {"ids": [], "groups": [5, 6]}),
    ],
)
def test_an_answer_with_other_ids_than_were_asked_for_is_a_protocol_error(
    flow: Callable[[], Step], answer: JsonObject
) -> None:
    made = asking([flow()], KeysLeft(), Retries(None, None), lambda: 0.0)
    call = next(made)
    with pytest.raises(ProtocolError):
        made.send(call.parse(answer))


def test_an_error_tells_which_step_it_is_about() -> None:
    made = asking([chain(draft("a"), draft("b"))], KeysLeft(), Retries(None, None), lambda: 0.0)
    next(made)
    with pytest.raises(InvalidParameterError) as error:
        made.throw(InvalidParameterError(parameter="jobs.1.options.queue"))
    assert error.value.__notes__ == ["jobs.1 is <Draft 'b', of myapp.jobs.Report::b>"]
    assert (
        submitting_calls.place_of_job(TooLargeError(limit=65536, size=70000, parameter="jobs.1.parameters"))
        == 1
    )


@pytest.mark.parametrize("told", [5, [1], [[]], [{}], [{"path": 7}], [{"path": "jobs/" + "9" * 5000}]])
def test_an_error_of_any_shape_is_about_no_step(told: Any) -> None:
    assert submitting_calls.place_of_job(InvalidParametersError(problems=told)) is None
    assert submitting_calls.place_of_job(InvalidParametersError(problems=[{"path": "jobs/1/x"}, 5])) == 1


def key(one: JsonObject) -> str:
    text: str = one["options"]["idempotency_key"]
    return text


def keys_of(sent: list[tuple[str, JsonObject]]) -> set[str]:
    many = {one_key for _, one in sent for one_key in one.get("keys", ())}
    return many | {key(job) for _, one in sent for job in one.get("jobs", ())}


# Whatever the flow


class Chooser:
    """Makes a flow by chance, some of which have no order."""

    def __init__(self, draw: Callable[..., Any]) -> None:
        self._draw = draw
        self.drafts: list[Draft] = []
        self.steps: list[Step] = []

    def step(self, depth: int) -> Step:
        kinds = ["draft", "known", "chain", "group", "open", "beside"] if depth else ["draft", "known"]
        kind = self._draw(st.sampled_from(kinds))
        if kind == "known" and self.steps:
            return self._draw(st.sampled_from(self.steps))  # type: ignore[no-any-return]
        if kind in ("draft", "known"):
            self.drafts.append(self._draft())
            return self._known(self.drafts[-1])
        inner = [self.step(depth - 1) for _ in range(self._draw(st.integers(0, 3)))]
        made: Mapping[str, Callable[[], Step]] = {
            "chain": lambda: chain(inner),
            "group": lambda: group(inner),
            "open": lambda: group(inner, open=True),
            "beside": lambda: chain().and_(inner),
        }
        return self._known(made[kind]())

    def _known(self, step: Step) -> Step:
        self.steps.append(step)
        return step

    def _draft(self) -> Draft:
        after = self._draw(st.lists(st.sampled_from(self.steps), max_size=2)) if self.steps else []
        taken = (
            {"rows": result_of(self._draw(st.sampled_from(self.drafts)))}
            if self.drafts and not after
            else None
        )
        return job(REPORT, "run", taken if self._draw(st.booleans()) else None, after=after)


@given(st.data())
def test_a_flow_that_has_an_order_is_taken_and_each_job_has_what_it_comes_after_before_it(data: Any) -> None:
    chooser = Chooser(data.draw)
    flow = chain().and_([chooser.step(3) for _ in range(3)])
    with bgjob.testing.recorded() as jobs:
        try:
            submitted = flow.submit(Client("/nowhere"))
        except ValueError as error:
            assert any(why in str(error) for why in ("no order", "in two groups", "not in the flow", "eight"))  # noqa: PT017
            return
        assert len(jobs) == len(submitted.jobs)
        for one in jobs:
            assert all(after.get("id", 0) < one.id for after in one.options.get("after", ()))


@given(st.data())
def test_a_flow_in_portions_comes_to_the_same_as_in_one_request(data: Any) -> None:
    chooser = Chooser(data.draw)
    flow = chain().and_([chooser.step(3) for _ in range(3)])
    try:
        whole = told_of(flow)
    except ValueError:
        return
    with pytest.MonkeyPatch.context() as patch, suppress(TooLargeError):
        patch.setattr(flow_requests, "MAX_JOBS", data.draw(st.integers(1, 4)))
        assert told_of(flow) == whole


def told_of(flow: Flow) -> list[Any]:
    """What each job of a flow comes after, its group, and how all groups stand; all by their places."""
    with bgjob.testing.recorded() as recorded:
        submitted = flow.submit(Client("/nowhere"))
        after = {one.id: one.options.get("after", ()) for one in recorded}
        places = {("id", one.id): f"job {place}" for place, one in enumerate(submitted.jobs)}
        places |= {("group", one.id): f"group {place}" for place, one in enumerate(submitted.groups)}
        jobs = [(one.id, one.snapshot) for one in submitted.jobs]
        groups = [one.snapshot for one in submitted.groups]
    return [
        *(
            (
                {places[named] for of in after[id] for named in of.items()},
                places.get(("group", told["group_id"])),
            )
            for id, told in jobs
        ),
        *((told["state"], told["total"], places.get(("group", told["group"]))) for told in groups),
    ]

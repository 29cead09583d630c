"""A flow in bgjob.testing.inline() comes to what it comes to with a real daemon, which refuses the same."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import bgjob.testing
from bgjob import (
    Client,
    DaemonUnavailableError,
    Draft,
    JobGroup,
    RequestError,
    Step,
    Submitted,
    chain,
    group,
    job,
    result_of,
    submitting_calls,
)
from bgjob.calls import Call
from bgjob.errors import unreachable
from tests.client import jobs_of_tests
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

MODULE = "flow_jobs"
CLASSES = ("Plain", "Raising", "Flaky", "Large")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """A daemon whose classes can be imported here under the same names."""
    settings = "\n".join(f'"{MODULE}.{name}" = {{ retry_delay = 0 }}' for name in CLASSES)
    directory = tmp_path_factory.mktemp("parity")
    source = Path(jobs_of_tests.__file__).read_text()
    with (
        pytest.MonkeyPatch.context() as patch,
        daemon(directory, settings, modules={MODULE: source}, has_pydantic=True) as running,
    ):
        patch.syspath_prepend(str(directory))
        consequences = "SELECT 1 FROM consequences WHERE \"of\" <> 'host'"
        patch.setattr(sys.modules[__name__], "left", lambda: running.query(consequences))
        yield running


@pytest.fixture(scope="module")
def client(running: RunningDaemon) -> Iterator[Client]:
    with running.client() as client:
        yield client


Scene = Callable[[Client], Any]
ALIKE: list[Scene] = []


def alike(scene: Scene) -> Scene:
    """Have the scene played at both."""
    ALIKE.append(scene)
    return scene


@pytest.mark.parametrize("scene", ALIKE, ids=lambda scene: scene.__name__)
@pytest.mark.filterwarnings("ignore:.* raised :RuntimeWarning")
def test_it_is_as_with_a_daemon(scene: Scene, client: Client) -> None:
    theirs = scene(client)
    with bgjob.testing.inline():
        assert scene(client) == theirs


def echo(value: Any = None, **options: Any) -> Draft:
    return job(f"{MODULE}.Plain", "echo", {"value": value}, **options)


def bad(**options: Any) -> Draft:
    return job(f"{MODULE}.Raising", "never_again", **options)


def flaky(succeeds_at: int) -> Draft:
    return job(f"{MODULE}.Flaky", "give_up_until", {"succeeds_at": succeeds_at})


def play(client: Client, *steps: Step) -> Submitted:
    """The flow, once nothing moves in it any more."""
    submitted = chain().and_(*steps).submit(client)
    at_rest(submitted)
    return submitted


def at_rest(submitted: Submitted) -> None:
    eventually(lambda: is_at_rest(submitted))


def is_at_rest(submitted: Submitted) -> bool:
    """Whether none moves, and nothing is left that would have one: a job that is to be freed is blocked until then."""
    before = [one.refresh() for one in submitted.jobs]
    return not any(map(moves, before)) and not left() and before == [one.refresh() for one in submitted.jobs]


def left() -> Sequence[Any]:
    """What ends have caused and the daemon has yet to do; it may take further transactions where a machine is slow."""
    return ()


def moves(one: dict[str, Any]) -> bool:
    return one["status"] == "running" or (one["status"] == "pending" and not one["is_blocked"])


TOLD = ("status", "error", "parameters", "result", "is_blocked", "waits_for", "if_failed", "cancelled_after")


def told(submitted: Submitted) -> list[Any]:
    """How jobs and groups stand, by the places of the jobs instead of ids."""
    jobs = [one.refresh() for one in submitted.jobs]
    groups = [one.refresh() for one in submitted.groups]
    counts = ("name", "total", "unfinished", "completed", "failed", "cancelled", "state", "group")
    found = [
        [
            {name: one[name] for name in (*TOLD, "group_id", "takes")} | {"attempts": len(one["attempts"])}
            for one in jobs
        ],
        [{name: one[name] for name in counts} | {"has_ended": one["ended_at"] is not None} for one in groups],
    ]
    return placed(found, submitted)


_PLACES = {
    "job": (r'(?<="id": )({})\b', r'(?<="cancelled_after": ")({})\b', r"(?<=job )({})\b"),
    "group": (r'(?<="group": )({})\b', r'(?<="group_id": )({})\b', r"(?<=group )({})\b"),
}


def placed(found: Any, submitted: Submitted) -> Any:
    """The same, each id as its place, counted down from -1."""
    text = json.dumps(found)
    for kind, handles in (("job", submitted.jobs), ("group", submitted.groups)):
        for pattern in _PLACES[kind]:
            for place, one in enumerate(handles):
                text = re.sub(pattern.format(one.id), str(-1 - place), text)
    return json.loads(text)


def refusal(ask: Callable[[], Any]) -> tuple[str, dict[str, Any]]:
    with pytest.raises(RequestError) as caught:
        ask()
    return type(caught.value).__name__, caught.value.parameters


@alike
def results_are_passed(client: Client) -> Any:
    first, pages = echo({"rows": [1, {"a/b": 2}]}), group(echo(3), group(echo(4), bad()))
    taking = job(f"{MODULE}.Plain", "echo", {"value": result_of(first, "rows", 1, "a/b")})
    all_of_it = job(f"{MODULE}.Plain", "echo", {"value": result_of(pages)}, if_failed="run")
    none = job(f"{MODULE}.Plain", "echo", {"value": result_of(group_of_none := group())})
    return told(play(client, chain(first, taking, pages, all_of_it), group_of_none, none))


@alike
def what_cannot_be_taken_is_said(client: Client) -> Any:
    first, large = echo({"rows": [1]}), job(f"{MODULE}.Large", "text", {"size": 70_000})
    paths = (("rows", 3), ("rows", "-"), ("x",), ("rows", 0, "x"))
    wrong = [job(f"{MODULE}.Plain", "echo", {"value": result_of(first, *path)}) for path in paths]
    return told(
        play(client, first, large, *wrong, job(f"{MODULE}.Plain", "echo", {"value": result_of(large)}))
    )[0:9000]


@alike
def null_has_nothing_in_it_and_what_is_nested_too_deep_is_passed_to_nobody(client: Client) -> Any:
    deep = [job(f"{MODULE}.Plain", "nest", {"depth": depth}) for depth in (30, 40)]
    of, pages = [echo(None), *deep], group(*deep)
    taking = [job(f"{MODULE}.Plain", "echo", {"value": result_of(one, "rows")}) for one in of]
    whole = [job(f"{MODULE}.Plain", "echo", {"value": result_of(one)}) for one in (*deep, pages)]
    return told(play(client, *of, pages, *taking, *whole))


@alike
def a_group_passes_no_more_on_than_the_result_of_one_job_may_take(client: Client) -> Any:
    pages = group(job(f"{MODULE}.Large", "text", {"size": size}) for size in (700_000, 400_000))
    submitted = play(client, pages, job(f"{MODULE}.Plain", "echo", {"value": result_of(pages, 2)}))
    last = submitted.jobs[-1].refresh()
    return placed([last["status"], last["error"]], submitted)


@alike
def who_is_retried_anyway_gets_null(client: Client) -> Any:
    first = bad()
    submitted = play(client, first, job(f"{MODULE}.Plain", "echo", {"value": result_of(first, "rows")}))
    submitted.jobs[1].retry(anyway=True)
    at_rest(submitted)
    return told(submitted)


@alike
def a_retry_of_a_group_counts_what_runs_again(client: Client) -> Any:
    outside = bad()
    flaked, inner = flaky(2), group(flaky(2))
    pages = group(flaked, echo(1, after=[flaked]), echo(2, after=[outside]), inner, echo(3, after=[inner]))
    submitted = play(client, outside, pages)
    retried = submitted[pages].retry()
    at_rest(submitted)
    return retried, told(submitted)


@alike
def a_retry_of_a_group_leaves_out_whose_unique_key_another_has(client: Client) -> Any:
    taken = bad(unique_key="taken")
    inner = group(flaky(2), echo(2, after=[taken]))
    pages = group(taken, echo(1, after=[taken]), inner)
    submitted = play(client, pages)
    held = job(f"{MODULE}.Raising", "never_again", unique_key="taken", unique_for=60.0).submit(client)
    retried = submitted[pages].retry()
    at_rest(submitted)
    within = [one["id"] == submitted[inner].id for one in client.groups(group=submitted[pages].id)]
    return retried, within, submitted[taken].id == held.id, told(submitted)


@alike
def failures_go_their_ways(client: Client) -> Any:
    first = bad()
    cancelled = echo(after=[first])
    others = [echo(after=[first], if_failed="run"), echo(after=[first], if_failed="wait")]
    return told(
        play(client, first, chain(cancelled, echo(), echo()), *others, echo(after=[cancelled, others[0]]))
    )


@alike
def what_has_ended_before_counts_as_ending_now(client: Client) -> Any:
    before = play(client, echo(1), bad())
    good, failed = before.jobs
    later = [echo(after=[good]), echo(after=[good, failed]), echo(after=[failed], if_failed="run")]
    taking = job(f"{MODULE}.Plain", "echo", {"value": result_of(good)})
    after = play(client, *later, taking)
    return placed([one.refresh()["status"] for one in after.jobs], before), [
        one.refresh()["result"] for one in after.jobs
    ]


@alike
def a_retry_revives_at_third_hand(client: Client) -> Any:
    pages = group(flaky(3), echo(1))
    submitted = play(client, chain(pages, echo(2), echo(3)))
    found = [told(submitted)]
    at_fault, _, second, third = submitted.jobs
    found.append(refusal(second.retry)[0])
    found.append(submitted[pages].retry())
    at_rest(submitted)
    found.append(told(submitted))
    third.retry(anyway=True)
    at_rest(submitted)
    at_fault.retry()
    at_rest(submitted)
    return [*found, told(submitted)]


@alike
def of_jobs_that_are_retried_together_one_frees_the_other(client: Client) -> Any:
    submitted = play(client, chain(flaky(2), echo(1)))
    client.retry(*[one.id for one in reversed(submitted.jobs)])
    at_rest(submitted)
    return told(submitted)


@alike
def who_is_cancelled_by_a_person_stays_so(client: Client) -> Any:
    gate = group(open=True)
    submitted = play(client, chain(gate, echo(1), echo(2)), gate)
    submitted.jobs[1].cancel()
    submitted[gate].seal()
    at_rest(submitted)
    return told(submitted)


@alike
def an_open_group_takes_members(client: Client) -> Any:
    pages = group(echo(1), name="pages", open=True)
    submitted = play(client, chain(pages, echo(2)))
    handle = submitted[pages]
    found = [told(submitted)]
    added = handle.add(echo(3), chain(bad(), echo(4)))
    at_rest(added)
    handle.seal()
    handle.seal()
    at_rest(submitted)
    found.append(refusal(lambda: handle.add(echo(5)))[0])
    return [*found, told(submitted), len(handle.jobs().items)]


@alike
def groups_count_each_group_as_one(client: Client) -> Any:
    empty, inner = group(name="empty"), group(echo(1), bad(), name="inner")
    outer = group(inner, empty, group(group()), echo(2), name="outer")
    return told(play(client, chain(outer, echo(3, if_failed="run"), group(), echo(4))))


@alike
def a_gate_holds_a_group_until_somebody_seals_it(client: Client) -> Any:
    gate, pages = group(name="gate", open=True), group(echo(1), echo(2))
    submitted = play(client, chain(gate, pages, echo(3)))
    found = [told(submitted)]
    submitted[gate].seal()
    at_rest(submitted)
    return [*found, told(submitted)]


@alike
def a_group_is_cancelled_with_all_that_is_in_it(client: Client) -> Any:
    gate = group(open=True)
    pages = group(echo(1, after=[gate]), group(echo(2, after=[gate])), open=True)
    submitted = play(client, gate, chain(pages, echo(3, if_failed="run")))
    submitted[pages].cancel()
    # What comes after the group begins in a transaction of its own; until then it is blocked, as if at rest.
    eventually(lambda: submitted.jobs[-1].refresh()["finished_at"] is not None)
    return told(submitted), refusal(lambda: submitted[pages].add(echo(4)))[0]


@alike
def a_graph_has_what_hangs_together(client: Client) -> Any:
    pages = group(echo(1), echo(2))
    submitted = play(client, chain(echo(0), pages, echo(3)).and_(bad()))
    graph = client.graph(submitted.jobs[-1].id)
    offset = submitted.jobs[0].id
    jobs = [one["id"] - offset for one in graph.jobs]
    edges = [
        (
            one["of"],
            one["after"] - (offset if one["of"] == "job" else submitted.groups[0].id),
            one["job_id"] - offset,
            one["standing"],
        )
        for one in graph.edges
    ]
    return (
        jobs,
        edges,
        len(graph.groups),
        graph.is_whole,
        client.graph(submitted.jobs[-1].id, limit=2).is_whole,
        [
            client.graph(submitted.jobs[-1].id, limit=limit, count=count).total
            for limit, count in ((200, 1000), (2, 1000), (2, 3), (200, None))
        ],
    )


def many(client: Client, *jobs: dict[str, Any], **more: Any) -> tuple[str, Any]:
    """How a request for these is refused."""
    call = submitting_calls.submit_flow(
        [{"class_name": f"{MODULE}.Plain", "method_name": "echo", **one} for one in jobs],
        more.get("groups", []),
        more.get("seal", []),
    )
    return refusal(lambda: client._call(call))


def bulk(client: Client, **more: Any) -> tuple[str, Any]:
    """How one is refused that has what it must not have beside `each`."""
    named = {"class_name": f"{MODULE}.Plain", "method_name": "echo", "each": [{}], "keys": ["k"]}
    call = submitting_calls.submit_flow([], [], [])
    return refusal(lambda: client._call(call._replace(parameters=named | more)))


@alike
def jobs_that_name_others_in_no_shape_of_a_daemon_are_refused(client: Client) -> Any:
    return [
        many(client, {"ref": 5}),
        many(client, {}, {"options": {"after": [{"id": 1}] * 1001}}),
        many(client, {"options": {"group": {"id": 1, "ref": "g"}}}),
        many(client, {"options": {"group": {"of": 1}}}),
        *[
            many(client, {"options": {"after": [one]}})
            for one in (5, {"id": 0}, {"group": -1}, {"ref": "x" * 65}, {"job": 1})
        ],
        *[
            many(client, {"options": {"take": {"value": one}}})
            for one in (
                *(5, {}, {"of": 5}, {"of": {"id": 0}}, {"of": {"id": 1}, "pointer": "/" + "x" * 1024}),
                {"of": {"id": 1}, "path": ""},
            )
        ],
        many(
            client,
            {"options": {"group": {"ref": "g"}}},
            {"options": {"group": {"ref": "g"}, "take": {"value": {"of": {"group_ref": "g"}}}}},
            groups=[{"ref": "g"}],
        ),
    ]


@alike
def groups_in_no_shape_of_a_daemon_are_refused(client: Client) -> Any:
    return [
        many(client, groups=[5]),
        many(client, groups=5),
        many(client, groups=[{"ref": "g" * 65}]),
        many(client, groups=[{"ref": "g", "name": "g" * 300}]),
        many(client, groups=[{"ref": "g", "open": 1}]),
        many(client, groups=[{"ref": "g", "opne": True}]),
        many(client, groups=[{"ref": "g", "group": 5}]),
        many(client, groups=[{"ref": "g", "group": {"id": 0}}]),
        many(client, groups=[{"ref": "g", "group": {"name": "h"}}]),
        many(client, groups=[{"ref": "g", "idempotency_key": ""}]),
        many(client, groups=[{"ref": one, "idempotency_key": "k"} for one in "gh"]),
        bulk(client, groups=[{"ref": "g"}]),
        bulk(client, seal=[1]),
        bulk(client, jobs=[]),
        bulk(client, **dict.fromkeys(("class_name", "method_name", "each", "keys")), jobs=[5]),
        bulk(client, options={"group": {"id": 0}}),
        many(client, seal=[0]),
        refusal(lambda: client.group(0)),
        refusal(lambda: client.get(-1)),
        refusal(lambda: client.retry(0)),
    ]


@alike
def what_no_daemon_takes_is_refused(client: Client) -> Any:
    good = play(client, group(echo(1), open=True))
    newer = play(client, echo(2))
    first, handle = good.jobs[0], good.groups[0]

    def submit(parameters: Any = None, **options: Any) -> tuple[str, Any]:
        return refusal(lambda: client.run_background_job(f"{MODULE}.Plain", "echo", parameters, **options))

    far = 10**9
    found = [
        submit(after=[far]),
        submit(after=[{"group": far}]),
        submit(group=far),
        submit(after=[{"ref": "a"}]),
        submit(after=[{"group_ref": "a"}]),
        submit(after=[{"id": 1, "group": 1}]),
        submit(after=[{}]),
        submit(after=[first], delay=5),
        submit(if_failed="run"),
        submit(after=[first], if_failed="ignore"),
        submit({"other": result_of(far)}),
        submit({"value": result_of(far)}),
        submit(group={"ref": "a"}),
        many(client, {"ref": "a"}, {"ref": "a"}),
        many(client, {"ref": ""}),
        many(client, {"options": {"after": [{"ref": "b"}]}}, {"ref": "b"}),
        many(client, {"options": {"take": {"value": {"of": {"id": first.id}, "pointer": "x"}}}}),
        many(client, {"options": {"take": {"value": {"of": {}}}}}),
        many(client, {"parameters": {"value": 1}, "options": {"take": {"value": {"of": {"id": first.id}}}}}),
        many(client, groups=[{"ref": "g"}, {"ref": "g"}]),
        many(client, groups=[{"ref": "g", "group": {"ref": "h"}}, {"ref": "h"}]),
        many(client, groups=[{"ref": "g", "group": {"id": far}}]),
        many(client, groups=[{}]),
        many(client, seal=[far]),
        many(
            client, {"options": {"group": {"ref": "g"}, "after": [{"group_ref": "g"}]}}, groups=[{"ref": "g"}]
        ),
        many(client, {"options": {"after": [{"id": 1}] * 3}}, {"options": {"after": 3}}),
        refusal(lambda: handle.add(echo(after=newer.jobs))),
        refusal(lambda: client.group(far)),
        refusal(lambda: JobGroup(client, far).wait()),
        refusal(lambda: JobGroup(client, far).seal()),
        refusal(lambda: JobGroup(client, far).cancel()),
        refusal(lambda: JobGroup(client, far).retry()),
        refusal(lambda: client.groups(state="dancing")),
        refusal(lambda: client.groups(limit=0)),
        refusal(lambda: client.groups(group=0)),
        refusal(lambda: client.graph(far)),
        refusal(lambda: client.graph(first.id, limit=1001)),
        refusal(lambda: client.graph(first.id, count=0)),
    ]
    return [placed(one, good) for one in found]


class Forgetful(Client):
    """Hears no answer to its first seal."""

    has_heard = True

    def _call(self, call: Call[Any]) -> Any:
        answer = super()._call(call)
        if call.method.endswith(".SealGroup") and self.has_heard:
            self.has_heard = False
            raise unreachable("/x", ConnectionResetError())
        return answer


def test_a_group_in_portions_is_whole_and_a_repeat_after_a_lost_answer_finds_it(
    client: Client, running: RunningDaemon
) -> None:
    client.pause()
    members = [echo("x" * 1000) for _ in range(1200)]
    pages = group(members, name="pages")
    first, last = echo("first"), echo("last")
    flow = chain(first, pages, last)
    with Forgetful(str(running.socket)) as forgetful:
        with pytest.raises(DaemonUnavailableError):
            flow.submit(forgetful)
        submitted = flow.submit(forgetful)
    assert [submitted[one].refresh()["waits_for"] for one in (first, members[0], last)] == [0, 1, 1]
    told = submitted[pages].refresh()
    assert (told["total"], told["state"], len(submitted.jobs)) == (1200, "sealed", 1202)
    assert submitted[members[-1]].refresh()["group_id"] == submitted[pages].id
    submitted[pages].cancel()
    assert submitted[pages].wait(30)["cancelled"] == 1200
    client.resume()

"""What a daemon answers is read as what it has to be: who sits at the socket may be none, or one of another version."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from typing import Any, Final

import pytest

from bgjob import calls, shapes
from bgjob.codec import Reply
from bgjob.errors import ProtocolError
from tests.client.scripted import STANDING, attempt, entry, group, running_attempt, summary, whole
from tests.fuzz import commands

_WHEN: Final = "2024-12-04T14:31:53.000000Z"
_PROGRESS: Final = {"fraction": 0.5, "message": "half of it", "at": _WHEN}
_TIMES: Final = dict.fromkeys(("scheduled_at", "started_at", "finished_at", "cancel_requested_at"), _WHEN)
_USED: Final = {"max_rss": 4096, "cpu_user": 0.5, "cpu_system": 0.25, "output_bytes": 12}
_MEASURED: Final = {
    f"{name}_{part}": value
    for name, value in (("wall", 1.0), ("cpu", 0.5), ("memory", 4096), ("output", 12))
    for part in ("p50", "p95")
}
_ATTEMPT: Final = attempt(
    1, pid=9, started_at=_WHEN, finished_at=_WHEN, outcome="failed", exit_code=1, signal=9, error_type="E",
    error_message="no", traceback="Traceback", progress=_PROGRESS, **_USED,
)  # fmt: skip
_POLICY: Final = {
    "queue": "mail", "priority": 0, "slots": 2, "max_retries": 3, "retry_delay": 5.0, "backoff": "exponential",
    "max_retry_delay": 3600.0, "timeout": 300.0, "memory": 4096, "cpu": 1.0, "cpu_share": 1.5, "open_files": 64,
    "processes": 64, "file_size": 4096, "nice": 5, "max_output": 4096, "work_limit": 4096, "user": "mail",
    "group": "mail", "writable": ["/srv"], "umask": "022", "unenforced": ["memory"],
    "key": "customer", "rate": "100 in 1 min", "unique": ["order", "part"],
}  # fmt: skip
_SCHEMA: Final = {
    "$defs": {"Kind": {"enum": ["a", 1]}},
    "required": ["to"],
    "properties": {
        "to": {"type": "string", "format": "email"},
        "kind": {"$ref": "#/$defs/Kind"},
        "many": {"type": "array", "items": {"anyOf": [{"type": "integer"}, {"const": 1}]}, "default": []},
    },
    "additionalProperties": {"type": "number"},
}
_QUEUE: Final = {
    "name": "mail",
    "pending": 1,
    "running": 1,
    "slots": 2,
    "paused": True,
    "oldest_pending": _WHEN,
    "blocked": 1,
    "resumes_at": _WHEN,
    "slots_per_key": 2,
    "rate_per_key": "10 in 1 s",
    "share": "user",
    "behind": 1,
}

_OCCURRENCE: Final = {
    "at": _WHEN, "until": _WHEN, "count": 1, "verdict": "submitted", "reason": None, "job_id": 1, "dealt_at": _WHEN,
    "status": "completed",
}  # fmt: skip
_SKIPPED: Final = _OCCURRENCE | {"count": 3, "verdict": "skipped", "reason": "overlap", "status": None}
_GROUP: Final = group(5, "failed", name="pages", group=4, sealed_at=_WHEN)
_EDGE: Final = {"of": "job", "after": 1, "job_id": 2, "standing": "failed"}
_SCHEDULE: Final = {
    "name": "nightly", "job": "a.B::c", "parameters": {"a": 1}, "cron": "30 2 * * *", "every": None, "zone": "UTC",
    "description": "At 02:30 every day", "missed": "skip", "overlap": "skip", "jitter": 5.0, "paused_at": _WHEN,
    "next": [{"at": _WHEN, "local": "Mon 2026-11-30 02:30 CET", "note": "twice"}], "last": _OCCURRENCE,
    "refused": "no",
}  # fmt: skip

_NEEDED: Final = {
    "needs": [{"kind": "paused", "subject": "mail", "since": _WHEN, "sentence": "it is", "hint": "do"}],
    "more": 1,
}
_ALERT: Final = {
    "id": 1, "rule": "failed", "kind": "failed", "subject": "3", "host": "web1", "message": "no", "hint": "do",
    "since": _WHEN, "count": 2, "raised_at": _WHEN, "last_at": _WHEN, "cleared_at": _WHEN, "told_at": _WHEN,
    "end_told_at": _WHEN, "told_count": 1, "acknowledged_at": _WHEN, "acknowledged_uid": 7,
}  # fmt: skip

TOLD: Final[Mapping[str, Any]] = {
    **STANDING,
    "code_version": "c0de",
    "python": "3.13",
    "loaded_at": _WHEN,
    "storage_trouble": "no space",
    "jobs": {"failed": 1},
    "blocked": 1,
    "groups_open": 1,
    "minutes": [{"completed": 1, "failed": 2}],
    "oldest_pending": _WHEN,
    "queues": [_QUEUE],
    "usage": {"shop.jobs.Email": {"attempts": 3, **_MEASURED}},
}
"""What Stats tells of a daemon with much to do."""

_NO_STEPS: Final = {"next": None, "steps": [], "signals": []}
_NO_JOBS: Final = {"jobs": [], "next": None, "is_complete": True}


def _shown(job: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked of a job that is submitted, waited for, and shown; it has no steps, and nothing runs it again."""
    whole = {key: {"job": job} for key in ("Get", "Wait")}
    values = {"values": [], "next": 0, "left_out": 0, "is_end": True}
    return {**whole, "Submit": {"id": 1}, "Steps": _NO_STEPS, "List": _NO_JOBS, "Values": values}


ANSWERS: Final[Mapping[str, tuple[Mapping[str, Any], tuple[str, ...]]]] = {
    "submitted": ({"id": 1}, ("run a.B::c",)),
    "running job": (
        _shown(whole(1, "running", progress=_PROGRESS, timeout=5.0, attempt=1, error="no")
               | {"attempts": [_ATTEMPT | {"outcome": None}]} | _TIMES),
        ("show 1", "run a.B::c -w", "wait 1"),
    ),
    "failed job": (
        _shown(whole(1, "failed", error="E: no", attempts=[_ATTEMPT], progress=None, attempt=1)
               | {"parameters": {"a": 1}, "submitted_uid": 1, "submitted_pid": 2} | _TIMES),
        ("show 1", "run a.B::c -w", "wait 1"),
    ),
    "completed job": (
        _shown(whole(1, "completed", result=[1], progress=None, attempt=1)),
        ("show 1", "run a.B::c -w", "wait 1"),
    ),
    "jobs": (
        {"jobs": [summary(1, "running", 1, progress=_PROGRESS) | _TIMES | _USED, summary(2, "failed", error="E: no"),
                  summary(3, scheduled_at="2999-01-01T00:00:00.000000Z"), summary(4, is_behind=True, key="a")],
         "next": None, "is_complete": True},
        (next(words for words in commands.WORDS if words.startswith("list --columns")),),
    ),
    "entries": (
        {"entries": [entry(1) | {"attempt": 1, "attempts_allowed": 4}], "next": None, "is_complete": True},
        ("tail", "tail -f"),
    ),
    "output": (
        {"number": 1, "left_out": 2, "offset": 2, "data": "YWJj", "next": 5, "is_end": True},
        ("output -f 1",),
    ),
    "stats": ({"Stats": TOLD, "Needs": _NEEDED}, ("stats",)),
    "needs": (_NEEDED, ("needs",)),
    "alerts": ({"alerts": [_ALERT], "next": 3}, ("alerts",)),
    "look": (
        {
            "Stats": TOLD,
            "Needs": _NEEDED,
            "List": {"jobs": [summary(1, "failed", error="no")], "next": None, "is_complete": True},
            "Running": {
                "attempts": [
                    running_attempt(1)
                    | {"pid": 9, "started_at": _WHEN, "cpu": 1.0, "memory": 4096, "progress": _PROGRESS}
                ]
            },
        },
        ("top --once",),
    ),
    "classes": (
        {"classes": [{"name": "a.B", "doc": "One.", "unavailable": None, "policy": _POLICY,
                      "methods": [{"name": "c", "doc": "Does.", "schema": _SCHEMA, "note": "all"}],
                      "held_until": _WHEN, "held_by": 12}]},
        ("classes",),
    ),
    "reloaded": (
        {"code_version": "c0de", "needing_restart": ["[web]"], "waiting_jobs": ["1 job would fail"], "amid_steps": 2,
         "doubts": ["sensitive of a.B lists tokne"]},
        ("reload",),
    ),
    "stored": ({"ids": [1, 2], "groups": [5]}, (f"flow {commands.FLOW}",)),
    "graph": ({"jobs": [summary(1, "failed", error="no", group_id=5), summary(2, is_blocked=True)], "groups": [_GROUP],
               "edges": [_EDGE], "is_whole": False}, ("graph 1",)),
    "group": ({"group": _GROUP, "groups": [_GROUP], "next": None, "retried": 1},
              ("group 1", "group 1 --retry", "group 1 -w", "group")),
    "job after others": (
        {
            "Get": {"job": whole(2, is_blocked=True, if_failed="wait", waits_for=1, cancelled_after="1", group_id=5,
                                 takes={"a": {"of": {"id": 1}, "pointer": "/a", "problem": "no"}}), "next": None},
            "Graph": {"jobs": [summary(1, "failed")], "groups": [_GROUP], "edges": [_EDGE], "is_whole": True},
            "Steps": _NO_STEPS,
            "List": _NO_JOBS,
        },
        ("show 1",),
    ),
    "job behind its key": (
        _shown(whole(1, is_behind=True, key="customer:7", turn=3)),
        ("show 1",),
    ),
    "keys": (
        {"keys": [{"key": "customer:7", "running": 1, "ready": 0, "behind": 1000, "next_at": _WHEN}], "next": None},
        ("keys mail",),
    ),
    "values": (
        {"values": [{"number": 5, "attempt": 1, "step": "a", "at": _WHEN, "value": [1]}], "next": 5, "left_out": 4,
         "is_end": True},
        ("follow 1", "follow 1 --after 7 --json"),
    ),
    "why": ({"sentence": "it waits"}, ("why 1",)),
    "schedules": ({"schedules": [_SCHEDULE]}, ("schedules", "schedules nightly")),
    "occurrences": ({"occurrences": [_SKIPPED, _OCCURRENCE], "next": _WHEN}, ("occurrences nightly",)),
    "run": ({"id": 1}, ("schedule run nightly",)),
}  # fmt: skip
"""Answers with every field that is read of them, and the commands that show them."""

WRONG: Final = (
    *(None, True, -1, 2**63, 10**400, 1.5, 1e308, "", "x", "2024-02-30T00:00:00Z", "0001-01-01T00:00:00"),
    *([], [None], ["x"], [[]], [{}], {}, {"x": None}, {"$ref": "x"}),
)


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where in an answer something stands, whole objects and lists too."""
    inner = (
        value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    )
    for step, one in inner:
        yield (*path, step)
        yield from places(one, (*path, step))


def lies_about(told: Mapping[str, Any], every: int) -> Iterator[dict[str, Any]]:
    """The answer changed at each place; of what is wrong there each so-many-th, from another one on at each place."""
    for number, path in enumerate(places(told)):
        yield from changed(told, path, (..., *WRONG)[number % every :: every])


def changed(
    told: Mapping[str, Any], path: tuple[str | int, ...], instead: Iterable[Any]
) -> Iterator[dict[str, Any]]:
    """The answer with each of these at the place, and without what stands there for an ellipsis."""
    whole = pickle.dumps(dict(told))  # a copy by it takes a tenth of a deepcopy
    for wrong in instead:
        lie: Any = pickle.loads(whole)
        node = lie
        for step in path[:-1]:
            node = node[step]
        if wrong is ...:
            del node[path[-1]]
        else:
            node[path[-1]] = copy.deepcopy(wrong)
        yield lie


@pytest.fixture(name="every")
def how_many_are_passed_over(request: pytest.FixtureRequest) -> int:
    """With --long each lie is told at each place, else each fourth."""
    return 1 if request.config.getoption("--long") else 4


@pytest.mark.parametrize("name", ANSWERS)
def test_whatever_stands_in_an_answer_no_command_meets_a_bug(name: str, every: int) -> None:
    told, shown = ANSWERS[name]
    for words in shown:
        assert "no valid" not in commands.shown_by(words, Reply(copy.deepcopy(dict(told))))
        for lie in lies_about(told, every):
            commands.shown_by(words, Reply(lie))


def test_the_screen_of_top_meets_none_either(every: int) -> None:
    told, _ = ANSWERS["look"]
    assert commands.drawn(Reply(copy.deepcopy(dict(told))))
    is_refused = False
    for lie in lies_about(told, every):
        try:
            commands.drawn(Reply(lie))
        except ProtocolError:
            is_refused = True
    assert is_refused


def test_every_command_that_asks_is_lied_to() -> None:
    lied_to = {words for _, shown in ANSWERS.values() for words in shown}
    silent = {"cancel", "retry", "change", "pause", "resume"}
    assert {words.split()[0] for words in lied_to} | silent == {words.split()[0] for words in commands.WORDS}


def test_a_field_that_may_be_null_may_be_missing() -> None:
    """A null is as good as nothing in Varlink, and a daemon of an older version has fewer fields."""
    told = {name: value for name, value in entry(1).items() if value is not None}
    assert len(told) < len(entry(1))
    (read,) = calls.logs_of(1).answer(Reply({"entries": [told], "is_complete": True}))
    assert read == entry(1)


def test_what_is_wrong_is_named_by_its_place() -> None:
    lie = {"job": whole(1, attempts=[attempt(1), attempt(2, progress={"fraction": "half"})])}
    with pytest.raises(ProtocolError, match=r"no valid 'job\.attempts\.1\.progress\.fraction'"):
        calls.get(1).answer(Reply(lie))


def _interface() -> dict[str, dict[str, str]]:
    """The fields of the interface's types, and of what Stats answers."""
    told = re.sub(r"#.*", "", files("bgjobd").joinpath("org.bgjobd.Jobs.varlink").read_text())
    found = re.findall(r"type (\w+) \(([^)]*)\)|method (Stats)\([^)]*\) -> \(([^)]*)\)", told)
    return {
        name or method: dict(re.findall(r"(\w+): ([^,\s]+)", fields or answer))
        for name, fields, method, answer in found
    }


@pytest.mark.parametrize("shape", shapes.SHAPES)
def test_what_is_read_is_what_the_interface_tells(shape: str) -> None:
    kinds = {
        "any": "?object",
        "moment": "string",
        "?moment": "?string",
        "status": "string",
        "?status": "?string",
    }
    told = _interface()["Summary" if shape == "Listed" else shape]
    read = {name: kinds.get(kind, kind) for name, kind in shapes.fields_of(shape).items()}
    assert read.items() <= told.items()

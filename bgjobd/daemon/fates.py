"""What becomes of jobs that wait already, once the classes are as they are now: which would fail, and why; pure.

A fork server runs an attempt whatever the daemon's catalogue says: what is no longer allowed, or has parameters that
do not fit, is found out in the child, which fails without another try. Jobs of a class that cannot be loaded wait, and
where there may be other hosts those of a class that is not approved.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bgjob import text
from bgjob.amounts import many_of
from bgjob.errors import RequestError
from bgjobd.daemon.catalogue import Catalogue
from bgjobd.forkserver.invocation import Method
from bgjobd.store.pending import PendingJob

_NAMED: Final = 3
"""How many jobs of a kind are named, and how many of a job's parameters."""

_LONGEST_NAME: Final = 40

_GONE: Final = "its attempts end with MethodNotApproved"
_UNFIT: Final = "its attempts end with InvalidParameters"

_FAIL: Final = "would fail, not to be retried"
_WAIT: Final = "would wait until it can be"
_ELSEWHERE: Final = "would wait for a host that has it approved"
_RUN: Final = "would run with what they were given"


@dataclass(frozen=True, slots=True)
class Fate:
    """What a job will come to that does not run as it should, in words `will`, and why.

    `names` are of parameters that do not fit, an example: jobs of one fate may each have others.
    """

    why: str
    will: str = _FAIL
    names: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Looked:
    """What was seen of the jobs that wait: how many of how many, and what is wrong with whom."""

    seen: int
    pending: int
    wrong: Mapping[tuple[str, Fate], int]
    examples: Mapping[tuple[str, Fate], tuple[int, ...]]


def look(
    catalogue: Catalogue,
    usable: Mapping[str, Mapping[str, Any]],
    jobs: Iterable[PendingJob],
    pending: int,
    has_time: Callable[[], bool],
) -> Looked:
    """Hold the jobs against the classes, as long as there is time. `usable` is what the fork server told of them."""
    seen = 0
    wrong: Counter[tuple[str, Fate]] = Counter()
    examples: defaultdict[tuple[str, Fate], list[int]] = defaultdict(list)
    for job in jobs:
        fate = try_fate(catalogue, usable, job)
        if fate is not None:
            kind = f"{job.class_name}::{job.method_name}", fate
            wrong[kind] += 1
            if len(examples[kind]) < _NAMED:
                examples[kind].append(job.id)
        seen += 1
        if not has_time():
            break
    return Looked(seen, pending, wrong, {kind: tuple(ids) for kind, ids in examples.items()})


def try_fate(catalogue: Catalogue, usable: Mapping[str, Mapping[str, Any]], job: PendingJob) -> Fate | None:
    """What is wrong with this job; None where its attempt runs, whatever the method then does."""
    described = usable.get(job.class_name)
    if described is None and catalogue.has_others:
        return Fate("the class is not approved here", _ELSEWHERE)
    if described is None:
        return Fate(f"the class is not approved, and {_GONE}")
    if described["unavailable"] is not None:
        return Fate("the class cannot be loaded", _WAIT)
    method = described["methods"].get(job.method_name)
    if method is None:
        return Fate(f"the class has no such method that may be called, and {_GONE}")
    try:
        catalogue.check(job.class_name, job.method_name, json.loads(job.parameters))
    except RequestError as error:
        return _of_unfit(Method.from_description(method), json.loads(job.parameters), error)
    return None


def _of_unfit(method: Method, given: Mapping[str, Any], error: RequestError) -> Fate | None:
    """Of a job that would be refused now. Nothing is quoted of its parameters but their names: some are secrets."""
    problems = error.parameters.get("problems")
    if problems is None:
        return None  # a class whose policy or schema is wrong takes no new jobs; those that wait run
    wrong = _wrong_names(method, given)
    told = {str(problem["path"]).partition("/")[0] for problem in problems} - {""} | wrong
    names = tuple(text.capped(name, _LONGEST_NAME) for name in sorted(told)[:_NAMED])
    if method.coerce or (method.whole is None and wrong):
        return Fate(f"its parameters do not fit any more, and {_UNFIT}", names=names)
    return Fate("its parameters would be refused now, and are passed as they are", _RUN, names=names)


def _wrong_names(method: Method, given: Mapping[str, Any]) -> set[str]:
    """The names that are missing, and those that there are not."""
    unknown = set[str]() if method.names is None else set(given) - method.names
    return unknown.union(method.required.difference(given))


def told(looked: Looked) -> list[str]:
    """Whom it concerns, most jobs first, a sentence each; nothing where all is well."""
    return [
        _told(target, fate, count, looked.examples[target, fate])
        for (target, fate), count in sorted(looked.wrong.items(), key=lambda item: (-item[1], item[0][0]))
    ]


def try_so_far(looked: Looked) -> str | None:
    """That there are more than were looked at; None where there are not."""
    if looked.seen >= looked.pending:
        return None
    so_far = (
        f"of {many_of(looked.pending, 'job')} that wait, {looked.seen:,} were looked at in the time there is"
    )
    return f"{so_far}; the others were not"


def _told(target: str, fate: Fate, count: int, ids: tuple[int, ...]) -> str:
    named = ", ".join(map(str, ids)) if count <= len(ids) else f"{', '.join(map(str, ids))}, …"
    such_as = f", parameter {', '.join(fate.names)}" if fate.names else ""
    which = f"job{'s' if count > 1 else ''} {named}{such_as}"
    return f"{many_of(count, 'job')} of {target} {fate.will}: {fate.why} ({which})"

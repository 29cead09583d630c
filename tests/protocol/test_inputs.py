"""What a request may have as parameters, and that one with very many faults is refused as soon as any other."""

from __future__ import annotations

import time
from typing import Any

import pytest

from bgjob.errors import InvalidParameterError, TooLargeError
from bgjobd.api import schemas

_MANY = {f"{number:x}": 0 for number in range(100_000)}


def _a_while() -> float:
    """CPU seconds of a million turns of an empty loop, here and now."""
    began_at = time.thread_time()
    for _ in range(1_000_000):
        pass
    return time.thread_time() - began_at


def _job(**options: Any) -> dict[str, Any]:
    return {"class_name": "a.B", "method_name": "run", "options": options}


@pytest.mark.parametrize(
    ("shape", "given", "told"),
    [
        (schemas.Nothing, _MANY, "0"),
        (schemas.Get, {"id": 1, **_MANY}, "0"),
        (schemas.NewJob, {"class_name": "a.B", "method_name": "run", "options": _MANY}, "options"),
        (schemas.NewJob, _job(take={key: {"of": {"id": 1}} for key in _MANY}), "options.take"),
        (schemas.NewJob, _job(take={"value": _MANY}), "options.take.value"),
        (schemas.NewJob, _job(after=[{"id": 1}, _MANY]), "options.after.1"),
        (schemas.NewJob, _job(after=[5] * 1000), "options.after.0"),
        (schemas.NewJob, _job(group=_MANY), "options.group"),
        (schemas.NewGroup, {"ref": "g", "group": _MANY}, "group"),
        (schemas.SubmitMany, {"jobs": [], "groups": [1] * 500_000}, "groups"),
        (schemas.SubmitMany, {"jobs": [], "seal": [0] * 500_000}, "seal.0"),
        (schemas.List, {"status": [1] * 500_000}, "status.0"),
        (schemas.List, {"status": ["failed"] * 100_000}, "status"),
        (schemas.Watch, {"ids": ["1"] * 250_000}, "ids.0"),
        (schemas.JobIds, {"ids": [[]] * 350_000}, "ids.0"),
        (schemas.SubmitMany, {"jobs": [1] * 500_000}, "jobs"),
        (schemas.SubmitMany, {"each": [1] * 500_000}, "each"),
        (schemas.SubmitMany, {"each": [], "keys": [1] * 500_000}, "keys"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_of_many_faults_one_is_found(shape: type[schemas.Input], given: dict[str, Any], told: str) -> None:
    began_at = time.thread_time()
    with pytest.raises(InvalidParameterError) as refused:
        schemas.checked(shape, given)
    spent = time.thread_time() - began_at
    assert spent < 2 * _a_while()  # some took twenty times as long, in which nobody else was heard
    assert refused.value.parameters == {"parameter": told}


def test_too_many_predecessors_are_counted_before_they_are_looked_at() -> None:
    began_at = time.thread_time()
    with pytest.raises(TooLargeError) as refused:
        schemas.checked(schemas.NewJob, _job(after=[{"id": 1}] * 100_000))
    spent = time.thread_time() - began_at
    assert spent < 2 * _a_while()
    assert refused.value.parameters == {"limit": 1000, "size": 100_000, "parameter": "options.after"}

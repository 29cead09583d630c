"""Typed submits: what names and parameters a call comes to, what has none, and that both clients submit it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import date
from functools import cache, partial, wraps
from inspect import signature
from typing import Any

import pytest

import bgjob.testing
from bgjob import AsyncClient, Client, JobContext, typed
from bgjobd.forkserver.describe import callable_methods
from tests.client import functions_of_tests, jobs_of_tests
from tests.client.functions_of_tests import told, total
from tests.client.jobs_of_tests import Address, Child, Plain, Values, WithContext

DAY = date(2026, 12, 4)


def traced(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return inner


def as_wrapped(self: Any, first: int, second: int = 0, *, scale: int = 1) -> None: ...


def signed(function: Callable[..., Any]) -> Callable[..., Any]:
    function.__signature__ = signature(as_wrapped)  # type: ignore[attr-defined]  # as libraries set it
    return function


def looped(function: Callable[..., Any]) -> Callable[..., Any]:
    function.__wrapped__ = function  # type: ignore[attr-defined]  # as above
    return function


class Report:
    class Page:
        def turn(self, number: int) -> int:
            return number

    def build(self, context: JobContext = bgjob.CONTEXT, day: date = DAY, *, title: str = "") -> list[Any]:
        context.progress(0.5)
        context.logger.info("half of it")
        return [context.attempt, day.isoformat(), title]

    def params_alone(self, params: Any, context: JobContext = bgjob.CONTEXT) -> Any:
        return params

    def params_and_more(self, params: Any, more: int = 0) -> Any:
        return [params, more]

    @traced
    def slow(self, seconds: float, times: int = 1) -> float:
        return seconds * times

    @staticmethod
    def static(value: int) -> None: ...

    @signed
    def told(self, *args: Any, **kwargs: Any) -> None: ...

    @wraps(partial(as_wrapped, scale=2))
    def partly(self, *args: Any, **kwargs: Any) -> None: ...

    @cache  # noqa: B019  # what it is about
    def cached(self) -> None: ...

    @classmethod
    def of_class(cls) -> None: ...

    unnamed = lambda self: None  # noqa: E731  # what it is about


@pytest.mark.parametrize(
    ("method", "args", "kwargs", "given"),
    [
        (Plain.echo, (), {}, {}),
        (Plain.echo, (1,), {}, {"value": 1}),
        (Plain.echo, (), {"value": DAY}, {"value": DAY}),
        (Plain.later, ([2],), {}, {"value": [2]}),
        (Report.build, (bgjob.CONTEXT, DAY), {"title": "x"}, {"day": DAY, "title": "x"}),
        (Report.build, (), {"day": DAY, "context": bgjob.CONTEXT}, {"day": DAY}),
        (Report.slow, (1.5,), {"times": 2}, {"seconds": 1.5, "times": 2}),
        (Report.told, (1, 2), {"scale": 3}, {"first": 1, "second": 2, "scale": 3}),
        (Report.partly, (1,), {"scale": 3}, {"first": 1, "scale": 3}),
        (Values.any_names, (1,), {"second": 2}, {"first": 1, "second": 2}),
        (Values.only_by_name, (), {"when": DAY}, {"when": DAY}),
        (Values.whole, (Address("s", DAY),), {}, Address("s", DAY)),
        (Values.whole_or_nothing, (), {"parameters": {"a": 1}}, {"a": 1}),
        (Report.params_alone, ({"a": 1},), {}, {"a": 1}),
        (Report.params_and_more, ({"a": 1},), {}, {"params": {"a": 1}}),
    ],
)
def test_arguments_have_the_names_of_the_parameters(
    method: Any, args: tuple[Any, ...], kwargs: dict[str, Any], given: Any
) -> None:
    assert typed.of_method(method, args, kwargs).parameters == given


def test_a_function_that_takes_some_by_place_is_given_them_by_place() -> None:
    assert typed.of_function(told, (DAY,), {}).parameters == {"on": DAY}
    assert typed.of_function(total, (1, 2), {"scale": 3}).parameters == {
        "args": [1, 2],
        "kwargs": {"scale": 3},
    }


def test_a_method_has_the_names_that_a_daemon_offers_it_by() -> None:
    classes = [one for one in vars(jobs_of_tests).values() if isinstance(one, type)]
    offered = [
        (f"{function.__module__}.{cls.__qualname__}", name, function)
        for cls in (*classes, Report.Page)
        for name, function in callable_methods(cls).items()
        if function.__qualname__ == f"{cls.__qualname__}.{name}"
    ]
    assert len(offered) > 50
    calls = [typed.of_method(function, (), {}) for _, _, function in offered]
    assert [(one.class_name, one.method_name) for one in calls] == [(cls, name) for cls, name, _ in offered]


def test_an_inherited_method_is_its_bases() -> None:
    assert typed.of_method(Child.echo, (), {}).class_name == f"{jobs_of_tests.__name__}.Plain"


def inside() -> Callable[..., None]:
    def inner() -> None: ...

    return inner


class Looping:
    @looped
    def run(self) -> None: ...


class Main:
    def run(self) -> None: ...


Main.run.__module__ = "__main__"


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: bgjob.submit("shop.Report.build"), "a str is no plain function; submit it by its name"),  # type: ignore[arg-type]
        (
            lambda: bgjob.submit(Report.cached),
            "a _lru_cache_wrapper is no plain function; submit it by its name",
        ),
        (lambda: bgjob.submit(Report().build), "Report.build is bound; give the function that the class has"),
        (lambda: bgjob.submit(Report.of_class), "Report.of_class is bound"),
        (lambda: bgjob.submit(Report.static, 1), "Report.static is a static method, which no job can be"),
        (lambda: bgjob.submit(Looping.run), "Looping.run has no signature: wrapper loop"),
        (lambda: bgjob.submit(Report.unnamed), "Report.<lambda> has no name that can be imported"),
        (lambda: bgjob.submit_function(inside()), "inside.<locals>.inner has no name that can be imported"),
        (
            lambda: bgjob.submit(Main.run),
            "Main.run is of the program itself; a daemon imports it from a module",
        ),
        (
            lambda: bgjob.submit(told),
            "told is of no class: functions go by submit_function and call_function",
        ),
        (
            lambda: bgjob.submit_function(Plain.echo),
            "Plain.echo is no function of a module: methods go by submit",
        ),
        (lambda: bgjob.submit(Plain.echo, 1, 2), "Plain.echo takes at most 1 by place, not 2"),
        (lambda: bgjob.submit(Plain.echo, 1, value=2), "Plain.echo is given value twice"),
        (
            lambda: bgjob.submit(Plain.echo, {"day": 2j}),
            "value.day: JSON has no form for a value of type complex",
        ),
    ],
)
def test_what_has_no_name_or_does_not_fit_is_a_type_error(call: Callable[[], Any], told: str) -> None:
    with bgjob.testing.recorded() as jobs, pytest.raises(TypeError) as caught:
        call()
    assert str(caught.value).startswith(told)
    assert list(jobs) == []


def test_a_call_runs_inline_and_is_given_the_context() -> None:
    with bgjob.testing.inline() as jobs:
        assert bgjob.submit(Report.build, day=DAY, title="x").result() == [1, "2026-12-04", "x"]
        assert bgjob.submit(WithContext.run, 3).result()[1] == 1
        assert bgjob.submit(Values.whole, Address("s", DAY)).result() == repr(Address("s", DAY))
        assert bgjob.submit(Report.slow, 2.0).result() == 2.0
        assert bgjob.submit_function(told, DAY).result() == [2026, 1]
        assert bgjob.submit_function(total, 1, 2, scale=3).result() == 9
    assert [job.method_name for job in jobs.of(f"{__name__}.Report")] == ["build", "slow"]


def test_a_call_works_as_a_plain_one_too() -> None:
    assert Report().build() == [0, "2026-12-04", ""]
    assert (bgjob.CONTEXT.remaining, bgjob.CONTEXT.stop_reason) == (None, None)


def test_a_draft_is_submitted_with_its_options_and_does_not_change() -> None:
    draft = bgjob.call(Plain.echo, value=1)
    later = draft.options(queue="mail", priority=3).options(priority=5)
    assert repr(later) == f"<Draft of {jobs_of_tests.__name__}.Plain::echo(value=1)>"
    with bgjob.testing.recorded() as jobs, Client("/nowhere") as client:
        assert [draft.submit().id, later.submit().id, later.submit(client).id] == [1, 2, 3]
        assert bgjob.call_function(told, DAY).options(delay=60).submit().id == 4
    assert [job.options for job in jobs] == [{}, *[{"queue": "mail", "priority": 5}] * 2, {"delay": 60}]
    assert jobs[3].parameters == {"on": "2026-12-04"}


def test_each_client_submits_calls_with_what_its_class_says() -> None:
    class Stubborn(AsyncClient):
        MAX_RETRIES = 7

    async def submit() -> list[int]:
        async with Stubborn("/nowhere") as client:
            jobs = [await client.submit(Plain.echo, DAY), await client.submit_function(told, DAY)]
            jobs.append(await bgjob.call(Plain.echo, 1).options(delay=2).submit(client))
            return [job.id for job in jobs]

    with bgjob.testing.recorded() as jobs, Client("/nowhere") as client:
        assert asyncio.run(submit()) == [1, 2, 3]
        assert [client.submit(Plain.echo, DAY).id, client.submit_function(told, DAY).id] == [4, 5]
    assert [job.class_name for job in jobs.of(functions_of_tests.__name__)] == [
        functions_of_tests.__name__
    ] * 2
    assert [job.options for job in jobs] == [
        *[{"max_retries": 7}] * 2,
        {"delay": 2, "max_retries": 7},
        {},
        {},
    ]

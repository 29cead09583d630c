"""Typed submits, right and wrong ones; each line that a type checker must refuse says so. Checked, and never run."""

from __future__ import annotations

import asyncio
from datetime import date
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, assert_type

import bgjob
from bgjob import AsyncClient, AsyncJob, Client, Draft, Job, JobContext, testing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

P = ParamSpec("P")
T = TypeVar("T")


def traced(function: Callable[P, T]) -> Callable[P, T]:
    @wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **kwargs)

    return inner


class Report:
    def build(
        self, day: date, title: str = "", *, copies: int = 1, context: JobContext = bgjob.CONTEXT
    ) -> str:
        return f"{day}{title}{copies}{context.attempt}"

    def whole(self, params: Mapping[str, int]) -> int:
        return sum(params.values())

    def save(self, to: Path | None = None) -> None: ...

    def pages(self, *, context: JobContext = bgjob.CONTEXT, **more: int) -> list[int]:
        return [context.attempt, *more.values()]

    def untyped(self, value: Any, other: Any = None) -> Any:
        return value, other

    def tag(self, /, **names: str) -> int:
        return len(names)

    async def fetch(self, url: str) -> bytes:
        return url.encode()

    @traced
    def slow(self, seconds: float) -> float:
        return seconds


class Weekly(Report):
    def week(self, number: int) -> int:
        return number


class Store(Generic[T]):
    def keep(self, value: T) -> T:
        return value


def vacuum(full: bool = False) -> int:
    return int(full)


def add(*numbers: int) -> int:
    return sum(numbers)


async def ask(url: str) -> str:
    return url


def use_right_calls(day: date) -> None:
    assert_type(bgjob.submit(Report.build, day=day), Job[str])
    assert_type(bgjob.submit(Report.build, day, "Sales", copies=2).result(timeout=3), str)
    assert_type(bgjob.submit(Report.build, day, title="Sales"), Job[str])
    assert_type(bgjob.submit(Report.whole, {"a": 1}).result(), int)
    assert_type(bgjob.submit(Report.whole, params={"a": 1}).result(), int)
    assert_type(bgjob.submit(Report.save), Job[None])
    assert_type(bgjob.submit(Report.save, to=Path("/srv")), Job[None])
    assert_type(bgjob.submit(Report.tag, colour="red").result(), int)
    bgjob.submit(Report.pages, a=1, b=2)  # wrong to mypy, which is stricter than it has to be
    assert_type(bgjob.submit(Report.untyped, 1, other="x").result(), Any)
    assert_type(bgjob.submit(Report.fetch, url="https://example.com").result(), bytes)
    assert_type(bgjob.submit(Report.slow, seconds=1), Job[float])
    assert_type(bgjob.submit(Weekly.week, 1), Job[int])
    assert_type(bgjob.submit(Weekly.build, day), Job[str])
    assert_type(bgjob.submit(Store[int].keep, 3).result(), int)
    assert_type(bgjob.submit_function(vacuum), Job[int])
    assert_type(bgjob.submit_function(vacuum, full=True).result(), int)
    assert_type(bgjob.submit_function(add, 1, 2, 3), Job[int])
    assert_type(bgjob.submit_function(ask, "https://example.com").result(), str)
    assert_type(bgjob.call(Report.build, day).options(delay=60, queue="mail"), Draft[str])
    assert_type(bgjob.call(Report.fetch, url="").submit().result(), bytes)
    assert_type(bgjob.call_function(vacuum).options(priority=1).submit(Client()).result(), int)


def use_flows(day: date, client: Client) -> None:
    build = bgjob.job(Report.build, day, title="Sales")
    assert_type(build, Draft[str])
    fetch = bgjob.job(Report.fetch, url=bgjob.result_of(build, "url")).options(after=[build], if_failed="run")
    named = bgjob.job("shop.Report", "build", {"day": "2026-12-04"}, 1, after=[build, 12], name="named")
    assert_type(named, Draft)
    assert_type(bgjob.job(Report, "build", queue="mail"), Draft)
    pages = bgjob.group((bgjob.job(Weekly.week, number) for number in range(3)), name="pages")
    submitted = bgjob.chain(build, pages, [fetch, named]).and_(bgjob.call_function(vacuum)).submit(client)
    assert_type(submitted, bgjob.Submitted)
    assert_type(submitted[build].result(), str)
    assert_type(submitted[fetch].result(), bytes)
    assert_type(submitted[named], Job)
    assert_type(submitted[pages], bgjob.JobGroup)
    assert_type(submitted.last.result(), Any)
    assert_type(client.submit_flow(pages).groups[0], bgjob.JobGroup)
    assert_type(submitted[pages].add(build, named)[build], Job[str])
    steps: list[bgjob.Step] = [build, pages]
    assert_type(bgjob.chain(*steps).submit().jobs[0], Job)
    told: Draft[str] = bgjob.job("shop.Report", "build")
    told.submit()


def use_jobs(day: date, client: Client) -> None:
    texts: list[Job[str]] = [client.submit(Report.build, day=day)]
    assert_type(bgjob.as_completed(texts), Iterator[Job[str]])
    assert_type(bgjob.wait(texts), tuple[list[Job[str]], list[Job[str]]])
    assert_type(client.submit_function(vacuum), Job[int])
    objects: list[Job[object]] = [*texts, client.submit_function(vacuum)]
    untold: Job = objects[0]
    assert_type(untold.result(), Any)
    told: Job[str] = bgjob.run_background_job(Report, "build", {"day": day})
    assert_type(told.result(), str)
    with testing.inline():
        assert_type(bgjob.submit(Report.build, day).result(), str)


async def use_coroutines(day: date, client: AsyncClient) -> None:
    build = bgjob.job(Report.build, day)
    assert_type(await bgjob.chain(build).submit(client), bgjob.AsyncSubmitted)
    assert_type((await client.submit_flow(build))[build], AsyncJob[str])
    assert_type(await client.submit(Report.build, day=day), AsyncJob[str])
    assert_type(await (await client.submit(Report.fetch, "")).result(), bytes)
    assert_type(await client.submit_function(vacuum, full=True), AsyncJob[int])
    assert_type(await bgjob.call(Report.build, day).submit(client), AsyncJob[str])
    assert_type(await (await bgjob.call_function(ask, "").submit(client)).result(1.0), str)
    submitting = asyncio.create_task(bgjob.call(Report.build, day).submit(client))
    assert_type(await submitting, AsyncJob[str])


def use_wrong_flows(day: date, client: Client) -> None:
    build = bgjob.job(Report.build, day)
    bgjob.job(Report.build, dya=day)  # wrong
    bgjob.job(Report.build, day="2026-11-25")  # wrong
    bgjob.job("shop.Report", "build", dealy=3)  # wrong
    bgjob.chain(build, "shop.Report")  # wrong
    bgjob.group(build, 12)  # wrong
    build.options(after=["shop.Report"])  # wrong
    divmod(bgjob.chain(build).submit(client)[build].result(), 2)  # wrong
    bgjob.result_of("shop.Report")  # wrong


def use_wrong_calls(day: date, client: Client) -> None:
    bgjob.submit(Report.build)  # wrong
    bgjob.submit(Report.build, day="2026-11-25")  # wrong
    bgjob.submit(Report.build, dya=day)  # wrong
    bgjob.submit(Report.build, day, "Sales", 2)  # wrong
    bgjob.submit(Report.build, day, day=day)  # wrong
    bgjob.submit(Report.buidl, day=day)  # wrong
    bgjob.submit(Report().build, day=day, title="Sales")  # wrong
    bgjob.submit("shop.Report.build", day=day)  # wrong
    bgjob.submit(Report.save, to="/srv")  # wrong
    bgjob.submit_function(vacuum, full="yes")  # wrong
    bgjob.submit_function(vacuum, quick=True)  # wrong
    bgjob.submit(Report.pages, a="1")  # wrong
    bgjob.call(Report.build, day=None).submit()  # wrong
    bgjob.call(Report.build, day).options(dealy=60)  # wrong
    print(bgjob.submit(Report.build, day).result().day)  # wrong
    client.submit(Report.build, day=3)  # wrong
    client.submit_function(add, "1")  # wrong
    divmod(bgjob.submit(Report.build, day).result(), 2)  # wrong


async def use_wrong_coroutines(client: AsyncClient) -> None:
    await client.submit(Report.fetch, uri="")  # wrong
    divmod(await (await client.submit(Report.fetch, url="")).result(), 2)  # wrong
    client.submit(Report.fetch, "").result()  # wrong


def use_wrong_steps(context: JobContext) -> None:
    divmod(context.step("add", add, 1), "2")  # wrong
    context.step("add", add, "1")  # wrong
    context.step(add, 1)  # wrong
    context.steps["add"] = 3  # wrong
    context.state[3] = "add"  # wrong
    context.state = {"add": 3}  # wrong

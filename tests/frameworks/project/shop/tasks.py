"""What the shop does in the background."""

from __future__ import annotations

import asyncio
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import date

from django.db import connection
from django.db.models import F
from django.tasks import TaskContext, TaskResult, task
from django.tasks.signals import task_finished

import bgjob
from bgjob.django import job_context
from shop.models import Order


class Unpaid(Exception):
    """The order is not paid."""


@task(queue_name="mail", priority=10)
def welcome(user_id: int) -> str:
    return f"welcome, {user_id}"


@task
def invoice(order_id: int) -> int:
    Order.objects.filter(id=order_id).update(invoices=F("invoices") + 1)
    return Order.objects.get(id=order_id).invoices


@task(backend="outbox")
def packed(order: str) -> None:
    with open(f"{os.environ['SHOP_STATE']}/packed", "a") as book:
        book.write(f"{order}\n")


@task
async def count_later() -> int:
    return await Order.objects.acount()


@task
def day(on: date) -> str:
    return f"{on:%d %B}"


@task(takes_context=True)
def told(context: TaskContext, job: bgjob.JobContext, number: int = 1) -> list[object]:
    return [context.attempt, context.task_result.id, job.attempt, number]


@task
def ships(job: bgjob.JobContext) -> list[object]:
    """Sleeps between its steps; what is told of ends stands in `ends`."""
    task_finished.connect(_note_end)
    paid = job.step("charge", _paid)
    job.sleep(0.01)
    return [paid, job.step("ship", lambda: "shipped"), job.attempt]


@task
def posts() -> list[object]:
    """The same, where none is handed on; in a thread, too."""
    with ThreadPoolExecutor(1) as thread:
        known = [job_context().attempt, thread.submit(lambda: job_context().attempt).result()]
    paid = job_context().step("charge", _paid)
    job_context().sleep(0.01)
    return [paid, known, _attempt()]


@task
async def posts_later() -> list[object]:
    paid = await job_context().step("charge", _paid_later)
    await job_context().sleep(0.01)
    return [paid, await asyncio.to_thread(_attempt), _attempt()]


def _attempt() -> int:
    return job_context().attempt


@task
async def ships_later(job: bgjob.JobContext) -> list[object]:
    """The same in a group of tasks."""
    task_finished.connect(_note_end)
    paid = await job.step("charge", _paid_later)
    async with asyncio.TaskGroup() as group:
        group.create_task(job.sleep(0.01))
    return [paid, job.step("ship", lambda: "shipped"), job.attempt]


def _paid() -> tuple[int, str]:
    return 12, "paid"


async def _paid_later() -> tuple[int, str]:
    return _paid()


def _note_end(task_result: TaskResult, **_: object) -> None:
    with open(f"{os.environ['SHOP_STATE']}/ends", "a") as book:
        book.write(f"{task_result.task.name} {task_result.status}\n")


@task
def fails(path: str) -> None:
    raise Unpaid(path)


@task
def is_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@task(backend="committed")
def asks_again() -> None:
    raise bgjob.Retry("not yet", delay=0.01)


@task
def has_connection_at_first() -> bool:
    return connection.connection is not None


def plain_has_connection_at_first() -> bool:
    return connection.connection is not None

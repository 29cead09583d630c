"""A few minutes of a small shop, made in seconds: a deploy that breaks a class, a storm of retries, a queue that stands
still, a flow that is held up, a job that takes long; so that whoever comes to the page finds something to see.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, Final

from bgjob import AsyncClient, chain, group, job

_CODE: Final = Path(__file__).with_name("shop.py")
_RIGHT: Final = 'to.partition("@")[0].capitalize()'
_WRONG: Final = 'to.name.partition("@")[0].capitalize()'
_BETWEEN: Final = 2.0
"""Seconds from one job to the next, once all is there to be seen."""

SETTINGS: Final = """
"shop.Mail" = { max_retries = 0 }
"shop.Invoice" = { max_retries = 0 }
"shop.Stock" = { max_retries = 6, retry_delay = 1, backoff = "exponential" }
"shop.Report" = {}
"shop.Catalogue" = { max_retries = 0 }

[queues]
nightly = { slots = 1 }

[schedules.stock-count]
job = "shop.Stock::count"
every = "1m"

[schedules.yearly-report]
job = "shop.Report::build"
parameters = { year = 2025, seconds = 60 }
cron = "30 2 1 1 *"
"""


def deploy(directory: Path, *, is_broken: bool = False) -> Path:
    """Put the shop's code there, or the one of which somebody was sure; the directory to import it from."""
    place = directory / "shop"
    place.mkdir(exist_ok=True)
    code = _CODE.read_text(encoding="utf-8")
    (place / "shop.py").write_text(code.replace(_RIGHT, _WRONG) if is_broken else code, encoding="utf-8")
    return place


async def live(address: Path, directory: Path, on_made: Callable[[], None]) -> None:
    """Live, tell when all is there to be seen, and go on as on a quiet afternoon. Raises what a client raises."""
    away = directory / "warehouse-is-away"
    async with AsyncClient(str(address), timeout=30.0) as client:
        await client.run_background_job("shop.Report", "build", {"year": 2026})
        await client.pause("nightly")
        nights = [_nightly(number) for number in range(7)]
        await client.submit_many(nights)
        await _done(client, _morning())
        await _flow(client)
        away.touch()
        await client.submit_many([_job("Stock", "pull", article=n, away=str(away)) for n in range(1, 13)])
        deploy(directory, is_broken=True)
        await client.reload()
        await _done(client, [_job("Mail", "send", to=_customer(n), subject="Your order") for n in range(17)])
        on_made()
        await _go_on(client, away.unlink)


def _job(name: str, method: str, queue: str = "default", **parameters: Any) -> dict[str, Any]:
    return {
        "class_name": f"shop.{name}",
        "method_name": method,
        "parameters": parameters,
        "options": {"queue": queue},
    }


def _nightly(number: int) -> dict[str, Any]:
    """The report of one of the shops, which has its label."""
    report = _job("Report", "nightly", queue="nightly", shop=f"shop {number}")
    report["options"]["labels"] = [f"shop:{number}"]
    return report


def _customer(number: int) -> str:
    return f"customer{number}@example.com"


def _morning() -> Iterator[dict[str, Any]]:
    """What goes well, but for the bills of some orders."""
    for number in range(40):
        yield _job("Mail", "send", to=_customer(number), subject="Welcome")
        total = None if number % 13 == 7 else f"{number}.50"
        yield _job("Invoice", "post", order=1000 + number, total=total)


async def _done(client: AsyncClient, jobs: Iterable[dict[str, Any]]) -> None:
    for one in await client.submit_many(list(jobs)):
        await one.wait(timeout=60.0)


async def _flow(client: AsyncClient) -> None:
    """A file on its way into the catalogue: a part of it fails, so that it is never published."""
    parts = group(*(job("shop.Catalogue", "load", {"part": part}) for part in range(4)), name="parts")
    split = job("shop.Catalogue", "split", {"file": "spring.csv"})
    tidy = job("shop.Catalogue", "tidy", if_failed="run")
    await chain(split, parts, job("shop.Catalogue", "publish"), tidy).submit(client)


async def _go_on(client: AsyncClient, let_it_answer: Callable[[], None]) -> None:
    """A bill now and then; the warehouse answers in the end, and nobody sees yet what is wrong with the mail."""
    for number in count(2000):
        await client.submit_many([_job("Invoice", "post", order=number, total="18.50")])
        if number == 2000 + 30:
            let_it_answer()
        await asyncio.sleep(_BETWEEN * random.uniform(0.5, 1.5))

"""The code of a small shop, of which the demo deploys a copy, and then one with a mistake; nothing here knows of the
daemon.
"""

import random
import time
from pathlib import Path
from typing import Any

from bgjob import JobContext


class Mail:
    """Messages to customers."""

    def send(self, to: str, subject: str, context: JobContext) -> dict[str, str]:
        """Delivers one message."""
        name = greeted(to)
        time.sleep(random.uniform(0.01, 0.15))
        context.logger.info(f"delivered “{subject}” to {name}")
        return {"to": to}


def greeted(to: str) -> str:
    """How a customer is addressed."""
    return to.partition("@")[0].capitalize()


class Invoice:
    """Bills, as they go to the bookkeepers."""

    def post(self, order: int, total: str | None = None) -> str:
        """Books the total of an order."""
        if total is None:
            raise ValueError(f"order {order} has no total")
        time.sleep(random.uniform(0.02, 0.3))
        return f"{float(total):.2f}"


class Stock:
    """What is left of each article, as the warehouse knows it."""

    def pull(self, article: int, away: str) -> int:
        """Asks the warehouse, which may not answer for a while."""
        if Path(away).exists():
            raise ConnectionError("the warehouse did not answer")
        time.sleep(0.05)
        return article * 3

    def count(self) -> int:
        """Counts what is on the shelves."""
        return 412


class Report:
    """Figures for people who like to read them."""

    def build(self, year: int, context: JobContext, seconds: int = 900) -> None:
        """Reads a year's orders, which takes its time."""
        for day in range(seconds):
            print(f"{year}: {day * 7:,} orders read")
            context.progress(day / seconds, f"{day * 7:,} of {seconds * 7:,} orders")
            if context.stop_reason is not None:
                return
            time.sleep(1)

    def nightly(self, shop: str) -> str:
        """One of the reports of a night."""
        return f"{shop}: nothing to report"


class Catalogue:
    """The articles, from a file of the wholesaler's."""

    def split(self, file: str) -> list[str]:
        """Parts of the file."""
        return [f"{file}#{part}" for part in range(4)]

    def load(self, part: int) -> int:
        """Takes in a part of the file."""
        time.sleep(0.2)
        if part == 2:
            raise ValueError("line 4,107 has no price")
        return 1_000

    def publish(self) -> None:
        """Shows customers what was taken in."""

    def tidy(self, found: Any = None) -> None:
        """Removes the parts."""

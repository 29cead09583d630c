"""Threads that are there from the start: one that is wanted later may not be had, as while a job's processes are as
many as the daemon's user, or its unit, may have.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor


def one(name: str) -> ThreadPoolExecutor:
    """An executor of one thread of this name, which has been started. Raises RuntimeError where none is to be had."""
    threads = ThreadPoolExecutor(1, name)
    threads.submit(_start)
    return threads


def _start() -> None:
    """Nothing is to be done yet."""

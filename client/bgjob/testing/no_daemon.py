"""Refuses in tests whatever would reach a real daemon, for those that forget what is to stand in for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from bgjob import connections
from bgjob.codec import JsonObject, Request
from bgjob.errors import NoDaemonInTestsError


class Refusal:
    """Stands under all others in place of every daemon, and answers nothing."""

    def answer(self, request: Request) -> JsonObject:
        """Raises NoDaemonInTestsError."""
        raise NoDaemonInTestsError(request.method)

    def stream(self, request: Request) -> Iterable[JsonObject]:
        """Raises NoDaemonInTestsError."""
        raise NoDaemonInTestsError(request.method)


_refusal = Refusal()


def refuse() -> None:
    """From now on nothing in this process reaches a daemon; `inline` and `recorded` answer before this."""
    connections.put_under(_refusal)


def refuse_no_more() -> None:
    """Take back one `refuse`."""
    connections.take_out(_refusal)


@contextmanager
def daemon_allowed() -> Iterator[None]:
    """Let tests reach a real daemon meanwhile, where they may not: as the marker `bgjob_daemon` does under pytest."""
    refusals = [one for one in connections.substitutes() if one is _refusal]
    for one in refusals:
        connections.take_out(one)
    try:
        yield
    finally:
        for one in refusals:
            connections.put_under(one)


class DjangoRunnerMixin:
    """Put before a test runner of Django's: no test reaches a daemon, in its parallel processes neither.

    `class Runner(DjangoRunnerMixin, DiscoverRunner)`, and its path in `TEST_RUNNER`.
    """

    parallel_test_suite: type[Any]

    def setup_test_environment(self, **kwargs: Any) -> None:
        """Called by Django before it looks for tests."""
        super().setup_test_environment(**kwargs)  # type: ignore[misc]  # the runner's
        refuse()
        self.parallel_test_suite = _refusing(self.parallel_test_suite)

    def teardown_test_environment(self, **kwargs: Any) -> None:
        """Called by Django after all tests."""
        refuse_no_more()
        super().teardown_test_environment(**kwargs)  # type: ignore[misc]  # the runner's


def _refusing(suite: type[Any]) -> type[Any]:
    """The same suite, whose processes refuse where they are no forks of this one, which have it from here."""
    own: Callable[..., None] = suite.process_setup
    changes = {"process_setup": _set_up, "process_setup_args": (own, *suite.process_setup_args)}
    return type(suite.__name__, (suite,), changes)


def _set_up(own: Callable[..., None], *args: Any) -> None:
    refuse()
    own(*args)

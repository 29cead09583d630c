"""Runs Django's own tests of `django.tasks` against a daemon: `python djangos_tests.py KIND DIRECTORY ADDRESS`, under
an interpreter with Django. The directory is `tests` of its source distribution.

They run as they are, but for TASKS, whose backend `default` is bgjob's. Of kind `kept` are those that take it for one
that only stores, so that the daemon's queues are to be paused; of kind `waiting` those that expect the end at once.
"""

from __future__ import annotations

import os
import sys
import unittest
from collections.abc import Collection, Iterator
from typing import Any, Final

_KIND, _DIRECTORY, _ADDRESS = sys.argv[1:]
sys.path[:0] = [_DIRECTORY, os.path.dirname(__file__)]
os.environ["DJANGO_SETTINGS_MODULE"] = "djangos_settings"

import django  # noqa: E402  # once it can be found what its settings are

django.setup()

from tasks import test_immediate_backend, test_tasks  # noqa: E402

_OF_DUMMY: Final = frozenset(
    ("test_using_correct_backend", "test_enqueue_task", "test_enqueue_task_async", "test_get_backend")
)
"""They ask for the Dummy backend, or for what it alone has."""

_OF_IMMEDIATE: Final = frozenset(
    (
        "test_using_correct_backend",
        "test_cannot_get_result",  # bgjob's can
        "test_cannot_refresh_result",
        "test_cannot_pass_run_after",
        "test_throws_keyboard_interrupt",  # an attempt has no terminal
        "test_catches_exception",  # among them a SystemExit, which is an exit here, and has no traceback
    )
)


def _suite() -> Iterator[unittest.TestCase]:
    if _KIND == "kept":
        yield from _tests(_with_ours(test_tasks.TaskTestCase, "Kept"), _OF_DUMMY)
    else:
        yield from _tests(
            _with_ours(test_immediate_backend.ImmediateBackendTestCase, "Waiting"), _OF_IMMEDIATE
        )


def _tests(case: type[unittest.TestCase], left_out: Collection[str] = ()) -> Iterator[unittest.TestCase]:
    names = unittest.defaultTestLoader.getTestCaseNames(case)
    assert set(left_out) <= set(names), left_out
    yield from (case(name) for name in names if name not in left_out)


def _with_ours(case: Any, backend: str) -> Any:
    tasks = case._overridden_settings["TASKS"]
    ours = {"BACKEND": f"djangos_settings.{backend}", "OPTIONS": {"address": _ADDRESS}}
    case._overridden_settings["TASKS"] = {**tasks, "default": {**tasks["default"], **ours}}
    return case


def main() -> int:
    """Run them; the exit code."""
    result = unittest.TextTestRunner(verbosity=2).run(unittest.TestSuite(_suite()))
    failed, skipped = len(result.failures) + len(result.errors), len(result.skipped)
    print(f"{result.testsRun} run, {failed} failed, {skipped} skipped")
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())

"""Which tests run and in which order, and what each of them finds: the umask of the run, a SIGINT that interrupts, and
the programs it needs.

Files that take long come first, so that at the end no process waits for another. `--shuffle=SEED` takes files, and the
tests of each, in an order by chance instead; `--long` adds what is marked `long`, and more examples of each property.
"""

from __future__ import annotations

import gc
import importlib
import os
import random
import signal
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol, TypeVar

import pytest
from hypothesis import settings

from tests.engines import (
    WITH_DATABASES,
    databases_of_the_test,
    engine,
    places,
    pytest_generate_tests,
    skip_what_is_of_sqlite,
)
from tests.postgresql import postgresql
from tests.support import needed

__all__ = ["databases_of_the_test", "engine", "places", "postgresql", "pytest_generate_tests"]

TESTS: Final = Path(__file__).resolve().parent

LONG: Final = (
    "packaging/test_readme.py",
    "page/test_browser.py",
    "faults/test_sweep.py",
    "frameworks/test_djangos.py",
    "daemon/test_debug.py",
    "frameworks/test_guides.py",
    "daemon/test_hosts.py",
    "daemon/test_retention.py",
    "daemon/test_restart.py",
    "daemon/test_hostile_code.py",
    "frameworks/test_django.py",
    "daemon/test_fence.py",
    "systemd/test_notify.py",
    "faults/test_partition.py",
    "faults/test_containers.py",
    "daemon/test_hostile_surroundings.py",
    "bench/test_bench.py",
    "page/test_process.py",
    "faults/test_books.py",
    "faults/test_schedules.py",
    "daemon/test_commands.py",
    "faults/test_storage.py",
    "client/test_completion.py",
    "daemon/test_upgrade.py",
    "daemon/test_masking.py",
    "faults/test_torture.py",
    "faults/test_kills.py",
    "faults/test_clocks.py",
    "systemd/test_poweroff.py",
    "packaging/test_collection.py",
)
"""Those of the most seconds, and the one that installs what others of its folder would wait for; they need not be all,
nor in their exact order.
"""

_MARKERS: Final = (
    "needs(program): skipped where the program is not installed, with the package that has it",
    "long: run with --long only; something shorter that looks for the same runs always",
)

os.umask(_UMASK := os.umask(0))

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell ignores it for what it starts in the background, and so would each process that a test interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("short", max_examples=40, deadline=None)  # a busy machine is no error
settings.register_profile("long", max_examples=1000, deadline=None)


class InFile(Protocol):
    """What there is to know of a test for its order."""

    @property
    def path(self) -> Path: ...


T = TypeVar("T", bound=InFile)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shuffle", metavar="SEED", help="files, and the tests of each, in an order by chance")
    parser.addoption(
        "--engine",
        choices=("sqlite", "postgresql"),
        help="what has stores or daemons on this one alone, and all of it",
    )
    parser.addoption("--long", action="store_true", help="also what is marked long, and more examples")


def pytest_configure(config: pytest.Config) -> None:
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)
    if config.getoption("--hypothesis-profile") is None:
        settings.load_profile("long" if config.getoption("--long") else "short")


def pytest_xdist_auto_num_workers() -> int:
    """Two more than cores, for most tests wait for a daemon, a child or a browser a good part of their time."""
    return len(os.sched_getaffinity(0)) + 2


def pytest_report_header(config: pytest.Config) -> str | None:
    seed = config.getoption("--shuffle")
    return None if seed is None else f"in an order by chance: --shuffle={seed} has the same again"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is collected stays until the end: to look through it again and again for garbage is for nothing.

    To compile the tests, with their asserts rewritten, takes longer than all else of a collection. The result is kept
    beside them: each process begins with files of its own, and finds those of the others done.
    """
    gc.disable()
    try:
        if number := os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw"):
            for module in share_of(int(number), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])):
                with suppress(Exception):  # the collection tells
                    importlib.import_module(module)
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Who asks for an engine, and for no files, is asked for what has nothing to do with it by nobody."""
    has_chosen = config.args_source is pytest.Config.ArgsSource.ARGS
    if has_chosen or config.getoption("--engine") is None or collection_path.parent != TESTS:
        return None
    return (collection_path.is_dir() and collection_path.name not in WITH_DATABASES) or None


@pytest.hookimpl(tryfirst=True)  # before pytest puts those together that share a fixture's parameter
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    seed = config.getoption("--shuffle")
    items[:] = ordered(items) if seed is None else shuffled(items, seed)
    if not config.getoption("--long"):
        long = [item for item in items if item.get_closest_marker("long")]
        items[:] = [item for item in items if item not in long]
        config.hook.pytest_deselected(items=long)
    skip_what_is_of_sqlite(config, items)


def share_of(number: int, of: int) -> list[str]:
    """Each so-many-th module of tests, from this one on."""
    files = sorted(TESTS.glob("*/test_*.py"))[number::of]
    return [".".join(file.relative_to(TESTS.parent).with_suffix("").parts) for file in files]


def ordered(items: Iterable[T]) -> list[T]:
    """Those of long files first."""
    ranks = {TESTS / name: rank for rank, name in enumerate(LONG)}
    return sorted(items, key=lambda item: ranks.get(item.path, len(ranks)))


def shuffled(items: Iterable[T], seed: str) -> list[T]:
    """By chance, and those of one file behind each other, for they share daemons."""
    files: dict[Path, list[T]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    chance, groups = random.Random(seed), list(files.values())
    chance.shuffle(groups)
    for group in groups:
        chance.shuffle(group)
    return [item for group in groups for item in group]


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        needed(*marker.args)


@pytest.fixture(autouse=True)
def umask_of_the_run() -> Iterator[None]:
    """The same for each test: a command of bgjobd that runs within this process sets the process's umask."""
    os.umask(_UMASK)
    yield
    os.umask(_UMASK)

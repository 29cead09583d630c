"""Approved modules: which functions and tasks are offered, and that nothing borrowed or pretended is."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from bgjobd.forkserver.describe import describe
from tests.forkserver.driven import DrivenServer, fork_server, order

TASKS = '''
class Task:
    """As Django's: it holds a function."""

    def __init__(self, func, takes_context=False):
        self.func, self.takes_context = func, takes_context


class Special(Task):
    """As Django's, made by an application's backend."""
'''

SHOP = '''
"""The shop's jobs."""
import os
from datetime import date
from os import system
from bgjob.jobs import JobContext
from pydantic import SecretStr
from django.tasks.base import Special, Task as Made


class Task:
    def __init__(self, func):
        self.func, self.takes_context = func, False


def vacuum(full: bool = False, on: date | None = None):
    """Cleans up."""


async def waits(seconds: int):
    pass


def by_place(number, /, *more, **named):
    pass


def pay(card: SecretStr, /, amount: int, *, context: JobContext):
    pass


def with_context(number: int, context: JobContext):
    pass


def not_listed():
    pass


def _hidden():
    pass


def welcome(user_id: int):
    """Greets."""


def told(context, user_id: int):
    pass


def parameters_of(parameters):
    pass


welcome, told = Made(welcome), Made(told, takes_context=True)
parameters_of = Special(parameters_of)
borrowed = Made(os.system)
pretended = Task(not_listed)
renamed = vacuum
other_name = Made(not_listed)
_private = Made(_hidden)


class Mail:
    def send(self):
        pass
'''
LISTED = [
    "vacuum",
    "waits",
    "by_place",
    "pay",
    "with_context",
    "_hidden",
    "system",
    "renamed",
    "Mail",
    "pretended",
]


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    tasks = types.ModuleType("django.tasks.base")
    exec(TASKS, vars(tasks))
    for name in ("Task", "Special"):
        vars(tasks)[name].__module__ = "django.tasks.base"
    for name, module in (
        ("django", types.ModuleType("django")),
        ("django.tasks", types.ModuleType("django.tasks")),
        ("django.tasks.base", tasks),
    ):
        monkeypatch.setitem(sys.modules, name, module)
    made = types.ModuleType("shop")
    exec(SHOP, vars(made))
    return made


def test_listed_functions_and_all_tasks_are_offered_and_nothing_else(shop: types.ModuleType) -> None:
    described = describe(shop, LISTED)
    assert described["is_module"]
    assert described["doc"] == "The shop's jobs."
    assert set(described["methods"]) == {
        *("vacuum", "waits", "by_place", "pay", "with_context"),
        *("welcome", "told", "parameters_of"),
    }
    assert set(describe(shop, None)["methods"]) == {"welcome", "told", "parameters_of"}


def test_parameters_of_functions_and_tasks_are_all_they_have(shop: types.ModuleType) -> None:
    methods = describe(shop, LISTED)["methods"]
    assert list(methods["vacuum"]["schema"]["properties"]) == ["full", "on"]
    assert methods["vacuum"]["coerce"]
    assert methods["vacuum"]["caller"] is None
    assert methods["with_context"]["contexts"] == ["context"]
    assert methods["with_context"]["names"] == ["number"]
    assert methods["welcome"]["required"] == ["user_id"]
    assert methods["welcome"]["caller"] == "bgjob.django"
    assert methods["told"]["names"] == ["user_id"]
    assert methods["parameters_of"]["whole"] is None
    assert methods["parameters_of"]["names"] == ["parameters"]


def test_what_has_no_name_is_given_by_args_and_kwargs(shop: types.ModuleType) -> None:
    methods = describe(shop, LISTED)["methods"]
    assert methods["by_place"]["by_place"]
    assert methods["by_place"]["names"] == ["args", "kwargs"]
    assert methods["by_place"]["sensitive"] == []
    assert methods["pay"]["sensitive"] == ["args", "kwargs"]
    assert methods["pay"]["contexts"] == ["context"]


def test_a_module_without_functions_is_unavailable_unless_it_borrows_what_is_listed() -> None:
    half = types.ModuleType("half")
    exec("import os\nfrom shutil import copy", vars(half))
    assert describe(half, ["vacuum"])["unavailable"].startswith("it has no functions at all")
    borrowing = describe(half, ["copy"])
    assert (borrowing["unavailable"], borrowing["methods"]) == (None, {}), "no wait would mend that"


def test_of_tasks_that_nobody_can_have_made_none_is_offered(
    shop: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "django.tasks.base")
    assert describe(shop, None)["methods"] == {}


UPKEEP = """
import settings
STARTED_WITH = settings.state


async def vacuum(full: bool = False):
    return {"full": full, "state": STARTED_WITH}


def sum_of(*numbers, scale=1):
    return sum(numbers) * scale
"""
SETTINGS = """
state = "bare"

def setup():
    global state
    state = "ready"

def fails():
    raise LookupError("no settings")

async def waits():
    pass

def leaves_a_thread():
    import threading, time
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
"""


def written(directory: Path) -> Path:
    package = directory / "shop"
    package.mkdir()
    (package / "__init__.py").write_text("class Mail:\n    def send(self):\n        return 'sent'\n")
    (package / "upkeep.py").write_text(UPKEEP)
    (package / "facade.py").write_text("import sys, shop.upkeep\nsys.modules[__name__] = shop.upkeep\n")
    (directory / "settings.py").write_text(SETTINGS)
    return directory


APPROVED: dict[str, Any] = {
    "shop.upkeep": ["vacuum", "sum_of"],
    "shop.Mail": None,
    "shop.os": None,
    "shop.none": None,
    "shop.facade": ["vacuum"],
}


def test_functions_of_a_module_run_after_what_prepares_them(tmp_path: Path) -> None:
    with fork_server(written(tmp_path), approved=APPROVED, prepare="settings.setup") as server:
        classes = server.ready["classes"]
        assert classes["shop.Mail"]["methods"].keys() == {"send"}
        assert "no attribute 'none'" in classes["shop.none"]["unavailable"]
        assert classes["shop.os"]["unavailable"]
        assert "calls itself shop.upkeep" in classes["shop.facade"]["unavailable"]
        assert server.announced[0] == ["settings.setup"]
        full = upkeep(server, 1, "vacuum", full=True)
        total = upkeep(server, 2, "sum_of", args=[1, 2], kwargs={"scale": 10})
    assert (full, total) == ({"full": True, "state": "ready"}, 30)


def upkeep(server: DrivenServer, job: int, function: str, **parameters: Any) -> Any:
    """What the module's function returns."""
    server.send(order(job, function, **parameters) | {"class_name": "shop.upkeep"})
    assert server.receive()["type"] == "ended"
    journal = server.journal(job)
    assert journal is not None
    assert journal.outcome is not None
    return journal.outcome["result"]


def test_a_module_that_leaves_a_thread_is_blamed_alone(tmp_path: Path) -> None:
    thread = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    (written(tmp_path) / "shop" / "threads.py").write_text(thread)
    approved = {"shop.upkeep": ["vacuum"], "shop.threads": ["run"], "shop.Mail": None}
    with fork_server(tmp_path, approved=approved, prepare="settings.setup") as server:
        assert (server.ready["type"], server.ready["classes"]) == ("unfit", ["shop.threads"])


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        ("settings.fails", "LookupError: no settings"),
        ("settings.none", "AttributeError: module 'settings' has no attribute 'none'"),
        ("nothing.setup", "ModuleNotFoundError: No module named 'nothing'"),
        ("settings.leaves_a_thread", "leaves 1 thread running"),
        ("settings.waits", "TypeError: it is a coroutine function"),
    ],
)
def test_without_what_prepares_them_there_is_no_fork_server(
    tmp_path: Path, prepare: str, reason: str
) -> None:
    with fork_server(written(tmp_path), approved=APPROVED, prepare=prepare) as server:
        assert server.ready["type"] == "unprepared"
        assert reason in server.ready["reason"]

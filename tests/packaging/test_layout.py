"""Who may use what: the rooms of docs/architecture.md and their rules, read from the sources and never by importing."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

TREE = Path(__file__).resolve().parents[2]

# Directory in the tree → the package that it is installed as.
PACKAGES = {
    "client/bgjob": "bgjob",
    "client/_bgjob_pytest": "_bgjob_pytest",
    "bgjobd": "bgjobd",
    "systemd": "bgjobd.systemd",
    "web": "bgjobd.web",
}

# What the rules may compute with. Time comes in as an argument, so of datetime only its types are used.
PURE = [
    *("__future__", "abc", "bisect", "collections", "contextlib", "copy", "dataclasses", "datetime"),
    *("decimal", "enum", "fractions", "functools", "graphlib", "hashlib", "heapq", "itertools", "json"),
    *("math", "operator", "re", "string", "struct", "types", "typing"),
    "cronsim",  # text, and days and times without a zone
]
CLOCKS = [
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "datetime.date.today",
]
CONSOLE_AND_FILES = ["builtins.open", "builtins.print", "builtins.input"]

FORK_AND_WAIT = [
    *("os.fork", "os.forkpty", "pty.fork"),
    *("os.wait", "os.wait3", "os.wait4", "os.waitid", "os.waitpid"),
]
PICKLE = [
    *(
        "pickle",
        "_pickle",
        "pickletools",
        "shelve",
        "copyreg",
        "marshal",
        "xmlrpc",
        "multiprocessing.reduction",
    ),
    *("dill", "cloudpickle", "jsonpickle", "joblib", "yaml", "ruamel"),
]
RUN_TEXT = [
    *("builtins.eval", "builtins.exec", "builtins.compile", "builtins.__import__", "code", "codeop", "runpy"),
    *("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"),
    *("asyncio.create_subprocess_shell", "asyncio.subprocess.create_subprocess_shell"),
]
DATABASE = ["peewee", "playhouse", "sqlite3", "_sqlite3", "apsw"]
MAY_COUNT = ["_thread._count", "_thread.allocate_lock", "_thread.get_ident"]
THREADS = ["threading", "_thread", "concurrent", "multiprocessing", "queue"]

# The words that both sides share. The rest of the client talks to sockets.
WORDS = [
    *("bgjob.words", "bgjob.errors", "bgjob.amounts", "bgjob.results", "bgjob.fingerprints"),
    *("bgjob.errors_told", "bgjob.filters", "bgjob.log_words"),
]
OF_DJANGO = [
    "bgjob.django",
    "bgjob.django_tasks",
    "bgjob._tasks",
    "bgjob._task_attempts",
    "bgjob._task_checks",
    "bgjob._task_clients",
]
OF_PYTEST = ["bgjob.testing.pytest_plugin", "_bgjob_pytest"]
ENGINE_OF_POSTGRESQL = [
    "bgjobd.store.engines.postgres",
    "bgjobd.store.engines.postgres_connection",
    "bgjobd.store.engines.postgres_errors",
    "bgjobd.store.engines.postgres_transactions",
]
OF_OUTBOX = ["bgjob.outbox.dsn", "bgjob.outbox.table"]
CONVERTS = "bgjob.testing.arguments"
COMMAND = ["bgjob.command", "bgjob.commands", "bgjob.text"]
OF_ASSISTANTS = ["bgjob.commands.assistant"]
ENTRY_POINTS = ["bgjobd.main", "bgjobd.demo", "bgjobd.__main__"]
LAYERS = [
    "bgjobd.__main__",
    "bgjobd.main",
    "bgjobd.systemd",
    "bgjobd.demo",
    "bgjobd.commands",
    "bgjobd.service",
    "bgjobd.api",
    "bgjobd.daemon",
    "bgjobd.supervisor",
    "bgjobd.store",
    "bgjobd.config",
    "bgjobd.host",
    "bgjobd.forkserver",
    "bgjobd.core",
    "bgjob",
]
"""The rooms from the top down: each imports from those below it alone."""


@dataclass(frozen=True)
class Use:
    """A dotted name that a module imports or reaches through an import, and whether only when called."""

    name: str
    line: int
    is_lazy: bool

    def is_of(self, packages: list[str]) -> bool:
        return is_within(self.name, packages)

    def is_third_party(self) -> bool:
        root = self.name.partition(".")[0]
        return root not in {"bgjob", "bgjobd", "builtins"} and root not in sys.stdlib_module_names


@dataclass(frozen=True)
class Rule:
    sentence: str
    holds_for: Callable[[str], bool]
    forbids: Callable[[Use], bool]


def inside(*packages: str) -> Callable[[str], bool]:
    return lambda module: is_within(module, list(packages))


def outside(*packages: str) -> Callable[[str], bool]:
    return lambda module: not is_within(module, list(packages))


def of(*packages: str) -> Callable[[Use], bool]:
    return lambda use: use.is_of(list(packages))


def other_than(*packages: str) -> Callable[[Use], bool]:
    return lambda use: not use.is_of([*packages, "builtins"])


RULES = [
    Rule(
        "the client is the bottom layer and knows nothing of the daemon",
        inside("bgjob"),
        of("bgjobd"),
    ),
    Rule(
        "the client imports the standard library only; type checkers have typing_extensions themselves",
        lambda module: (
            is_within(module, ["bgjob"])
            and not is_within(module, [*COMMAND, *OF_DJANGO, *OF_PYTEST, *OF_OUTBOX, CONVERTS])
        ),
        lambda use: use.is_third_party() and not use.is_of(["typing_extensions.TypeVar"]),
    ),
    Rule(
        "what converts parameters in tests imports pydantic inside functions only, and nothing else",
        inside(CONVERTS),
        lambda use: use.is_third_party() and not (use.is_lazy and use.is_of(["pydantic"])),
    ),
    Rule(
        "what is for pytest imports pytest and no other third party",
        inside(*OF_PYTEST),
        lambda use: use.is_third_party() and not use.is_of(["pytest"]),
    ),
    Rule("nobody imports what is for pytest", outside(), of(*OF_PYTEST)),
    Rule(
        "what pytest imports in every project imports nothing at all",
        inside("_bgjob_pytest"),
        lambda use: not use.is_of(["__future__", "typing", "builtins"]) and not use.is_lazy,
    ),
    Rule(
        "an outbox imports what the application's database takes inside functions only: psycopg, SQLAlchemy",
        inside(*OF_OUTBOX),
        lambda use: use.is_third_party() and not (use.is_lazy and use.is_of(["psycopg", "sqlalchemy"])),
    ),
    Rule(
        "what is for Django imports Django, and nobody else imports that",
        inside(*OF_DJANGO),
        lambda use: use.is_third_party() and not use.is_of(["django", "django_tasks", "asgiref"]),
    ),
    Rule("nobody imports what is for Django", outside(*OF_DJANGO), of(*OF_DJANGO)),
    Rule(
        "the client's command imports rich and shtab inside functions only, and nothing else",
        lambda module: is_within(module, COMMAND) and not is_within(module, OF_ASSISTANTS),
        lambda use: use.is_third_party() and not (use.is_lazy and use.is_of(["rich", "shtab"])),
    ),
    Rule(
        "what serves assistants imports MCP's SDK and jsonschema inside functions only, and nothing else",
        inside(*OF_ASSISTANTS),
        lambda use: use.is_third_party() and not (use.is_lazy and use.is_of(["mcp", "jsonschema"])),
    ),
    Rule(
        "the core imports only itself, shared words and pure modules: no I/O, clock, random, logging, peewee",
        inside("bgjobd.core"),
        other_than("bgjobd.core", *WORDS, *PURE),
    ),
    Rule("the core reads no clock", inside("bgjobd.core"), of(*CLOCKS)),
    Rule("the core opens and prints nothing", inside("bgjobd.core"), of(*CONSOLE_AND_FILES)),
    Rule(
        "the fork server stands alone and imports nothing else of bgjobd",
        inside("bgjobd.forkserver"),
        lambda use: use.is_of(["bgjobd"]) and not use.is_of(["bgjobd.forkserver"]),
    ),
    Rule(
        "the fork server imports no third party: its children may import pydantic where annotations need it",
        inside("bgjobd.forkserver"),
        lambda use: use.is_third_party() and not (use.is_lazy and use.is_of(["pydantic"])),
    ),
    Rule(
        "the fork server has no event loop: its children may import asyncio to run an async method",
        inside("bgjobd.forkserver"),
        lambda use: use.is_of(["asyncio"]) and not use.is_lazy,
    ),
    Rule(
        "the fork server has one thread: its children may count those of a job, and tell where they are",
        inside("bgjobd.forkserver"),
        lambda use: use.is_of(THREADS) and not use.is_of(MAY_COUNT),
    ),
    Rule(
        "only the fork server forks and waits, and a container's init",
        outside("bgjobd.forkserver", "bgjobd.host.init"),
        of(*FORK_AND_WAIT),
    ),
    Rule(
        "the init stands alone on the standard library",
        inside("bgjobd.host.init"),
        lambda use: use.is_third_party() or use.is_of(["bgjob", "bgjobd"]),
    ),
    Rule(
        "OpenTelemetry's SDK is an extra: what sends spans imports it inside functions only, and nobody else does",
        outside(),
        lambda use: use.is_of(["opentelemetry", "requests"]) and not use.is_lazy,
    ),
    Rule(
        "only what sends spans knows OpenTelemetry's SDK",
        outside("bgjobd.commands.otel_sending"),
        of("opentelemetry", "requests"),
    ),
    Rule("nobody uses multiprocessing", outside(), of("multiprocessing", "concurrent.futures.process")),
    Rule("nobody pickles", outside(), of(*PICKLE)),
    Rule("nobody runs a text, by Python or by a shell", outside(), of(*RUN_TEXT)),
    Rule(
        "only the store knows peewee and SQLite, and an outbox that of an application",
        outside("bgjobd.store", "bgjob.outbox.dsn"),
        of(*DATABASE),
    ),
    Rule(
        "only the engine of PostgreSQL knows psycopg, and an outbox of an application",
        outside(*ENGINE_OF_POSTGRESQL, *OF_OUTBOX),
        of("psycopg"),
    ),
    Rule(
        "psycopg is imported only where the database is of PostgreSQL: its engine inside functions only",
        outside("bgjobd.store.engines.postgres"),
        lambda use: use.is_of(["bgjobd.store.engines.postgres"]) and not use.is_lazy,
    ),
    Rule(
        "only the statements know the models: SQL is text, and no query is built at run time",
        outside("bgjobd.store.statements", "bgjobd.store.models"),
        of("bgjobd.store.models", "peewee.SQL", "peewee.fn", "peewee.Model", "peewee.Query"),
    ),
    Rule("only entry points compose: nobody imports them", outside(*ENTRY_POINTS), of(*ENTRY_POINTS)),
    Rule(
        "only entry points know that the page exists", outside(*ENTRY_POINTS, "bgjobd.web"), of("bgjobd.web")
    ),
    Rule(
        "the page is a client like any other: nothing else of bgjobd",
        inside("bgjobd.web"),
        lambda use: use.is_of(["bgjobd"]) and not use.is_of(["bgjobd.web"]),
    ),
    Rule(
        "the page imports no third party but Jinja2 and prometheus-client",
        inside("bgjobd.web"),
        lambda use: use.is_third_party() and not use.is_of(["jinja2", "markupsafe", "prometheus_client"]),
    ),
]


RULES += [
    Rule(f"{room} imports nothing of the rooms above it", inside(room), of(*LAYERS[:place]))
    for place, room in enumerate(LAYERS[1:], start=1)
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.sentence)
def test_the_tree_keeps_the_rule(rule: Rule) -> None:
    assert [found for path, source in sources(TREE) for found in violations(path, source, [rule])] == []


def test_the_tree_is_looked_at() -> None:
    paths = [path for path, _ in sources(TREE)]
    assert {"bgjob", "bgjobd", "bgjobd.core", "bgjobd.web"} <= {module_of(path) for path in paths}


# Each row: where the line stands, the line, and how the sentence of the rule that it breaks begins.
PLANTED = [
    ("client/bgjob/client.py", "import bgjobd.core.job", "the client is the bottom layer"),
    ("client/bgjob/client.py", "import pydantic", "the client imports the standard library"),
    ("client/bgjob/client.py", "def f(): import rich", "the client imports the standard library"),
    ("client/bgjob/command.py", "from rich.table import Table", "the client's command"),
    ("client/bgjob/command.py", "def f(): import requests", "the client's command"),
    ("client/bgjob/commands/screen.py", "import rich", "the client's command"),
    ("client/bgjob/commands/look.py", "def f(): import requests", "the client's command"),
    ("client/bgjob/commands/look.py", "def f(): import mcp", "the client's command"),
    ("client/bgjob/commands/assistant/serving.py", "import mcp", "what serves assistants"),
    ("client/bgjob/commands/assistant/asking.py", "def f(): import rich", "what serves assistants"),
    ("client/bgjob/outbox/table.py", "import sqlalchemy", "an outbox imports what"),
    ("client/bgjob/outbox/dsn.py", "def f(): import pymysql", "an outbox imports what"),
    (
        "client/bgjob/outbox/databases.py",
        "def f(): import psycopg",
        "the client imports the standard library",
    ),
    ("bgjobd/commands/otel_sending.py", "import opentelemetry.sdk", "OpenTelemetry's SDK is an extra"),
    ("bgjobd/daemon/traces.py", "def f(): import opentelemetry", "only what sends spans knows"),
    ("client/bgjob/outbox/outboxes.py", "import sqlite3", "only the store knows peewee"),
    ("bgjobd/core/retry.py", "import time", "the core imports only itself"),
    ("bgjobd/core/retry.py", "from random import uniform", "the core imports only itself"),
    ("bgjobd/core/retry.py", "import logging", "the core imports only itself"),
    ("bgjobd/core/retry.py", "import structlog", "the core imports only itself"),
    ("bgjobd/core/job.py", "import os", "the core imports only itself"),
    ("bgjobd/core/job.py", "from bgjobd.store import jobs", "the core imports only itself"),
    ("bgjobd/core/job.py", "from ..store import jobs", "the core imports only itself"),
    ("bgjobd/core/__init__.py", "from .. import store", "the core imports only itself"),
    ("bgjobd/core/job.py", "from bgjob.client import Client", "the core imports only itself"),
    ("bgjobd/core/job.py", "import datetime as d\nd.datetime.now()", "the core reads no clock"),
    ("bgjobd/core/job.py", "from datetime import date\ndate.today()", "the core reads no clock"),
    ("bgjobd/core/job.py", "print('!')", "the core opens and prints nothing"),
    ("bgjobd/forkserver/server.py", "from bgjobd.core.job import Job", "the fork server stands alone"),
    ("bgjobd/forkserver/server.py", "from .. import log", "the fork server stands alone"),
    ("bgjobd/forkserver/server.py", "import structlog", "the fork server imports no third party"),
    ("bgjobd/forkserver/describe.py", "import pydantic", "the fork server imports no third party"),
    ("bgjobd/forkserver/child.py", "import asyncio", "the fork server has no event loop"),
    ("bgjobd/forkserver/child.py", "def f(): import threading", "the fork server has one thread"),
    ("bgjobd/host/init.py", "from bgjobd.host import log", "the init stands alone"),
    ("bgjobd/daemon/loop.py", "import os\npid = os.fork()", "only the fork server forks and waits"),
    ("bgjobd/daemon/loop.py", "from os import waitpid as look", "only the fork server forks and waits"),
    (
        "bgjobd/daemon/loop.py",
        "import os as o\ndef f(): return o.waitid",
        "only the fork server forks and waits",
    ),
    ("client/bgjob/testing/attempts.py", "import os\nos.fork()", "only the fork server forks and waits"),
    ("bgjobd/daemon/loop.py", "from multiprocessing import Process", "nobody uses multiprocessing"),
    ("bgjobd/forkserver/wire.py", "import pickle", "nobody pickles"),
    ("bgjobd/api/server.py", "import importlib\nimportlib.import_module('pickle')", "nobody pickles"),
    ("bgjobd/api/server.py", "__import__('pickle')", "nobody pickles"),
    ("bgjobd/store/rows.py", "from marshal import loads", "nobody pickles"),
    ("web/settings.py", "def f(): import yaml", "nobody pickles"),
    ("systemd/install.py", "import shelve", "nobody pickles"),
    ("client/bgjob/codec.py", "def f(text): return eval(text)", "nobody runs a text"),
    ("client/bgjob/aio.py", "from bgjob import django", "nobody imports what is for Django"),
    ("client/bgjob/_tasks.py", "import flask", "what is for Django imports Django"),
    ("client/bgjob/testing/standin.py", "import pytest", "the client imports the standard library"),
    ("client/bgjob/testing/pytest_plugin.py", "import flask", "what is for pytest imports pytest"),
    ("client/bgjob/testing/__init__.py", "from bgjob.testing import pytest_plugin", "nobody imports what is"),
    ("client/_bgjob_pytest/__init__.py", "import bgjob", "what pytest imports in every project"),
    ("bgjobd/api/methods.py", "exec('pass')", "nobody runs a text"),
    ("bgjobd/supervisor/page_process.py", "import os\nos.system('true')", "nobody runs a text"),
    ("bgjobd/api/methods.py", "from playhouse.shortcuts import model_to_dict", "only the store knows peewee"),
    (
        "bgjobd/api/methods.py",
        "import typing\nif typing.TYPE_CHECKING: import peewee",
        "only the store knows peewee",
    ),
    ("bgjobd/demo/__init__.py", "import sqlite3", "only the store knows peewee"),
    ("bgjobd/store/ledger.py", "def f(): import psycopg", "only the engine of PostgreSQL knows psycopg"),
    (
        "bgjobd/store/engines/places.py",
        "from bgjobd.store.engines import postgres",
        "psycopg is imported only where",
    ),
    (
        "bgjobd/store/reader.py",
        "from bgjobd.store.models.queues import Queue",
        "only the statements know the models",
    ),
    ("bgjobd/store/ledger.py", "from peewee import SQL", "only the statements know the models"),
    ("bgjobd/store/writer.py", "from bgjobd.daemon.loop import Daemon", "bgjobd.store imports nothing"),
    ("bgjobd/store/writer.py", "from bgjobd.api import server", "bgjobd.store imports nothing"),
    ("bgjobd/supervisor/spool.py", "from bgjobd.daemon import waiters", "bgjobd.supervisor imports nothing"),
    ("bgjobd/core/job.py", "from bgjobd.host import clock", "bgjobd.core imports nothing"),
    ("bgjobd/host/log.py", "from bgjobd.config.sections import Log", "bgjobd.host imports nothing"),
    ("bgjobd/api/methods.py", "from bgjobd.main import main", "only entry points compose"),
    ("bgjobd/daemon/loop.py", "from bgjobd.demo import jobs", "only entry points compose"),
    ("bgjobd/daemon/loop.py", "import bgjobd.web.server", "only entry points know"),
    ("web/views/page.py", "from bgjobd.config import Config", "the page is a client"),
    ("web/views/page.py", "import pydantic", "the page imports no third party"),
]


@pytest.mark.parametrize(("path", "source", "sentence"), PLANTED)
def test_a_planted_violation_is_found(path: str, source: str, sentence: str) -> None:
    assert any(f": {sentence}" in found for found in violations(Path(path), source))


ALLOWED = [
    ("client/bgjob/command.py", "def f(): from rich.table import Table; import shtab"),
    ("client/bgjob/commands/screen.py", "def f(): from rich.table import Table; import shtab"),
    (
        "client/bgjob/command.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING: from rich.table import Table",
    ),
    ("client/bgjob/client.py", "import json, socket, asyncio\nfrom .codec import Decoder"),
    ("bgjobd/core/job.py", "from datetime import datetime, UTC\ndatetime.fromtimestamp(0, UTC)"),
    (
        "bgjobd/core/job.py",
        "from bgjob.words import Status\nfrom . import facts\nfrom bgjobd.core.retry import x",
    ),
    (
        "bgjobd/forkserver/child.py",
        "import os, bgjob\ndef f(): import asyncio, pydantic; os.fork(); os.waitid",
    ),
    ("bgjobd/daemon/loop.py", "import os, threading\nos.waitstatus_to_exitcode(0)\nfork = wait = 1"),
    ("bgjobd/store/writer.py", "import peewee, sqlite3, playhouse.migrate\nfrom bgjobd.core import job"),
    ("bgjobd/host/init.py", "import os\nos.waitpid(-1, 0)"),
    ("bgjobd/main.py", "import bgjobd.web.server\nfrom bgjobd import demo, daemon"),
    ("web/views/page.py", "import bgjob, jinja2\nfrom .. import server"),
]


@pytest.mark.parametrize(("path", "source"), ALLOWED)
def test_what_the_design_allows_is_not_refused(path: str, source: str) -> None:
    assert violations(Path(path), source) == []


# The checker ---------------------------------------------------------------------------------------------


@cache
def sources(tree: Path) -> list[tuple[Path, str]]:
    files = [file for directory in PACKAGES for file in sorted((tree / directory).rglob("*.py"))]
    return [(file.relative_to(tree), file.read_text(encoding="utf-8")) for file in files]


def violations(path: Path, source: str, rules: list[Rule] = RULES) -> list[str]:
    """One line for each use in `source`, which stands at `path` in the tree, that a rule forbids."""
    module = module_of(path)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return [
        f"{path}:{use.line}: {rule.sentence} ({use.name})"
        for rule in rules
        if rule.holds_for(module)
        for use in uses(source, package)
        if rule.forbids(use)
    ]


def module_of(path: Path) -> str:
    for directory, package in PACKAGES.items():
        if path.is_relative_to(directory):
            parts = path.relative_to(directory).with_suffix("").parts
            return ".".join([package, *parts]).removesuffix(".__init__")
    raise ValueError(f"{path} is in none of {', '.join(PACKAGES)}")


def is_within(name: str, packages: list[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@cache
def uses(source: str, package: str) -> list[Use]:
    reader = Reader(package)
    reader.read(ast.parse(source))
    return reader.uses


class Reader:
    """Collects the uses of one module. A name counts as the import that bound it anywhere in the module."""

    def __init__(self, package: str) -> None:
        self.package = package
        self.uses: list[Use] = []
        self.bound: dict[str, str] = {}

    def read(self, tree: ast.Module) -> None:
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                self.bound |= self.names_bound_by(node)
        self.visit(tree, is_lazy=False)

    def visit(self, node: ast.AST, *, is_lazy: bool) -> None:
        names = self.names_used_by(node)
        self.uses += [Use(name, getattr(node, "lineno", 0), is_lazy) for name in names]
        if isinstance(node, ast.Attribute) and names:
            return  # the whole chain is told; its beginnings say less
        is_lazy = is_lazy or defers_its_body(node)
        for child in ast.iter_child_nodes(node):
            self.visit(child, is_lazy=is_lazy)

    def names_used_by(self, node: ast.AST) -> list[str]:
        match node:
            case ast.Import() | ast.ImportFrom():
                return self.names_imported_by(node)
            case ast.Attribute():
                name = self.try_dotted_name(node)
                return [name] if name else []
            case ast.Call(func=function, args=[ast.Constant(value=str(name)), *_]) if self.try_dotted_name(
                function
            ) in {"importlib.import_module", "builtins.__import__"}:
                return [name]
            case ast.Name(id=name) if name in self.bound:
                return [self.bound[name]]
            case ast.Call(func=ast.Name(id=name)) if name not in self.bound:
                return [f"builtins.{name}"]
            case _:
                return []

    def names_imported_by(self, node: ast.Import | ast.ImportFrom) -> list[str]:
        if isinstance(node, ast.Import):
            return [alias.name for alias in node.names]
        origin = self.origin_of(node)
        return [origin if alias.name == "*" else f"{origin}.{alias.name}" for alias in node.names]

    def names_bound_by(self, node: ast.Import | ast.ImportFrom) -> dict[str, str]:
        bound = {}
        for alias, name in zip(node.names, self.names_imported_by(node), strict=True):
            if alias.asname or isinstance(node, ast.ImportFrom):
                bound[alias.asname or alias.name] = name
            else:
                root = name.partition(".")[0]
                bound[root] = root
        return bound

    def origin_of(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        ancestors = self.package.split(".")
        base = ancestors[: len(ancestors) - (node.level - 1)]
        return ".".join([*base, node.module] if node.module else base)

    def try_dotted_name(self, node: ast.AST) -> str | None:
        match node:
            case ast.Name(id=name):
                return self.bound.get(name, "builtins.__import__" if name == "__import__" else None)
            case ast.Attribute(value=value, attr=attribute):
                start = self.try_dotted_name(value)
                return f"{start}.{attribute}" if start else None
            case _:
                return None


def defers_its_body(node: ast.AST) -> bool:
    """Whether what stands below runs only when called, or is there for type checkers alone."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
            return True
        case _:
            return False

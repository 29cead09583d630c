"""From approved names to classes that attempts can be forked with: imports them, has them described, and announces
what it is at, so that whoever waits knows which class it is that hangs, or ended the process.
"""

from __future__ import annotations

import gc
import importlib
import importlib.machinery
import importlib.util
import io
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from types import CodeType, CoroutineType
from typing import Any, NamedTuple, NoReturn

from . import exits, huge_pages
from .error_texts import text_of, traceback_of
from .invocation import Approved, adapter_of

Announce = Callable[[Sequence[str]], None]

_THREADS_MAY_END = 0.1


class UnfitError(Exception):
    """These classes cannot be served by any process: what their import left behind makes forking unsafe."""

    def __init__(self, classes: Sequence[str], reason: str) -> None:
        self.classes = list(classes)
        self.reason = reason
        super().__init__(f"{', '.join(classes)}: {reason}")


class UnpreparedError(Exception):
    """A function of [app], `what`, failed: one that is called before the imports, so that none of them would find what
    it needs, or cannot be had: one that is to hear of failed jobs.
    """

    def __init__(self, what: str, reason: str) -> None:
        self.what = what
        super().__init__(reason)


class Loaded(NamedTuple):
    """The classes that attempts may use, who hears of those that failed, and everything about all classes as data, as
    `ready` tells it.
    """

    approved: dict[str, Approved]
    on_failure: Any
    description: dict[str, Any]


def load(message: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> Loaded:
    """Import and describe the `approved` classes and modules (name → the methods to offer, or None for all).

    `client` is the directory of the package bgjob, for an interpreter that lacks it; `prepare` names the function that
    is called before, `on_failure` that which hears of failed jobs; `tell` hears what is begun. Raises UnfitError,
    UnpreparedError.
    """
    listed = message["approved"]

    def announce(classes: Sequence[str]) -> None:
        tell({"type": "loading", "classes": list(classes)})

    registered = exits.watch()
    _lend_client(message["client"])
    on_failure = _functions(message, tell).get("on_failure")
    classes, broken = _import_all(list(listed), announce)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a module may have had children vanish unseen
    description = _described_elsewhere(classes, broken, listed, registered, announce)
    approved = {
        name: Approved.from_description(classes[name], described)
        for name, described in description["classes"].items()
        if described["unavailable"] is None
    }
    for name, one in approved.items():
        approved[name] = _with_adapters(name, one, announce)
    _import_what_attempts_need(approved, on_failure)
    _close_databases()
    _settle()
    return Loaded(approved, on_failure, description)


def _functions(message: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """The functions that [app] names, by their keys. Raises UnpreparedError."""
    functions: dict[str, Any] = {}
    for what in ("prepare", "on_failure"):
        name = message.get(what)
        if name is not None:
            tell({"type": "preparing", "what": f"{what}: {name}"})
            functions[what] = _prepare(what, name)
    return functions


def _prepare(what: str, name: str) -> Any:
    """The function of this name; one that makes ready what the imports need was called. Raises UnpreparedError."""
    place, _, own_name = name.rpartition(".")
    try:
        function = getattr(importlib.import_module(place), own_name)
        if not callable(function):
            raise TypeError(f"{name} is no function")
        if what == "prepare" and isinstance(function(), CoroutineType):
            raise TypeError("it is a coroutine function, which nobody awaits here")
        _leave_if_a_copy()
        _check_threads([name])
    except UnfitError as error:
        raise UnpreparedError(f"{what}: {name}", error.reason) from None
    except BaseException as error:
        _leave_if_a_copy()
        reason = f"{type(error).__name__}: {text_of(error)}"[:_LONGEST_REASON]
        told = f"{reason}\n{traceback_of(error)[-_LONGEST_TRACE:].rstrip()}"
        raise UnpreparedError(f"{what}: {name}", told) from None
    return function


_LONGEST_REASON = 2000
_LONGEST_TRACE = 16 * 1024


def _with_adapters(class_name: str, approved: Approved, announce: Announce) -> Approved:
    """The class with what makes the parameters of its methods, which attempts would have to make anew.

    Its annotations may run code of the application's: what that leaves behind is its own. Raises UnfitError.
    """
    if not any(method.coerce for method in approved.methods.values()):
        return approved
    announce([class_name])
    methods = {
        name: method._replace(adapter=_try_adapter(approved, name)) if method.coerce else method
        for name, method in approved.methods.items()
    }
    _leave_if_a_copy()
    _check_threads([class_name])
    return approved._replace(methods=methods)


def _try_adapter(approved: Approved, name: str) -> Any:
    # It could be made while the class was described: if it cannot now, the attempt tells what is wrong by then.
    try:
        return adapter_of(approved, name)
    except Exception:
        return None


def _import_what_attempts_need(approved: dict[str, Approved], on_failure: Any) -> None:
    """Now rather than in the attempts: each would pay for it, and an upgrade may replace files meanwhile."""
    if "bgjob" in sys.modules:
        with suppress(ImportError):  # as below
            importlib.import_module("bgjob.default_client")  # the client, which bgjob puts off
    if on_failure is not None or any("failed" in one.hooks for one in approved.values()):
        with suppress(ImportError):  # a bgjob that is not ours fails the hook, later
            importlib.import_module("bgjob.jobs")
    if any(_takes_context(one) for one in approved.values()):
        with suppress(ImportError):  # a bgjob that knows no steps
            importlib.import_module("bgjob.steps")
    for caller in {method.caller for one in approved.values() for method in one.methods.values()} - {None}:
        with suppress(ImportError):  # the task's attempts tell
            importlib.import_module(str(caller))
    if _is_coroutine(on_failure) or any(_has_coroutines(one) for one in approved.values()):
        importlib.import_module("asyncio")


def _takes_context(approved: Approved) -> bool:
    return bool(approved.contexts) or any(method.contexts for method in approved.methods.values())


def _has_coroutines(approved: Approved) -> bool:
    return any(_is_coroutine(approved.function(name)) for name in (*approved.methods, *approved.hooks))


def _is_coroutine(function: Any) -> bool:
    code = getattr(function, "__code__", None)
    return isinstance(code, CodeType) and bool(code.co_flags & _CO_COROUTINE)


_CO_COROUTINE = 0x80
"""inspect's, which is dear to import."""


def _lend_client(directory: str) -> None:
    """Let `import bgjob` find the daemon's own, unless the application's interpreter has one."""
    if importlib.util.find_spec("bgjob") is None:
        sys.meta_path.append(_Lender(directory))


class _Lender:
    """Finds the package bgjob in a place that is not on the path, and nothing else there."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def find_spec(
        self, name: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "bgjob":
            return None
        return importlib.util.spec_from_file_location(
            name, f"{self._directory}/__init__.py", submodule_search_locations=[self._directory]
        )


def _import_all(
    names: Collection[str], announce: Announce
) -> tuple[dict[str, Any], dict[str, tuple[str, str]]]:
    """The classes that could be imported, and for the others why not, with the traceback."""
    classes: dict[str, Any] = {}
    broken: dict[str, tuple[str, str]] = {}
    # A class is looked for before what could take its name, a module that is imported for what lies deeper.
    for members in _by_module(sorted(names, key=lambda name: name.count("."))).values():
        announce(members)
        for name in members:
            try:
                classes[name] = _import(name, announce)
            except UnfitError:  # whose it is
                raise
            except BaseException as error:
                _leave_if_a_copy()
                broken[name] = (f"{type(error).__name__}: {text_of(error)}", traceback.format_exc())
        _leave_if_a_copy()
        _check_threads(members)
    return classes, broken


_OWN_PID = os.getpid()


def _import(name: str, announce: Announce) -> Any:
    """The class of this name; where its module has none, the module of this name. Raises whatever an import does."""
    module_name, _, class_name = name.rpartition(".")
    parent = importlib.import_module(module_name)
    if isinstance(getattr(parent, class_name, None), type):
        return getattr(parent, class_name)
    announce([name])
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
    else:
        _check_threads([name])
        if module.__name__ != name:
            raise ImportError(f"the module calls itself {module.__name__}, which is what to approve")
        return module
    if hasattr(parent, "__path__") and not hasattr(parent, class_name):
        raise AttributeError(
            f"module {module_name!r} has no attribute {class_name!r}, and there is no module {name}"
        )
    return getattr(parent, class_name)  # there is neither, or something else


def _by_module(names: Collection[str]) -> dict[str, list[str]]:
    modules: dict[str, list[str]] = {}
    for name in names:
        modules.setdefault(name.rpartition(".")[0], []).append(name)
    return modules


def _leave_if_a_copy() -> None:
    """End a process that a module forked while it was imported, and that came back from there."""
    if os.getpid() != _OWN_PID:
        os._exit(0)


def _check_threads(members: Sequence[str]) -> None:
    """Raises UnfitError where threads run: one that holds a lock at a fork holds it for ever in the child."""
    deadline = time.monotonic() + _THREADS_MAY_END
    while (count := len(os.listdir("/proc/self/task")) - 1) > 0:
        if time.monotonic() > deadline:
            raise UnfitError(
                members,
                f"its module leaves {count} thread{'s' * (count > 1)} running, which makes forking unsafe; "
                "start threads in a method (for a library that starts its own: set its number of threads "
                "to 1 in [app] env)",
            )
        time.sleep(0.005)


def _described_elsewhere(
    classes: dict[str, Any],
    broken: dict[str, tuple[str, str]],
    listed: dict[str, Any],
    registered: exits.Registered,
    announce: Announce,
) -> dict[str, Any]:
    """Catalogue and code version, made in a child: what describing imports would slow every later fork."""
    read, write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        os.close(read)
        _describe_into(write, classes, broken, listed, registered, announce)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    if not text:
        raise RuntimeError("the approved classes could not be described; the trace stands above")
    described: dict[str, Any] = json.loads(text)
    return described


def _describe_into(
    write: int,
    classes: dict[str, Any],
    broken: dict[str, tuple[str, str]],
    listed: dict[str, Any],
    registered: exits.Registered,
    announce: Announce,
) -> NoReturn:
    try:
        from . import describe

        catalogue = {name: describe.unavailable(*why) for name, why in broken.items()}
        for name, cls in classes.items():
            announce([name])
            catalogue[name] = describe.describe_or_tell_why(cls, listed[name])
        modules = describe.module_digests()
        description = {
            "classes": catalogue,
            "modules": modules,
            "code_version": describe.code_version(modules),
            "exit_handlers": exits.names_of(registered),
        }
        text = json.dumps(description)
        with os.fdopen(write, "wb") as pipe:
            pipe.write(text.encode())
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


def _close_databases() -> None:
    """A connection that Django has by now would be one of all attempts, each of which makes its own."""
    if "django.db" in sys.modules:
        with suppress(Exception):
            sys.modules["django.db"].connections.close_all()


def _settle() -> None:
    """What the imports printed goes out once, not again from every child; and what they made stays where it is."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # unless an import replaced it
            stream.flush()
            stream.reconfigure(line_buffering=True)
    gc.collect()
    gc.freeze()
    huge_pages.collapse()

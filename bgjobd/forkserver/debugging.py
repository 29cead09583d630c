"""The call of a job under a debugger, for a person at a terminal: with the names, values and surroundings of an
attempt, and nothing that is recorded. What is asked of it comes in an open file, so that no secret is in argv.

A process stays outside, which removes the working directory; it forks another, in which everything is.
"""

from __future__ import annotations

import bdb
import getpass
import importlib
import json
import os
import pdb
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple, NoReturn

from . import sandbox, subreaper
from .debug_steps import DebugKeeper, ask
from .error_texts import traceback_of
from .invocation import Approved, Invocation, attempt_call
from .order import Order
from .outcomes import InvalidParameters, InvalidResult, MethodNotApproved, result_text

COMPLETED, RAISED, INTERRUPTED = 0, 1, 130
"""The exit codes."""


def main(descriptor: int) -> NoReturn:
    """Run what the file of this descriptor asks for, a JSON object, and exit."""
    pid = os.getpid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the job
    for number in _ENDS:
        # What is below ends with this process.
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    directory = tempfile.mkdtemp(prefix="bgjob-debug-")
    left_out: list[str] = []
    try:
        while True:
            told = _forked(descriptor, directory, left_out)
            if "code" in told:
                break
            left_out += told["left_out"]
    finally:
        if os.getpid() == pid:
            shutil.rmtree(directory, ignore_errors=True)
    sys.exit(told["code"])


_ENDS = (signal.SIGTERM, signal.SIGHUP)


def _forked(descriptor: int, directory: str, left_out: list[str]) -> dict[str, Any]:
    """What another process comes to: a `code` to exit with, or the classes that are to be `left_out` as well."""
    read, write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        os.close(read)
        _be_the_job(descriptor, directory, left_out, write)
    os.close(write)
    _, status = os.waitpid(pid, 0)
    os.set_blocking(read, False)  # what the job left running may hold the other end
    with suppress(BlockingIOError), os.fdopen(read, "rb") as pipe:
        line = pipe.readline()
        if line:
            told: dict[str, Any] = json.loads(line)
            return told
    code = os.waitstatus_to_exitcode(status)
    how = f"was ended by signal {-code}" if code < 0 else f"has ended with exit code {code}"
    _tell(f"the job's process {how}, without a word of its method's")
    return {"code": RAISED}


def _be_the_job(descriptor: int, directory: str, left_out: list[str], told: int) -> NoReturn:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in _ENDS:
        signal.signal(number, signal.SIG_DFL)
    subreaper.die_with_parent(True)
    pid = os.getpid()
    try:
        code = _Debugged(_read(descriptor), directory, left_out).run()
    except _LeftOutError as error:
        os.write(told, json.dumps({"left_out": error.classes}).encode() + b"\n")
        os._exit(0)
    except _CannotError as error:
        _tell(str(error))
        code = RAISED
    except KeyboardInterrupt:
        _tell("interrupted")
        code = INTERRUPTED
    except Exception:
        traceback.print_exc()
        code = RAISED
    if os.getpid() != pid:
        os._exit(0)  # a copy that the job has forked
    os.write(told, json.dumps({"code": code}).encode() + b"\n")
    sys.exit(code)


class _LeftOutError(Exception):
    """These classes make forking unsafe, so that attempts are without them; another process is, too."""

    def __init__(self, classes: list[str]) -> None:
        self.classes = classes
        super().__init__(*classes)


class _CannotError(Exception):
    """The method cannot be called; the message is for the person."""


class _Loaded(NamedTuple):
    """The class, its method as it is described, and the version of the code."""

    approved: Approved
    described: Mapping[str, Any]
    code_version: str


class _Debugged:
    """What is asked for: `job`, of which attempt `number` is run again; `load`, what a fork server is told to import;
    `limits`, of its class, and whether it `is_confined`; `carried`, what is told of its steps; `told`, what the person
    reads first.
    """

    def __init__(self, asked: Mapping[str, Any], directory: str, left_out: list[str]) -> None:
        self._asked, self._job = asked, asked["job"]
        self._directory = directory
        self._left_out = left_out
        self._limits = sandbox.Limits.from_message(asked["limits"])
        self._keeper = DebugKeeper(asked["carried"], _tell, ask)

    def run(self) -> int:
        """The exit code. Raises _LeftOutError, _CannotError, KeyboardInterrupt."""
        sandbox.give_up_privileges()
        loaded = self._loaded()
        self._take_breakpoints()
        if not self._is_wanted(loaded):
            return INTERRUPTED
        order = self._order(loaded)
        if self._limits.exit_handlers != "all":
            importlib.import_module(f"{__package__}.exits").forget_registered()
        self._enter()
        return self._called(loaded.approved, order)

    def _enter(self) -> None:
        """Be where an attempt is, and who it is; its limits are for who asks for them. Raises _CannotError."""
        limits = self._limits
        if not self._asked["is_confined"]:
            limits = sandbox.Limits(account=limits.account, umask=limits.umask)
        place, name = os.path.split(self._directory)
        work = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        ground = sandbox.Ground(place, work, tuple(self._asked["unreadable"]), self._directory, None)
        shared = sandbox.Shared.made_for([limits]) if self._asked["is_confined"] else sandbox.Shared()
        try:
            sandbox.Sandbox(limits, ground, shared).enter(name)
        except sandbox.SandboxError as error:
            raise _CannotError(str(error)) from None
        subreaper.die_with_parent(True)  # which is forgotten where the user changes

    # The code

    def _loaded(self) -> _Loaded:
        """Raises _LeftOutError, _CannotError."""
        asked = self._asked["load"]
        approved = {
            name: methods for name, methods in asked["approved"].items() if name not in self._left_out
        }
        name = self._job["class_name"]
        if name not in approved:
            raise _CannotError(f"{name} cannot be used: its module leaves threads running")
        # It looks at the pid when it is imported, and a fork server, whose modules count for the version, has the rest.
        importlib.import_module(f"{__package__}.server")
        loading = importlib.import_module(f"{__package__}.loading")
        sys.path[:0] = asked["path"]
        try:
            loaded = loading.load({**asked, "approved": approved}, lambda message: None)
        except loading.UnfitError as error:
            raise _LeftOutError(error.classes) from None
        except loading.UnpreparedError as error:
            raise _CannotError(f"[app] {error.what} failed: {error}") from None
        described = loaded.description["classes"][name]
        if described["unavailable"] is not None:
            told = f"{described['traceback'] or ''}{name} cannot be used: {described['unavailable']}"
            raise _CannotError(told)
        method = described["methods"].get(self._job["method_name"])
        if method is None:
            raise _CannotError(f"{self._target} is no longer allowed, or not there")
        return _Loaded(loaded.approved[name], method, loaded.description["code_version"])

    @property
    def _target(self) -> str:
        return _plain(f"{self._job['class_name']}::{self._job['method_name']}")

    def _take_breakpoints(self) -> None:
        """Have `breakpoint()` do what $PYTHONBREAKPOINT says, which an isolated interpreter does not look at."""
        sys.breakpointhook = _stop_here
        name = os.environ.get("PYTHONBREAKPOINT")
        if name == "0":
            sys.breakpointhook = lambda *_, **__: None
        elif name:
            module, _, function = name.rpartition(".")
            try:
                sys.breakpointhook = getattr(importlib.import_module(module or "builtins"), function)
            except (ImportError, AttributeError) as error:
                _tell(f"PYTHONBREAKPOINT is {name}, which cannot be had: {error}; breakpoint() is pdb's")

    # The person

    def _is_wanted(self, loaded: _Loaded) -> bool:
        """Whether the person, who is told what will be, wants it."""
        known, version = self._asked["code_version"], loaded.code_version
        told = [*self._asked["told"]]
        if known is not None:
            told[0] += f" Its code was {known}, {'as here' if known == version else f'here it is {version}'}."
        for line in told:
            _tell(line)
        again = ": what it does to the world it does again" if self._asked["has_run"] else ""
        uid = os.getuid() if self._limits.account is None else self._limits.account.uid
        what = f"This calls {self._target} for real, as uid {uid}{again}."
        if not self._asked["must_ask"]:
            _tell(what)
            return True
        return (ask(_plain(f"{what} Go on? [y/N] ")) or "").strip().lower() in ("y", "yes")

    def _order(self, loaded: _Loaded) -> Order:
        """Raises _CannotError."""
        job, properties = self._job, loaded.described["schema"].get("properties", {})
        names = loaded.described["names"]
        texts = {**self._asked["secrets"]}
        for name in self._asked["untold"]:
            if names is None or name in names:  # of what the method takes no more nobody has to think
                texts[name] = _typed(name)
        secrets = {name: _value(text, properties.get(name, {})) for name, text in texts.items()}
        return Order(
            job["id"],
            self._asked["number"],
            "",
            job["class_name"],
            job["method_name"],
            {**job["parameters"], **secrets},
            timeout=job["timeout"],
            key=job["idempotency_key"],
            occurrence=job["occurrence"],
        )

    # The call

    def _called(self, approved: Approved, order: Order) -> int:
        try:
            result = result_text(self._result(approved, order))
        except KeyboardInterrupt as error:
            _tell(traceback_of(error).rstrip())
            return INTERRUPTED
        except bdb.BdbQuit:
            return INTERRUPTED
        except InvalidParameters as error:
            why = f"its parameters do not fit {self._target}: {_plain(str(error))}"
            raise _CannotError(f"{why}; -p KEY=VALUE gives others") from None
        except (InvalidResult, MethodNotApproved) as error:
            raise _CannotError(str(error)) from None
        except BaseException as error:
            return self._look_at(error)
        print(result, flush=True)
        return COMPLETED

    def _result(self, approved: Approved, order: Order) -> Any:
        call = Invocation(approved)
        context = self._context_maker(order)
        if not self._asked["is_traced"]:
            return attempt_call(call, order, context)
        debugger = _FromFirstLine(getattr(approved.function(order.method_name), "__code__", None))
        result = debugger.traced(lambda: attempt_call(call, order, context))
        if debugger.awaits_line:
            _tell("its first line was not come to where it is traced; breakpoint() stops anywhere")
        return result

    def _look_at(self, error: BaseException) -> int:
        """Tell what was raised, and have a debugger where it was."""
        if self._keeper.waits_for is not None:
            _tell(f"it waits for {self._keeper.waits_for}, and its attempt would end here")
            return RAISED
        own = _own_frames(error)
        _tell(traceback_of(error.with_traceback(own)).rstrip())
        if own is not None:
            # With the error itself, where pdb takes it, its causes can be looked at too.
            what: Any = error if sys.version_info >= (3, 13) else own
            with suppress(bdb.BdbQuit, pdb.Restart):
                pdb.post_mortem(what)
        return RAISED

    def _context_maker(self, order: Order) -> Callable[[], Any]:
        """Makes the JobContext when it is first asked for."""
        made: list[Any] = []
        since = time.monotonic()

        def context() -> Any:
            if not made:
                context = importlib.import_module("bgjob.jobs").JobContext(
                    order.job,
                    order.number,
                    None if order.timeout is None else since + order.timeout,
                    record=_tell_note,
                    stop_file=f"{self._directory}/stop",
                )
                context.occurrence = order.occurrence
                context._keeper = context._state_keeper = self._keeper
                made.append(context)
            return made[0]

        return context


def _stop_here(*, header: str | None = None, **_: Any) -> None:
    """As `pdb.set_trace`, but that who quits leaves on any Python: from 3.14 on that would ask, and end the process."""
    debugger = pdb.Pdb()
    if header is not None:
        debugger.message(header)
    debugger.set_trace(sys._getframe().f_back)


class _FromFirstLine(pdb.Pdb):
    """Stops first at the first line of this code, where it is one, and goes on in its thread."""

    def __init__(self, code: Any) -> None:
        super().__init__()
        self._code = code
        self._thread = 0
        self.awaits_line = code is not None

    def traced(self, call: Callable[[], Any]) -> Any:
        """What the call returns. Raises what it raises, and BdbQuit where the person has left, whatever the job makes
        of that; pdb's own `runcall` raises no such thing.
        """
        self.reset()
        self._trace(self.trace_dispatch)
        try:
            result = call()
        finally:
            self._trace(None)
            if self.quitting:
                raise bdb.BdbQuit
        return result

    def _trace(self, function: Any) -> None:
        """Have this thread traced so, and those that it starts: an async task of Django's has its loop in another."""
        sys.settrace(function)
        if "threading" in sys.modules:
            sys.modules["threading"].settrace(function)

    def _is_met(self) -> bool:
        """Whether what is traced now comes after the first line, in its thread."""
        return not self.awaits_line and self._thread in (0, _own_thread())

    def user_call(self, frame: Any, argument_list: Any) -> None:
        if self._is_met():
            super().user_call(frame, argument_list)

    def user_line(self, frame: Any) -> None:
        if self.awaits_line and frame.f_code is self._code:
            self.awaits_line, self._thread = False, _own_thread()
        if self._is_met():
            super().user_line(frame)

    def user_return(self, frame: Any, return_value: Any) -> None:
        if self._is_met():
            super().user_return(frame, return_value)

    def user_exception(self, frame: Any, exc_info: Any) -> None:
        if self._is_met():
            super().user_exception(frame, exc_info)


def _own_thread() -> int:
    """What tells this thread from others; 0 where nobody has imported what makes some."""
    return sys.modules["threading"].get_ident() if "threading" in sys.modules else 0


def _own_frames(error: BaseException) -> TracebackType | None:
    """The traceback from the job's own frames on: those before are of what calls it. All of it where there are none."""
    tail = error.__traceback__
    while tail is not None and _package_of(tail) in _CALLERS:
        tail = tail.tb_next
    return tail or error.__traceback__


def _package_of(tail: TracebackType) -> str:
    return str(tail.tb_frame.f_globals.get("__name__", "")).partition(".")[0]


_CALLERS = (str(__package__), "bdb", "asyncio", "bgjob", "asgiref", "concurrent")


def _read(descriptor: int) -> dict[str, Any]:
    """What the file asks for; another process of this one may read it again."""
    asked: dict[str, Any] = json.loads(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
    os.close(descriptor)
    return asked


def _typed(name: str) -> str:
    """What the person types, and nobody sees. Raises _CannotError where nobody does."""
    if _has_terminal():
        with suppress(EOFError):
            return getpass.getpass(_plain(f"{name} (secret): "))
    raise _CannotError(f"{name} is a secret that nobody has typed; -p {name}=@FILE has it read")


def _has_terminal() -> bool:
    """Whether there is one on which what is typed is not shown."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return os.isatty(0)
    return True


def _value(text: str, schema: Mapping[str, Any]) -> Any:
    """The value: the text where one is wanted, else JSON if it parses, as `-p` has it."""
    if schema.get("type") == "string":
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _tell_note(record: Mapping[str, Any]) -> None:
    """What the job tells by its context, on stderr."""
    if record["type"] == "progress":
        _tell(f"{record['fraction']:.0%} {record['message']}".rstrip())
    else:
        _tell(f"{record['level']} {record['message']}")


def _tell(message: str) -> None:
    try:
        print(_plain(message, "\n\t"), file=sys.stderr, flush=True)
    except Exception:  # the job has put something else in the place of stderr
        traceback.print_exc(file=sys.__stderr__)


def _plain(text: str, kept: str = "") -> str:
    """The text without what moves a terminal: names are told by a daemon, and what was raised has values of others."""
    return "".join(one if one.isprintable() or one in kept else ascii(one)[1:-1] for one in text)

"""One attempt, from right after the fork to `_exit`: closes, resets, waits for its order where it is a spare, proves
its start, runs the method, records how it ended, and leaves; nothing else runs in this process. What is called, and
what it came to, is told elsewhere.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal's enums cost a fresh child a tenth of a millisecond
import json
import os
import signal
import sys
import time
import traceback
from _thread import _count as count_threads
from _thread import allocate_lock
from atexit import _ncallbacks as count_callbacks
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn

from . import allowances, exits, printing, subreaper
from . import journal as journals
from .invocation import Approved, Invocation, attempt_call, failure_call, hook_call
from .looking import Answers
from .order import Order, Place
from .outcomes import outcome_of_error, outcome_of_result
from .process_identity import pidfd_inode, start_time
from .reaping import output_bytes
from .recorder import NotesRecorder
from .sandbox import Sandbox, SandboxError
from .spares import try_take
from .state_file import StateKeeper, open_state
from .steps import Carry, StepKeeper, open_carry
from .title import SPARE


class UnwritableError(Exception):
    """What the attempt was to write could not be made, so it does not start; `what` is one of Place's directories."""

    def __init__(self, what: str, error: OSError) -> None:
        self.what = what
        self.errno = error.errno or 0
        super().__init__(f"{what}: {error.strerror}")


_FIRST_PAUSE_FOR_ROOM = 0.05
_LONGEST_PAUSE_FOR_ROOM = 2.0


class _Recorder:
    """Appends records to the journal, unless the job closed its descriptor and something else took the number.

    `notes` is what the job tells while it runs: it takes none of what the file system owes the journal from its start
    on, for the end, while there is other room, and ENDING bytes never.
    """

    def __init__(self, begun: _Begun, order: Order, spool_path: str, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._journal = begun.journal
        self._spool_path = spool_path
        self._file = os.fstat(begun.journal)
        self._pid = os.getpid()
        self._lock = allocate_lock()
        self._order = order
        self._carry = begun.carry
        self._state = begun.state
        self._keeper: StepKeeper | None = None
        self.has_ended = False
        self._notes: NotesRecorder | None = None

    @property
    def notes(self) -> NotesRecorder:
        """What the job tells while it runs; most tell nothing."""
        if self._notes is None:
            self._notes = NotesRecorder(self._order, self._append)
        return self._notes

    def keeper(self) -> StepKeeper:
        """Where the attempt's steps and values are kept."""
        self._keeper = StepKeeper(self._order, self._carry, self._append, self._is_own, self.end)
        return self._keeper

    def finish(self) -> None:
        """Record what it told last, and how much of what it told was left out."""
        unprinted, unvalued = printing.lost(), 0 if self._keeper is None else self._keeper.left_out
        if self._notes is not None or unprinted or unvalued:
            self.notes.finish(unprinted, unvalued)

    def state_keeper(self) -> StateKeeper | None:
        """Where the attempt saves its job's state."""
        return (
            None if self._state is None else StateKeeper(self._state, Carry(self._carry), self._write_beside)
        )

    def _write_beside(self, write: Callable[[], None]) -> None:
        """Write into another file than the journal, which is bounded as that is."""
        with self._lock:
            if not self._sandbox.limits_files:
                write()
                return
            with self._sandbox.room_in_files():
                write()

    def _is_own(self) -> bool:
        """Whether the journal is still open."""
        try:
            return os.path.samestat(os.fstat(self._journal), self._file)
        except OSError:
            return False

    def tell_unused(self, names: list[str]) -> None:
        """Record which finished steps did not come again; where there is no room, nobody is told."""
        if names:
            with suppress(OSError):
                self._append(journals.left(os.getpid(), time.time(), names), journals.RESERVE)

    def answer(self, line: bytes) -> bool:
        """Append what somebody has asked for, also a forked copy's; whether that could be. Raises OSError.

        Not while a record is written: it may be its writer who was interrupted. Nothing is cut off where it finds no
        room, for a copy would cut off what others write; but what they are left is set aside before.
        """
        if not self._lock.acquire(False):
            return False
        try:
            if not self._is_own():
                return False
            with self._sandbox.room_in_files():
                end = os.fstat(self._journal).st_size + 1 + len(line) + journals.RESERVE
                journals.set_aside(self._journal, end)
                journals.append(self._journal, line)
            return True
        finally:
            self._lock.release()

    def end(self, line: bytes) -> None:
        """Record the outcome, the first. Without room in short; a result waits for some, or for the attempt's end."""
        if self.has_ended:
            return
        self.has_ended = True
        try:
            self._append(line, journals.EXIT)
        except OSError as error:
            if error.errno not in journals.NO_ROOM:
                raise
            short = self._shortened(line)
            if short is None:
                self._wait_for_room(line, error)
            else:
                self._append(short, journals.EXIT)

    def end_by_exit(self, code: int) -> None:
        """Record that the job ends its process; where there is no room, the exit code tells."""
        if self.has_ended:
            return
        with suppress(OSError):
            self._append(journals.exiting(os.getpid(), code), journals.EXIT)

    def _shortened(self, line: bytes) -> bytes | None:
        """The outcome without what can be done without; None where it has nothing of the kind."""
        # What a hook returns nobody is shown.
        return journals.shortened(line) or (
            journals.completed(os.getpid(), "null") if self._order.is_hook else None
        )

    def _wait_for_room(self, line: bytes, error: OSError) -> None:
        """Nothing tells of room that there is again, so it is tried, ever more rarely; a stop ends it at once."""
        _signal.signal(signal.SIGTERM, _signal.SIG_DFL)
        message = f"its result of {len(line)} bytes waits for room in {self._spool_path}: {error.strerror}"
        with suppress(OSError):  # a file system that sets nothing aside may have no room for that either
            self._append(journals.waiting(os.getpid(), time.time(), len(line), message), journals.EXIT)
        pause = _FIRST_PAUSE_FOR_ROOM
        while True:
            time.sleep(pause)
            try:
                self._append(line, journals.EXIT)
            except OSError as again:
                if again.errno not in journals.NO_ROOM:
                    raise
            else:
                return
            pause = min(pause * 2, _LONGEST_PAUSE_FOR_ROOM)

    def _append(self, line: bytes, left: int) -> None:
        """Append the record, and leave so many bytes for others. Raises OSError.

        One after the other, for what finds no room is cut off again; of a forked copy's nobody would read any.
        """
        if os.getpid() != self._pid:
            return
        with self._lock:
            try:
                now = os.fstat(self._journal)
            except OSError:
                return
            if (now.st_dev, now.st_ino) != (self._file.st_dev, self._file.st_ino):
                return
            if not self._sandbox.limits_files:  # in few calls: each has a fresh child copy some pages
                journals.append_within(self._journal, line, now, left)
                return
            with self._sandbox.room_in_files():
                journals.append_within(self._journal, line, now, left)


class Setting(NamedTuple):
    """What the fork server has made ready for all attempts of its code.

    `sandbox` answers the one of an order's class; `inherited` are the fork server's own descriptors, which are closed;
    by the pipe `complaints` an attempt tells why it does not start; `means` is what the fork server may use;
    `on_sigpipe` is what the application wants done then; `show_title` has the process called so; `log_handlers` is a
    list of all there are, with one more; `answers` tells where the process is, should somebody ask; `on_failure` hears
    of the failed jobs of all classes.
    """

    approved: Mapping[str, Approved]
    sandbox: Callable[[Order], Sandbox]
    place: Place
    inherited: tuple[int, ...]
    complaints: int
    means: tuple[int, ...]
    on_sigpipe: Any
    show_title: Callable[[str], None]
    log_handlers: Sequence[Any]
    answers: Answers
    on_failure: Any = None


def run_spare(pipe: int, setting: Setting) -> NoReturn:
    """Wait for the order of an attempt, and be it."""
    try:
        _leave_fork_server(setting)
        subreaper.die_with_parent(True)  # also where somebody has stopped it
        _rehearse(setting)
        order = try_take(pipe)
        os.close(pipe)
        if order is None:
            os._exit(0)
        subreaper.die_with_parent(False)
        lost = allowances.lost(setting.means)
        if lost:  # meanwhile: whoever runs as the same user may do that to a process
            _complain(setting.complaints, lost=lost)
            os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    _run(order, setting)


def run(order: Order, setting: Setting) -> NoReturn:
    """Be the attempt."""
    try:
        _leave_fork_server(setting)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    _run(order, setting)


def _rehearse(setting: Setting) -> None:
    """Use what the way to a method uses, and no file: who is the first to write to a page of memory after a
    fork has a copy made of it, and a count of references is written to. A job's first line comes .4 ms sooner.
    """
    order = Order.from_json(Order(0, 0, "", "", "", {}).to_json())
    setting.sandbox(order)
    journals.started(order.token, 0, 0, pidfd_inode(os.getpid()), setting.place.boot_id, time.monotonic())
    allowances.lost(setting.means)
    setting.show_title(SPARE)
    outcome_of_result(None)
    Invocation(setting.approved.get(order.class_name))
    printing.lost()


def _leave_fork_server(setting: Setting) -> None:
    """Be a process of its own, which has nothing to do with what the fork server has open, or waits for."""
    signal.set_wakeup_fd(-1)
    # The application may have set others while it was imported.
    for number in (signal.SIGCHLD, signal.SIGTERM):
        _signal.signal(number, _signal.SIG_DFL)
    if setting.on_sigpipe is not signal.SIG_IGN:
        signal.signal(signal.SIGPIPE, setting.on_sigpipe or signal.SIG_DFL)
    for descriptor in setting.inherited:
        os.close(descriptor)
    subreaper.take_in_orphans()  # so that what outlives it falls to the fork server at its end, and not before


def _run(order: Order, setting: Setting) -> NoReturn:
    code = 1
    try:
        since = time.monotonic()
        place, sandbox = setting.place, setting.sandbox(order)
        if order.unread is not None:
            order = order.read(order.unread)
        begun = _begin(order, setting, sandbox, since)
        if begun is not None:
            setting.show_title(order.title)
            _become_attempt(begun.output, place, setting.complaints)
            if order.traceparent is not None:
                os.environ["TRACEPARENT"] = order.traceparent
            if sandbox.must_forget_handlers:
                exits.forget_registered()
            recorder = _Recorder(begun, order, place.spool_path, sandbox)
            setting.answers.append = recorder.answer
            code = _run_method(order, setting, recorder, sandbox, since)
    except SystemExit as leaving:
        code = _exit_code(leaving)
    except UnwritableError as error:
        _complain(setting.complaints, what=error.what, errno=error.errno)
    except BaseException:
        traceback.print_exc()
    finally:
        _flush()
        os._exit(code)


class _Begun(NamedTuple):
    """What an attempt has open whose start is proved: its journal, its output, what is carried over to it, and the file
    for its job's state, where it may have one.
    """

    journal: int
    output: int
    carry: int | None
    state: int | None


def _begin(order: Order, setting: Setting, sandbox: Sandbox, since: float) -> _Begun | None:
    """What the attempt has open, whose start is proved by that; None where somebody else was first.

    What it is to write into is made before the proof: an attempt that cannot write does not start, and costs its job
    nothing. Raises UnwritableError.
    """
    place, approved = setting.place, setting.approved.get(order.class_name)
    what, has_directory, output, state = "output", False, -1, None
    try:
        output = _open_output(order, place)
        what = "work"
        sandbox.make_directory(order.directory)
        has_directory, what = True, "spool"
        carry = open_carry(place.spool, order) if order.carries else None
        if approved is not None and order.error is None and order.method_name in approved.stateful:
            state = open_state(place.spool, order)
        journal = _prove_start(order, place, since, state is not None)
    except OSError as error:
        _clear_away(order, place, sandbox, has_directory, state)
        raise UnwritableError(what, error) from None
    if journal is None:
        _clear_away(order, place, sandbox, has_directory, state)
        return None
    return _Begun(journal, output, carry, state)


def _open_output(order: Order, place: Place) -> int:
    return os.open(
        journals.file_name(order.job, order.number, "out"),
        os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW,
        0o600,
        dir_fd=place.output,
    )


def _prove_start(order: Order, place: Place, since: float, has_state: bool) -> int | None:
    pid = os.getpid()
    # Reading a start time costs a fresh child more than the rest of the proof; with pidfs nobody compares it.
    started_at = 0 if place.has_pidfs else start_time(pid)
    known = order.token, pid, started_at, pidfd_inode(pid), place.boot_id, since, place.mark
    line = journals.started(*known, has_state, order.grace)
    return journals.link_first(place.spool, order.journal, line, journals.RESERVE)


def _clear_away(order: Order, place: Place, sandbox: Sandbox, has_directory: bool, state: int | None) -> None:
    """Have nothing of an attempt that does not start; a hook's output is its attempt's."""
    if has_directory:
        sandbox.remove_directory(order.directory)
    if state is not None:
        with suppress(OSError):
            os.unlink(journals.file_name(order.job, order.number, journals.STATE), dir_fd=place.spool)
    if not order.is_hook:
        output_bytes(place.output, journals.file_name(order.job, order.number, "out"))


def _complain(complaints: int, **why: Any) -> None:
    """Tell the fork server why this attempt did not start; in one write, for others write there too."""
    with suppress(OSError):
        os.write(complaints, json.dumps({"pid": os.getpid(), **why}).encode() + b"\n")


def _become_attempt(output: int, place: Place, complaints: int) -> None:
    os.setsid()
    os.dup2(output, 1)
    os.dup2(output, 2)
    for descriptor in (output, place.spool, place.output, complaints):
        os.close(descriptor)


def _run_method(order: Order, setting: Setting, recorder: _Recorder, sandbox: Sandbox, since: float) -> int:
    """Run it, confined, record the outcome, and run what ends with the process; answers the exit code."""
    try:
        sandbox.enter(order.directory)
    except (SandboxError, MemoryError) as error:
        sandbox.leave_room()  # nothing of the application's runs, not even to say when to retry
        recorder.end(outcome_of_error(error, order, None, sandbox))
        return 1
    try:
        line, code = _outcome(order, setting, recorder, sandbox, since)
    except SystemExit as leaving:
        code = _exit_code(leaving)
        recorder.end_by_exit(code)
    else:
        recorder.end(line)
    # Asked here, in one line, for a call into another file would cost a fresh child several pages.
    if sandbox.exit_grace and (count_callbacks() or count_threads() or len(setting.log_handlers) > 1):
        exits.run(sandbox.exit_grace)
    return code


def _outcome(
    order: Order, setting: Setting, recorder: _Recorder, sandbox: Sandbox, since: float
) -> tuple[bytes, int]:
    """Call the method; the record of what it came to, and the exit code. What it told until then is recorded."""
    call = Invocation(setting.approved.get(order.class_name))
    try:
        context = _context_maker(order, recorder, setting.place, since)
        result: Any = None
        match order.kind:
            case journals.ATTEMPT:
                result = attempt_call(call, order, context)
            case journals.HOOK:
                hook_call(call, order, context)
            case _:
                failure_call(setting.on_failure, order)
        # The pid is asked last: the job may have forked, and this be its copy.
        line = outcome_of_result(result)
        if order.carries and not recorder.has_ended:
            _tell_unused(recorder, context)
        return line, 0
    except SystemExit:
        raise
    except BaseException as error:
        sandbox.leave_room()
        if recorder.has_ended:
            return b"", 0  # it waits, and that is on record
        return _outcome_of_error(error, order, call, recorder, sandbox), 1
    finally:
        sandbox.leave_room()
        _flush()
        recorder.finish()


def _tell_unused(recorder: _Recorder, context: Callable[[], Any]) -> None:
    try:
        recorder.tell_unused(context()._steps_of_job().unused)
    except Exception:  # how the attempt ended is worth more
        traceback.print_exc()


def _outcome_of_error(
    error: BaseException, order: Order, call: Invocation, recorder: _Recorder, sandbox: Sandbox
) -> bytes:
    try:
        delay = call.retry_delay(order, error, recorder.notes.note)
        return outcome_of_error(error, order, delay, sandbox)
    except Exception:  # its class resists even being looked at
        traceback.print_exc()
        message = "an error of the job's that cannot be message; the output has more"
        return journals.failed(os.getpid(), "Exception", message, "", may_retry=True)


def _context_maker(order: Order, recorder: _Recorder, place: Place, since: float) -> Any:
    """Makes the JobContext when it is first asked for, and from then on SIGTERM is the job's to see."""
    made: list[Any] = []

    def context() -> Any:
        if not made:
            made.append(
                sys.modules["bgjob.jobs"].JobContext(
                    order.job,
                    order.number,
                    None if order.timeout is None else since + order.timeout,
                    record=recorder.notes.note,
                    stop_file=f"{place.spool_path}/{journals.file_name(order.job, order.number, 'stop')}",
                )
            )
            # The class may be of an older bgjob, whose arguments they are not.
            made[0].occurrence, made[0].traceparent = order.occurrence, order.traceparent
            if order.kind == journals.ATTEMPT:
                made[0]._keeper = recorder.keeper()
                made[0]._state_keeper = recorder.state_keeper()
            with suppress(ValueError):  # in a thread nobody may, and SIGTERM ends the attempt
                signal.signal(signal.SIGTERM, made[0].on_stop)
        return made[0]

    return context


def _exit_code(leaving: SystemExit) -> int:
    """The code that Python itself would exit with; a message goes to stderr, as there."""
    match leaving.code:
        case None:
            return 0
        case int(code):
            return code & 0xFF
        case message:
            print(message, file=sys.stderr)
            return 1


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            continue  # closed or replaced by the job; what it held is the job's own loss

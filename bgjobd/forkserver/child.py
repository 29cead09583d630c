"""One attempt, from right after the fork to `_exit`: closes, resets, waits for its order where it is a spare, proves
its start, runs the method, records how it ended, and leaves; nothing else runs in this process. What is called, and
what it came to, is told elsewhere.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal's enums cost a fresh child a tenth of a millisecond
import os
import signal
import sys
import time
import traceback
from _thread import _count as count_threads
from atexit import _ncallbacks as count_callbacks
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn

from . import allowances, exits, journal_file, journal_lines, printing, spool_names, subreaper
from .complaints import complain
from .invocation import Approved, Invocation, attempt_call, failure_call, hook_call
from .journal_writer import Begun, JournalWriter
from .looking import Answers
from .order import Order, Place
from .outcomes import outcome_of_error, outcome_of_result
from .process_identity import pidfd_inode, start_time
from .reaping import output_bytes
from .sandbox import Sandbox, SandboxError
from .spares import try_take
from .state_file import open_state
from .steps import open_carry
from .title import SPARE


class UnwritableError(Exception):
    """What the attempt was to write could not be made, so it does not start; `what` is one of Place's directories."""

    def __init__(self, what: str, error: OSError) -> None:
        self.what = what
        self.errno = error.errno or 0
        super().__init__(f"{what}: {error.strerror}")


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
            complain(setting.complaints, lost=lost)
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
    journal_lines.started(
        order.token, 0, 0, pidfd_inode(os.getpid()), setting.place.boot_id, time.monotonic()
    )
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
            recorder = JournalWriter(begun, order, place.spool_path, sandbox)
            setting.answers.append = recorder.answer
            code = _run_method(order, setting, recorder, sandbox, since)
    except SystemExit as leaving:
        code = _exit_code(leaving)
    except UnwritableError as error:
        complain(setting.complaints, what=error.what, errno=error.errno)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            _flush()
        finally:
            os._exit(code)


def _begin(order: Order, setting: Setting, sandbox: Sandbox, since: float) -> Begun | None:
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
    return Begun(journal, output, carry, state)


def _open_output(order: Order, place: Place) -> int:
    return os.open(
        spool_names.file_name(order.job, order.number, "out"),
        os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW,
        0o600,
        dir_fd=place.output,
    )


def _prove_start(order: Order, place: Place, since: float, has_state: bool) -> int | None:
    pid = os.getpid()
    # Reading a start time costs a fresh child more than the rest of the proof; with pidfs nobody compares it.
    started_at = 0 if place.has_pidfs else start_time(pid)
    known = order.token, pid, started_at, pidfd_inode(pid), place.boot_id, since, place.mark
    line = journal_lines.started(*known, has_state, order.grace)
    return journal_file.link_first(place.spool, order.journal, line, journal_file.RESERVE)


def _clear_away(order: Order, place: Place, sandbox: Sandbox, has_directory: bool, state: int | None) -> None:
    """Have nothing of an attempt that does not start; a hook's output is its attempt's."""
    if has_directory:
        sandbox.remove_directory(order.directory)
    if state is not None:
        with suppress(OSError):
            os.unlink(spool_names.file_name(order.job, order.number, spool_names.STATE), dir_fd=place.spool)
    if not order.is_hook:
        output_bytes(place.output, spool_names.file_name(order.job, order.number, "out"))


def _become_attempt(output: int, place: Place, complaints: int) -> None:
    os.setsid()
    os.dup2(output, 1)
    os.dup2(output, 2)
    for descriptor in (output, place.spool, place.output, complaints):
        os.close(descriptor)


def _run_method(
    order: Order, setting: Setting, recorder: JournalWriter, sandbox: Sandbox, since: float
) -> int:
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
    order: Order, setting: Setting, recorder: JournalWriter, sandbox: Sandbox, since: float
) -> tuple[bytes, int]:
    """Call the method; the record of what it came to, and the exit code. What it told until then is recorded."""
    call = Invocation(setting.approved.get(order.class_name))
    try:
        context = _context_maker(order, recorder, setting.place, since)
        result: Any = None
        match order.kind:
            case spool_names.ATTEMPT:
                result = attempt_call(call, order, context)
            case spool_names.HOOK:
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


def _print_exc() -> None:
    with suppress(Exception):  # where there is somewhere to print it
        traceback.print_exc()


def _tell_unused(recorder: JournalWriter, context: Callable[[], Any]) -> None:
    try:
        recorder.tell_unused(context()._steps_of_job().unused)
    except Exception:  # how the attempt ended is worth more
        _print_exc()


def _outcome_of_error(
    error: BaseException, order: Order, call: Invocation, recorder: JournalWriter, sandbox: Sandbox
) -> bytes:
    try:
        delay = call.retry_delay(order, error, recorder.notes.note)
        return outcome_of_error(error, order, delay, sandbox)
    except Exception:  # its class resists even being looked at
        _print_exc()
        message = "an error of the job's that cannot be message; the output has more"
        return journal_lines.failed(os.getpid(), "Exception", message, "", may_retry=True)


def _context_maker(order: Order, recorder: JournalWriter, place: Place, since: float) -> Any:
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
                    stop_file=f"{place.spool_path}/{spool_names.file_name(order.job, order.number, 'stop')}",
                )
            )
            # The class may be of an older bgjob, whose arguments they are not.
            made[0].occurrence, made[0].traceparent = order.occurrence, order.traceparent
            if order.kind == spool_names.ATTEMPT:
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
    for name in ("stdout", "stderr"):
        try:
            getattr(sys, name).flush()
        except BaseException:
            # Even SystemExit: the method has returned, and how it ends is not the stream's to say.
            continue  # closed, replaced or removed by the job; what it held is the job's own loss

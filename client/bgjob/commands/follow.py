"""What goes on while jobs run: `bgjob wait`, `tail` and `output`, and what `run` shows until its job has ended."""

from __future__ import annotations

import argparse
import codecs
import io
import queue
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, Generic, TypeVar

from bgjob import text
from bgjob.answers import OutputPart, failure_of
from bgjob.client import Client
from bgjob.commands import pages, screen, waiting_board
from bgjob.commands.problems import INTERRUPTED, NOT_FOUND, OK, code_of, explained
from bgjob.errors import ElsewhereError, JobNotFoundError, WaitTimeoutError
from bgjob.words import Status

T = TypeVar("T")


def wait(client: Client, given: argparse.Namespace) -> int:
    """Wait until all of the jobs have ended."""
    ids = list(dict.fromkeys(given.ids))

    def tell(job: Mapping[str, Any]) -> None:
        if given.json:
            screen.tell_json(client.wait(job["id"]))
        else:
            screen.tell(f"{job['id']} {screen.painted(job['status'])}")

    with going_on(*ids):
        ended = until_ended(client, ids, given.timeout, tell)
    codes = [exit_code_of(ended[job_id]) for job_id in ids]
    return next((code for code in codes if code != OK), OK)


def tail(client: Client, given: argparse.Namespace) -> int:
    """Print the last log lines of jobs, and with -f the next ones as they come."""
    filters = {
        "id": given.job,
        **given.target,
        "type": given.type,
        "search": given.search,
        "said": given.said,
    }
    if not given.follow:
        found = pages.search(partial(client.logs, until=given.until, **filters), given.count)
        told = [line for entry in reversed(found.items) for line in _lines_of(entry, given.json)]
        screen.show("".join(f"{line}\n" for line in told))
        if found.is_interrupted:
            screen.say("interrupted; older lines were not searched")
            return INTERRUPTED
        if not found.items and not given.json:
            screen.say(f"no log line of a job matches; {_DAEMONS_OWN}")
        return OK
    with going_on(*([] if given.job is None else [given.job])):
        for entry in client.follow_logs(limit=given.count, **filters):
            for line in _lines_of(entry, given.json):
                screen.tell(line)
    return OK


_DAEMONS_OWN: Final = (
    "what the daemon says of itself is in background_jobs_errors.log in log_dir, and on its stderr"
)


def _lines_of(entry: Mapping[str, Any], is_json: bool) -> list[str]:
    """One for a program; as many as a terminal has it in."""
    return [text.to_json(entry)] if is_json else screen.folded(screen.log_line(entry), _INDENT)


_INDENT: Final = 2


def follow(client: Client, given: argparse.Namespace) -> int:
    """Print the values that a job has emitted, and go on with new ones until it has ended."""

    def say_gap(left_out: int) -> None:
        screen.say(f"{left_out} values before the next one are not kept any more")

    has_any = False
    with going_on(given.id):
        for one in client.follow_values(given.id, given.after, say_gap):
            has_any = True
            screen.tell_json(one._asdict() if given.json else one.value)
    if not has_any and not given.json:
        try:
            status = client.get(given.id, limit=1).snapshot["status"]
        except JobNotFoundError:  # it was deleted a moment ago
            return OK
        what = f"nothing after value {given.after}" if given.after else "no value"
        screen.say(f"job {given.id} is {status}, and has emitted {what}; `bgjob show {given.id}` has more")
    return OK


def output(client: Client, given: argparse.Namespace) -> int:
    """Print what an attempt wrote to stdout and stderr; with -f also what it and those after it write."""
    printer = Printer(given.json)
    if given.follow:
        with going_on(given.id):
            for part in client.follow_output(given.id, given.attempt, tail=given.tail):
                printer.output(part)
    else:
        latest = text.attempt_of(client.get(given.id, limit=1).snapshot)
        number = given.attempt or latest
        if number > latest:
            screen.say(f"job {given.id} has no attempt {number}; `bgjob show {given.id}` lists them")
            return NOT_FOUND
        for part in client.output_parts(given.id, number or None, tail=given.tail):
            printer.output(part)
    printer.end()
    if printer.is_nothing and not given.json:
        screen.say(f"job {given.id} has written nothing; `bgjob tail --job {given.id}` has its log")
    return OK


def follow_job(client: Client, job_id: int, timeout: float | None, printer: Printer) -> None:
    """Tell log entries and output of a job as they come, until it has ended. Raises WaitTimeoutError."""
    entries: Iterator[Callable[[], None]] = (
        _later(printer.entry, entry) for entry in client.follow_logs(id=job_id, after=0)
    )
    parts: Iterator[Callable[[], None]] = (
        _later(printer.output, part) for part in _output_here(client, job_id)
    )
    try:
        for tell in together([entries, parts], timeout, lambda: going_on_text([job_id])):
            tell()
    finally:
        printer.end()


def _output_here(client: Client, job_id: int) -> Iterator[OutputPart]:
    """What the job prints as long as it does on the daemon's host; where else it does is said."""
    try:
        yield from client.follow_output(job_id, 1)
    except ElsewhereError as error:
        host = error.parameters["host"]
        screen.say(
            f"what it prints is on host {host}; `ssh {host} bgjob output -f {job_id}` follows it there"
        )


def until_ended(
    client: Client,
    ids: Sequence[int],
    timeout: float | None,
    tell: Callable[[Mapping[str, Any]], None] = lambda job: None,
) -> dict[int, Mapping[str, Any]]:
    """The jobs as they ended, each told as it does, with progress on a terminal. Raises WaitTimeoutError."""
    ended: dict[int, Mapping[str, Any]] = {}
    with waiting_board.board() as board:
        watched = client.watch(ids)
        for job in together([watched], timeout, lambda: going_on_text([i for i in ids if i not in ended])):
            board.show(job)
            if Status(job["status"]).is_final and job["id"] not in ended:
                ended[job["id"]] = job
                with board.away():
                    tell(job)
    return ended


def exit_code_of(job: Mapping[str, Any], is_result_wanted: bool = False) -> int:
    """The exit code of an ended job; its result goes to stdout where it is wanted, its failure to stderr."""
    failure = failure_of(dict(job))
    if failure is not None:
        screen.say(explained(failure))
        return code_of(failure)
    if is_result_wanted:
        screen.tell_json(job["result"])
    return OK


@contextmanager
def going_on(*ids: int) -> Iterator[None]:
    """An interrupt that comes meanwhile says that it ended the waiting and no job."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; {going_on_text(ids)}") from None


def going_on_text(ids: Sequence[int]) -> str:
    """That the end of a wait is not that of the jobs, and how to wait on."""
    if not ids:
        return "the jobs go on"
    names = " ".join(map(str, ids))
    goes = f"job {names} goes on" if len(ids) == 1 else f"jobs {names} go on"
    return f"{goes}, `bgjob wait {names}` waits on"


class Printer:
    """What a job logs and writes, on stderr and stdout; as JSON lines on stdout for a program."""

    def __init__(self, is_json: bool) -> None:
        self._is_json = is_json
        self._number = 0
        self._decoder = _terminal_decoder()
        self._is_line_open = False
        self.is_nothing = True

    def entry(self, entry: Mapping[str, Any]) -> None:
        if self._is_json:
            screen.tell_json({"entry": entry})
            return
        self._close_line()
        screen.note(screen.log_line(entry, sys.stderr))

    def output(self, part: OutputPart) -> None:
        self.is_nothing = self.is_nothing and not part.marked
        if self._is_json:
            data = b64encode(part.data).decode()
            place = {"number": part.number, "left_out": part.left_out, "offset": part.offset}
            screen.tell_json(place | {"data": data})
            return
        if self._number not in (0, part.number):
            self.end()
            screen.say(f"attempt {part.number}")
        self._number = part.number
        if sys.stdout.isatty():
            self._write_text(self._decoder.decode(part.marked))
        else:
            sys.stdout.buffer.write(part.marked)
            sys.stdout.flush()

    def end(self) -> None:
        """Write what is left of a character, and end the last line of a terminal."""
        self._write_text(self._decoder.decode(b"", final=True))
        self._decoder = _terminal_decoder()
        self._close_line()

    def _write_text(self, written: str) -> None:
        if not written:
            return
        sys.stdout.write(text.lines(written))
        sys.stdout.flush()
        self._is_line_open = not written.endswith("\n")

    def _close_line(self) -> None:
        if self._is_line_open:
            screen.tell("")
            self._is_line_open = False


def _terminal_decoder() -> io.IncrementalNewlineDecoder:
    """Bytes to text for a terminal: what is no UTF-8 shows as escapes, a carriage return begins a line."""
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    return io.IncrementalNewlineDecoder(decoder, translate=True)


# Streams, read together


def _later(tell: Callable[..., None], *what: Any) -> Callable[[], None]:
    return lambda: tell(*what)


class _Ended(Generic[T]):
    """What a thread says last: the error that ended its stream, or None."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def together(streams: Iterable[Iterator[T]], timeout: float | None, late: Callable[[], str]) -> Iterator[T]:
    """What the streams tell, as it comes, each read on a thread of its own; until all have ended.

    Raises what a stream raises, and WaitTimeoutError after `timeout` seconds; `late` has the end of its message.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    items: queue.SimpleQueue[T | _Ended[T]] = queue.SimpleQueue()
    running = 0
    for stream in streams:
        threading.Thread(target=_read, args=(stream, items), daemon=True).start()
        running += 1
    while running:
        try:
            item = items.get(timeout=None if deadline is None else max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise WaitTimeoutError(f"not ended after {timeout:g} s; {late()}") from None
        if not isinstance(item, _Ended):
            yield item
        elif item.error is not None:
            raise item.error
        else:
            running -= 1


def _read(stream: Iterator[T], items: queue.SimpleQueue[T | _Ended[T]]) -> None:
    try:
        for item in stream:
            items.put(item)
        items.put(_Ended(None))
    except BaseException as error:
        items.put(_Ended(error))

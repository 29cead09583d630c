"""The command `bgjobd otel`: follows the log, and sends each attempt that has ended as a span; a client of the socket.

How far it has come stands in a file, which is written once a collector has taken what came before. So a kill has some
sent again, under the same ids.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, NoReturn, Protocol

from bgjob import Client
from bgjob.codec import JsonObject
from bgjob.errors import (
    BgjobError,
    DaemonUnavailableError,
    JobNotFoundError,
    PermissionDeniedError,
    SocketDeniedError,
)
from bgjobd.commands.exit_codes import FAILED, OK, REFUSED, UNAVAILABLE, USAGE, complain
from bgjobd.commands.otel_sending import EXTRA, Collector, NotTakenError
from bgjobd.config.sections import Config
from bgjobd.core.trace_spans import AttemptSpan, try_span

CURSOR: Final = "otel-cursor"

_AT_ONCE: Final = 500
"""Log entries, and so no more spans at once than a collector takes."""

_MOST_SENT: Final = 10_000
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0


class Sender(Protocol):
    def send(self, spans: Sequence[AttemptSpan]) -> None:
        """Raises NotTakenError."""


class Cursor:
    """The id of the last log entry that is dealt with, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> int | None:
        """None where there is none yet. Raises OSError, and ValueError where the file has something else."""
        try:
            text = self._path.read_text("ascii")
        except FileNotFoundError:
            return None
        if not text.strip().isdecimal():
            raise ValueError(f"{self._path} has no number of a log entry in it")
        return int(text)

    def write(self, entry: int) -> None:
        """Whole, or not at all, and of no loss of power an empty one. Raises OSError."""
        unfinished = self._path.with_name(f"{self._path.name}.new")
        unfinished.unlink(missing_ok=True)
        with unfinished.open("x", encoding="ascii") as file:
            file.write(f"{entry}\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, self._path)


class Exporter:
    """Takes the log from where it was left, entry by entry; `say` hears of trouble, and of its end."""

    def __init__(
        self,
        client: Client,
        cursor: Cursor,
        sender: Sender,
        say: Callable[[str], None],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client, self._cursor, self._sender = client, cursor, sender
        self._say, self._pause = say, pause
        self._sent: dict[tuple[int, int], None] = {}

    def begin(self) -> int:
        """Where to go on: at first at the log's end. Raises OSError, ValueError and BgjobError."""
        kept = self._cursor.read()
        newest = self._client.logs(limit=1).items
        last = newest[0]["id"] if newest else 0
        if kept is not None and kept <= last:
            return kept
        if kept is not None:
            self._say(f"the log ends before entry {kept}, which was sent: it goes on behind {last}")
        self._cursor.write(last)
        return int(last)

    def run(self, after: int) -> int:
        """Send all that there is behind an entry; up to which that was. Raises OSError and BgjobError."""
        while True:
            page = self._client.logs(after=after, limit=_AT_ONCE)
            self._send(self._spans(page.items))
            last = page.items[-1]["id"] if page.next is None and page.items else page.next
            if last is not None:
                after = last
                self._cursor.write(after)
            if page.next is None:
                return after

    def wait(self, after: int) -> None:
        """Until there is an entry behind this one. Raises BgjobError."""
        with self._client.follow_logs(after=after) as entries:
            next(entries, None)

    def _spans(self, entries: Iterable[JsonObject]) -> list[AttemptSpan]:
        """What these tell of; an attempt has several entries, and is told once it is over."""
        named = ((one["job_id"], one["attempt"]) for one in entries if one["attempt"] is not None)
        spans = []
        for key in dict.fromkeys(named):
            if key in self._sent:
                continue
            span = self._try_span(*key)
            if span is not None:
                spans.append(span)
                self._sent[key] = None
        while len(self._sent) > _MOST_SENT:
            del self._sent[next(iter(self._sent))]
        return spans

    def _try_span(self, job_id: int, number: int) -> AttemptSpan | None:
        try:
            job = self._client.get(job_id, before=number + 1, limit=1).snapshot
        except JobNotFoundError:
            return None
        attempts = [one for one in job["attempts"] if one["number"] == number]
        return try_span(job, attempts[0]) if attempts else None

    def _send(self, spans: Sequence[AttemptSpan]) -> None:
        """However long it takes, and in parts where they are too large; what the collector refuses for good is left
        out, and said.
        """
        pause, is_in_trouble = _FIRST_PAUSE, False
        while spans:
            try:
                self._sender.send(spans)
            except NotTakenError as error:
                if error.is_too_large and len(spans) > 1:
                    self._send(spans[: len(spans) // 2])
                    self._send(spans[len(spans) // 2 :])
                    return
                if error.is_final:
                    self._say(f"the collector refuses {len(spans)} spans, which are left out: {error}")
                    return
                if not is_in_trouble:
                    self._say(f"the collector takes no spans, which wait: {error}")
                is_in_trouble = True
                self._pause(pause)
                pause = min(_LONGEST_PAUSE, pause * 2)
            else:
                if is_in_trouble:
                    self._say("the collector takes spans again")
                return


def otel(given: argparse.Namespace, settings: Config) -> int:
    """Send what the log tells, and with `--once` no more than there is."""
    path: Path = given.cursor or settings.daemon.state_dir / CURSOR
    try:
        collector = Collector()
    except ModuleNotFoundError:
        return complain(EXTRA, USAGE)
    try:
        with Client(str(settings.daemon.socket)) as client:
            exporter = Exporter(client, Cursor(path), collector, _say)
            if not given.once:
                _follow(exporter)
            exporter.run(exporter.begin())
    except KeyboardInterrupt:
        pass
    except (PermissionDeniedError, SocketDeniedError) as error:
        return complain(f"spans are not sent: {error}", REFUSED)
    except BgjobError as error:
        return complain(f"spans are not sent: {error}", UNAVAILABLE)
    except (OSError, ValueError) as error:
        return complain(f"spans are not sent: {error}", FAILED)
    return OK


def _follow(exporter: Exporter) -> NoReturn:
    """For ever, whether or not a daemon runs. Raises OSError, ValueError and BgjobError."""
    while True:
        try:
            exporter.wait(exporter.run(exporter.begin()))
        except DaemonUnavailableError as error:
            _say(f"no spans until a daemon answers: {error}")
            time.sleep(_LONGEST_PAUSE)


def _say(message: str) -> None:
    complain(message, OK)

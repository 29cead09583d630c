"""A page's server that runs meanwhile, peers that write what they like to it, and a daemon that tells it samples."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bgjob.codec import Request as Asked
from bgjobd.web.exchange import Request, Response
from bgjobd.web.render import Renderer
from bgjobd.web.server import Limits, Server
from bgjobd.web.settings import Settings
from bgjobd.web.views import Page
from tests.client.scripted import Line, ScriptedDaemon

TOKEN = "a-token-that-is-long-enough-for-it"
WHEN = "2024-12-04T14:31:53Z"
COMING = "2040-01-01T01:30:00Z"


@cache
def renderer(base: str = "") -> Renderer:
    """One for the whole process and each base, which takes a while to compile its templates."""
    return Renderer(base)


@dataclass(frozen=True)
class Answer:
    """One response; header names in lower case, each with all its values."""

    status: int
    headers: dict[str, list[str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The only value. Fails where there are more."""
        values = self.headers.get(name, [])
        assert len(values) < 2, f"{name} stands there {len(values)} times"
        return values[0] if values else None


class Peer:
    """One connection to a page."""

    def __init__(self, address: Any) -> None:
        self.socket = socket.socket(_family(address))
        self.socket.settimeout(20)
        self.socket.connect(address)
        self._came = b""

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def ask(self, line: str, *headers: str, body: bytes = b"") -> Answer:
        """The answer to a request with a Host that fits, unless the headers have one."""
        told = list(headers)
        if not any(header.lower().startswith("host:") for header in headers):
            told.insert(0, f"Host: {self.host}")
        if body:
            told.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([f"{line} HTTP/1.1", *told, "", ""]).encode("latin-1") + body)
        return self.answer(has_body=not line.startswith("HEAD "))

    @property
    def host(self) -> str:
        name = self.socket.getpeername()
        return "localhost" if isinstance(name, str) else f"localhost:{name[1]}"

    def answer(self, has_body: bool = True) -> Answer:
        """What comes next, whole."""
        head, self._came = self._until(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        assert first.startswith("HTTP/1.1 ")
        headers: dict[str, list[str]] = {}
        for line in lines:
            name, _, value = line.partition(": ")
            headers.setdefault(name.lower(), []).append(value)
        size = int(headers.get("content-length", ["0"])[0]) if has_body else 0
        while len(self._came) < size:
            self._more()
        body, self._came = self._came[:size], self._came[size:]
        return Answer(int(first.split()[1]), headers, body)

    def piece(self) -> bytes:
        """The next event of a stream."""
        event, self._came = self._until(b"\n\n")
        return event

    def rest(self) -> bytes:
        """All that comes until the page closes."""
        try:
            while piece := self.socket.recv(65536):
                self._came += piece
        except ConnectionResetError:
            pass
        return self._came

    def _until(self, mark: bytes) -> tuple[bytes, bytes]:
        while mark not in self._came:
            self._more()
        found, _, rest = self._came.partition(mark)
        return found + mark, rest

    def _more(self) -> None:
        piece = self.socket.recv(65536)
        if not piece:
            raise ConnectionError(f"the page closed after {self._came!r}")
        self._came += piece


def _family(address: Any) -> socket.AddressFamily:
    if isinstance(address, str):
        return socket.AF_UNIX
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET


class Served:
    """A server that runs; `address` as sockets take it."""

    def __init__(self, server: Server, settings: Settings) -> None:
        self.server = server
        self.port = server.port
        self.address = settings.path if settings.is_unix else (settings.host, server.port)

    def peer(self) -> Peer:
        return Peer(self.address)

    def ask(self, line: str, *headers: str, body: bytes = b"") -> Answer:
        """On a connection of its own."""
        with self.peer() as peer:
            return peer.ask(line, *headers, body=body)

    def raw(self, data: bytes) -> bytes:
        """All that is answered to these bytes, after which the peer says no more."""
        with self.peer() as peer:
            peer.send(data)
            peer.socket.shutdown(socket.SHUT_WR)
            return peer.rest()


@contextmanager
def serving(
    respond: Callable[[Request], Response], settings: Settings | None = None, limits: Limits | None = None
) -> Iterator[Served]:
    """A server with this `respond`."""
    settings = settings or Settings("unix:/nowhere", "127.0.0.1:0")
    server = Server(settings, respond, limits)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Served(server, settings)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(20)


@contextmanager
def page(
    directory: Path,
    bind: str = "127.0.0.1:0",
    tells: Callable[[Line, Asked], bool] | None = None,
    **given: Any,
) -> Iterator[Served]:
    """A page over a scripted daemon that tells the samples; `tells` comes first, and says whether it has answered."""

    def script(line: Line, asked: Asked) -> None:
        if tells is None or not tells(line, asked):
            tell_samples(line, asked)

    with ScriptedDaemon(directory / "d.sock", script) as daemon:
        settings = Settings(f"unix:{daemon.path}", bind, **given)
        with serving(Page(settings).respond, settings) as served:
            yield served


def tell_samples(line: Line, asked: Asked, samples: dict[str, Any] | None = None) -> None:
    """What a daemon with one of each would."""
    samples = SAMPLES if samples is None else samples
    match asked.method.rpartition(".")[2]:
        case "Logs" if asked.more:
            line.more(entries=[], next=7, is_complete=True)
            line.wait_for_hang_up()
        case "Logs":
            line.reply(entries=samples.get("entries", [samples["entry"]]), **_how_far(samples))
        case "List" if "again_of" in asked.parameters:
            line.reply(jobs=samples.get("again", []), next=None, is_complete=True, total=None)
        case "List":
            line.reply(jobs=samples.get("jobs", [samples["summary"]]), **_how_far(samples))
        case "Get":
            line.reply(job=samples["job"], next=None)
        case "Output":
            line.reply(number=1, left_out=0, offset=0, data="", next=0, is_end=True)
        case "Running":
            line.reply(attempts=[samples["running"]])
        case "Classes":
            line.reply(classes=[samples["class"]], code_version="c0de", limits=samples["limits"])
        case "Stats":
            line.reply(**samples["stats"])
        case "GetInfo":
            line.reply(vendor="bgjobd", product="bgjobd", version="1", url="", interfaces=[])
        case "Keys":
            line.reply(keys=samples.get("keys", [samples["key"]]), next=None)
        case "Labels":
            line.reply(labels=[samples["label"]], next=None)
        case "Steps":
            of_state = {"state": samples.get("state"), "state_size": samples.get("state_size")}
            line.reply(steps=samples["steps"], signals=samples["signals"], next=None, **of_state)
        case "Values":
            line.reply(values=samples["values"], next=samples["values_told"], left_out=0, is_end=True)
        case "Settle":
            line.reply()
        case "Signal":
            line.reply(id=samples["job"]["id"], created=True)
        case "Stack":
            line.reply(**STACK)
        case "Why":
            line.reply(sentence=samples["why"])
        case "Retry" | "Cancel":
            line.reply(ids=asked.parameters["ids"])
        case "Graph":
            line.reply(**samples["graph"])
        case "Alerts":
            line.reply(alerts=[samples["alert"]], next=None)
        case "Matching":
            line.reply(**samples["matched"])
        case "RetryMatching":
            line.reply(retried=14, left_out=3, change=7)
        case "CancelMatching":
            line.reply(cancelled=17, left_out=0, change=8)
        case "Changes":
            line.reply(changes=[samples["change"]], next=samples.get("next_change"))
        case "Needs":
            line.reply(needs=[samples["need"]], more=0)
        case "Trend":
            line.reply(points=[samples["point"]])
        case "ClassTrends":
            line.reply(classes=[samples["trend"]])
        case "ClassStats" if asked.parameters["name"] != SAMPLES["trend"]["name"]:
            nothing = FIGURES | {"ended": 0, "completed": 0, "failed": 0}
            line.reply(day=nothing, before=nothing, attempts=[])
        case "ClassStats":
            line.reply(day=FIGURES, before=FIGURES, attempts=[samples["mark"]])
        case "Hosts":
            line.reply(hosts=[samples["host"]])
        case "Errors":
            line.reply(errors=[samples["error"]], next=samples.get("next_error"))
        case "Error" if asked.parameters["id"] != samples["error"]["id"]:
            line.refuse("ErrorGroupNotFound", id=asked.parameters["id"])
        case "Error":
            told = {name: samples[name] for name in ("traceback", "met_by", "traits")} | {
                "next_retry": COMING
            }
            line.reply(error=samples["error"], classes=samples.get("classes", {"shop.jobs.Email": 7}), **told)
        case "Group":
            line.reply(group=samples["group"])
        case "Groups":
            line.reply(groups=[samples["group"]], next=samples.get("next"))
        case "RetryGroup":
            line.reply(retried=1)
        case "Schedules" if (
            asked.parameters.get("name", samples["schedule"]["name"]) != samples["schedule"]["name"]
        ):
            line.refuse("ScheduleNotFound", name=asked.parameters["name"])
        case "Schedules":
            line.reply(schedules=[samples["schedule"]])
        case "Occurrences":
            line.reply(occurrences=[samples["occurrence"]], next=None)
        case "RunSchedule":
            line.reply(id=samples["job"]["id"])
        case "Pause" | "Resume" | "PauseSchedule" | "ResumeSchedule" | "SealGroup" | "CancelGroup":
            line.reply()
        case "HoldClass" | "ResumeClass":
            line.reply()
        case other:
            raise ValueError(f"the samples have no {other}")


def _how_far(samples: dict[str, Any]) -> dict[str, Any]:
    """Where a list goes on, and whether its search came to an end; as it does where the samples do not say."""
    names = ("next", "next_at", "total")
    return {name: samples.get(name) for name in names} | {"is_complete": samples.get("is_complete", True)}


_TIMES = {
    "created_at": WHEN,
    "updated_at": WHEN,
    "scheduled_at": WHEN,
    "started_at": WHEN,
    "finished_at": WHEN,
}
STACK: dict[str, Any] = {
    "number": 1,
    "at": WHEN,
    "answered": "python",
    "process": {
        "pid": 97,
        "state": "sleeping",
        "waits_in": "futex_do_wait",
        "threads": 5,
        "cpu": 0.4,
        "children": [],
    },
    "threads": [
        {
            "name": "MainThread",
            "native_id": 97,
            "frames": [{"file": "/srv/shop/<b>jobs.py", "line": 41, "name": "Email.send"}],
            "same": 1,
        }
    ],
    "tasks": [],
    "note": "it was asked <i>",
}
"""Told where somebody asks for it by a form; no view asks."""


_WHAT = {"class_name": "shop.jobs.Email", "method_name": "send"}
_PROGRESS = {"fraction": 0.5, "message": "half of it", "at": WHEN}
_USED = {"max_rss": 4096, "cpu_user": 0.5, "cpu_system": 0.25, "output_bytes": 12}
_ATTEMPT = {
    "job_id": 1, "number": 1, "pid": 99, "started_at": WHEN, "finished_at": WHEN, "outcome": "failed",
    "exit_code": 1, "signal": None, "error_type": "ValueError", "error_message": "no recipient",
    "traceback": "Traceback (most recent call last):", **_USED, "code_version": "c0de", "progress": _PROGRESS,
    "error_class": "shop.errors.NoRecipient", "error_group": 1, "traceparent": None,
}  # fmt: skip

_OCCURRENCE = {
    "at": WHEN, "until": WHEN, "count": 1, "verdict": "submitted", "reason": None, "job_id": 1, "dealt_at": WHEN,
    "status": "failed",
}  # fmt: skip

_SUMMARY = {
    "id": 1, **_WHAT, "status": "failed", "queue": "default", "priority": 0, "retry_count": 0, "max_retries": 3,
    "attempt": 1, **_TIMES, "cancel_requested_at": None, "error": "no recipient", "progress": _PROGRESS, **_USED,
    "schedule": "nightly", "occurrence": WHEN, "is_blocked": False, "group_id": 5, "key": "customer:7",
    "is_behind": False, "steps": 2, "step": None, "waiting_on": None, "review_since": None, "labels": ["tenant:7"],
}  # fmt: skip

_GROUP = {
    "id": 5, "name": "thumbnails", "total": 4, "unfinished": 1, "completed": 1, "failed": 1, "cancelled": 1,
    "state": "open", "sealed_at": WHEN, "ended_at": WHEN, "created_at": WHEN, "group": 4,
}  # fmt: skip

FIGURES = {"ended": 26, "completed": 13, "failed": 1, "p50": 0.042, "p95": 3.1, "waited_p95": 1.2, "memory": 13_631_488,
           "cpu": 62.0}  # fmt: skip
SAMPLES: dict[str, Any] = {
    "need": {"kind": "slow", "subject": "shop.jobs.Email::send", "since": WHEN, "sentence": "job 1 has run for 41 min",
             "hint": "`bgjob stack 1` says where it is"},
    "running": {"job_id": 1, "number": 1, **_WHAT, "queue": "mail", "pid": 99, "started_at": WHEN, "cpu": 0.5,
                "memory": 4096, "progress": _PROGRESS, "timeout": 300.0, "host": "web1",
                "expected": {"runs": 9, "p50": 40.2, "p95": 118.0, "memory_p95": None, "left": None, "times": None}},
    "point": {"at": WHEN, "name": "default", "completed": 13, "failed": 1, "pending": 7, "attempts": 3},
    "trend": {"name": "shop.jobs.Email", "day": FIGURES, "before": FIGURES, "hours": [1] * 24, "failed": [1] * 24},
    "mark": {"job_id": 1, "number": 1, "at": WHEN, "seconds": 30.0, "memory": 4096, "cpu": 0.5, "waited": 1.5,
             "outcome": "timed_out"},
    "schedule": {"name": "nightly", "job": "shop.jobs.Email::send", "parameters": {"to": "a@b"}, "cron": "30 2 * * *",
                 "every": None, "zone": "Europe/Berlin", "description": "At 02:30 every day", "missed": "run_once",
                 "overlap": "skip", "jitter": 60.0, "paused_at": WHEN, "last": _OCCURRENCE,
                 "refused": "the class shop.jobs.Email is not approved",
                 "next": [{"at": COMING, "local": "Sun 2040-01-01 02:30 CET", "note": "the clock shows it twice"}]},
    "occurrence": _OCCURRENCE,
    "group": _GROUP,
    "traceback": "Traceback (most recent call last):",
    "host": {"name": "web1", "id": 1, "term": 3, "is_own": True, "state": "alive", "seen_at": WHEN, "unseen_for": 0.5,
             "lost_after": 600.0, "slots": 4, "queues": ["default"], "classes": [], "running": 2, "version": "1",
             "code_version": "abc", "clock_difference": 0.0, "trouble": None, "left_at": None, "lost_at": None,
             "drained_at": None},
    "error": {"id": 1, "fingerprint": "7c1e90b2a4d37c1e", "outcome": "failed", "error_type": "NoRecipient",
              "message": "no recipient", "place": "shop.mail:deliver", "line": "mail.py:88",
              "class_name": "shop.jobs.Email", "is_named": True, "name": "mail is down", "first_at": WHEN,
              "first_job": 1, "first_version": "c0de", "last_at": WHEN, "last_job": 1, "last_attempt": 1,
              "last_version": "c0de", "attempts": 58, "failed": 17, "back_at": WHEN, "is_new": True,
              "is_back": True, "classes": 3, "retrying": 41, "counted": 58},
    "met_by": [{"class_name": "shop.jobs.Email", "attempts": 7, "failed": 5, "retrying": 2}],
    "traits": {"attempts": 58, "others": 120, "seconds": 3.1, "usual": 0.042,
               "each": [{"of": "code", "value": "4f2a1c", "attempts": 58, "others": 0}],
               "completed": {"job_id": 4990, "number": 1, "at": WHEN}},
    "alert": {"id": 14, "rule": "nightly", "kind": "paused", "subject": "mail", "host": "web1", "message": "paused",
              "hint": "resume it", "since": WHEN, "count": 1, "raised_at": WHEN, "last_at": WHEN, "cleared_at": WHEN,
              "told_at": WHEN, "end_told_at": WHEN, "told_count": 1, "acknowledged_at": WHEN, "acknowledged_uid": 1000},
    "matched": {"count": 17, "running": 2, "at_most_once": 3, "oldest": WHEN, "newest": WHEN, "as_of": WHEN,
                "classes": [{"class_name": "shop.jobs.Email", "count": 14, "at_most_once": 0},
                            {"class_name": "shop.jobs.Charge", "count": 3, "at_most_once": 3}]},
    "change": {"id": 7, "at": WHEN, "kind": "loaded", "who": "uid 1000",
               "what": {"code": "4f2a1c", "was": "9be07d", "host": "web1"}},
    "key": {"key": "customer:7", "running": 2, "ready": 1, "behind": 1000, "next_at": COMING},
    "label": {"label": "tenant:7", "jobs": 1000, "newest": 12, "pending": 1, "running": 2, "completed": 3, "failed": 4,
              "cancelled": 5},
    "steps": [
        {"kind": "step", "name": "charge", "turn": 1, "number": 1, "attempt": 1, "tries": 2, "began_at": WHEN,
         "finished_at": WHEN, "until": None, "size": 7, "result": "pay-7", "timed_out": False, "unused_in": 2,
         "by_uid": None, "token": "c0de" * 8},
        {"kind": "signal", "name": "packed", "turn": 2, "number": None, "attempt": 1, "tries": 1, "began_at": WHEN,
         "finished_at": None, "until": COMING, "size": 0, "result": None, "timed_out": False, "unused_in": None,
         "by_uid": None, "token": ""},
    ],
    "values": [{"number": 480, "attempt": 2, "step": "label 3", "at": WHEN, "value": {"label": 3}},
               {"number": 481, "attempt": 2, "step": None, "at": WHEN, "value": "packed"}],
    "values_told": 481,
    "signals": [{"number": 1, "name": "other", "payload": "early", "sent_at": WHEN, "uid": 1000, "taken_by": None,
                 "size": 7}],
    "graph": {"jobs": [_SUMMARY, _SUMMARY | {"id": 2, "status": "completed"}, _SUMMARY | {"id": 3, "group_id": None}],
              "groups": [_GROUP],
              "edges": [{"of": "job", "after": 2, "job_id": 1, "standing": "met"},
                        {"of": "job", "after": 1, "job_id": 3, "standing": "failed"},
                        {"of": "group", "after": 5, "job_id": 3, "standing": "open"}],
              "is_whole": False},
    "entry": {"id": 7, "job_id": 1, "attempt": 1, "attempts_allowed": 4, "type": "failure",
              "message": "no recipient", "context": {}, "created_at": WHEN, **_WHAT},
    "summary": _SUMMARY,
    "job": {"id": 1, **_WHAT, "parameters": {"to": "a@b"}, "status": "failed", "retry_count": 0, "max_retries": 3,
            "retry_delay": 5.0, "backoff": "constant", "max_retry_delay": 3600.0, "queue": "default",
            "priority": 0, "timeout": None, **_TIMES, "cancel_requested_at": None, "idempotency_key": "k",
            "result": {"sent": 1}, "error": "no recipient", "submitted_uid": 1000, "submitted_gid": 1000,
            "submitted_pid": 98, "submitted_by_job": 7, "schedule": "nightly",
            "occurrence": "2024-12-04T14:31:00.000000Z", "is_blocked": False, "waits_for": 0, "if_failed": "cancel",
            "cancelled_after": "12", "group_id": 5, "key": "customer:7", "turn": 3,
            "is_behind": False, "waits_until": None, "steps": 2, "waiting_on": None, "again_of": None,
            "review_since": None, "labels": ["tenant:7", "release:42"],
            "takes": {"rows": {"of": {"id": 2}, "pointer": "/rows", "problem": "it has no /rows"}},
            "attempts": [_ATTEMPT]},
    "class": {"name": "shop.jobs.Email", "doc": "Sends.", "unavailable": "it does not import",
              "hint": "its jobs wait, and it is tried again in 40 s", "held_until": COMING, "held_by": 12, "held": None,
              "policy": {"queue": "mail", "priority": 0, "slots": 2, "timeout": 300.0, "max_retries": 3,
                         "retry_delay": 5.0, "backoff": "exponential", "max_retry_delay": 3600.0, "retry_lost": True,
                         "retry_on": None, "stop_grace": 10.0, "memory": 268435456, "cpu": None,
                         "cpu_share": 1.5, "open_files": None, "processes": 64, "file_size": None, "nice": 5,
                         "max_output": 1048576, "work_limit": 1073741824, "user": "mail", "group": None,
                         "writable": ["/srv/mail"],
                         "sensitive": ["password"], "key": "customer_id", "rate": "100 in 1 min",
                         "unenforced": ["processes"]},
              "methods": [{"name": "send", "doc": "Sends one.", "schema": {}, "note": None}]},
    "why": "job 1 waits for a slot",
    "limits": {"memory": "RLIMIT_DATA", "cpu_share": "nothing: it takes cgroup v2"},
    "stats": {"version": "0.1.0", "pid": 97, "blocked": 1, "groups_open": 2, "waiting": 3, "review": 7,
              "slots": 4, "storage_trouble": "no space", "usage": None, "oldest_snapshot": 0.5,
              "oldest_snapshot_pid": 7,
              "jobs": {"pending": 1, "running": 2, "completed": 3, "failed": 4, "cancelled": 5},
              "queues": [{"name": "default", "pending": 1, "running": 1, "slots": 2, "paused": False,
                          "max_pending": 100000, "oldest_pending": WHEN, "blocked": 1, "resumes_at": None,
                          "slots_per_key": 2, "rate_per_key": "10 in 1 s", "share": "key", "behind": 35,
                          "waiting": 3, "due": 1, "later": 4}],
              "minutes": [{"at": WHEN, "completed": 3, "failed": 1}, {"at": WHEN, "completed": 0, "failed": 0}],
              "refused_schedules": {"nightly": "the class shop.jobs.Email is not approved"},
              "oldest_pending": WHEN, "database_bytes": 40960, "started_at": WHEN, "code_version": "c0de",
              "loaded_at": WHEN, "python": "3.11.7", "fork_server_pid": 96, "fork_servers": 2,
              "counts": {"bounds": [0.01, 1.0], "schedules": {"nightly": {"last_success": WHEN, "occurrences": [
                             {"verdict": "submitted", "reason": None, "count": 3},
                             {"verdict": "skipped", "reason": "missed", "count": 7}]}},
                         "waits": {"default": {"buckets": [5, 1, 0], "sum": 0.25}},
                         "classes": {"shop.jobs.Email": {
                             "attempts": {"completed": 3, "failed": 2, "not_started": 1}, "retries": 1,
                             "jobs": {"completed": 3, "failed": 1},
                             "seconds": {"buckets": [1, 2, 2], "sum": 12.5}}}}},
}  # fmt: skip
"""One of each that a daemon tells, with every field that a template may show."""

"""Text that others wrote moves no terminal and forges no line: in every log, and in what every command shows."""

from __future__ import annotations

import argparse
import asyncio
import copy
import io
import json
import re
import socket
import string
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from bgjob import command, flow, retrying
from bgjob.codec import Reply, Request
from bgjob.commands import arguments, waiting_board
from bgjob.errors import RequestError
from bgjob.words import EntryType
from bgjobd import main
from bgjobd.host.log import FILE_NAME, Log
from bgjobd.host.log import Line as LogLine
from bgjobd.host.sd_notify import Notifier
from bgjobd.web import console
from bgjobd.web.settings import Settings
from tests.client.scripted import Line, ScriptedDaemon, group, method_of
from tests.daemon.running import RunningDaemon, daemon
from tests.fuzz.commands import FLOW
from tests.page.serving import SAMPLES, STACK, WHEN, tell_samples
from tests.support import eventually

FORGED: Final = "[2024-12-04 14:31:53] SUCCESS: forged"
HOSTILE: Final = (
    f"\n{FORGED}\r\x1b[2J\x1b[8m\x1b[31mred of others"
    f"\x1b]0;title\x07\x08\x7f\x9b31m\x85{FORGED}\u2028\u2029\u202e\u202d\u2066\u2069\u200e\u061c"
    "\u200b\ufeff\u00ad\U000e0041"
)
"""The log's line behind every kind of line end; CSI (colours too) and OSC in 7 and 8 bit, bell, backspace, DEL, bidi,
tags."""

_PAINT: Final = re.compile(r"\x1b\[([01]|3[12346])m(?!red of others)")
"""The command's own colours."""


def harm_in(shown: str, *, is_painted: bool = False) -> str:
    """The first line that could move a terminal, or that nobody wrote; empty if there is none."""
    for line in (_PAINT.sub("", shown) if is_painted else shown).split("\n"):
        if line.startswith(FORGED) or not line.replace("\t", "").isprintable():
            return line
    return ""


def test_what_harms_is_found() -> None:
    for (
        character
    ) in "\r\x1b\x07\x08\x7f\x9b\x85\u2028\u2029\u202e\u202d\u2066\u2069\u200e\u061c\u200b\ufeff\x00":
        assert harm_in(f"one\nt{character}wo") == f"t{character}wo"
    assert harm_in(f"one\n{FORGED}") == FORGED
    assert harm_in(f"one\ttwo\n  {FORGED}\n\x1b[31mred\x1b[0m", is_painted=True) == ""


# A daemon that lies to the command bgjob

_RUNNING: Final = {
    "job_id": 1, "number": 1, "class_name": "shop.jobs.Email", "method_name": "send", "queue": "default", "pid": 9,
    "started_at": WHEN, "cpu": 1.0, "memory": 4096, "progress": {"fraction": 0.5, "message": "half", "at": WHEN},
}  # fmt: skip
_OCCURRENCE: Final = {
    "at": WHEN, "until": WHEN, "count": 1, "verdict": "submitted", "reason": None, "job_id": 1, "dealt_at": WHEN,
    "status": "completed",
}  # fmt: skip
_SCHEDULE: Final = {
    "name": "nightly", "job": "shop.jobs.Email::send", "parameters": {"a": 1}, "cron": "30 2 * * *", "every": None,
    "zone": "UTC", "description": "At 02:30 every day", "missed": "skip", "overlap": "skip", "jitter": 5.0,
    "paused_at": WHEN, "next": [{"at": WHEN, "local": "Mon 2026-11-30 02:30 UTC", "note": "twice"}],
    "last": _OCCURRENCE, "refused": "no",
}  # fmt: skip
_MEASURES: Final = {
    f"{name}_{part}": value
    for name, value in (("wall", 1.0), ("cpu", 1.0), ("memory", 4096), ("output", 12))
    for part in ("p50", "p95")
}
_GROUP: Final = group(5, "failed", name="pages", group=4)
TOLD: Final[Mapping[str, Any]] = {
    **SAMPLES,
    "stats": {
        **SAMPLES["stats"],
        "usage": {"shop.jobs.Email": {"attempts": 3, **_MEASURES}},
        "counts": None,
        "minutes": [{"completed": 3, "failed": 1}],
    },
    "running": _RUNNING,
    "classes": {"shop.jobs.Email": 7},
    "output": {"number": 1, "left_out": 0, "offset": 0, "data": "", "next": 0, "is_end": True},
    "id": 1,
    "code_version": "c0de",
    "schedules": [_SCHEDULE],
    "occurrences": [_OCCURRENCE, _OCCURRENCE | {"verdict": "skipped", "reason": "missed", "count": 2}],
    "next_occurrence": WHEN,
    "ids": [1, 2],
    "graph": {
        "jobs": [SAMPLES["summary"], SAMPLES["summary"] | {"id": 2}],
        "groups": [_GROUP],
        "edges": [{"of": "job", "after": 1, "job_id": 2, "standing": "failed"}],
        "is_whole": False,
    },
    "group": _GROUP,
    "stack": STACK | {"tasks": [{name: STACK["threads"][0][name] for name in ("name", "frames", "same")}]},
    "alerts": [
        {
            **dict.fromkeys(("rule", "kind", "subject", "host", "message", "hint"), "a"),
            **dict.fromkeys(("id", "count", "told_count", "acknowledged_uid"), 1),
            **dict.fromkeys(
                ("since", "raised_at", "last_at", "told_at", "end_told_at", "acknowledged_at"), WHEN
            ),
            "cleared_at": None,
        }
    ],
    "drained": {"host": "web1", "running": 2, "unseen_for": 0.5},
    "needs": [{"kind": "storage", "subject": "web1", "since": WHEN, "sentence": "full", "hint": "make room"}],
    "hosts": [
        {
            "name": "web1",
            "id": 1,
            "term": 2,
            "is_own": True,
            "state": "alive",
            "seen_at": WHEN,
            "unseen_for": 0.5,
            "lost_after": 600.0,
            "slots": 4,
            "queues": ["default"],
            "classes": ["a.B"],
            "running": 1,
            "version": "0.1.0",
            "code_version": "736711a9ab89",
            "clock_difference": 0.1,
            "trouble": "the disk is full",
            "left_at": None,
            "lost_at": None,
            "drained_at": None,
        }
    ],
    "keys": [{"key": "customer:7", "running": 1, "ready": 1, "behind": 2, "next_at": WHEN}],
}
"""All that a daemon answers to the commands, with every field."""

WORDS: Final[Mapping[str, tuple[Sequence[str], Sequence[str]]]] = {
    "run": (("shop.jobs.Email::send",), ("id",)),
    "run -w": (("shop.jobs.Email::send",), ("job",)),
    "list": ((), ("summary",)),
    "errors": ((), ("error",)),
    "errors 1": ((), ("error", "classes", "traceback")),
    "show": (("1", "--logs", "--steps"), ("job", "entry", "steps", "signals", "values")),
    "export": (("--logs", "--steps"), ("summary", "job", "entry", "steps", "signals", "values")),
    "signal": (("1", "packed", "1"), ()),
    "compare": (("1.1", "1.2"), ("job",)),
    "why": (("1",), ("why",)),
    "stack": (("1",), ("stack",)),
    "tail": ((), ("entry",)),
    "follow": (("1",), ("values",)),
    "output": (("1",), ("output",)),
    "wait": (("1",), ("summary", "job")),
    "watch": (("1",), ("summary",)),
    "cancel": (("1",), ()),
    "flow": ((str(FLOW),), ("ids",)),
    "graph": (("1",), ("graph",)),
    "group": (("1",), ("group",)),
    "group -w": (("1",), ("group",)),
    "retry": (("1",), ()),
    "retry --matching --status failed --yes": ((), ("matched",)),
    "cancel --matching --status pending --dry-run": ((), ("matched",)),
    "changes": ((), ("change",)),
    "again": (("1",), ("id",)),
    "settle": (("1", "--completed"), ()),
    "change": (("1", "--priority", "5"), ()),
    "top": (("--once",), ("stats", "summary", "running")),
    "stats": ((), ("stats", "needs")),
    "classes": ((), ("class",)),
    "hosts": ((), ("hosts",)),
    "needs": ((), ("needs",)),
    "alerts": ((), ("alerts",)),
    "alert": (("ack", "1"), ()),
    "class": (("hold", "shop.jobs.Email"), ()),
    "drain": ((), ("drained",)),
    "keys": ((), ("keys",)),
    "labels": ((), ("label",)),
    "reload": ((), ("code_version",)),
    "pause": ((), ()),
    "resume": ((), ()),
    "schedules": (("nightly",), ("schedules",)),
    "schedules --next 1": ((), ("schedules",)),
    "occurrences": (("nightly",), ("occurrences", "next_occurrence")),
    "schedule": (("run", "nightly"), ("id",)),
}
"""For each command what else is given to it, and which answers it shows."""

NEEDS_NO_DAEMON: Final = {"completion", "outbox", "debug", "mcp"}
"""Of `outbox`: tests/client/test_outbox_command.py, of `mcp`: test_assistant.py. `debug` becomes the daemon's command
of that name.
"""


class Liar:
    """Tells what it is told to, on a real socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told = TOLD
        self.error: Reply | None = None

    def tell(self, line: Line, asked: Request) -> None:
        told = self.told
        if self.error is not None:
            line.send(self.error.to_bytes())
            return
        match method_of(asked):
            case "Watch":
                line.more(job=told["summary"])
                line.wait_for_hang_up()
            case "Wait":
                line.reply(job=told["job"], next=None)
            case "Submit" | "Again":
                line.reply(id=told["id"], created=True)
            case "Reload":
                line.reply(code_version=told["code_version"])
            case "Running":
                line.reply(attempts=[told["running"]])
            case "Output":
                line.reply(**told["output"])
            case "Schedules":
                line.reply(schedules=told["schedules"])
            case "Occurrences":
                line.reply(occurrences=told["occurrences"], next=told["next_occurrence"])
            case "RunSchedule":
                line.reply(id=told["id"])
            case "SubmitMany":
                line.reply(ids=told["ids"], groups=[7])
            case "Change":
                line.reply(ids=[1])
            case "Alerts":
                line.reply(alerts=told["alerts"], next=None)
            case "Drain":
                line.reply(**told["drained"])
            case "AcknowledgeAlert" | "MuteAlerts" | "HoldClass" | "ResumeClass":
                line.reply()
            case "TestAlerts":
                line.reply(ids=[])
            case "Needs":
                line.reply(needs=told["needs"], more=1)
            case "Hosts":
                line.reply(hosts=told["hosts"])
            case "Keys":
                line.reply(keys=told["keys"], next=None)
            case "Graph":
                line.reply(**told["graph"])
            case "Stack":
                line.reply(**told["stack"])
            case "Group" | "WaitGroup":
                line.reply(group=told["group"])
            case _:
                tell_samples(line, asked, dict(told))


@pytest.fixture(scope="module")
def liar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Liar]:
    liar = Liar(tmp_path_factory.mktemp("liar") / "s")
    with ScriptedDaemon(liar.path, liar.tell):
        yield liar


class _Stream(io.TextIOWrapper):
    """A stream whose bytes are kept; a terminal if it is to be."""

    def __init__(self, is_terminal: bool) -> None:
        self.kept = io.BytesIO()
        self._is_terminal = is_terminal
        super().__init__(self.kept, encoding="utf-8")

    def isatty(self) -> bool:
        return self._is_terminal


def shown_by(run: Callable[[], object], is_terminal: bool = False) -> str:
    """All that a command writes, the traceback too that Python would show of what it raises."""
    streams, before = (_Stream(is_terminal), _Stream(False)), (sys.stdout, sys.stderr)
    sys.stdout, sys.stderr = streams
    told = ""
    try:
        run()
    except SystemExit:
        pass
    except Exception:  # one that is lied to may be at a loss
        told = traceback.format_exc()
    finally:
        sys.stdout, sys.stderr = before
    for stream in streams:
        stream.flush()
    return "".join(stream.kept.getvalue().decode() for stream in streams) + told


def places(value: Any, path: tuple[str | int, ...], only_texts: bool) -> Iterator[tuple[str | int, ...]]:
    """Where in an answer something stands that the daemon could replace; a text, or whatever else too."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from places(inner, (*path, name), only_texts)
    elif isinstance(value, list) and value:
        yield from places(value[0], (*path, 0), only_texts)
    elif isinstance(value, str) or not only_texts:
        yield path


def lie_at(path: tuple[str | int, ...]) -> Mapping[str, Any]:
    told: Any = dict(TOLD)
    told[path[0]] = copy.deepcopy(told[path[0]])
    node = told
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = HOSTILE
    return dict(told)


@pytest.mark.parametrize("form", ["lines", "json", "terminal"])
@pytest.mark.parametrize("name", list(WORDS))
def test_no_answer_of_a_lying_daemon_moves_the_terminal_or_forges_a_line(
    liar: Liar, monkeypatch: pytest.MonkeyPatch, name: str, form: str
) -> None:
    """CVE-2021-25743 kubectl: what a server answers is written to the terminal as it is."""
    monkeypatch.setattr(liar, "error", None)
    for variable, value in {"TERM": "xterm", "COLUMNS": "200", "PAGER": "cat"}.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    more, keys = WORDS[name]
    words = ["--socket", str(liar.path), *name.split(), *more, *(["--json"] if form == "json" else [])]
    monkeypatch.setattr(liar, "told", TOLD)
    is_terminal = form == "terminal"
    assert harm_in(shown_by(lambda: command.main(words), is_terminal), is_painted=is_terminal) == ""
    for path in (path for key in keys for path in places(TOLD[key], (key,), only_texts=form != "lines")):
        monkeypatch.setattr(liar, "told", lie_at(path))
        shown = shown_by(lambda: command.main(words), is_terminal)
        assert harm_in(shown, is_painted=is_terminal) == "", path


def _commands_of(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    (commands,) = (one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    return commands.choices


def test_no_command_is_missing_here() -> None:
    assert {name.split()[0] for name in WORDS} | NEEDS_NO_DAEMON == set(_commands_of(arguments.parser()))
    assert set(OF_THE_DAEMON) | THAT_GO_ON == set(_commands_of(main.parser()))


def test_the_board_of_those_that_are_waited_for_draws_no_more_than_it_is_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stderr = _Stream(is_terminal=True)
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setenv("TERM", "xterm")
    summary = {**TOLD["summary"], "status": "running"}
    with waiting_board.board() as board:
        for lie in ({"id": HOSTILE}, {"progress": {"fraction": 0.5, "message": HOSTILE}}):
            board.show(summary | lie)
    stderr.flush()
    drawn = re.sub(r"\x1b\[\??[\d;]*[A-HJKhlm]|\r", "", stderr.kept.getvalue().decode())
    assert "forged" in drawn
    assert harm_in(drawn) == ""


def _hostile_errors() -> Iterator[Reply]:
    for kind in RequestError.__subclasses__():
        fields = {name for _, name, *_ in string.Formatter().parse(kind.template) if name}
        if fields:  # else there is nothing to tell, but that the daemon ends, which is waited for
            yield Reply(dict.fromkeys(sorted(fields), HOSTILE), error=kind.error_name)
    problems = [{"path": HOSTILE, "message": HOSTILE}]
    yield Reply({"problems": problems}, error="org.bgjobd.Jobs.InvalidParameters")
    yield Reply({HOSTILE: HOSTILE}, error=f"org.bgjobd.Jobs.{HOSTILE}")


def test_no_refusal_of_a_lying_daemon_does(liar: Liar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "GIVE_UP_AFTER", 0.0)  # a place for a connection is not waited for
    for error in _hostile_errors():
        monkeypatch.setattr(liar, "error", error)
        for words in (["show", "1"], ["pause", "mail"], ["run", "a.B::c"]):
            shown = shown_by(lambda words=words: command.main(["--socket", str(liar.path), *words]))
            assert shown.startswith("bgjob: "), error
            assert harm_in(shown) == "", error


def _arguments_of(parser: argparse.ArgumentParser) -> Iterator[list[str]]:
    """The hostile text in the place of every argument of every command, and where there is none."""
    yield [HOSTILE]
    yield [f"--{HOSTILE}"]
    for name, one in _commands_of(parser).items():
        yield [name, HOSTILE]
        yield [name, "1", HOSTILE, HOSTILE]
        yield [name, f"--{HOSTILE}"]
        for action in one._actions:
            if action.option_strings and action.nargs != 0:
                yield [name, action.option_strings[-1], HOSTILE]


@pytest.mark.parametrize("parser", [arguments.parser, main.parser])
def test_what_is_wrong_with_an_argument_is_told_without_its_control_characters(
    parser: Callable[[], argparse.ArgumentParser],
) -> None:
    words = parser()
    shown = [shown_by(lambda given=given: words.parse_args(given)) for given in _arguments_of(words)]
    assert sum("error: " in one for one in shown) > len(shown) / 2
    assert [harm for harm in map(harm_in, shown) if harm] == []


# The daemon's log

JOBS = f"""
import bgjob

HOSTILE = {HOSTILE!r}


class Loud:
    __doc__ = HOSTILE

    def all(self, context: bgjob.JobContext):
        context.progress(0.5, HOSTILE)
        context.logger.error(HOSTILE)
        context.logger.info("%s", {{HOSTILE: HOSTILE}})
        print(HOSTILE, flush=True)
        error = type(HOSTILE, (Exception,), {{}})(HOSTILE)
        error.add_note(HOSTILE)
        raise error from KeyError(HOSTILE)

    all.__doc__ = HOSTILE

    def well(self):
        return HOSTILE

    def failed(self, error):
        raise ValueError(HOSTILE)

    def retry_delay(self, attempt, error):
        raise ValueError(HOSTILE)

    def asks(self, how: str):
        raise {{"retry": bgjob.Retry, "fail": bgjob.Fail}}[how](HOSTILE)
"""

SETTINGS = """
"loud.Loud" = { max_retries = 1, retry_delay = 0.01 }
"unloadable.Class" = {}
[log]
console = "text"
snapshots = true
"""

_RECORD: Final = re.compile(
    r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] (SUCCESS|FAILURE|INFO): ([\w.]+(::\w+)? - |\{)"
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    directory = tmp_path_factory.mktemp("loud")
    modules = {"loud": JOBS, "unloadable": f"raise RuntimeError({HOSTILE!r})"}
    environ = {"BGJOBD_DAEMON__FIFO": str(directory / "fifo")}
    with daemon(directory, SETTINGS, environ=environ, modules=modules, has_pydantic=True) as running:
        _make_noise(running)
        yield running


def _make_noise(running: RunningDaemon) -> None:
    """Have the hostile text come in, and out of jobs, by every way there is."""
    with running.client() as client:
        jobs = [client.run_background_job("loud.Loud", method) for method in ("all", "well")]
        jobs += [client.run_background_job("loud.Loud", "asks", {"how": how}) for how in ("retry", "fail")]
        for call in (
            (HOSTILE, "all"),
            ("loud.Loud", HOSTILE),
            (f"loud.{HOSTILE}", "all"),
            ("loud.Loud", "all", {HOSTILE: HOSTILE}),
            ("loud.Loud", "asks", {"how": {HOSTILE: HOSTILE}}),
        ):
            with pytest.raises(RequestError):
                client.run_background_job(*call)
        with pytest.raises(RequestError):
            client.run_background_job("loud.Loud", "well", queue=HOSTILE)
        flow.group(name=HOSTILE).submit(client).groups[0].wait(20)
        for job in jobs:
            job.wait(20)
    lines = [
        {"class_name": HOSTILE, "method_name": "all"},
        {"class_name": "loud.Loud", "method_name": "all", "parameters": {HOSTILE: HOSTILE}},
        {"class_name": "loud.Loud", "method_name": "well", "options": {"queue": HOSTILE, HOSTILE: 1}},
        {HOSTILE: 2**70},
    ]
    raw = [HOSTILE.replace("\n", ""), '{"' + HOSTILE.replace("\n", "\r") + '": 1}']
    with (running.directory / "fifo").open("w") as fifo:
        fifo.write("".join(f"{line}\n" for line in [*map(json.dumps, lines), *raw]))
    eventually(
        lambda: sum("named pipe was refused" in line for line in running.lines()) >= len(lines) + len(raw)
    )
    eventually(lambda: any("the failed hook: " in line for line in running.lines()))


def test_nothing_that_comes_in_or_out_of_a_job_forges_a_record(running: RunningDaemon) -> None:
    """CVE-2025-55193 rails, CVE-2020-7694 uvicorn: names and paths with control characters in lines of the log."""
    eventually(lambda: running.console() == running.log_file.read_text())
    told = running.log_file.read_text()
    assert told.count("forged") > 20
    records = told.removesuffix("\n").split("\n")
    assert [record for record in records if not _RECORD.match(record) or not record.isprintable()] == []


def test_a_console_of_json_moves_no_terminal(tmp_path: Path) -> None:
    stream = io.StringIO()
    log = Log(tmp_path, "json", stream=stream)
    line = LogLine(0.0, EntryType.FAILURE, f"a.B::{HOSTILE}", HOSTILE, context=json.dumps({HOSTILE: HOSTILE}))
    log.put([line])
    log.close()
    told = stream.getvalue()
    assert told.removesuffix("\n").isprintable()
    assert json.loads(told)["event"] == HOSTILE
    assert (tmp_path / FILE_NAME).read_text().removesuffix("\n").isprintable()


@pytest.mark.parametrize("kind", ["json", "text"])
def test_what_the_page_says_on_the_console_is_one_line(capfd: pytest.CaptureFixture[str], kind: str) -> None:
    console.say(Settings("s.sock", "unix:p.sock", console=kind), HOSTILE)
    console.finish()
    told = capfd.readouterr().err
    assert told.removesuffix("\n").isprintable()
    assert kind == "text" or json.loads(told)["event"] == HOSTILE


def test_what_systemctl_shows_of_a_status_moves_no_terminal(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "n"))
        notifier = Notifier(str(tmp_path / "n"))

        async def tell() -> None:
            notifier.status(lambda: HOSTILE)
            await asyncio.sleep(0)
            notifier.reload_begins()
            notifier.reload_ends(f"2{HOSTILE}")
            notifier.stopping(f"3{HOSTILE}")

        asyncio.run(tell())
        told = []
        while sum("STATUS=" in one for one in told) < 2:
            told.append(listener.recv(8192).decode())
    for line in "\n".join(told).split("\n"):
        assert line.isprintable()
        assert re.match("[A-Z_]+=", line)


# The command bgjobd

OF_THE_DAEMON: Final[Mapping[str, Sequence[Sequence[str]]]] = {
    "check": (("check",), ("check", "--json"), ("check", "--books"), ("check", "--books", "--json")),
    "status": (("status",), ("status", "--json")),
    "prune": (("prune", "--dry-run"), ("prune", "--dry-run", "--json"), ("prune", "--archive", HOSTILE)),
    "backup": (("backup",),),
    "migrate": (("migrate", "--to", HOSTILE), ("migrate", "--to", f"postgresql://{HOSTILE}@[")),
    "debug": (("debug", "1", "--from", HOSTILE),),  # the others: tests/daemon/test_debug.py
    "otel": (("otel", "--once", "--cursor", f"nowhere/{HOSTILE}"),),
    "units": (("units",),),
    "schedules": (("schedules",), ("schedules", "--json"), ("schedules", "--from-crontab", HOSTILE)),
}
THAT_GO_ON: Final = {"serve", "web", "demo"}
"""What they show is the log, and the problems of a configuration as `check` has them."""


@pytest.mark.parametrize("name", list(OF_THE_DAEMON))
def test_no_command_of_the_daemon_shows_what_others_wrote_as_it_is(
    running: RunningDaemon, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in OF_THE_DAEMON[name]:
        configured = [] if name == "units" else ["--config", str(running.config)]
        shown = shown_by(lambda given=[*words, *configured]: main.main(given))
        assert shown, words
        assert harm_in(shown) == "", words
    told = shown_by(lambda: main.main([name, "--config", HOSTILE]))
    assert harm_in(told) == ""


@pytest.mark.parametrize("line", [f"0 2 * * * {HOSTILE}", f"0 2 * * * bgjob run a.B::c -p x={HOSTILE}"])
def test_a_draft_of_a_crontab_forges_no_line_and_moves_nothing(tmp_path: Path, line: str) -> None:
    crontab = tmp_path / "crontab"
    crontab.write_text(f"{line}\n", encoding="utf-8", errors="surrogateescape")
    shown = shown_by(lambda: main.main(["schedules", "--from-crontab", str(crontab)]))
    assert "forged" in shown
    assert harm_in(shown) == ""


def test_a_configuration_is_refused_without_what_its_keys_do_to_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CVE-2017-0899 rubygems: the text of a file that others wrote reaches the terminal as it is."""
    quoted = json.dumps(HOSTILE.replace("\x7f", ""))
    config = tmp_path / f"x{HOSTILE}"
    config.write_text(f"[approved]\n{quoted} = {{}}\n[queues]\n{quoted} = {quoted}\n[retry]\n{quoted} = 1\n")
    monkeypatch.setenv("BGJOBD_RETRY__BACKOFF", HOSTILE)
    monkeypatch.setenv(f"BGJOBD_LOG__{HOSTILE}", HOSTILE)
    for words in (["check"], ["check", "--json"], ["status"], ["serve"]):
        shown = shown_by(lambda words=words: main.main([*words, "--config", str(config)]))
        assert "forged" in shown
        assert harm_in(shown) == ""

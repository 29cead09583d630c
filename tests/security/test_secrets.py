"""A secret parameter, by whatever way it comes in, is in no place but the column that keeps it for the job.

What a job does with a value is in tests/daemon/test_masking.py; here is where it could be seen: every table, file,
process, method, command and address, each listed by the code itself, so that a new one is looked at too.
"""

from __future__ import annotations

import gzip
import html
import json
import re
import socket
import traceback
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from bgjob import command
from bgjob.errors import BgjobError
from bgjobd import main
from bgjobd.web import console
from bgjobd.web.settings import Settings
from bgjobd.web.views import Page, routes
from tests.daemon.running import RunningDaemon, daemon
from tests.daemon.test_following import Stream
from tests.daemon.test_masking import SETTINGS, SOURCE, TARGET, Canary, on_disk, reply, stored
from tests.page.serving import TOKEN, Served, serving
from tests.page.test_guard import addresses
from tests.protocol.idl import parse
from tests.security.test_terminal_text import OF_THE_DAEMON, WORDS, shown_by
from tests.support import eventually

IDL: Final = Path(main.__file__).with_name("org.bgjobd.Jobs.varlink")
BEARER: Final = f"Authorization: Bearer {TOKEN}"


def is_shown(canary: Canary, shown: str) -> bool:
    """Whether the text has the canary, as it is (which URLs, JSON and repr leave as it is), in base64 or as hex."""
    text = shown.casefold()
    return any(form.casefold() in text for form in _forms(canary))


def _forms(canary: Canary) -> Iterator[str]:
    for part in (canary.head, canary.tail):
        yield part
        yield part.encode().hex()
        for before in range(3):
            coded = b64encode(b"x" * before + part.encode()).decode()
            yield coded[4:-4]  # what depends on its neighbours is cut off


@pytest.mark.parametrize(
    "code", [str, repr, json.dumps, lambda it: it.encode().hex(), lambda it: b64encode(it.encode()).decode()]
)
def test_a_canary_is_found_however_it_is_written(code: Callable[[str], str]) -> None:
    for around in ("", "a", "ab"):
        canary = Canary(" é' ", around)
        assert is_shown(canary, code(f"before {canary.text} behind"))
    assert not is_shown(Canary(), code(Canary().text))


# The ways in

Way = Callable[[RunningDaemon, str, Path], object]


def _by_socket(class_name: str, method: str, parameters: Callable[[str], Any], **options: Any) -> Way:
    def submit(running: RunningDaemon, text: str, own: Path) -> object:
        with running.client() as client:
            return client.run_background_job(class_name, method, parameters(text), **options).id

    return submit


def _by_pipe(line: Callable[[str], str]) -> Way:
    def write(running: RunningDaemon, text: str, own: Path) -> object:
        before = _count(running)
        (running.directory / "fifo").write_text(line(text) + "\n")
        eventually(lambda: _count(running) > before)
        return None

    return write


def _count(running: RunningDaemon) -> int:
    """How many jobs there are, and how many lines were refused."""
    ((jobs,),) = running.query("SELECT count(*) FROM background_jobs")
    return int(jobs) + sum("named pipe was refused" in line for line in running.lines())


def _by_command(*words: str) -> Way:
    """IT in the words is the canary; what the command says is the answer."""

    def run(running: RunningDaemon, text: str, own: Path) -> object:
        (own / "parameters.json").write_text(json.dumps({"how": "message", "text": text}))
        given = [word.replace("IT", text).replace("OWN", str(own)) for word in words]
        return shown_by(lambda: command.main(["--socket", str(running.socket), "run", *given]))

    return run


def _raw(body: Callable[[str], str]) -> Way:
    """What a client of ours would not send; the daemon hangs up, or answers."""

    def send(running: RunningDaemon, text: str, own: Path) -> object:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(20)
            peer.connect(str(running.socket))
            peer.sendall(body(text).encode() + b"\0")
            return peer.recv(65536).decode()

    return send


def _leaking(text: str) -> dict[str, Any]:
    return {"how": "message", "text": text}


def _call(text: str) -> str:
    return json.dumps({"class_name": TARGET, "method_name": "text", "parameters": _leaking(text)})


def _twice(text: str) -> str:
    return _call(text).replace('"text": "', '"text": "x", "text": "')


WAYS: Final[Mapping[str, Way]] = {
    "named in the configuration": _by_socket(TARGET, "text", _leaking),
    "typed": _by_socket("leaky.Typed", "token", lambda it: {"token": it}),
    "typed within a model": _by_socket("leaky.Typed", "login", lambda it: {"login": {"user": "a", "password": it}}),
    "with hooks and retries": _by_socket("leaky.Hooked", "run", lambda it: {"text": it}),
    "waiting": _by_socket(TARGET, "text", _leaking, delay=3600),
    "in the traceback": _by_socket(TARGET, "text", lambda it: {"how": "cause", "text": it}),
    "in its log": _by_socket(TARGET, "text", lambda it: {"how": "log", "text": it}),
    "in its progress": _by_socket(TARGET, "text", lambda it: {"how": "progress", "text": it}),
    "in an address": _by_socket(TARGET, "text", lambda it: {"how": "form", "text": it}),
    "by the pipe": _by_pipe(_call),
    "by the pipe, twice the same name": _by_pipe(_twice),
    "by the pipe, no JSON": _by_pipe(lambda it: _call(it)[:-1]),
    "by the pipe, unknown": _by_pipe(lambda it: json.dumps({"class_name": TARGET, "method_name": it})),
    "by the command": _by_command(f"{TARGET}::text", "-p", "how=message", "-p", "text=IT"),
    "by the command, from a file": _by_command(f"{TARGET}::text", "--parameters", "@OWN/parameters.json"),
    "by the command, no JSON": _by_command(f"{TARGET}::text", "--parameters", '{"text": "IT'),
    "by the command, a list": _by_command(f"{TARGET}::text", "--parameters", '["IT"]'),
    "by the command, refused": _by_command(f"{TARGET}::strict", "-p", "number=IT"),
    "unknown": _by_socket(TARGET, "strict", lambda it: {"x": it}),
    "of a wrong type": _by_socket(TARGET, "strict", lambda it: {"text": {"a": [it]}}),
    "of a method that there is not": _by_socket(TARGET, "nothing", _leaking),
    "in a queue that there is not": _by_socket(TARGET, "text", _leaking, queue="nothing"),
    "too large": _by_socket(TARGET, "text", lambda it: _leaking(it * 4000)),
    "nested too deeply": _by_socket(TARGET, "text", lambda it: json.loads('{"a":' * 40 + json.dumps(it) + "}" * 40)),
    "with a lone surrogate": _by_socket(TARGET, "text", lambda it: _leaking(f"{it}\ud800")),
    "twice the same name": _raw(lambda it: f'{{"method":"org.bgjobd.Jobs.Submit","parameters":{_twice(it)}}}'),
    "beside an integer beyond 64 bit": _raw(
        lambda it: json.dumps(
            {"method": "org.bgjobd.Jobs.Submit", "parameters": {"parameters": {"text": {it: 2**70}, "key": it}}}
        )
    ),
    "given, and to be taken, too": _by_socket(TARGET, "text", _leaking, take={"text": {"of": {"id": 1}}}),
    "beside what is taken": _by_socket(TARGET, "text", lambda it: {"text": it}, take={"how": {"of": {"id": 1}}}),
    "another request of the same key": _by_socket(TARGET, "text", _leaking, idempotency_key="same"),
}  # fmt: skip


# The places where it could be seen


class Seen(NamedTuple):
    """What every place shows, by the name of the place, once the canaries of all ways have come in."""

    places: Mapping[str, str]
    canaries: Mapping[str, Canary]
    kept: str


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    directory, own = tmp_path_factory.mktemp("secrets"), tmp_path_factory.mktemp("own")
    (directory / "tmp").mkdir()
    environ = {"BGJOBD_DAEMON__FIFO": str(directory / "fifo"), "TMPDIR": str(directory / "tmp")}
    environ["NOTIFY_SOCKET"] = str(own / "notify")
    app = f'env = {{ OWN = "{own}" }}'
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd,
        _daemon_heard_by(systemd, own / "notify", directory, app, environ) as running,
    ):
        canaries = {way: Canary(" é' \\ ") for way in [*WAYS, "running"]}
        with running.client() as client:
            client.run_background_job(TARGET, "text", {"how": "none", "text": ""}, idempotency_key="same")
            go, began = own / "go", own / "began"
            held = {"text": canaries["running"].text, "path": str(go), "started": str(began)}
            at_work = client.run_background_job(TARGET, "wait_for", held)
            eventually(began.exists)
            places = {f"answer: {way}": _answer(running, way, canaries[way].text, own) for way in WAYS}
            eventually(
                lambda: client.stats()["jobs"]["pending"] == 1 and client.stats()["jobs"]["running"] == 1
            )
            eventually(lambda: "the failed hook: RuntimeError" in stored(running))
            places |= _of_the_machine(running, "while one runs")
            go.touch()
            at_work.wait(20)
        for look in (_of_methods, _of_commands, _of_addresses):
            places |= look(running, at_work.id)
        places |= _of_the_machine(running, "at the end")
        kept = "\n".join(text for (text,) in running.query("SELECT parameters FROM background_jobs"))
        places["archive"] = _archived(running, own)
        places["told to systemd"] = _heard(systemd)
        yield Seen(places, canaries, kept)


@contextmanager
def _daemon_heard_by(
    systemd: socket.socket, at: Path, directory: Path, app: str, environ: dict[str, str]
) -> Iterator[RunningDaemon]:
    systemd.bind(str(at))
    systemd.setblocking(False)
    with daemon(directory, SETTINGS, app, environ, {"leaky": SOURCE}, has_pydantic=True) as running:
        yield running


def _heard(systemd: socket.socket) -> str:
    told = ""
    with suppress(BlockingIOError):
        while True:
            told += systemd.recv(8192).decode() + "\n"
    return told


def _answer(running: RunningDaemon, way: str, text: str, own: Path) -> str:
    """What is answered, or the error that an application gets, as it would log it."""
    try:
        return str(WAYS[way](running, text, own))
    except BgjobError as error:
        return f"{error} {error!r} {vars(error)} {''.join(traceback.format_exception(error))}"


def _of_the_machine(running: RunningDaemon, when: str) -> dict[str, str]:
    """Tables, files (log, console, spool, outputs, temporary ones), and all processes with their environments."""
    told = ""
    for path in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ", "comm"):
            with suppress(OSError):
                told += (path / name).read_bytes().decode("utf-8", "replace")
    return {
        f"database {when}": stored(running),
        f"files {when}": on_disk(running),
        f"processes {when}": told,
    }


_AFTER: Final = {"class_name": TARGET, "method_name": "strict", "parameters": {"x": "y"}}


def _of_methods(running: RunningDaemon, job_id: int) -> dict[str, str]:
    of_job = {"id": job_id}
    asked: Mapping[str, Sequence[Mapping[str, Any]]] = {
        "Get": [{"id": number} for number in range(1, job_id + len(WAYS))],
        "Wait": [of_job],
        "List": [{}, {"search": "value"}, {"limit": 100, "count": 100}],
        "Errors": [{}, {"class_name": TARGET, "limit": 1000}],
        "Trend": [{"of": of, "span": 3600} for of in ("", f"class:{TARGET}", "queues", "error:1")],
        "ClassTrends": [{}],
        "ClassStats": [{"name": TARGET}],
        "Error": [{"id": number} for number in range(1, len(WAYS))],
        "Logs": [{"limit": 1000}, of_job, {"search": "value", "limit": 1000}],
        "Watch": [],
        "Output": [of_job],
        "Cancel": [{"ids": [job_id]}],
        "Retry": [{"ids": [job_id + 1_000_000]}],
        "Matching": [{"filter": {"class_name": TARGET}, "to": to} for to in ("retry", "cancel")],
        **{
            name: [{"filter": {"class_name": TARGET}, "as_of": "2001-01-01T00:00:00Z", "expected": 0}]
            for name in ("RetryMatching", "CancelMatching")
        },
        "Changes": [{"limit": 1000}],
        "Again": [
            of_job | more
            for more in ({}, {"parameters": {"x": 1}}, {"parameters": {"text": {"a": 1}}}, {"from_step": "a"})
        ],
        "Change": [{"ids": [job_id], "priority": 5}],
        "Prune": [{"ids": [job_id + 1_000_000], "last_entry": 1}],
        "PruneLogs": [{"before": "2001-01-01T00:00:00Z"}],
        "Reload": [{}],
        "Pause": [{"queue": "default"}],
        **{name: [{"name": TARGET}] for name in ("HoldClass", "ResumeClass")},
        "Resume": [{"queue": "default"}],
        "Schedules": [{}],
        "Occurrences": [{"name": "nightly"}],
        **{name: [{"name": "nightly"}] for name in ("RunSchedule", "PauseSchedule", "ResumeSchedule")},
        "Backfill": [{"name": "nightly", "since": "2001-01-01T00:00:00Z", "until": "2001-01-01T00:00:00Z"}],
        "PutSchedule": [
            {
                "name": "a/b",
                "definition": {"job": f"{TARGET}::strict", "every": "1h", "parameters": {"x": "y"}},
            }
        ],
        "DeleteSchedule": [{"name": "a/b"}],
        "Classes": [{}],
        "Running": [{}],
        "Hosts": [{}],
        "Needs": [{}],
        "Alerts": [{}],
        "AcknowledgeAlert": [{"id": 1}],
        "MuteAlerts": [{"rule": "paused", "seconds": 0}],
        "TestAlerts": [{}],
        "HostLost": [{"name": "web2"}],
        "Drain": [{"host": "web2"}],
        "HostAccept": [{}],
        "Keys": [{"queue": "default"}],
        "Labels": [{}],
        "Stack": [{"id": number} for number in range(1, job_id + len(WAYS))],
        "Steps": [of_job],
        "Values": [of_job],
        "Signal": [{"id": job_id + 1_000_000, "name": "packed"}],
        "Settle": [{"id": number, "completed": True} for number in (job_id, job_id + 1_000_000)],
        "Why": [{"id": number} for number in range(1, job_id + len(WAYS))],
        "Stats": [{"usage": True, "counts": True}],
        "Submit": [],  # the ways in have its answers
        "SubmitMany": [
            {"jobs": [{"class_name": TARGET, "method_name": "strict", "parameters": {"x": "y"}}]},
            {"class_name": TARGET, "method_name": "strict", "each": [{"x": "y"}]},
            {
                "jobs": [_AFTER | {"options": {"after": [of_job], "group": {"ref": "g"}}}],
                "groups": [{"ref": "g"}],
            },
        ],
        "Groups": [{}],
        "WaitGroup": [{"id": 1, "timeout": 0}],
        **{name: [{"id": 1}] for name in ("Group", "SealGroup", "CancelGroup", "RetryGroup")},
        "Graph": [of_job],
    }
    assert set(asked) == set(parse(IDL.read_text()).inputs), "a method whose answers nobody has looked at"
    told = {
        f"method {name}": "".join(reply(running, name, **given) for given in calls)
        for name, calls in asked.items()
    }
    return told | _of_streams(running, job_id)


def _of_streams(running: RunningDaemon, job_id: int) -> dict[str, str]:
    asked = {"Watch": {"ids": [job_id]}, "Logs": {"after": 0, "limit": 1000}, "Output": {"id": job_id}}
    told = {}
    for name, given in asked.items():
        stream = Stream(running, name, **given)
        told[f"stream {name}"] = repr(stream.next())
        stream.close()
    return told


def _of_commands(running: RunningDaemon, job_id: int) -> dict[str, str]:
    given = {"show": [str(job_id), "--logs"], "why": [str(job_id)], "output": [str(job_id)]}
    told = {}
    for name, (more, _) in WORDS.items():
        if name.startswith("run"):
            continue  # the ways in have what it says
        more = given.get(name, [str(job_id)] if list(more) == ["1"] else list(more))
        for form in ([], ["--json"]):
            words = ["--socket", str(running.socket), *name.split(), *more, *form]
            told[f"bgjob {name} {form}"] = shown_by(lambda words=words: command.main(words))
    for calls in OF_THE_DAEMON.values():
        for words in (words for words in calls if words[0] != "units" and "--archive" not in words):
            configured = [*words, "--config", str(running.config)]
            told[f"bgjobd {words}"] = shown_by(lambda given=configured: main.main(given))
    # Of the database, so it keeps them as well; that of a server is not the daemon's to make.
    for copy in (running.directory / "state" / "backups").glob("*"):
        assert (copy.stat().st_mode & 0o077, copy.parent.stat().st_mode & 0o077) == (0, 0)
        copy.unlink()
    return told


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    settings = Settings(f"unix:{tmp_path}/no.sock", "127.0.0.1:0", token=TOKEN, actions=True)
    with serving(Page(settings).respond, settings) as served:
        yield served


def _of_addresses(running: RunningDaemon, job_id: int) -> dict[str, str]:
    settings = Settings(f"unix:{running.socket}", "127.0.0.1:0", token=TOKEN, actions=True)
    gets, posts = addresses("GET"), addresses("POST")
    assert {method for method, _ in routes()} == {"GET", "POST"}
    told = {}
    with serving(Page(settings).respond, settings) as served:
        system = served.ask("GET /system", BEARER).body.decode()
        form = re.findall(r'name="token" value="([^"]+)"', system)[0].encode()
        for path in gets:
            own = re.sub(r"^/jobs/1$", f"/jobs/{job_id}", path)
            with served.peer() as peer:
                answer = peer.ask(f"GET {own}", BEARER, "Accept: text/html")
                stream = peer.piece().decode() if path == "/events" else ""
            told[f"GET {path}"] = f"{answer.headers} {html.unescape(answer.body.decode())} {stream}"
        for number in range(1, job_id + len(WAYS)):
            told[f"GET /jobs/{number}"] = html.unescape(
                served.ask(f"GET /jobs/{number}", BEARER).body.decode()
            )
        told["GET /?q"] = html.unescape(served.ask("GET /?q=value&per=100", BEARER).body.decode())
        headers = (BEARER, "Content-Type: application/x-www-form-urlencoded")
        for path in posts:
            answer = served.ask(f"POST {path}", *headers, body=b"token=" + form)
            told[f"POST {path}"] = f"{answer.headers} {answer.body.decode()}"
    return told


def _archived(running: RunningDaemon, own: Path) -> str:
    """What `prune --archive` writes of jobs that it deletes."""
    archive = own / "archive.gz"
    words = ["prune", "--failed", "0", "--completed", "0", "--archive", str(archive)]
    told = shown_by(lambda: main.main([*words, "--config", str(running.config)]))
    return told + gzip.decompress(archive.read_bytes()).decode()


def test_no_place_shows_a_secret_by_whatever_way_it_came(seen: Seen) -> None:
    """CVE-2021-25284 salt, CVE-2019-14846 ansible: values that were marked as secret in logs and answers."""
    found = [
        (place, way)
        for place, shown in seen.places.items()
        for way, canary in seen.canaries.items()
        if is_shown(canary, shown)
    ]
    assert found == []


_EMIT_NOTHING = {"bgjob follow []", "bgjob follow ['--json']"}
"""These jobs tell nothing to those who follow: what a job emits it wants told, as its result."""


def test_the_places_are_not_empty_and_the_column_for_the_job_has_the_secrets(seen: Seen) -> None:
    accepted = [way for way, canary in seen.canaries.items() if is_shown(canary, seen.kept)]
    assert {"named in the configuration", "typed", "by the pipe", "by the command", "running"} <= set(
        accepted
    )
    assert len(accepted) == 14
    for place in (
        "database at the end",
        "files at the end",
        "method Get",
        "bgjob show []",
        "archive",
        "GET /jobs/1",
    ):
        assert "***" in seen.places[place], place
    silent = {"answer: twice the same name", "method Submit", "method Watch"} | _EMIT_NOTHING
    for place, shown in seen.places.items():
        assert shown or place in silent, place
    assert "STATUS=" in seen.places["told to systemd"]
    assert "forkserver" in seen.places["processes while one runs"]


# The page's own secrets


def test_no_answer_of_the_page_has_its_token_but_the_cookie(
    served: Served, capfd: pytest.CaptureFixture[str]
) -> None:
    """CVE-2022-24757 jupyter: cookies and tokens in what is logged of a request that fails."""
    for method in ("GET", "POST"):
        for path in [*addresses(method), "/nowhere"]:
            for line in (f"{method} {path}", f"{method} {path}?token={TOKEN}&next=/{TOKEN}"):
                if "/login?" in line or "/events" in line:
                    continue
                answer = served.ask(
                    line, BEARER, f"Cookie: bgjobd={TOKEN}", f"Referer: http://x/?token={TOKEN}"
                )
                assert TOKEN not in f"{answer.headers}", line
                assert b"?token=" in line.encode() or TOKEN.encode() not in answer.body, line
    login = served.ask(f"GET /login?token={TOKEN}")
    assert TOKEN in (login.header("set-cookie") or "")
    assert TOKEN not in f"{login.header('location')} {login.body.decode()}"
    assert TOKEN not in "".join(capfd.readouterr())


def test_what_the_page_says_of_a_bug_has_neither_token_nor_cookie(
    served: Served, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(Page, "_routed", broken)
    answer = served.ask(f"GET /jobs?token={TOKEN}", BEARER, f"Cookie: bgjobd={TOKEN}")
    console.finish()
    said = capfd.readouterr().err
    assert answer.status == 500
    assert "RuntimeError: broken" in said
    assert TOKEN not in said + answer.body.decode()

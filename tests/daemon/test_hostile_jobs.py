"""Jobs that harm their journal, their error or their result: a verdict all the same, and nobody else is harmed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgjob import Client
from bgjobd.forkserver.journal_lines import MAX_NOTES
from tests.daemon.running import OWN_JOURNAL, RunningDaemon, daemon, is_alive
from tests.support import eventually

PROBE = "probes.Probe"
HOSTILE = "hostile.Hostile"

SOURCE = (
    OWN_JOURNAL
    + '''
import json, os, time
from pathlib import Path


def place():
    """The journal by its name in the spool: the link that leads to its descriptor tells the directory only."""
    own = os.fstat(descriptor())
    directory = Path(os.readlink(f"/proc/self/fd/{descriptor()}")).parent
    return next(path for path in directory.iterdir() if path.lstat().st_ino == own.st_ino)


def write(text):
    text = text.replace("PID", str(os.getpid())).replace("NESTING", "[" * 200_000).replace("LONG", "[]," * 2000)
    os.write(descriptor(), b"\\n" + text.encode() + b"\\n")


def note(ledger, line):
    with open(ledger, "a") as book:
        book.write(line + "\\n")


class Hostile:
    def nested(self, levels):
        result = []
        for _ in range(levels - 1):
            result = [result]
        return result

    def return_much(self, levels):
        result = ["\\0", "\\\\ud800", 10 ** 30, {"a": 1e308}] * 2000
        for _ in range(levels - 2):
            result = [result]
        return result

    def forge(self, text, returns, truncates=False):
        if truncates:
            os.ftruncate(descriptor(), 0)
        write(text)
        if not returns:
            os._exit(0)
        return 5

    def unlink(self, ledger, code):
        note(ledger, "start")
        place().unlink()
        note(ledger, "end")
        if code is not None:
            os._exit(code)
        return 5

    def replace(self, kind):
        path = place()
        path.unlink()
        if kind == "fifo":
            os.mkfifo(path)
        elif kind == "directory":
            path.mkdir()
        else:
            path.symlink_to("/etc/passwd")
        return 5

    def raise_a_long_name(self):
        raise type("X" * 10_000_000, (Exception,), {})("no recipient")

    def bloat(self):
        for _ in range(9):
            os.write(descriptor(), b"x" * 1_000_000)
        return 5

    def forge_an_exit(self, path, ledger):
        note(ledger, f"start {os.getpid()}")
        write('{"v":1,"type": "exit", "pid": PID, "at": 1.0, "code": 1, "signal": null, "usage": null}')
        note(ledger, "forged")
        while not Path(path).exists():
            time.sleep(0.01)
        note(ledger, "end")
        return "waited"

    def babble(self, times, pauses, path):
        record = '{"v":1,"type":"log","pid":PID,"at":1.0,"level":"INFO","message":"babble","more":"MORE"}\\n'
        record = record.replace("MORE", "x" * 320)  # so that each portion that is read has few of them
        for _ in range(times):
            write(record * 1000)
        Path(path).touch()
        while not Path(path + ".go").exists():
            time.sleep(0.01)
        for _ in range(pauses):
            write(record * 1000)
            time.sleep(0.06)
        Path(path + ".gone").touch()
        while not Path(path + ".end").exists():
            time.sleep(0.01)
        return 5

    def return_number(self, text):
        return [float(text)]

    def leave_a_grandchild(self, path):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                Path(path).write_text(f"{os.getpid()}\\n")
                end = time.monotonic() + 30
                while time.monotonic() < end:
                    time.sleep(0.1)
            os._exit(0)
        while not (Path(path).exists() and Path(path).read_text().endswith("\\n")):
            time.sleep(0.01)
        return 5
'''
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """The daemon of all tests. A neighbour's job runs all the time and must end well, as must a restart at the end."""
    directory = tmp_path_factory.mktemp("hostile")
    (directory / "hostile.py").write_text(SOURCE)
    go, ledger = directory / "neighbours-go", directory / "neighbours-ledger"
    with daemon(directory, f'"{HOSTILE}" = {{}}') as running:
        with running.client() as client:
            neighbour = client.run_background_job(PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)})
            eventually(ledger.exists)
            try:
                yield running
            finally:
                go.touch()
        with running.client() as client:
            ended = client.get(neighbour.id).wait(20)
            assert (ended["result"], _outcomes(ended)) == ("waited", ["completed"])
            assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1
        assert running.stop() == 0
        running.start()
        with running.client() as client:
            assert client.run_background_job(PROBE, "echo", {"value": 2}).result(20) == 2
        rows = running.query("SELECT id FROM background_jobs WHERE status IN ('pending', 'running')")
        assert rows == []


@pytest.fixture
def client(running: RunningDaemon) -> Iterator[Client]:
    """A client for one test's hostile jobs. The others' run before its end, and nothing of the test's own is left."""
    with running.client() as client:
        yield client
        assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1
        assert [job["method_name"] for job in client.running()] == ["wait_for"]


def _ending(client: Client, method: str, parameters: dict[str, Any], retry_count: int = 1) -> dict[str, Any]:
    return client.run_background_job(HOSTILE, method, parameters, retry_count=retry_count).wait(20)


def _outcomes(job: dict[str, Any]) -> list[str]:
    return [attempt["outcome"] for attempt in job["attempts"]]


def test_a_result_nested_too_deeply_is_no_result_and_not_tried_again(client: Client) -> None:
    deep = _ending(client, "nested", {"levels": 980}, retry_count=0)
    assert deep["status"] == "failed"
    assert [one["error_type"] for one in deep["attempts"]] == ["InvalidResult"]
    assert _ending(client, "nested", {"levels": 100})["status"] == "completed"


FORGERIES = {
    "an unknown outcome": '{"v":1,"type": "outcome", "pid": PID, "outcome": "bogus"}',
    "a failure without keys": '{"v":1,"type": "outcome", "pid": PID, "outcome": "failed"}',
    "an outcome that is no text": '{"v":1,"type": "outcome", "pid": PID, "outcome": ["completed"]}',
    "a type that is no text": '{"type": ["outcome"], "pid": PID}',
    "much nesting": "NESTING",
    "much nesting in a record": '{"v":1,"type": "outcome", "pid": PID, "outcome": NESTING',
    "an exit without numbers": '{"type": "exit", "pid": PID, "at": NaN, "code": NaN, "signal": Infinity}',
    "an exit with huge numbers": f'{{"type": "exit", "pid": PID, "at": 1e999, "code": {2**70}, "signal": null}}',
    "usage with wrong keys": '{"type": "exit", "pid": PID, "at": 1, "code": 0, "signal": null, "usage": {"a": 1}}',
    "usage that is a list": '{"type": "exit", "pid": PID, "at": 1, "code": 0, "signal": null, "usage": [1]}',
    "huge usage": '{"type": "exit", "pid": PID, "at": 1, "code": 0, "signal": null, "usage": {"max_rss": '
    f'{2**70}, "cpu_user": 1, "cpu_system": 1, "output_bytes": 1}}}}',
    "a second start": '{"type": "started", "pid": 1}',
    "a fence": '{"type": "fenced"}',
}


@pytest.mark.parametrize("text", FORGERIES.values(), ids=FORGERIES.keys())
def test_a_forged_record_makes_no_success_and_spoils_none(client: Client, text: str) -> None:
    left = _ending(client, "forge", {"text": text, "returns": False})
    assert (left["status"], _outcomes(left)) == ("failed", ["exited"])
    returned = _ending(client, "forge", {"text": text, "returns": True})
    assert (returned["status"], returned["result"]) == ("completed", 5)


@pytest.mark.parametrize(
    "text",
    [
        '{"type": "started", "pid": 1}',
        '{"type": "started", "token": "aa", "pid": 1, "start_time": 0, "pidfd_inode": 1, "at": 1}',
        "",
    ],
)
def test_a_journal_that_was_cut_and_begun_anew_ends_with_the_exit_that_was_seen(
    client: Client, text: str
) -> None:
    for returns in (False, True):
        job = _ending(client, "forge", {"text": text, "returns": returns, "truncates": True})
        assert (job["status"], _outcomes(job)) == ("failed", ["exited"])


def test_a_forged_failure_with_lone_surrogates_is_a_failure(client: Client) -> None:
    text = (
        '{"v":1,"type": "outcome", "pid": PID, "outcome": "failed", "error_type": "E\\udc80", '
        '"error_message": "m\\ud800", "traceback": "t\\udfff", "may_retry": true}'
    )
    job = _ending(client, "forge", {"text": text, "returns": False})
    assert (job["status"], _outcomes(job)) == ("failed", ["failed"])


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", '"\\ud800"'])
def test_a_forged_success_with_no_json_is_a_failure(client: Client, number: str) -> None:
    text = f'{{"v":1,"type": "outcome", "pid": PID, "outcome": "completed", "result": {number}}}'
    job = _ending(client, "forge", {"text": text, "returns": False}, retry_count=0)
    assert job["status"] == "failed"
    assert len(job["attempts"]) <= 2


@pytest.mark.parametrize(
    ("result", "outcome", "error"),
    [
        ("[LONG NaN]", "exited", None),
        ("[LONG]", "exited", None),
        ("[LONG[]", "exited", None),
        ('[LONG 1],"more":[2]', "exited", None),
        ('[LONG{"a":1,"a":2}]', "exited", None),
        ('[LONG"\\ud800"]', "failed", "InvalidResult"),
        ("[LONG 1e999]", "failed", "InvalidResult"),
    ],
)
def test_a_forged_success_with_much_that_is_no_json_comes_to_what_little_does(
    client: Client, result: str, outcome: str, error: str | None
) -> None:
    text = f'{{"v":1,"type":"outcome","outcome":"completed","pid":PID,"result":{result}}}'
    job = _ending(client, "forge", {"text": text, "returns": False}, retry_count=0)
    attempt = job["attempts"][0]
    assert (job["status"], job["result"]) == ("failed", None)
    assert (attempt["outcome"], attempt["error_type"], attempt["exit_code"]) == (outcome, error, 0)


def test_a_long_result_with_all_that_json_can_say_is_passed_on_as_it_is(client: Client) -> None:
    job = _ending(client, "return_much", {"levels": 100})
    result = job["result"]
    for _ in range(98):
        (result,) = result
    assert result == ["\0", "\\ud800", 10**30, {"a": 1e308}] * 2000


@pytest.mark.parametrize("code", [None, 0, 121])
def test_a_job_that_removes_its_journal_has_its_attempts_and_no_more(
    client: Client, tmp_path: Path, code: int | None
) -> None:
    ledger = tmp_path / "ledger"
    job = _ending(client, "unlink", {"ledger": str(ledger), "code": code}, retry_count=0)
    assert job["status"] == "failed"
    assert set(_outcomes(job)) <= {"exited", "lost"}
    assert ledger.read_text().split() == ["start", "end"] * len(job["attempts"])
    assert len(job["attempts"]) <= 2


@pytest.mark.parametrize("kind", ["fifo", "directory", "symlink"])
def test_a_job_that_puts_something_else_in_its_journals_place_ends(client: Client, kind: str) -> None:
    job = _ending(client, "replace", {"kind": kind}, retry_count=0)
    assert job["status"] == "failed"
    assert set(_outcomes(job)) <= {"exited", "lost"}
    assert len(job["attempts"]) <= 2
    assert "root" in Path("/etc/passwd").read_text()


def test_an_error_with_a_very_long_name_is_a_failure_with_a_short_one(client: Client) -> None:
    job = _ending(client, "raise_a_long_name", {})
    (attempt,) = job["attempts"]
    assert (job["status"], attempt["outcome"]) == ("failed", "failed")
    assert attempt["error_type"].startswith("XXX")
    assert len(attempt["error_type"]) <= 255


def test_a_job_that_bloats_its_journal_keeps_its_result(client: Client) -> None:
    assert _ending(client, "bloat", {})["result"] == 5


def test_a_job_that_writes_notes_without_end_is_recorded_up_to_the_limit_and_read_no_further(
    running: RunningDaemon,
    client: Client,
    tmp_path: Path,
) -> None:
    path = tmp_path / "babbled"
    job = client.run_background_job(HOSTILE, "babble", {"times": 22, "pauses": 10, "path": str(path)})
    eventually(lambda: path.exists() and _babble(running) >= MAX_NOTES)
    read = [0]  # on to where no value can be either

    def is_at_rest() -> bool:
        read.append(_bytes_read(running))
        return len(read) > 100 and read[-100] == read[-1]

    eventually(is_at_rest, 40)
    Path(f"{path}.go").touch()
    eventually(Path(f"{path}.gone").exists)
    assert _bytes_read(running) - read[-1] < 200_000
    assert job.refresh()["status"] == "running"
    assert _babble(running) == MAX_NOTES
    Path(f"{path}.end").touch()
    assert job.wait(20)["result"] == 5
    assert _babble(running) == MAX_NOTES


def _babble(running: RunningDaemon) -> int:
    ((count,),) = running.query("SELECT count(*) FROM job_logs WHERE message = 'babble'")
    return int(count)


def _bytes_read(running: RunningDaemon) -> int:
    assert running.process is not None
    counters = Path(f"/proc/{running.process.pid}/io").read_text().split()
    return int(counters[counters.index("rchar:") + 1])


def test_a_forged_exit_record_ends_no_attempt_that_still_runs(
    running: RunningDaemon, client: Client, tmp_path: Path
) -> None:
    go, ledger = tmp_path / "go", tmp_path / "ledger"
    job = client.run_background_job(HOSTILE, "forge_an_exit", {"path": str(go), "ledger": str(ledger)})
    eventually(lambda: ledger.exists() and "forged" in ledger.read_text())
    pid = int(ledger.read_text().split()[1])
    running.stop(signal.SIGKILL)
    running.start()
    with running.client() as client:
        assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1
        assert client.get(job.id).snapshot["status"] == "running"
        assert is_alive(pid)
        go.touch()
        end = client.get(job.id).wait(20)
    assert (end["status"], end["result"], _outcomes(end)) == ("completed", "waited", ["completed"])
    assert ledger.read_text().splitlines() == [f"start {pid}", "forged", "end"]


@pytest.mark.parametrize("text", ["nan", "inf", "-inf"])
def test_a_result_that_json_has_no_number_for_is_no_result(client: Client, text: str) -> None:
    job = _ending(client, "return_number", {"text": text}, retry_count=0)
    assert job["status"] == "failed"
    assert [one["error_type"] for one in job["attempts"]] == ["InvalidResult"]


def test_a_grandchild_that_holds_the_output_does_not_keep_its_job_running(
    client: Client, tmp_path: Path
) -> None:
    path = tmp_path / "grandchild"
    job = _ending(client, "leave_a_grandchild", {"path": str(path)})
    assert job["result"] == 5
    eventually(lambda: not is_alive(int(path.read_text())))

"""`bgjobd status`: what it makes of what it sees, and what a person and a monitor see of real daemons."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bgjob import text
from bgjob.codec import Request
from bgjobd import main
from bgjobd.commands import status
from bgjobd.commands.status_report import (
    Answer,
    Gathered,
    Health,
    PageState,
    Standing,
    Throttling,
    judge,
    lines,
    need_of,
)
from bgjobd.config import loading
from bgjobd.core.need_kinds import Kind, Need
from bgjobd.host import lock
from bgjobd.host.disk_space import Room
from tests.client.scripted import Line, Script, ScriptedDaemon
from tests.daemon import warm
from tests.daemon.running import RunningDaemon, daemon
from tests.support import directory_for_all, eventually, is_untouched, socket_of_systemds

NOW = 1_764_086_400.0
STATS: dict[str, Any] = {
    "version": "1.2.3",
    "pid": 12,
    "started_at": "2025-11-25T12:00:00.000000Z",
    "code_version": "444fe3e2eec6",
    "python": "3.13.5",
    "loaded_at": "2025-11-25T12:00:01.000000Z",
    "slots": 4,
    "storage_trouble": None,
    "database_bytes": 4096,
    "jobs": {},
    "minutes": [{"at": "2025-11-25T15:59:00.000000Z", "completed": 2, "failed": 1}],
    "oldest_pending": None,
    "queues": [
        {
            "name": "default",
            "slots": None,
            "pending": 3,
            "running": 2,
            "paused": False,
            "slots_per_key": 2,
            "share": "key",
            "behind": 1,
        },
        {"name": "mail", "slots": 1, "pending": 0, "running": 1, "paused": True},
    ],
}
PAUSED = STATS["queues"][1] | {"resumes_at": "2025-11-25T16:10:00.000000Z"}
SEEN = Gathered(
    now=NOW,
    socket="/run/bgjobd.sock",
    state_dir="/var/lib/bgjobd",
    holder=12,
    can_see_lock=True,
    answer=Answer.ANSWERS,
    stats=STATS,
    page=PageState("http://127.0.0.1:8377/", answers=True),
    is_synchronised=True,
    installed="1.2.3",
)
REVIEW = Need(Kind.REVIEW, "a.B", NOW, "2 jobs of a.B are for review", "`bgjob list --status review`")
FULL = Room(("log_dir",), Path("/var/log"), 1024**4, 4096)
AWAY = replace(SEEN, stats=None, told="no daemon answers")


# What it comes to


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (
            replace(SEEN, stats=STATS | {"storage_trouble": "the database cannot be written: disk full"}),
            "disk full",
        ),
        (replace(SEEN, stats=STATS | {"code_version": None}), "no code is loaded"),
        (replace(SEEN, unavailable={"a.B": "ImportError: no"}), "a.B cannot be used: ImportError: no"),
        (
            replace(SEEN, unavailable={"a.B": "ImportError: no"}, hints={"a.B": "it is tried again in 40 s"}),
            "a.B cannot be used: ImportError: no; it is tried again in 40 s",
        ),
        (
            replace(SEEN, stats=STATS | {"refused_schedules": {"nightly": "no such method"}}),
            "schedule nightly makes no jobs: no such method; mend it, or what is approved, and reload",
        ),
        (
            replace(SEEN, stats=STATS | {"refused_schedules": {"customer/7": "no such method"}}),
            "schedule customer/7 makes no jobs: no such method; put it anew, or delete it",
        ),
        (replace(SEEN, rooms=(FULL,)), "nearly full: only 4 KiB of 1 TiB are free at /var/log"),
        (replace(SEEN, page=PageState("http://127.0.0.1:8377/", answers=False)), "the page does not answer"),
        (
            replace(SEEN, page=PageState("http://127.0.0.1:8377/", False, "another program (pid 7)")),
            "another program (pid 7) listens at http://127.0.0.1:8377/, where the page is to be",
        ),
        (
            replace(SEEN, holder=13),
            "another daemon (pid 12) answers at the socket, and pid 13 holds the lock",
        ),
        (replace(AWAY, answer=Answer.NOBODY), "the daemon (pid 12) holds the lock, and does not serve"),
        (replace(AWAY, answer=Answer.HANGS), "the daemon (pid 12) hangs"),
        (replace(AWAY, answer=Answer.HANGS, holder=None), "a daemon hangs"),
        (replace(AWAY, answer=Answer.REFUSES, told="it is shutting down"), "it is shutting down"),
    ],
)
def test_each_thing_that_is_not_as_it_should_be_degrades_it_and_is_told(seen: Gathered, reason: str) -> None:
    standing = judge(seen)
    (told,) = standing.reasons
    assert reason in told
    assert (standing.health, standing.exit_code) == (Health.DEGRADED, 1)
    assert any(reason in line for line in lines(standing))


def test_all_of_several_reasons_are_told() -> None:
    seen = replace(SEEN, unavailable={"a.B": "x", "a.C": "y"}, rooms=(FULL, replace(FULL, path=Path("/srv"))))
    assert len(judge(seen).reasons) == 4


def test_of_many_schedules_that_are_refused_some_are_told() -> None:
    seen = replace(SEEN, stats=STATS | {"refused_schedules": {f"c/{number}": "no" for number in range(100)}})
    *some, others = judge(seen).reasons
    assert [reason.split()[1] for reason in some] == ["c/0", "c/1", "c/2", "c/3", "c/4"]
    assert "`bgjob schedules`" in others


@pytest.mark.parametrize(
    ("seen", "remark"),
    [
        (SEEN, "queue mail is paused; `bgjob resume mail` goes on with it"),
        (
            replace(SEEN, stats=STATS | {"queues": [PAUSED]}),
            "mail is paused until 2025-11-25 16:10:00 UTC (in 10 min); `bgjob resume mail` goes on with it before",
        ),
        (
            replace(SEEN, throttled={"a.B": Throttling("2025-11-25T16:00:40.000000Z", 12)}),
            "no job of a.B starts until 2025-11-25 16:00:40 UTC (in 40 s): job 12 was told to come later",
        ),
        (
            replace(
                SEEN, throttled={f"a.B{n}": Throttling("2025-11-25T16:00:40.000000Z", 12) for n in range(6)}
            ),
            "jobs of other classes were told to come later, too; `bgjob classes` says which",
        ),
        (
            replace(SEEN, needs=(Need(Kind.QUARANTINED, "a.B", 0.0, "a.B is held: it crashes"),)),
            "a.B is held: it crashes",
        ),
        (replace(SEEN, is_synchronised=False), "nobody keeps the clock right"),
        (
            replace(SEEN, stats=STATS | {"reload_failure": "a.B is unavailable"}),
            "the last reload failed and changed nothing: a.B is unavailable; mend it, and reload",
        ),
        (
            replace(SEEN, stats=STATS | {"drained_at": "2025-11-25T15:58:00.000000Z"}),
            "it drains since 2025-11-25 15:58:00 UTC (2 min ago), as was asked for, and starts nothing new; "
            "a restart has it start jobs again",
        ),
        (
            replace(SEEN, stats=STATS | {"clock_difference": -7.25}),
            "the machine's clock is 7.2 s behind the database's, by which jobs are due",
        ),
        (replace(SEEN, installed="1.2.4"), "bgjobd 1.2.4 is installed, and the daemon runs 1.2.3"),
        (replace(SEEN, holder=None), "nobody is seen to hold the lock"),
        (replace(SEEN, needs=(REVIEW,)), "2 jobs of a.B are for review; `bgjob list --status review`"),
    ],
)
def test_what_only_a_person_may_want_to_know_leaves_it_well(seen: Gathered, remark: str) -> None:
    standing = judge(seen)
    assert (standing.health, standing.exit_code, standing.reasons) == (Health.WELL, 0, ())
    assert any(remark in told for told in standing.remarks)


def test_what_the_daemon_says_that_it_needs_is_what_is_told_and_of_disks_what_is_seen_from_here() -> None:
    broken = Need(Kind.UNAVAILABLE, "a.B", NOW, "a.B cannot be used: no", "mend it")
    elsewhere = Need(Kind.DISK, "/far", NOW, "the disk is nearly full")
    seen = replace(SEEN, needs=(broken, REVIEW, elsewhere), rooms=(FULL,), unavailable={"a.B": "no"})
    standing = judge(seen)
    assert standing.exit_code == 1
    assert [reason.split(";")[0] for reason in standing.reasons] == [
        "a.B cannot be used: no",
        str(FULL.trouble).split(";")[0],
    ]
    assert [one["kind"] for one in json.loads(standing.as_json())["needs"]] == [
        "unavailable",
        "review",
        "disk",
    ]


def test_a_kind_that_only_a_later_daemon_knows_is_a_remark() -> None:
    told = {
        "kind": "tide",
        "subject": "sea",
        "since": STATS["started_at"],
        "sentence": "it rises",
        "hint": None,
    }
    standing = judge(replace(SEEN, needs=(need_of(told),)))
    assert (standing.exit_code, standing.remarks[0]) == (0, "it rises")


def test_a_paused_queue_is_told_once() -> None:
    paused = Need(Kind.PAUSED, "mail", NOW, "queue mail is paused, and a job that is due has waited for 2 h")
    assert [told for told in judge(replace(SEEN, needs=(paused,))).remarks if "mail" in told] == [
        paused.sentence
    ]


@pytest.mark.parametrize(
    ("can_see_lock", "known"), [(True, "nobody holds the lock in"), (False, "this user cannot see whether")]
)
def test_a_daemon_that_does_not_run_is_told_with_how_that_is_known(can_see_lock: bool, known: str) -> None:
    standing = judge(replace(AWAY, answer=Answer.NOBODY, holder=None, can_see_lock=can_see_lock))
    assert (standing.health, standing.exit_code) == (Health.NOT_RUNNING, 3)
    assert standing.reasons[0].startswith("no daemon answers; ")
    assert known in standing.reasons[0]
    assert standing.reasons[0].endswith("--config or $BGJOBD_CONFIG names the configuration of another")


def test_who_names_the_configuration_is_not_told_that_it_may_be_that_of_another() -> None:
    standing = judge(replace(AWAY, answer=Answer.NOBODY, holder=None, is_named=True))
    assert standing.reasons[0].endswith("`bgjobd serve`, or the service manager, starts one")


def test_the_screen_has_what_a_person_looks_for_first() -> None:
    told = list(lines(judge(replace(SEEN, rooms=(FULL,), stats=STATS | {"oldest_pending": None}))))
    assert told[0] == "bgjobd is degraded: 1.2.3, pid 12, for 4 h 0 min, since 2025-11-25 12:00:00 UTC"
    for line in (
        "socket       /run/bgjobd.sock, answers",
        "slots        3 of 4 in use",
        "queues       default: 3 pending, 2 running, 1 behind, per key 2 slots, turns by key",
        "             mail: 0 pending, 1 running, paused",
        "last hour    2 completed, 1 failed",
        "page         http://127.0.0.1:8377/, answers",
    ):
        assert line in told


def test_what_a_daemon_tells_cannot_move_the_terminal() -> None:
    hostile = "\x1b[2J\nbgjobd is well"
    seen = replace(SEEN, unavailable={"a.B": hostile}, stats=STATS | {"version": hostile})
    assert not any("\x1b" in line or "\n" in line for line in lines(judge(seen)))


# Real daemons


def run(running: RunningDaemon, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return warm.run(["status", "--config", str(running.config), *words], os.environ | environ)


def whole(tmp_path: Path, web: str = "enabled = false") -> RunningDaemon:
    """A daemon all of whose classes can be used."""
    running = RunningDaemon(tmp_path, web=web)
    settings = running.config.read_text()
    running.config.write_text(settings.replace('"probes.NeedsMore" = {}\n"broken.Job" = {}\n', ""))
    return running


def test_no_daemon_is_3_and_one_that_runs_0(tmp_path: Path) -> None:
    running = whole(tmp_path)
    before = run(running)
    assert (before.returncode, before.stdout.splitlines()[0]) == (3, "bgjobd is not running")
    running.start()
    try:
        with running.client() as client:
            client.run_background_job("probes.Probe", "echo").wait(20)
        during = run(running)
        told = json.loads(run(running, "--json").stdout)
    finally:
        running.stop()
    assert during.returncode == 0, during.stdout
    assert during.stdout.startswith("bgjobd is well: ")
    assert "last hour    1 completed, 0 failed" in during.stdout
    assert "\x1b" not in during.stdout
    assert (told["status"], told["reasons"], told["daemon"]["slots"]) == ("well", [], 4)
    assert told["lock_held_by"] == told["daemon"]["pid"]
    after = run(running)
    assert after.returncode == 3
    assert "the configuration of another" not in after.stdout


def test_a_daemon_that_systemd_would_start_does_not_run_and_is_not_started_by_asking(tmp_path: Path) -> None:
    running = whole(tmp_path)
    running.start()
    running.stop()
    with socket_of_systemds(running.socket) as (listener, pid):
        done = run(running)
        assert is_untouched(listener)
    assert (done.returncode, done.stdout.splitlines()[0]) == (3, "bgjobd is not running")
    assert f"systemd (pid {pid}) listens at {running.socket}, where no daemon answers" in done.stdout


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"pid": "12"}, "pid"),
        ({"started_at": "yesterday"}, "started_at"),
        ({"queues": [{"name": "default"}]}, "queues.0.pending"),
        ({"database_bytes": 10**400}, "database_bytes"),
        ({"version": None}, "version"),
    ],
)
def test_who_answers_something_else_than_a_daemon_does_not_say_how_it_does(
    tmp_path: Path, changes: dict[str, Any], wrong: str
) -> None:
    standing = standing_of_liar(tmp_path, lambda line, asked: line.reply(**STATS | changes))
    assert standing.health is Health.DEGRADED
    assert f"the daemon's answer has no valid {wrong!r}" in standing.reasons[0]


def test_classes_that_are_none_are_no_answer_either(tmp_path: Path) -> None:
    def lie(line: Line, asked: Request) -> None:
        line.reply(**(STATS if asked.method.endswith("Stats") else {"classes": [{"name": 1}]}))

    assert "the daemon's answer has no valid 'classes.0.name'" in standing_of_liar(tmp_path, lie).reasons[0]


def test_a_class_of_which_a_job_was_told_to_come_later_is_remarked_until_it_may_go_on(tmp_path: Path) -> None:
    def tell(line: Line, asked: Request) -> None:
        told = {"doc": "", "methods": [], "policy": None, "unavailable": None, "hint": None, "held_by": 12}
        times = {"a.B": "2999-01-01T00:00:00.000000Z", "a.C": "2020-01-01T00:00:00.000000Z", "a.D": None}
        classes = [told | {"name": name, "held_until": at} for name, at in times.items()]
        answers = {"Stats": STATS, "Needs": {"needs": [], "more": 0}}
        line.reply(
            **answers.get(asked.method.rpartition(".")[2], {"classes": classes, "code_version": "c0de"})
        )

    standing = standing_of_liar(tmp_path, tell)
    assert json.loads(standing.as_json())["throttled"] == {
        "a.B": {"until": "2999-01-01T00:00:00.000000Z", "by": 12}
    }
    assert [told for told in standing.remarks if "was told to come later" in told] == [
        f"no job of a.B starts until {text.moment('2999-01-01T00:00:00.000000Z', standing.gathered.now)}: "
        "job 12 was told to come later"
    ]


def standing_of_liar(directory: Path, script: Script) -> Standing:
    """How a daemon does that holds its lock, and answers what the script says."""
    settings = loading.load(None, {"HOME": str(directory), "XDG_RUNTIME_DIR": str(directory)}, is_root=False)
    settings.daemon.state_dir.mkdir(parents=True)
    held = lock.lock(settings.daemon.state_dir)
    try:
        with ScriptedDaemon(settings.daemon.socket, script):
            return judge(status.gather(settings))
    finally:
        os.close(held)


def test_a_class_that_cannot_be_used_is_1(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        with running.client() as client:
            client.classes()  # once there are any
        done = run(running)
    assert done.returncode == 1
    assert "broken.Job cannot be used: RuntimeError: this module does not import" in done.stdout


def test_a_daemon_that_is_stopped_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "TIMEOUT", 0.5)
    running = whole(tmp_path)
    running.start()
    assert running.process is not None
    running.process.send_signal(signal.SIGSTOP)
    try:
        standing = judge(status.gather(loading.load(running.config, {}, is_root=False)))
    finally:
        running.process.send_signal(signal.SIGCONT)
        running.stop()
    assert standing.exit_code == 1
    assert f"the daemon (pid {standing.gathered.holder}) hangs" in standing.reasons[0]


def test_a_daemon_whose_socket_was_removed_holds_the_lock(tmp_path: Path) -> None:
    running = whole(tmp_path)
    running.start()
    try:
        running.socket.unlink()
        done = run(running)
    finally:
        running.stop()
    assert done.returncode == 1
    assert "holds the lock, and does not serve its socket" in done.stdout


def test_the_page_is_asked_whether_it_answers(tmp_path: Path) -> None:
    running = whole(tmp_path, web=f'bind = "unix:{tmp_path}/page.sock"')
    running.start()
    try:
        eventually(lambda: run(running).returncode == 0)
        assert f"page         unix:{tmp_path}/page.sock, answers" in run(running).stdout
        running.config.write_text(running.config.read_text().replace("page.sock", "other.sock"))
        done = run(running)
        with socket.socket(
            socket.AF_UNIX
        ) as another:  # as another daemon's page, which would say that it is well
            another.bind(f"{tmp_path}/other.sock")
            another.listen()
            taken = run(running)
    finally:
        running.stop()
    assert (done.returncode, taken.returncode) == (1, 1)
    assert f"the page does not answer at unix:{tmp_path}/other.sock" in done.stdout
    assert f"another program (pid {os.getpid()}) listens at unix:{tmp_path}/other.sock" in taken.stdout
    assert f"page         unix:{tmp_path}/other.sock, is another's" in taken.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_user_who_may_not_connect_is_refused_and_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    with directory_for_all() as directory, socket.socket(socket.AF_UNIX) as served:
        running = RunningDaemon(directory)
        served.bind(str(running.socket))
        served.listen()
        running.socket.chmod(0o600)
        running.database.parent.mkdir(mode=0o700)  # so that it cannot see the lock either
        os.seteuid(65534)
        try:
            code = main.main(["status", "--config", str(running.config)])
        finally:
            os.seteuid(0)
    told = capsys.readouterr()
    assert (code, told.out) == (77, "")
    assert "run it as the daemon's user" in told.err


def test_a_configuration_that_cannot_be_used_is_2(tmp_path: Path) -> None:
    running = RunningDaemon(tmp_path)
    running.config.write_text("[daemon]\nslots = 0\n")
    assert run(running).returncode == 2

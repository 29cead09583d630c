"""What `bgjob graph` and `bgjob group` show and ask, and what other commands tell of jobs that come after others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bgjob import calls, command, errors
from bgjob.codec import JsonObject, Reply, Request
from bgjob.commands.problems import code_of, explained
from bgjob.errors import ProtocolError
from bgjob.words import SERVICE
from tests.client.scripted import STANDING, WHEN, Line, ScriptedDaemon, group, method_of, summary, whole
from tests.client.test_graph_tree import blocked, edge, job
from tests.fuzz.commands import shown_by

SOME_FAILED = group(5, "failed", name="thumbnails", total=40, completed=37, failed=2, cancelled=1)
ALL_CANCELLED = group(5, "failed", failed=0, cancelled=3)


def answers(told: JsonObject, *groups: JsonObject) -> Any:
    """Whatever is asked of a group is done; how it stands then is told by the last of `groups`, before by the first."""

    def answer(line: Line, asked: Request) -> None:
        match method_of(asked):
            case "Group":
                line.reply(group=groups[0])
            case "Groups":
                line.reply(groups=[], next=None)
            case "WaitGroup":
                line.reply(group=groups[-1])
            case "RetryGroup":
                line.reply(retried=told.get("retried", 2))
            case _:
                line.reply(**told)

    return answer


def ran(tmp_path: Path, script: Any, *words: str) -> tuple[int, ScriptedDaemon]:
    with ScriptedDaemon(tmp_path / "s", script) as daemon:
        return command.main(["--socket", str(daemon.path), *words]), daemon


# bgjob graph


def test_a_graph_is_a_tree_and_one_that_is_not_whole_says_how_to_see_more() -> None:
    jobs = [job(12, "extract"), blocked(13, "bind")]
    told = {"jobs": jobs, "groups": [], "edges": [edge(12, 13)], "is_whole": False}
    lines = shown_by("graph 13 --limit 2", Reply(told)).splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["ID", "STATUS", "JOB", "NOTE"],
        ["12", "completed", "B::extract"],
        ["↓", "13*", "blocked", "B::bind"],
    ]
    assert lines[3:] == [
        "bgjob: it is part of a larger graph, whose nearest 2 jobs are shown; --limit 1000 shows more"
    ]
    for total, told_as in ((5012, "5,012"), (10_000, "at least 10,000")):
        assert shown_by("graph 13 --limit 2", Reply(told | {"total": total})).splitlines()[3:] == [
            f"bgjob: it is part of a larger graph, of which 2 of {told_as} jobs are shown: "
            "those that failed and what they block first, then the nearest; --limit 1000 shows more"
        ]
    assert shown_by("graph 13 --json", Reply(told)).startswith('{"jobs": [{"id": 12, ')


def test_a_graph_is_asked_for_as_far_as_is_wanted(tmp_path: Path) -> None:
    _, daemon = ran(
        tmp_path, answers({"jobs": [], "groups": [], "edges": [], "is_whole": True}), "graph", "13"
    )
    assert daemon.parameters("Graph") == [{"id": 13, "limit": 1000, "count": 10_000}]


def test_a_graph_is_shown_by_an_earlier_daemon_that_cannot_count_its_jobs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def earlier(line: Line, asked: Request) -> None:
        if "count" in asked.parameters:
            line.send(Reply({"parameter": "count"}, error=f"{SERVICE}.InvalidParameter").to_bytes())
        else:
            line.reply(jobs=[job(13, "bind")], groups=[], edges=[], is_whole=False)

    assert ran(tmp_path, earlier, "graph", "13")[0] == 0
    assert "part of a larger graph" in capsys.readouterr().err


# bgjob group


def test_a_group_is_told_with_what_can_be_done_next() -> None:
    open_one = group(5, "open", name="thumbnails", total=40, completed=30, unfinished=10, group=3)
    nested = {"groups": [group(7, "open"), group(6, "failed")], "next": 6}
    lines = shown_by("group 5", Reply({"group": open_one, **nested})).splitlines()
    assert lines.pop(4) == "its groups  7 (open), 6 (failed) and more"
    assert lines[:4] == [
        "group 5  thumbnails",
        "state       open: nobody has sealed it, and 10 of 40 members have not ended",
        "members     30 of 40 completed",
        "member of   group 3",
    ]
    assert lines[4].startswith("made        2026-11-25 12:00:00 UTC (")
    assert lines[5:] == ["", "next: bgjob list --group 5, bgjob group 5 --seal"]


def test_without_an_id_the_newest_groups_are_listed() -> None:
    told = {
        "groups": [group(7, "open", name="thumbnails", total=40, completed=30), SOME_FAILED],
        "next": None,
    }
    lines = shown_by("group", Reply(told)).splitlines()
    assert [" ".join(line.split()[:7]) for line in lines] == [
        "ID STATE NAME MEMBERS MADE",
        "7 open thumbnails 30 of 40 completed",
        "5 failed thumbnails 37 of 40 completed,",
    ]
    assert shown_by("group --json", Reply(told)).startswith('{"groups": [{"id": 7, ')
    assert shown_by("group", Reply({"groups": [], "next": None})) == "bgjob: there are no groups\n"


@pytest.mark.parametrize(
    ("told", "state", "following"),
    [
        (
            group(5, "open", total=0, unfinished=0),
            "open: nobody has sealed it, and it has no members",
            "bgjob group 5 --seal",
        ),
        (
            group(5, "open", completed=3, unfinished=0),
            "open: nobody has sealed it, and all members have ended",
            "bgjob group 5 --seal",
        ),
        (group(5), "sealed, 3 of 3 members have not ended", "bgjob group 5 --wait"),
        (group(5, "completed"), "completed", ""),
        (SOME_FAILED, "failed", "bgjob group 5 --retry"),
        (ALL_CANCELLED, "failed", "bgjob list --group 5 --status cancelled, bgjob retry IDS"),
    ],
)
def test_a_group_says_what_it_waits_for(told: JsonObject, state: str, following: str) -> None:
    lines = shown_by("group 5", Reply({"group": told, "groups": [], "next": None})).splitlines()
    assert lines[1] == f"state       {state}"
    assert lines[-1] == f"next: {', '.join(filter(None, ['bgjob list --group 5', following]))}"


@pytest.mark.parametrize(
    ("ended", "code", "said"),
    [
        (group(5, "completed"), 0, ""),
        (
            SOME_FAILED,
            1,
            "bgjob: group 5 failed: 37 of 40 completed, 2 failed, 1 cancelled; "
            "`bgjob list --group 5 --status failed` has them\n",
        ),
        (
            ALL_CANCELLED,
            3,
            "bgjob: group 5 failed: 0 of 3 completed, 3 cancelled; "
            "`bgjob list --group 5 --status cancelled` has them\n",
        ),
    ],
)
def test_the_exit_code_of_a_wait_is_that_of_the_groups_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ended: JsonObject, code: int, said: str
) -> None:
    assert ran(tmp_path, answers({}, group(5), ended), "group", "5", "--wait", "--json")[0] == code
    told = capsys.readouterr()
    assert told.err == f"bgjob: group 5: sealed, 3 of 3 members have not ended; waiting for its end\n{said}"
    assert told.out.startswith('{"id": 5, ')


def test_a_wait_that_takes_too_long_ends_with_124(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("group", "5", "-w", "--timeout", "10ms")
    assert ran(tmp_path, answers({}, group(5)), *words)[0] == 124
    assert "it goes on" in capsys.readouterr().err


def test_without_a_wait_a_group_that_failed_is_shown_and_that_is_well(tmp_path: Path) -> None:
    assert ran(tmp_path, answers({}, SOME_FAILED), "group", "5")[0] == 0


@pytest.mark.parametrize(
    ("action", "method", "said"),
    [
        ("--seal", "SealGroup", "bgjob: group 5 takes no more members\n"),
        (
            "--cancel",
            "CancelGroup",
            "bgjob: members of group 5 that have not ended are cancelled, or stopped first\n",
        ),
        ("--retry", "RetryGroup", "bgjob: 2 members are to run again, and what was cancelled for them\n"),
    ],
)
def test_what_is_asked_of_a_group_is_said_before_how_it_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], action: str, method: str, said: str
) -> None:
    code, daemon = ran(tmp_path, answers({}, group(5)), "group", "5", action)
    assert code == 0
    assert [method_of(asked) for asked in daemon.asked] == [method, "Group", "Groups"]
    told = capsys.readouterr()
    assert told.err == said
    assert told.out.startswith("group 5\n")


def test_a_program_reads_how_many_members_are_retried() -> None:
    reply = {"retried": 2, "group": group(5)}
    assert '"retried": 2' in shown_by("group 5 --retry --json", Reply(reply))
    with pytest.raises(ProtocolError):
        calls.retry_group(5).parse({"retried": -1})


def test_a_retry_of_a_group_none_of_which_failed_says_what_helps_and_ends_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = answers({"retried": 0}, ALL_CANCELLED)
    assert ran(tmp_path, script, "group", "5", "--retry")[0] == 1
    assert capsys.readouterr().err == (
        "bgjob: no job in group 5 has failed;"
        " `bgjob list --group 5 --status cancelled` has those to be retried by id\n"
    )


def test_a_group_that_there_is_not_is_exit_code_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(tmp_path, lambda line, asked: line.refuse("GroupNotFound", id=7), "group", "7")[0] == 4
    assert capsys.readouterr().err == "bgjob: there is no group 7; `bgjob group` has the newest\n"


@pytest.mark.parametrize(
    "words",
    [
        "group 5 --seal --cancel",
        "group 5 --timeout 5",
        "group x",
        "group --seal",
        "group -w",
        "graph 1 --limit 0",
    ],
)
def test_what_means_nothing_is_refused_before_anything_is_asked(words: str) -> None:
    with pytest.raises(SystemExit) as refused:
        command.main(words.split())
    assert refused.value.code == 2


# Of jobs


def test_a_job_is_submitted_after_others(tmp_path: Path) -> None:
    words = ("run", "a.B::c", "--after", "12", "--after", "group:5", "--if-failed", "run")
    _, daemon = ran(tmp_path, answers({"id": 14, "created": True}), *words)
    (asked,) = daemon.parameters("Submit")
    assert asked["options"].items() >= {"after": [{"id": 12}, {"group": 5}], "if_failed": "run"}.items()


@pytest.mark.parametrize(
    "words", ["--after group", "--after group:", "--after group:x", "--after :5", "--after g:5", "--after 0"]
)
def test_what_is_no_predecessor_is_refused(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["run", "a.B::c", *words.split()])
    assert "--after: " in capsys.readouterr().err


def test_a_delay_beside_what_a_job_comes_after_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["run", "a.B::c", "--after", "12", "--delay", "5"])
    assert "--delay from when" in capsys.readouterr().err


def test_members_of_a_group_are_listed(tmp_path: Path) -> None:
    script = answers({"jobs": [], "next": None, "is_complete": True})
    _, daemon = ran(tmp_path, script, "list", "--group", "5", "--status", "blocked")
    (asked,) = daemon.parameters("List")
    assert (asked["group"], asked["status"]) == (5, ["blocked"])


def test_a_retry_of_what_comes_after_something_that_failed_says_what_to_retry_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(line: Line, asked: Request) -> None:
        line.refuse("BehindFailed", id=14, before="group 5")

    assert ran(tmp_path, refuse, "retry", "14", "15")[0] == 77
    assert capsys.readouterr().err == (
        "bgjob: none of the 2 jobs is to run again\n"
        "bgjob: job 14 comes after group 5, which ended badly; retry group 5 first, or this one anyway;"
        " `bgjob group 5` says how, or `bgjob retry 14 --anyway`\n"
    )


@pytest.mark.parametrize(("words", "asked"), [((), {}), (("--anyway",), {"anyway": True})])
def test_a_retry_may_be_wanted_anyway(tmp_path: Path, words: tuple[str, ...], asked: JsonObject) -> None:
    _, daemon = ran(tmp_path, answers({"ids": [14]}), "retry", "14", *words)
    assert daemon.parameters("Retry") == [{"ids": [14]} | asked]


def test_a_sealed_group_is_a_refusal_and_leads_to_the_group() -> None:
    error = errors.GroupSealedError(id=5)
    assert code_of(error) == 77
    assert explained(error) == "group 5 is sealed: it takes no more members; `bgjob group 5` has more"


def test_of_a_job_that_was_cancelled_for_another_that_is_to_be_retried() -> None:
    error = errors.JobCancelledError({"id": 14, "status": "cancelled", "cancelled_after": "12"})
    assert explained(error) == "job 14 ended as cancelled; `bgjob retry 12` has it run, too"
    error = errors.JobCancelledError({"id": 14, "status": "cancelled", "cancelled_after": "group 5"})
    assert explained(error) == "job 14 ended as cancelled; `bgjob group 5` says how"


AFTER_MANY: JsonObject = {
    "Get": {"job": whole(50, is_blocked=True, if_failed="wait", waits_for=2, group_id=7), "next": None},
    "Steps": {"steps": [], "signals": [], "next": None},
    "List": {"jobs": [], "next": None, "is_complete": True},
    "Graph": {
        "jobs": [summary(n, "completed") for n in range(1, 20)],
        "groups": [group(5)],
        "edges": [edge(5, 50, "group"), edge(60, 50, standing="met"), *(edge(n, 50) for n in range(1, 20))],
        "is_whole": True,
    },
}


def test_show_tells_what_a_job_comes_after_and_how_that_stands() -> None:
    lines = shown_by("show 50", Reply(AFTER_MANY)).splitlines()
    assert lines[1] == "status      blocked"
    jobs = ", ".join(f"job {n} (completed)" for n in range(1, 9))
    assert f"after       group 5 (sealed), job 60 (met), {jobs} and 11 more" in lines
    assert "if failed   wait" in lines
    part = {**AFTER_MANY, "Graph": AFTER_MANY["Graph"] | {"is_whole": False}}
    assert f"after       group 5 (sealed), job 60 (met), {jobs} and more\n" in shown_by(
        "show 50", Reply(part)
    )
    assert "group       7" in lines
    assert lines[-1] == "next: bgjob why 50, bgjob graph 50"


def test_show_tells_what_a_job_takes_of_results_and_what_went_wrong_with_that() -> None:
    takes = {
        "rows": {"of": {"id": 12}, "pointer": "/rows", "problem": "there is no /rows"},
        "pages": {"of": {"group": 5}, "pointer": ""},
    }
    told = {
        "job": whole(14, "cancelled", takes=takes, cancelled_after="12"),
        "next": None,
        "steps": [],
        "signals": [],
        "jobs": [],
        "is_complete": True,
    }
    lines = shown_by("show 14", Reply(told)).splitlines()
    assert "takes       rows from job 12, /rows: there is no /rows" in lines
    assert "            pages from group 5" in lines
    assert lines[-1] == "next: bgjob retry 12"


# Of the daemon


def test_stats_and_top_count_blocked_jobs_and_groups_that_have_not_ended() -> None:
    queue = {"name": "mail", "pending": 4, "running": 0, "slots": 2, "paused": False, "oldest_pending": None}
    queues = [queue | {"blocked": 3}, queue | {"name": "other", "blocked": 0}]
    stats = {**STANDING, "jobs": {"pending": 8}, "blocked": 3, "groups_open": 2, "queues": queues}
    counts = (
        "jobs: 8 pending (3 blocked), 0 running, 0 completed, 0 failed, 0 cancelled; 2 groups have not ended"
    )
    lines = shown_by("stats", Reply({**stats, "needs": [], "more": 0})).splitlines()
    assert counts in lines
    assert [line.split() for line in lines[-3:]] == [
        ["QUEUE", "PENDING", "BLOCKED", "RUNNING", "SLOTS"],
        ["mail", "4", "3", "0", "2"],
        ["other", "4", "0", "2"],
    ]
    look = {"Stats": stats, "List": {"jobs": [], "is_complete": True}, "Running": {"attempts": []}}
    look["Needs"] = {"needs": [], "more": 0}
    assert counts in shown_by("top --once", Reply(look)).splitlines()
    assert WHEN not in counts

"""What `bgjob schedules`, `bgjob occurrences` and `bgjob schedule` show, of what a daemon answers."""

from __future__ import annotations

import argparse
from typing import Any, cast

import pytest

from bgjob import managing_calls
from bgjob.codec import Reply
from bgjob.commands import schedules as commands
from bgjob.errors import ScheduleNotFoundError
from tests.fuzz.commands import shown_by

LATER = "2999-01-01T01:30:00.000000Z"
EARLIER = "2024-12-04T14:31:53.000000Z"


def occurrence(**others: Any) -> dict[str, Any]:
    told = {"at": EARLIER, "until": EARLIER, "count": 1, "verdict": "submitted", "reason": None}
    return {**told, "job_id": 12, "dealt_at": EARLIER, "status": "completed", **others}


def skipped(reason: str, **others: Any) -> dict[str, Any]:
    return occurrence(verdict="skipped", reason=reason, job_id=None, status=None, **others)


def schedule(name: str = "nightly", **others: Any) -> dict[str, Any]:
    return {
        "name": name,
        "job": "shop.Report::build",
        "parameters": {"kind": "daily"},
        "cron": "30 2 * * 1-5",
        "every": None,
        "zone": "Europe/Berlin",
        "description": "At 02:30 on Monday through Friday",
        "missed": "run_once",
        "overlap": "skip",
        "jitter": None,
        "paused_at": None,
        "next": [{"at": LATER, "local": "Tue 2999-01-01 02:30 CET", "note": None}],
        "last": None,
        "refused": None,
        **others,
    }


def told(words: str, **answer: Any) -> str:
    return shown_by(words, Reply(answer))


def test_the_schedules_are_a_line_each() -> None:
    shown = told(
        "schedules",
        schedules=[
            schedule(last=occurrence()),
            schedule("paused", paused_at=EARLIER, last=skipped("paused", count=3)),
            schedule("broken", refused="no such method", next=[]),
        ],
    ).splitlines()
    assert shown[0].split() == ["NAME", "JOB", "WHEN", "NEXT", "LAST"]
    assert "shop.Report::build  At 02:30 on Monday through Friday  in " in shown[1]
    assert ", Tue 2999-01-01 02:30 CET  job 12 completed, " in shown[1]
    assert "3 skipped: paused, " in shown[2]
    assert "CET" not in shown[2], "what is paused does not come"
    assert shown[2].endswith("  paused")
    assert shown[3].split()[-3:] == ["–", "–", "refused"]


def test_one_schedule_is_told_with_what_daylight_saving_does_to_it() -> None:
    note = "the clock shows 02:30 twice on this day: the first time"
    following = [{"at": LATER, "local": "Tue 2999-01-01 02:30 CET", "note": note}]
    shown = told(
        "schedules nightly",
        schedules=[
            schedule(
                next=following, paused_at=EARLIER, jitter=300.0, last=skipped("missed"), refused="no method"
            ),
        ],
    )
    lines = shown.splitlines()
    assert lines[0] == "nightly  shop.Report::build"
    assert lines[1] == "when        At 02:30 on Monday through Friday (30 2 * * 1-5, Europe/Berlin)"
    assert lines[2].startswith("if resumed  Tue 2999-01-01 02:30 CET (in ")
    assert lines[2].endswith(f"): {note}")
    assert lines[3].startswith("last        2024-12-04 14:31:53 UTC (")
    assert lines[3].endswith("): skipped: missed")
    assert lines[4].startswith("paused      since 2024-12-04 14:31:53 UTC (")
    assert lines[5:] == [
        "refused     no method",
        'parameters  {"kind": "daily"}',
        "missed      run_once",
        "overlap     skip",
        "jitter      up to 5 min 0 s",
        "",
        "next: bgjob occurrences nightly",
    ]


def test_with_so_many_to_come_each_schedule_is_told() -> None:
    shown = told("schedules --next 5", schedules=[schedule(), schedule("other")])
    assert shown.count("next        Tue 2999-01-01 02:30 CET") == 2


def test_without_schedules_it_is_said_where_they_are_listed() -> None:
    assert "[schedules] in the daemon's configuration" in told("schedules", schedules=[])


def test_occurrences_are_a_line_each_and_those_skipped_in_a_row_one() -> None:
    shown = told(
        "occurrences nightly",
        occurrences=[
            skipped("overlap", count=3, until="2024-12-04T14:33:53.000000Z") | {"job_id": 12},
            occurrence(verdict="asked", status="failed"),
            occurrence(job_id=11, status=None),
        ],
        next=EARLIER,
    ).splitlines()
    assert shown[0].startswith("AT (UTC) ")
    assert [" ".join(line.split()) for line in shown[1:4]] == [
        "2024-12-04 14:31:53 2024-12-04 14:33:53 3 skipped job 12 has not ended",
        "2024-12-04 14:31:53 1 asked 12 failed",
        "2024-12-04 14:31:53 1 submitted 11 deleted",
    ]
    assert shown[4] == f"bgjob: there are older ones: --before {EARLIER}"


def test_without_rows_in_a_row_nothing_is_counted() -> None:
    shown = told("occurrences nightly", occurrences=[occurrence()], next=None)
    assert shown.splitlines()[0].split() == ["AT", "(UTC)", "VERDICT", "JOB", "STATUS", "NOTE"]
    assert "bgjob schedules nightly" in told("occurrences nightly", occurrences=[], next=None)


def test_a_run_prints_the_id_and_a_pause_says_how_it_ends() -> None:
    assert told("schedule run nightly", id=12) == "12\n"
    assert told("schedule run nightly --json", id=12) == '{"id": 12}\n'
    assert "`bgjob schedule resume nightly`" in told("schedule pause nightly")
    assert told("schedule resume nightly") == "bgjob: schedule nightly is not paused\n"


def test_before_a_backfill_it_is_told_how_many_and_what_they_hold_up() -> None:
    span = "schedule backfill nightly --from 2026-01-01 --to 2026-02-01"
    assert told(span, count=0, ids=[]) == "bgjob: 0 occurrences have no job\n"
    shown = told(span, count=7, ids=[])
    assert shown.startswith(
        "bgjob: 7 occurrences have no job; --yes makes a job of each, and until they have ended, overlap"
    )


def test_a_backfill_is_not_sent_again_unless_it_only_counts() -> None:
    def may_repeat(check_only: bool) -> bool:
        return managing_calls.backfill("x", "2026-01-01", "2026-01-02", None, check_only).may_repeat

    assert [may_repeat(True), may_repeat(False)] == [True, False]


@pytest.mark.parametrize(
    ("paused_at", "words"), [("2024-12-04T14:31:53.000000Z", "is resumed"), (None, "was not paused")]
)
def test_a_resume_says_whether_there_was_something_to_resume(paused_at: str | None, words: str) -> None:
    found = [schedule() | {"paused_at": paused_at}]
    assert told("schedule resume nightly", schedules=found) == f"bgjob: schedule nightly {words}\n"


def test_on_a_narrow_terminal_that_goes_first_which_tells_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bgjob.commands.screen.columns", lambda: 40)
    shown = told(
        "occurrences nightly", occurrences=[skipped("overlap", count=3), occurrence()], next=None
    ).splitlines()
    assert shown[0].split() == ["AT", "(UTC)", "VERDICT", "JOB"]
    assert "bgjob: no room for TO, COUNT, STATUS, NOTE" in shown
    paused = schedule("nightly-report") | {"paused_at": EARLIER, "last": occurrence()}
    shown = told("schedules", schedules=[paused]).splitlines()
    assert shown[0].split() == ["NAME", "JOB", "NEXT"]
    assert shown[1].endswith("paused")
    assert "bgjob: no room for WHEN, LAST" in shown


def test_a_configured_schedule_that_is_to_be_deleted_is_told_where_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Asked:
        """A daemon whose schedules are configured."""

        def delete_schedule(self, name: str) -> None:
            raise ScheduleNotFoundError(name=name)

        def schedules(self, next: int, name: str) -> list[dict[str, str]]:
            return [{"name": name}]

    given = argparse.Namespace(action="delete", name="tick")
    assert commands.schedule(cast(Any, Asked()), given) == 4
    assert capsys.readouterr().err == (
        "bgjob: there is no schedule tick that was put: it is of the configuration; "
        "remove it there, from [schedules], and then `bgjob reload`\n"
    )

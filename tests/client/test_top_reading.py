"""What `bgjob top` shows of one job or error, and what its capital letters ask and do: without a daemon or a clock."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from bgjob import text
from bgjob.answers import DoneToMany, ErrorRead, Matched
from bgjob.commands.top import many, picture
from bgjob.commands.top.controls import Mode, View, counted, keys_in, pressed
from bgjob.commands.top.many import Counted
from bgjob.commands.top.one_job import OneError, OneJob
from bgjob.commands.top.scene import Kind, Scene
from bgjob.commands.top.wishes import Cancel, Count, DoToAll, Pause, Read, Retry
from bgjob.filters import Filter
from tests.client.test_top import HOSTILE, SEEN, after, at, attempt, failed, queue, scene, shown


def error(**others: Any) -> dict[str, Any]:
    return {
        "id": 4, "name": None, "error_type": "ValueError", "outcome": "failed", "message": "no recipient",
        "place": "mail.py:deliver", "line": "mail.py:88", "class_name": "shop.Mail", "attempts": 19, "failed": 17,
        "first_at": at(90), "first_job": 2, "first_version": "1", "last_at": at(5), "last_job": 7, "last_attempt": 1,
        "last_version": "1", "is_new": True, "is_back": False, "back_at": None,
    } | others  # fmt: skip


def job(*attempts: dict[str, Any], **others: Any) -> dict[str, Any]:
    return failed(7) | {
        "status": "failed", "created_at": at(10), "scheduled_at": None, "max_retries": 1, "retry_count": 0,
        "retry_delay": 8.0, "backoff": "constant", "timeout": None, "cancel_requested_at": None, "if_failed": None,
        "key": None, "attempts": list(attempts), **others,
    }  # fmt: skip


def ended(number: int, **others: Any) -> dict[str, Any]:
    return {
        "number": number, "outcome": "failed", "started_at": at(9), "finished_at": at(4), "progress": None,
        "error_message": "no recipient", "traceback": "Traceback\n  mail.py\nValueError: no", **others,
    }  # fmt: skip


def reading(one: OneJob | OneError) -> Scene:
    return SEEN._replace(look=SEEN.look._replace(one=one))


IN_JOB, _ = after(SEEN, "jj\r")


# All of one


def test_all_of_a_job_is_read_and_left() -> None:
    view, wishes = after(SEEN, "jj\r")
    assert (view.mode, wishes) == (Mode.IN_ONE, [Read((Kind.FAILED, 7, 0))])
    assert shown(SEEN, view)[3] == "…"
    seen = reading(OneJob(job(ended(1)), "job 7 failed", "a\n10%\r20%\r\n\tb\x00\u202e\n"))
    assert shown(seen, view)[2:20] == [
        "",
        "job 7  shop.Mail::send  failed  queue mail",
        "job 7 failed",
        "",
        "  Waited for a slot  ▒▒▒▒▒▒▒                                     1 s",
        "  Attempt 1 failed          ███████████████████████████████████  5 s",
        "                     22:13:10                          22:13:16",
        "",
        "attempt 1  failed: no recipient",
        "",
        "Traceback",
        "  mail.py",
        "ValueError: no",
        "",
        "output of attempt 1",
        "a",
        "20%",
        "        b\\x00\\u202e",
    ]
    for key in ("\x1b", "\r", "q"):
        assert after(seen, key, view) == (view._replace(mode=Mode.LOOKING), [Read(None)])


def test_what_is_gone_is_said_to_be() -> None:
    looked = SEEN._replace(look=SEEN.look._replace(read=(Kind.FAILED, 7, 0)))
    assert shown(SEEN, IN_JOB)[3] == "…"
    assert shown(looked, IN_JOB)[3] == "it is not there any more"


def test_the_end_of_the_output_is_seen_below_however_much_is_above() -> None:
    printed = "".join(f"line {n}\n" for n in range(100))
    seen = reading(OneJob(job(ended(1, traceback="frame\n" * 40)), "job 7 failed", printed))
    lines = shown(seen, IN_JOB)
    assert lines[-2] == "line 99"
    assert "output of attempt 1" in lines
    assert lines[3].startswith("job 7 ")


def test_what_has_no_room_is_reached_by_scrolling_and_no_further() -> None:
    seen = reading(OneJob(job(ended(1, traceback="frame\n" * 40)), "job 7 failed", "end\n"))
    view, _ = after(seen, "jj", IN_JOB)
    assert shown(seen, view)[2] == "job 7 failed"
    view = picture.within(seen, after(seen, " " * 50, view)[0], 80, 24)
    assert shown(seen, view)[-2] == "end"
    assert picture.within(seen, after(seen, "k", view)[0], 80, 24).skip == view.skip - 1
    assert after(seen, "\x1b", view)[0].skip == 0


def test_a_long_reason_is_folded_and_not_cut() -> None:
    seen = reading(OneJob(job(), "because " * 30 + "so it is", ""))
    assert "so it is" in shown(seen, IN_JOB, columns=40)[10]


def test_what_is_read_can_be_retried_cancelled_and_its_queue_paused() -> None:
    over = reading(OneJob(job(), "", ""))
    assert after(over, "r", IN_JOB) == (IN_JOB, [Retry(7)])
    assert after(over, "p", IN_JOB) == (IN_JOB, [Pause("mail")])
    waits = reading(OneJob(job(status="pending"), "", ""))
    view, wishes = after(waits, "c", IN_JOB)
    assert (view.mode, wishes) == (Mode.ASKED, [])
    assert shown(waits, view)[3].startswith("job 7 ")
    assert after(waits, "y", view) == (IN_JOB, [Cancel(7)])


def test_an_error_is_read_as_a_job_is() -> None:
    listed = SEEN._replace(look=SEEN.look._replace(errors=[error()]))
    view, wishes = after(listed, "jj\r")
    assert wishes == [Read((Kind.ERROR, 4, 0))]
    read = ErrorRead(error(), {"shop.Mail": 19}, "Traceback\nValueError: no")
    lines = shown(reading(OneError(read, "7, 6", "1")), view)
    assert lines[3] == "error 4  ValueError at mail.py:88 in deliver"
    for line in ("message   no recipient", "classes   shop.Mail 19", "jobs      7, 6", "ValueError: no"):
        assert line in lines


@pytest.mark.parametrize("columns", [1, 20, 80])
@pytest.mark.parametrize("lines", [1, 5, 24])
def test_no_text_of_a_job_or_an_error_leaves_its_place(columns: int, lines: int) -> None:
    hostile = job(
        ended(1, error_message=HOSTILE * 9, traceback=HOSTILE * 9, outcome=HOSTILE),
        queue=HOSTILE,
        class_name=HOSTILE,
    )
    named = error(name=HOSTILE, message=HOSTILE, place=HOSTILE, line=HOSTILE, last_version=HOSTILE)
    for one in (
        OneJob(hostile, HOSTILE, HOSTILE * 9),
        OneError(ErrorRead(named | {"id": 7}, {HOSTILE: 1}, HOSTILE), "7", None),
    ):
        drawn = picture.drawn(reading(one), IN_JOB, columns, lines)
        assert len(drawn) == lines
        assert all(line.text.isprintable() and len(line.text) <= columns for line in drawn)


# All that a row stands for


def matched(jobs: int = 17, **others: Any) -> Matched:
    told: dict[str, Any] = {
        "running": 0,
        "at_most_once": 0,
        "classes": [],
        "oldest": None,
        "newest": None,
        "as_of": "now",
    }
    return Matched(jobs=jobs, **told | others)


def wanted(keys: str, seen: Scene = SEEN) -> many.Many:
    """What is counted at these keys."""
    (wish,) = after(seen, keys)[1]
    assert isinstance(wish, Count)
    return wish.many


def test_a_capital_letter_means_all_that_the_row_stands_for() -> None:
    failures, open_ones = ("failed",), ("pending", "running")
    of_mail = Filter(class_name="shop.Mail", method_name="send")
    assert wanted("jjR") == many.Many("retry", "of shop.Mail::send", of_mail._replace(status=failures))
    assert wanted("C").filter == of_mail._replace(status=open_ones)
    assert wanted("\t\tR").filter == Filter(status=failures, queue="default")
    listed = SEEN._replace(look=SEEN.look._replace(errors=[error()]))
    assert wanted("jjC", listed).filter == Filter(status=open_ones, error=4)
    read = reading(OneError(ErrorRead(error(id=7), {}, None), "", None))
    assert pressed(IN_JOB, "R", read)[1] == Count(many.Many("retry", "of error 7", Filter(failures, error=7)))
    assert after(scene(queues=[]), "R")[1] == []


def test_it_says_how_many_and_asks_before_anything_is_done() -> None:
    view, _ = after(SEEN, "jjR")
    assert shown(SEEN, view)[-1] == "jobs of shop.Mail::send are counted …"
    told = Counted(wanted("jjR"), matched(at_most_once=3))
    view = counted(view, told)
    asked = "retry 14 jobs of shop.Mail::send, without 3 that may be tried but once? y/n"
    assert shown(SEEN, view)[-1] == asked
    assert after(SEEN, "n", view)[1] == []
    assert after(SEEN, "y", view)[1] == [DoToAll(told)]
    assert shown(SEEN, view, columns=20)[-1] == "retry 14 jobs …? y/n"


@pytest.mark.parametrize(
    ("keys", "found", "told"),
    [
        ("C", matched(4, running=2), "cancel 4 jobs of shop.Mail::send, 2 of them running"),
        ("\t\tR", matched(1), "retry 1 job of queue default"),
        (
            "\t\tR",
            matched(9, classes=[{"class_name": f"a.{name}", "count": 2} for name in "ABCDE"]),
            "retry 9 jobs of queue default (a.A 2, a.B 2, a.C 2, 2 more)",
        ),
    ],
)
def test_the_question_says_what_is_meant(keys: str, found: Matched, told: str) -> None:
    assert many.question(Counted(wanted(keys), found)) == told


def test_where_there_is_nothing_to_do_that_is_said() -> None:
    for found, told in (
        (matched(0), "no job of shop.Mail::send has failed"),
        (
            matched(2, at_most_once=2),
            "2 jobs of shop.Mail::send may be tried but once; bgjob retry --at-most-once",
        ),
    ):
        view = counted(View(), Counted(wanted("jjR"), found))
        assert (view.mode, view.message) == (Mode.LOOKING, told)
    assert (
        counted(View(), Counted(wanted("C"), matched(0))).message == "no job of shop.Mail::send waits or runs"
    )


def test_who_has_gone_on_to_something_else_is_not_asked() -> None:
    typing, _ = after(SEEN, "/ab")
    assert counted(typing, Counted(wanted("C"), matched())) == typing
    asked, _ = after(SEEN, "c")
    assert counted(asked, Counted(wanted("C"), matched())) == asked


def test_more_than_a_filter_shows_is_not_meant() -> None:
    view, wishes = after(SEEN, "/mail\r\t\tR")
    assert [type(wish) for wish in wishes if isinstance(wish, Count)] == []
    assert "more than is shown" in view.message
    assert [wish for wish in after(SEEN, "/mail\r\tR")[1] if isinstance(wish, Count)]


def test_what_was_done_says_which_list_has_it() -> None:
    done = many.done(wanted("jjR"), DoneToMany(16, 1, 9))
    assert done == "16 jobs are to run again, 1 left out: bgjob list --bulk 9"
    assert many.done(wanted("C"), DoneToMany(0, 1, None)).startswith("0 jobs are cancelled")


def test_hostile_names_are_asked_about_in_one_line() -> None:
    seen = scene([attempt(1, class_name=HOSTILE, method_name=HOSTILE)], queues=[queue(HOSTILE)])
    view = counted(
        View(), Counted(wanted("C", seen), matched(classes=[{"class_name": HOSTILE, "count": 1}] * 2))
    )
    assert all(line.text.isprintable() for line in picture.drawn(seen, view, 200, 24))


# Whatever is pressed


KEYS = [*"jkercRCps/?ynqa \t\r\x1b\x7f", "\x1b[5~", "\x1b[6~"]


def any_scene(chance: Random, read: Read | None) -> Scene:
    """What a daemon may have to tell at any moment, whatever is read."""
    attempts = [attempt(n, queue=chance.choice(["mail", "default"])) for n in range(chance.randrange(4))]
    seen = scene(attempts, [failed(n) for n in range(10, 10 + chance.randrange(4))])
    listed = [error(id=n) for n in range(4, 4 + chance.randrange(3))]
    look = seen.look._replace(errors=chance.choice([None, listed]))
    if read is None or read.name is None or chance.random() < 0.2:
        return seen._replace(look=look)
    kind, id, _ = read.name
    told = ErrorRead(error(id=id), {}, "frame\n" * chance.randrange(40))
    status = chance.choice(["failed", "running", "pending", "completed"])
    one = OneJob(job(ended(1), status=status, id=id), "because " * 30, "o\n" * chance.randrange(50))
    return seen._replace(look=look._replace(one=OneError(told, "7", "1") if kind is Kind.ERROR else one))


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_pressed_and_whatever_is_told_the_picture_fits(seed: int) -> None:
    chance = Random(seed)
    view, read = View(), None
    for _ in range(20):
        seen = any_scene(chance, read)
        columns, lines = chance.choice([1, 5, 20, 40, 80]), chance.choice([1, 2, 3, 5, 8, 24])
        view = picture.within(seen, view, columns, lines)
        drawn = picture.drawn(seen, view, columns, lines)
        assert len(drawn) == lines
        assert all(text.width(line.text) <= columns for line in drawn)
        for key in keys_in(chance.choice(KEYS)):
            view, wish = pressed(view, key, seen)
            read = wish if isinstance(wish, Read) else read
            if isinstance(wish, Count):
                view = counted(view, Counted(wish.many, matched(chance.randrange(3))))

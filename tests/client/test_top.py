"""What `bgjob top` knows, shows and does at a key: without a terminal, a daemon or a clock."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from bgjob import text
from bgjob.commands.top import picture
from bgjob.commands.top.controls import BINDINGS, CTRL_C, Mode, View, keys_in, pressed
from bgjob.commands.top.scene import Kind, Look, Meter, Rates, Scene, Sorting, rates_of, rows_of
from bgjob.commands.top.wishes import Cancel, Errors, Leave, Pause, Resume, Retry, Search, Wish

NOW = 1_700_000_000.0


def at(seconds: float) -> str:
    """The stored form of an instant so many seconds before now."""
    from bgjobd.host.clock import to_text

    return to_text(NOW - seconds)


def attempt(job_id: int, age: float | None = 60.0, **others: Any) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "number": 1,
        "class_name": "shop.Mail",
        "method_name": "send",
        "queue": "mail",
        "pid": 4000 + job_id,
        "started_at": None if age is None else at(age),
        "cpu": 1.5,
        "memory": 31 << 20,
        "progress": None,
        "timeout": None,
        **others,
    }


def failed(job_id: int, **others: Any) -> dict[str, Any]:
    return {
        "id": job_id,
        "class_name": "shop.Mail",
        "method_name": "send",
        "queue": "mail",
        "finished_at": at(120),
        "error": "ValueError: no recipient",
        **others,
    }


def queue(name: str, paused: bool = False) -> dict[str, Any]:
    return {"name": name, "pending": 2, "running": 1, "slots": None, "paused": paused}


def scene(
    attempts: list[dict[str, Any]] | None = None,
    ended: list[dict[str, Any]] | None = None,
    queues: list[dict[str, Any]] | None = None,
    busy: dict[tuple[int, int], float] | None = None,
    **others: Any,
) -> Scene:
    stats = {
        "version": "1.2.3",
        "pid": 7,
        "slots": 4,
        "storage_trouble": None,
        "jobs": {"running": 2, "completed": 812},
        "queues": [queue("default"), queue("mail")] if queues is None else queues,
    }
    return Scene(Look(stats, attempts or [], ended or []), NOW, busy or {}, **others)


# What it knows


def test_a_process_is_as_busy_as_it_was_since_the_look_before() -> None:
    meter = Meter()
    assert meter.take([attempt(1, cpu=30.0)], NOW, 100.0) == {(1, 1): 50.0}  # all its life, at first
    assert meter.take([attempt(1, cpu=30.5)], NOW, 102.0) == {(1, 1): 25.0}
    assert meter.take([attempt(1, cpu=34.5)], NOW, 104.0) == {(1, 1): 200.0}


def test_looks_that_follow_each_other_at_once_change_nothing() -> None:
    meter = Meter()
    meter.take([attempt(1, cpu=30.0)], NOW, 100.0)
    meter.take([attempt(1, cpu=30.5)], NOW, 102.0)
    assert meter.take([attempt(1, cpu=30.9)], NOW, 102.4) == {(1, 1): 25.0}
    assert meter.take([attempt(1, cpu=31.5)], NOW, 104.0) == {(1, 1): 50.0}


def test_what_is_not_known_is_not_told() -> None:
    meter = Meter()
    told = meter.take([attempt(1, cpu=None), attempt(2, age=None), attempt(3, age=0.1)], NOW, 1.0)
    assert told == {(2, 1): 0.0, (3, 1): 0.0}
    assert meter.take([], NOW, 2.0) == {}


def test_rates_are_right_from_the_first_second() -> None:
    minutes = [
        {"completed": 900, "failed": 90},
        {"completed": 31, "failed": 2},
        {"completed": 14, "failed": 1},
    ]
    assert rates_of({"minutes": minutes}, 600.0 + 30.0) == Rates(29.5, 2.0)
    assert rates_of({"minutes": minutes}, 600.0) == Rates(45.0, 3.0)
    assert rates_of({"minutes": minutes[:1]}, 600.0) == Rates(900.0, 90.0)
    assert rates_of({}, 600.0) == Rates(0.0, 0.0)


def test_rows_are_what_runs_as_it_is_sorted_and_then_what_failed() -> None:
    attempts = [
        attempt(1, age=5, memory=None),
        attempt(2, age=50, memory=10),
        attempt(3, age=None, memory=20),
    ]
    seen = scene(attempts, [failed(9), failed(8)], busy={(1, 1): 90.0, (3, 1): 10.0})

    def order(sorting: Sorting) -> list[int]:
        return [row.job_id for row in rows_of(seen, sorting, "") if row.kind is not Kind.QUEUE]

    assert order(Sorting.AGE) == [2, 1, 3, 9, 8]
    assert order(Sorting.CPU) == [1, 3, 2, 9, 8]
    assert order(Sorting.MEMORY) == [3, 2, 1, 9, 8]


def test_the_filter_is_a_part_of_class_and_method_in_any_case() -> None:
    seen = scene(
        [attempt(1), attempt(2, class_name="shop.Work")], [failed(3), failed(4, method_name="fetch")]
    )
    for only, found in (("MAIL::s", [1, 3]), ("nothing", [])):
        rows = rows_of(seen, Sorting.AGE, only)
        assert [row.job_id for row in rows if row.kind is not Kind.QUEUE] == found


# What it shows


def shown(seen: Scene, view: View | None = None, columns: int = 80, lines: int = 24) -> list[str]:
    return [line.text.rstrip() for line in picture.drawn(seen, view or View(), columns, lines)]


def test_a_screen_has_all_that_there_is() -> None:
    attempts = [
        attempt(12, age=150, progress={"fraction": 0.25, "message": "a quarter", "at": at(1)}),
        attempt(13, age=5, pid=None, started_at=None, cpu=None, memory=None),
    ]
    seen = scene(
        attempts,
        [failed(7)],
        [
            queue("default") | {"oldest_pending": at(200)},
            queue("mail", paused=True) | {"resumes_at": at(-600)},
        ],
        {(12, 1): 42.4},
        rates=Rates(31.0, 0.5),
    )
    assert shown(seen, columns=100, lines=20) == [
        "bgjobd 1.2.3, 2 of 4 slots, a minute: 31 completed, 0.5 failed",
        "jobs: 0 pending, 2 running, 812 completed, 0 failed, 0 cancelled",
        "",
        "QUEUE    PENDING  RUNNING  SLOTS  OLDEST",
        "default        2        1    all   3 min",
        "mail           2        1    all          paused, resumes in 10 min",
        "",
        "JOB  WHAT             NO    AGE  CPU   TIME  MEMORY  PROGRESS       QUEUE   PID",
        " 12  shop.Mail::send   1  2 min  42%  1.5 s  31 MiB  25% a quarter  mail   4012",
        " 13  shop.Mail::send   1      –    –      –       –                 mail      –",
        "",
        "FAILED  WHAT             WHEN       WHY",
        "     7  shop.Mail::send  2 min ago  ValueError: no recipient",
        *[""] * 6,
        "q quit  jk select  Tab part  Enter read  e errors  c cancel  r retry  CR all  p pause  ? help",
    ]


def test_where_nothing_runs_that_is_said() -> None:
    assert shown(scene(queues=[]), lines=8)[2:6] == ["", "nothing runs", "", ""]


@pytest.mark.parametrize(
    ("selected", "job_id"),
    [(None, 2), ((Kind.RUNNING, 1, 1), 1), ((Kind.FAILED, 7, 0), 7)],
)
def test_the_selected_row_is_marked_over_its_whole_width(
    selected: tuple[Kind, int, int] | None, job_id: int
) -> None:
    seen = scene([attempt(1, age=9), attempt(2)], [failed(7)])
    (marked,) = [line for line in picture.drawn(seen, View(selected=selected), 80, 24) if line.is_selected]
    assert marked.text.split()[0] == str(job_id)
    assert len(marked.text) == 80


def test_a_daemon_that_is_away_is_said_in_the_first_line_and_the_last_picture_stays() -> None:
    lines = shown(scene([attempt(1)], away="no daemon answers at /s"))
    assert lines[0] == "bgjobd 1.2.3  no daemon answers at /s"
    assert lines[1].startswith("at 22:13:20 UTC: jobs: ")
    assert any("shop.Mail::send" in line for line in lines)


def test_trouble_with_the_storage_and_a_filter_are_said() -> None:
    seen = scene()
    seen.look.stats["storage_trouble"] = "the disk is full"  # type: ignore[index]  # a dict of this test's
    assert shown(seen, View(only="mail"))[2:4] == ["the disk is full", "only with 'mail' in class or method"]


@pytest.mark.parametrize("lines", [1, 2, 3, 5, 8, 12, 24, 60])
def test_no_picture_is_larger_than_the_screen(lines: int) -> None:
    attempts = [attempt(n, class_name="日本語.ジョブ" * 9, queue="q" * 90) for n in range(40)]
    seen = scene(
        attempts, [failed(n, error="x" * 9000) for n in range(90, 120)], [queue(f"q{n}") for n in range(30)]
    )
    view = View(asked=Cancel(7), typed="z" * 200, only="", message="m" * 300)
    places = (None, (Kind.RUNNING, 39, 1), (Kind.FAILED, 119, 0))
    for mode, columns, chosen in product(Mode, (1, 2, 10, 20, 40, 60, 79, 80, 200), places):
        drawn = picture.drawn(seen, view._replace(mode=mode, selected=chosen), columns, lines)
        assert len(drawn) == lines, (mode, columns, chosen)
        assert all(text.width(line.text) <= columns for line in drawn), (mode, columns, chosen)


@pytest.mark.parametrize("chosen", [(Kind.RUNNING, 3, 1), (Kind.RUNNING, 39, 1), (Kind.FAILED, 119, 0)])
@pytest.mark.parametrize("lines", [12, 24])
def test_the_selected_row_is_on_the_screen(chosen: tuple[Kind, int, int], lines: int) -> None:
    seen = scene([attempt(n) for n in range(40)], [failed(n) for n in range(90, 120)])
    drawn = picture.drawn(seen, View(selected=chosen), 80, lines)
    assert [line.text.split()[0] for line in drawn if line.is_selected] == [str(chosen[1])]
    assert any("of 40 running attempts" in line.text for line in drawn)


@pytest.mark.parametrize(
    ("lines", "parts"),
    [(3, ["JOB"]), (5, ["JOB"]), (8, ["JOB"]), (10, ["JOB", "FAILED"]), (13, ["QUEUE", "JOB", "FAILED"])],
)
def test_with_few_lines_what_runs_goes_before_the_rest(lines: int, parts: list[str]) -> None:
    seen = scene([attempt(n) for n in range(1, 9)], [failed(9)])
    told = [line.split()[0] for line in shown(seen, lines=lines) if line]
    assert [word for word in told if word in ("QUEUE", "JOB", "FAILED")] == parts


def test_what_runs_is_told_beside_what_others_of_its_method_take() -> None:
    expected = {"runs": 9, "p50": 40.2, "p95": 120.0, "memory_p95": None, "left": 2.0, "times": None}
    seen = scene(
        [attempt(1, age=38, expected=expected), attempt(2, age=None, expected=expected), attempt(3, age=5)]
    )
    told = [" ".join(line.text.split()) for line in picture.printed(seen, None)]
    assert [line for line in told if " shop.Mail::send " in line and "38 s, usually 40 s" in line]
    assert any(" 1 – – " in line for line in told)
    assert any(" 1 5 s – " in line for line in told)


HOSTILE = "\x1b[2J\x1b]0;x\x07\r\n\x9b1A\u202e\u2066\x00"


def test_nothing_that_a_job_or_its_class_is_called_or_says_can_move_the_cursor() -> None:
    told = {"class_name": f"a.{HOSTILE}", "method_name": HOSTILE, "queue": HOSTILE}
    progress = {"fraction": 0.5, "message": HOSTILE, "at": at(1)}
    seen = scene(
        [attempt(1, progress=progress, **told)],
        [failed(2, error=HOSTILE, **told)],
        [queue(HOSTILE)],
        away=HOSTILE,
    )
    seen.look.stats["storage_trouble"] = HOSTILE  # type: ignore[index]  # a dict of this test's
    views = [
        View(only="", message=HOSTILE),
        View(mode=Mode.ASKED, asked=Cancel(1)),
        View(mode=Mode.TYPING, typed=HOSTILE),
    ]
    pictures = [picture.drawn(seen, view, 300, 40) for view in views]
    for line in [line for lines in [*pictures, picture.printed(seen, None)] for line in lines]:
        assert line.text.isprintable(), line


def test_what_is_printed_is_everything_and_has_no_keys() -> None:
    seen = scene([attempt(n) for n in range(30)], [failed(n) for n in range(90, 120)])
    lines = [line.text for line in picture.printed(seen, None)]
    assert len([line for line in lines if "4012" in line]) == 1
    assert len([line for line in lines if "no recipient" in line]) == 10
    assert not any("quit" in line or "a minute" in line for line in lines)
    assert all(len(line.text) <= 40 for line in picture.printed(seen, 40))


# What keys do


def after(seen: Scene, keys: str, view: View | None = None) -> tuple[View, list[Wish]]:
    view, wishes = view or View(), []
    for key in keys_in(keys):
        view, wish = pressed(view, key, seen)
        wishes += [] if wish is None else [wish]
    return view, wishes


SEEN = scene([attempt(1, age=90), attempt(2, age=9, queue="default")], [failed(7), failed(6)])


def test_characters_of_a_terminal_are_keys() -> None:
    assert keys_in("q\x1b[A\x1bOB\x1b[1;5C\r\x7fé\x03") == [
        *("q", "up", "down", "\x1b[1;5C", "enter", "backspace", "é", CTRL_C),
    ]
    assert keys_in("\x1b") == ["escape"]
    assert keys_in("") == []


def test_arrows_and_letters_select() -> None:
    for keys, job_id in (
        ("", None),
        ("j", 2),
        ("jj", 7),
        ("\x1b[B\x1b[B\x1b[B", 6),
        ("jjjjjj", 6),
        ("jjk", 2),
        ("k", 1),
    ):
        selected = after(SEEN, keys)[0].selected
        assert (None if selected is None else selected[1]) == job_id
    assert after(scene(queues=[]), "jk")[0].selected is None


def test_a_running_job_is_cancelled_after_a_question() -> None:
    view, wishes = after(SEEN, "jc")
    assert (view.mode, wishes) == (Mode.ASKED, [])
    assert shown(SEEN, view)[-1] == "cancel job 2, shop.Mail::send? y/n"
    assert after(SEEN, "jcy")[1] == [Cancel(2)]
    for other in ("n", "\r", "\x1b", "q", "c"):
        view, wishes = after(SEEN, f"jc{other}")
        assert (view.mode, view.asked, wishes) == (Mode.LOOKING, None, [])


def test_the_question_stays_about_its_job_whatever_else_happens() -> None:
    view, _ = after(SEEN, "jc")
    other = scene([attempt(1)], [failed(7)])
    assert pressed(view, "y", other)[1] == Cancel(2)


def test_a_failed_job_runs_again() -> None:
    assert after(SEEN, "jjr")[1] == [Retry(7)]


def test_a_failed_job_that_nobody_has_selected_runs_again_after_a_question() -> None:
    seen = scene(ended=[failed(7), failed(6)])
    view, wishes = after(seen, "r")
    assert (wishes, shown(seen, view)[-1]) == ([], "run job 7, shop.Mail::send again? y/n")
    newer = scene(ended=[failed(8), failed(7)])
    assert pressed(view, "y", newer)[1] == Retry(7)


def test_a_job_for_review_says_so_and_runs_again_by_no_single_key() -> None:
    seen = scene([attempt(1)], [failed(7, review_since="2025-11-25T16:00:00.000000Z")])
    view, wishes = after(seen, "jr")
    assert wishes == []
    assert "nobody knows what it did: bgjob settle 7" in shown(seen, view)[-1]
    assert any("failed, for review: " in line for line in shown(seen, view))


@pytest.mark.parametrize(("keys", "told"), [("r", "failed job"), ("jjc", "running job")])
def test_what_does_not_fit_the_selected_job_is_said(keys: str, told: str) -> None:
    view, wishes = after(SEEN, keys)
    assert wishes == []
    assert told in shown(SEEN, view)[-1]
    assert told not in shown(SEEN, after(SEEN, "j", view)[0])[-1]


@pytest.mark.parametrize("key", ["c", "r", "p"])
def test_no_key_meets_another_job_than_the_one_that_was_selected(key: str) -> None:
    gone = View(selected=(Kind.RUNNING, 3, 1))
    assert not any(line.is_selected for line in picture.drawn(SEEN, gone, 80, 24))
    view, wishes = after(SEEN, key, gone)
    assert (view.mode, wishes) == (Mode.LOOKING, [])
    assert "select a" in view.message
    assert after(SEEN, "j", gone)[0].selected == (Kind.RUNNING, 1, 1)


@pytest.mark.parametrize("key", ["c", "r", "p"])
def test_where_nothing_is_selected_nothing_is_done(key: str) -> None:
    view, wishes = after(scene(queues=[]), key)
    assert wishes == []
    assert "select a" in view.message


def test_the_queue_of_the_selected_job_is_paused_and_resumed() -> None:
    assert after(SEEN, "p")[1] == [Pause("mail")]
    assert after(SEEN, "jp")[1] == [Pause("default")]
    paused = scene([attempt(1)], queues=[queue("mail", paused=True)])
    assert after(paused, "p")[1] == [Resume("mail")]


def test_a_queue_without_a_running_job_is_reached_by_tab_and_paused() -> None:
    assert after(SEEN, "\t\tp")[1] == [Pause("default")]
    assert after(SEEN, "\t\tjjjp")[1] == [Pause("mail")]
    assert after(SEEN, "\t\t\t")[0].selected == (Kind.RUNNING, 1, 1)
    assert after(scene(), "p")[1] == [Pause("default")]
    assert after(scene(queues=[]), "\t")[0].selected is None
    view, _ = after(SEEN, "\t\tj")
    (marked,) = [line for line in picture.drawn(SEEN, view, 80, 24) if line.is_selected]
    assert marked.text.startswith("mail ")


def test_errors_take_the_place_of_failed_jobs_and_give_it_back() -> None:
    assert after(SEEN, "e")[1] == [Errors(are_wanted=True)]
    error = {"id": 4, "name": None, "error_type": "ValueError", "outcome": "failed", "message": "no",
             "place": "mail.py:deliver", "line": "mail.py:88", "class_name": "shop.Mail", "attempts": 19,
             "failed": 17, "last_at": at(5), "is_new": True, "is_back": False, "first_version": "1"}  # fmt: skip
    seen = scene([attempt(1)], [failed(7)])
    seen = seen._replace(look=seen.look._replace(errors=[error]))
    lines = shown(seen, columns=100)
    assert "    4  ValueError at mail.py:88 in deliver  5 s ago        19      17  new" in lines
    assert not any("FAILED  WHAT" in line for line in lines)
    assert after(seen, "e")[1] == [Errors(are_wanted=False)]
    assert after(seen, "jp")[1] == []
    assert not any("mail.py" in line for line in shown(seen, View(only="KeyError")))


def test_what_needs_somebody_is_said_on_top_as_far_as_there_is_room() -> None:
    needs = [{"kind": "paused", "sentence": f"queue {name} is paused", "hint": None} for name in "abcd"]
    seen = scene()._replace(look=scene().look._replace(needs=needs))
    assert shown(seen, lines=40)[2:6] == [f"queue {name} is paused" for name in "abcd"]
    assert shown(seen, lines=24)[2:5] == [
        "queue a is paused",
        "queue b is paused",
        "2 more to be seen to: bgjob needs",
    ]
    assert shown(seen, lines=8)[2] == "4 to be seen to: bgjob needs"
    assert not any("paused" in line or "needs" in line for line in shown(seen, lines=7))


def test_a_filter_is_typed_changed_and_left() -> None:
    view, wishes = after(SEEN, "/wp\x7fork\r")
    assert (view.only, view.mode, wishes) == ("work", Mode.LOOKING, [Search("work")])
    typing, _ = after(SEEN, "/q", view)
    assert shown(SEEN, typing)[-1] == "class or method: workq_"
    assert after(SEEN, "\x1b", typing) == (view._replace(typed="workq"), [])
    assert after(SEEN, "/\x7f\x7f\x7f\x7f\r", view)[0].only == ""
    assert after(SEEN, "/\x1b[A\t\x07")[0].typed == ""


def test_sorting_goes_round() -> None:
    ways = [after(SEEN, "s" * times)[0].sorting for times in range(4)]
    assert ways == [Sorting.AGE, Sorting.CPU, Sorting.MEMORY, Sorting.AGE]


def test_help_tells_every_key_and_any_key_goes_back() -> None:
    view, _ = after(SEEN, "?")
    page = "\n".join(shown(SEEN, view))
    assert all(binding.sentence in page for binding in BINDINGS)
    assert "…" not in page
    assert after(SEEN, "q", view) == (view._replace(mode=Mode.LOOKING), [])


@pytest.mark.parametrize("keys", ["q", CTRL_C, f"/{CTRL_C}", f"c{CTRL_C}", f"?{CTRL_C}"])
def test_q_leaves_and_ctrl_c_leaves_whatever_goes_on(keys: str) -> None:
    assert after(SEEN, keys)[1] == [Leave()]


def test_no_key_has_two_meanings() -> None:
    keys = [key for binding in BINDINGS for key in binding.keys]
    assert len(set(keys)) == len(keys)


def test_an_unknown_key_does_nothing() -> None:
    assert after(SEEN, "x\x1b[15~é") == (View(), [])

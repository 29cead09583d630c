"""What an assistant is told by `bgjob mcp`: what jobs wrote stands apart, in plain signs, and bounded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgjob import text
from bgjob.answers import Page
from bgjob.commands.assistant import answering, asking, refusing
from bgjob.commands.assistant.answering import NOTICE, WRITTEN, TooMuchError, fitted, page, record, sliced
from bgjob.commands.assistant.asking import Told, Tool
from bgjob.shapes import SHAPES, fields_of
from bgjob.words import Status
from tests.client.asked import ARGUMENTS, HOSTILE, ORDER, READ, Asked, asked_of
from tests.client.scripted import attempt, entry, summary, whole
from tests.page.serving import SAMPLES


@pytest.fixture
def samples() -> dict[str, Any]:
    return dict(SAMPLES)


@pytest.fixture
def asked(tmp_path: Path, samples: dict[str, Any]) -> Iterator[Asked]:
    with asked_of(tmp_path, samples) as asked:
        yield asked


# What jobs wrote


def outside(value: Any) -> Iterator[str]:
    """All texts of an answer, names among them, that do not stand under their own name."""
    match value:
        case dict():
            for name, one in value.items():
                yield name
                if name != WRITTEN:
                    yield from outside(one)
        case list():
            for one in value:
                yield from outside(one)
        case str():
            yield value


def test_what_is_the_daemons_own_stands_by_its_name_and_all_else_apart() -> None:
    told = record(
        {
            "id": 7,
            "status": "failed",
            "created_at": "2026-11-25T12:00:00.000000Z",
            "is_blocked": False,
            "error": None,
            "labels": [],
            "key": "customer:7",
            "parameters": {"to": "a@b"},
            "result": 12,
            "progress": {"fraction": 0.5, "message": "half of it"},
            "of_a_later_daemon": "what nobody knows yet",
        }
    )
    assert told == {
        "id": 7,
        "status": "failed",
        "created_at": "2026-11-25T12:00:00.000000Z",
        "is_blocked": False,
        "progress": {"fraction": 0.5, WRITTEN: {"message": "half of it"}},
        WRITTEN: {
            "key": "customer:7",
            "parameters": '{"to": "a@b"}',
            "result": "12",
            "of_a_later_daemon": "what nobody knows yet",
        },
    }


@pytest.mark.parametrize("value", [ORDER, "a b", HOSTILE, "x" * 201, "a\nb", "a\u202eb"])
def test_what_is_no_single_word_is_nowhere_the_daemons_own(value: str) -> None:
    for name in answering.OWN_WORDS:
        assert record({name: value}).keys() == {WRITTEN}


def test_a_text_among_what_is_the_daemons_own_was_looked_at_when_it_came() -> None:
    """Whoever adds one here has seen that no job and no caller says what it is: a catalogue's, or an enum's word."""
    texts = {
        name
        for shape in SHAPES
        for name, kind in fields_of(shape).items()
        if kind.removeprefix("?") == "string" and (name in answering.OWN_WORDS or name.endswith("_at"))
    }
    assert texts == {
        *("class_name", "method_name", "queue", "host", "host_wanted", "outcome", "type", "kind", "backoff"),
        *("if_failed", "verdict", "missed", "overlap", "zone", "version", "code_version"),
    }


def test_what_jobs_write_keeps_its_lines_and_moves_turns_and_hides_nothing() -> None:
    (told,) = record({"traceback": f"one\n\ttwo {HOSTILE}"})[WRITTEN].values()
    assert told.startswith("one\n\ttwo ")
    assert told.replace("\n", "").replace("\t", "").isprintable()
    assert "\\u202e" in told
    assert "\\U000e0041" in told


@pytest.mark.parametrize(
    "unseen", ["\ufe01", "\U000e0101", "\u3164", "\u034f", "\ufe0f\ufe0f", "\u200d\u200c"]
)
def test_signs_that_nobody_sees_are_shown(unseen: str) -> None:
    (told,) = record({"traceback": f"a{unseen}b"})[WRITTEN].values()
    assert unseen not in told
    assert "\\" in told


@pytest.mark.parametrize("seen", ["\u2764\ufe0f", "\U0001f469\u200d\U0001f680", "\u0915\u094d\u200d\u0937"])
def test_signs_that_are_part_of_others_stay(seen: str) -> None:
    (told,) = record({"traceback": seen})[WRITTEN].values()
    assert told == seen


def hostile(told: Any) -> Any:
    """The same where all texts that a daemon could be told by somebody are this one."""
    match told:
        case dict():
            return {name: hostile(one) for name, one in told.items()}
        case list():
            return [hostile(one) for one in told]
        case str() if told not in tuple(Status) and not told.endswith("Z"):
            return HOSTILE
        case _:
            return told


@pytest.mark.parametrize("name", list(READ))
def test_no_text_of_others_gets_out_of_its_place(asked: Asked, samples: dict[str, Any], name: str) -> None:
    samples |= {one: hostile(samples[one]) for one in samples if one not in ("stats", "matched", "limits")}
    samples["stats"] = samples["stats"] | {"queues": hostile(samples["stats"]["queues"]), "counts": None}
    samples["job"] |= {"parameters": {HOSTILE: [HOSTILE]}}
    given = ARGUMENTS.get(name, {}) | ({"class_name": HOSTILE} if name == "class" else {})
    if name == "schedule":
        given = {"schedule": SAMPLES["schedule"]["name"]}
        samples["schedule"] |= {"name": given["schedule"]}
    told = asked.told(name, **given)
    assert told.answer is not None, told.refusal
    assert json.loads(told.text) == told.answer
    assert told.text.isprintable()
    assert [one for one in outside(told.answer) if ORDER in one or "\x1b" in one] == []
    assert all(len(one) <= 200 or one == NOTICE for one in outside(told.answer))


@pytest.mark.parametrize("name", list(READ))
def test_each_tool_answers_and_begins_with_what_its_texts_are(asked: Asked, name: str) -> None:
    answer = asked.answer(name, **ARGUMENTS.get(name, {}))
    assert next(iter(answer)) == "notice"
    assert answer["notice"] == NOTICE
    assert len(answer) > 1


def test_a_job_is_told_with_why_and_the_last_traceback_alone(asked: Asked, samples: dict[str, Any]) -> None:
    attempts = [attempt(number, traceback=f"of {number}", outcome="failed") for number in (3, 4)]
    samples["job"] = whole(1, "running", attempts=[*attempts, attempt(5)])
    answer = asked.answer("job", job=1)
    assert answer[WRITTEN]["why"] == SAMPLES["why"]
    assert [one.get(WRITTEN, {}).get("traceback") for one in answer["attempts"]] == [None, "of 4", None]
    assert answer["next"] == "3"
    asked.answer("job", job=1, before=answer["next"], limit=1)
    assert asked.daemon.parameters("Get")[-1] == {"id": 1, "before": 3, "limit": 1}


def test_an_error_has_what_its_attempts_have_in_common_and_jobs_that_met_it(asked: Asked) -> None:
    answer = asked.answer("error", error=1)
    assert answer["jobs"] == [1]
    assert answer["met_by"] == [{"class_name": "shop.jobs.Email", "attempts": 7, "failed": 5, "retrying": 2}]
    assert "all with 4f2a1c, none of 120 others" in answer[WRITTEN]["in_common"]
    assert answer[WRITTEN]["traceback"] == SAMPLES["traceback"]


# Bounds


def test_each_answer_has_a_bound_and_texts_are_cut_no_further_than_they_need_be() -> None:
    long = {"error": "e" * 70_000, "traceback": "t" * 70_000 + "ValueError"}
    for count in (1, 20, asking.MOST_ITEMS):
        told = fitted({"jobs": [record(summary(one) | long) for one in range(count)]})
        assert answering.MOST / 4 < len(text.to_json(told)) <= answering.MOST
        assert all(one[WRITTEN]["error"].endswith("e…") for one in told["jobs"])
        assert all(one[WRITTEN]["traceback"].endswith("ValueError") for one in told["jobs"])
    short = {"jobs": [record({"id": 1, "error": "e" * 100})]}
    assert fitted(short) == {"notice": NOTICE, **short}


def test_what_does_not_fit_however_it_is_cut_is_asked_for_in_parts(asked: Asked) -> None:
    with pytest.raises(TooMuchError):
        fitted({"jobs": [{"id": 10**18}] * 3000})
    much = Tool("much", "", lambda client: {"jobs": [{"id": 10**18}] * 3000})
    assert asked.told("much", {"much": much}) == Told(None, refusing.TOO_MUCH)


@pytest.mark.parametrize("character", ["\x1b", '"', "\U000e0041", "\n"])
def test_a_page_of_the_largest_texts_fits_whatever_they_are_made_of(character: str) -> None:
    texts = dict.fromkeys(("error", "key", "step", "waiting_on", "schedule", "labels"), character * 200)
    jobs = [record(summary(one) | texts) for one in range(asking.MOST_ITEMS)]
    assert len(text.to_json(fitted({"jobs": jobs}))) <= answering.MOST


def test_of_an_output_the_end_is_asked_for_and_colours_are_left_out(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    tails = []

    def parts(job_id: int, number: int | None, *, tail: int) -> list[Any]:
        tails.append(tail)
        return [_Part(b"\x1b[31mred\x1b[0m 10%\r20%\nend")]

    monkeypatch.setattr(asked.client, "output_parts", parts)
    answer = asked.answer("output", job=1)
    assert answer[WRITTEN] == {"output": "20%\nend"}
    assert tails == [asking.USUAL_OUTPUT]
    assert asked.told("output", job=1, tail=asking.MOST_OUTPUT + 1).answer is None


class _Part:
    number, offset = 2, 1000

    def __init__(self, marked: bytes) -> None:
        self.marked = marked


# Pages


def test_a_list_goes_on_behind_what_was_told(asked: Asked, samples: dict[str, Any]) -> None:
    samples |= {"next": 40, "is_complete": False, "next_error": "2026-11-25 14", "next_change": 6}
    answer = asked.answer("jobs", status=["failed"], limit=1)
    assert (answer["next"], answer["is_complete"]) == ("40", False)
    asked.answer("jobs", status=["failed"], limit=1, before=answer["next"])
    assert asked.daemon.parameters("List")[-1]["before"] == 40
    assert asked.answer("changes")["next"] == "6"
    asked.answer("errors", before=asked.answer("errors")["next"])
    assert asked.daemon.parameters("Errors")[-1]["before"] == "2026-11-25 14"
    asked.answer("log", before=asked.answer("log")["next"])
    assert asked.daemon.parameters("Logs")[-1]["before"] == 40


def test_a_list_that_comes_whole_is_told_in_pages_too() -> None:
    found = [{"class_name": f"a.B{number}"} for number in range(5)]
    first, last = sliced("classes", found, 0, 3), sliced("classes", found, 3, 3)
    assert [one["class_name"] for one in first["classes"] + last["classes"]] == [f"a.B{n}" for n in range(5)]
    assert (first["next"], last.get("next")) == ("3", None)


def test_a_page_that_is_the_last_names_no_other() -> None:
    assert page("entries", Page([entry(1)], None)).keys() == {"entries"}

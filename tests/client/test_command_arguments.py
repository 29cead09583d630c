"""What is written after `bgjob` and `bgjobd`, as their parsers read it."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime

import pytest

from bgjob.commands import arguments, values
from bgjobd import main

_MORE = {"show": ["1"], "why": ["1"], "output": ["1"], "run": ["a.B::c"], "wait": ["1"], "cancel": ["1"]}
_MORE |= {"retry": ["1"], "change": ["1"], "signal": ["1", "packed"], "completion": ["bash"]}


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    (action,) = (one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    return dict(action.choices)


def _options(parser: argparse.ArgumentParser) -> Iterator[tuple[list[str], str, str]]:
    """Each option of each command that takes a value: the words, its name and where its value goes."""
    for name, command in _commands(parser).items():
        for action in command._actions:
            if action.option_strings and action.nargs != 0:
                option = action.option_strings[-1]
                yield [name, f"{option}=--", *_MORE.get(name, [])], option, action.dest


@pytest.mark.parametrize("parser", [arguments.parser, main.parser])
def test_two_hyphens_as_a_value_are_one_or_are_refused(parser: Callable[[], argparse.ArgumentParser]) -> None:
    """Before Python 3.13 argparse takes them for the end of the options, and the value is an empty list."""
    taken = {}
    for words, option, place in _options(parser()):
        try:
            taken[option] = getattr(parser().parse_args(words), place)
        except SystemExit:
            continue
    assert taken
    assert [option for option, value in taken.items() if "--" not in str(value)] == []


def test_each_command_is_below_a_heading() -> None:
    told = arguments.parser().format_help()
    headings = re.findall(r"\n\n  (\S.*):\n    (\w+) ", told)
    assert {command: heading for heading, command in headings} == arguments._HEADINGS
    assert re.search(r"^    (\w+)", told, re.MULTILINE)[1] == headings[0][1]  # type: ignore[index]


def test_the_key_of_a_request_goes_by_its_whole_name_and_by_the_one_that_it_had_first() -> None:
    for words in (["run", "a.B::c"], ["again", "12"]):
        for option in ("--idempotency-key", "--key"):
            assert arguments.parse([*words, option, "once"]).idempotency_key == "once"
        assert arguments.parse(words).idempotency_key is None
    shown = _commands(arguments.parser())["run"].format_help()
    assert "--idempotency-key KEY" in shown
    assert "--key" not in shown


def test_two_hyphens_end_the_options() -> None:
    assert arguments.parse(["pause", "--", "-x"]).queue == "-x"
    assert arguments.parse(["cancel", "--", "1"]).ids == [1]


def test_a_pause_has_one_end_or_none(capsys: pytest.CaptureFixture[str]) -> None:
    given = arguments.parse(["pause", "mail", "--for", "10m"])
    assert (given.queue, given.resumes_in, given.resumes_at) == ("mail", 600.0, None)
    given = arguments.parse(["pause", "--until", "2026-12-01T08:00Z"])
    assert (given.queue, given.resumes_in, given.resumes_at) == ("default", None, "2026-12-01T08:00:00+00:00")
    with pytest.raises(SystemExit):
        arguments.parse(["pause", "--for", "10m", "--until", "2026-12-01T08:00Z"])
    assert "not allowed with" in capsys.readouterr().err


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """There it is an hour later than UTC, until the night of 29 March 2026, and again from 25 October on."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        time.tzset()
        yield patch
    time.tzset()


@pytest.mark.parametrize(
    ("now", "written", "at"),
    [
        ("2026-11-28T00:59:59", "02:00", "2026-11-28T01:00:00"),
        ("2026-11-28T01:00:00", "02:00", "2026-11-29T01:00:00"),
        ("2026-11-28T14:00:00", "2:00", "2026-11-29T01:00:00"),
        ("2026-11-28T14:00:00", "23:59:30", "2026-11-28T22:59:30"),
        ("2026-11-28T00:30:00", "tomorrow 02:00", "2026-11-29T01:00:00"),
        ("2026-12-31T14:00:00", "tomorrow 02:00", "2027-01-01T01:00:00"),
        ("2026-03-28T14:00:00", "06:00", "2026-03-29T04:00:00"),
        ("2026-10-24T14:00:00", "tomorrow 06:00", "2026-10-25T05:00:00"),
        ("2026-11-28T14:00:00", "2026-12-04 14:31", "2026-12-04T13:31:00"),
        ("2026-11-28T14:00:00", "Tomorrow  02:00", "2026-11-29T01:00:00"),
    ],
)
def test_a_start_may_be_a_time_of_day(berlin: pytest.MonkeyPatch, now: str, written: str, at: str) -> None:
    instant = datetime.fromisoformat(f"{now}+00:00").timestamp()
    berlin.setattr(time, "time", lambda: instant)
    assert values.start(written) == f"{at}+00:00"


@pytest.mark.parametrize(
    ("now", "written", "at"),
    [
        pytest.param("2026-03-29T00:20:00", "02:30", "2026-03-29T01:30:00", id="leapt over"),
        pytest.param("2026-03-29T00:59:00", "02:30", "2026-03-29T01:30:00", id="leapt over in a minute"),
        pytest.param(
            "2026-03-28T14:00:00", "tomorrow 02:30", "2026-03-29T01:30:00", id="leapt over tomorrow"
        ),
        pytest.param("2026-03-29T01:31:00", "02:30", "2026-03-30T00:30:00", id="leapt over already"),
        pytest.param("2026-10-25T00:20:00", "02:30", "2026-10-25T00:30:00", id="comes twice"),
        pytest.param("2026-10-25T00:40:00", "02:30", "2026-10-25T01:30:00", id="comes again"),
        pytest.param("2026-10-25T01:20:00", "02:30", "2026-10-25T01:30:00", id="comes for the second time"),
        pytest.param("2026-10-25T01:40:00", "02:30", "2026-10-26T01:30:00", id="came twice"),
    ],
)
def test_a_time_of_day_is_ahead_on_the_night_on_which_clocks_are_set(
    berlin: pytest.MonkeyPatch, now: str, written: str, at: str
) -> None:
    instant = datetime.fromisoformat(f"{now}+00:00").timestamp()
    berlin.setattr(time, "time", lambda: instant)
    assert values.start(written) == f"{at}+00:00"


@pytest.mark.parametrize(
    "written", ["24:00", "tomorrow 12:60", "tomorrow", "02:00Z", "yesterday 02:00", "-2:00"]
)
def test_what_is_no_time_of_day_is_refused(written: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        values.start(written)


@pytest.mark.parametrize(
    ("parser", "words", "told"),
    [
        (
            arguments.parser,
            [],
            "bgjob: error: the following arguments are required: COMMAND; see `bgjob --help`",
        ),
        (
            main.parser,
            [],
            "bgjobd: error: the following arguments are required: COMMAND; see `bgjobd --help`",
        ),
        (
            main.parser,
            ["check", "--all"],
            "bgjobd check: error: unrecognized arguments: --all; see `bgjobd check --help`",
        ),
        (
            main.parser,
            ["prune", "--dryrun"],
            "bgjobd prune: error: unrecognized arguments: --dryrun; did you mean --dry-run? see `bgjobd prune --help`",
        ),
        (
            arguments.parser,
            ["run", "a.B::c", "full=true"],
            "bgjob run: error: unrecognized arguments: full=true; did you mean -p full=true? see `bgjob run --help`",
        ),
        (
            arguments.parser,
            ["list", "failed"],
            "bgjob list: error: unrecognized arguments: failed; did you mean --status failed? see `bgjob list --help`",
        ),
    ],
)
def test_what_is_wrong_is_told_with_where_more_is_and_below_one_line_of_usage_at_most(
    parser: Callable[[], argparse.ArgumentParser],
    words: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(words)
    *usage, line = capsys.readouterr().err.splitlines()
    assert line == told
    assert len(usage) <= 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("run a.B::c -p a=1 -p b=1 -p a=2", "-p gives a twice"),
        ("again 12 -p a=1 -p a=1", "-p gives a twice"),
        ("list --since 10m --until 1h", "--until is earlier than --since"),
        (
            "retry --matching --since 2026-11-29T00:00:01Z --until 2026-11-29T00:00Z",
            "--until is earlier than",
        ),
        ("schedule backfill tick --from 2026-11-29 --to 2026-11-28", "--to is earlier than --from"),
    ],
)
def test_what_contradicts_itself_is_refused_before_anything_is_asked(
    words: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        arguments.parse(words.split())
    assert refused.value.code == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        "list --since 1h --until 10m",
        "list --until 1h",
        "schedule backfill tick --from 2026-11-28 --to 2026-11-28",
        'run a.B::c --parameters {"a":1} -p a=2',
    ],
)
def test_what_does_not_is_taken(words: str) -> None:
    arguments.parse(words.split())

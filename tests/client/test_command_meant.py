"""What was perhaps meant by what the daemon refused, as `bgjob` tells it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from bgjob.commands import arguments
from bgjob.commands.meant import try_meant
from bgjob.errors import (
    HostNotFoundError,
    InvalidParameterError,
    InvalidParametersError,
    MethodNotApprovedError,
    NotApprovedError,
    ScheduleNotFoundError,
)
from tests.client.scripted import Line, ScriptedDaemon
from tests.page.serving import tell_samples

_NO_FORM = "is not valid under any of the schemas listed in the 'anyOf' keyword"


@pytest.mark.parametrize(
    ("message", "value", "told"),
    [
        ('12 is not of type "string"', 12, "`-p 'to=\"…\"'` gives a text"),
        ('*** is not of type "string"', True, "`-p 'to=\"…\"'` gives a text"),
        (f"12 {_NO_FORM}", 12, "`-p 'to=\"…\"'` gives a text"),
        ("does not fit", 1.5, "`-p 'to=\"…\"'` gives a text"),
        ("does not fit", "12", None),
        ('[] is not of type "string"', [], None),
        ('1.5 is not of type "integer"', 1.5, None),
    ],
)
def test_a_number_for_a_text_is_told_with_how_a_text_is_written(
    message: str, value: Any, told: str | None
) -> None:
    error = InvalidParametersError(problems=[{"path": "to", "message": message}])
    assert try_meant(error, argparse.Namespace(parameters=[("to", value)])) == told
    assert try_meant(error, argparse.Namespace()) is None, "it was not written as -p"


def test_several_texts_are_told_as_they_are_written() -> None:
    problems = [{"path": name, "message": '1 is not of type "string"'} for name in ("a", "{b}")]
    given = argparse.Namespace(parameters=[("a", 1), ("{b}", 1)])
    assert (
        try_meant(InvalidParametersError(problems=problems), given)
        == "`-p 'a=\"…\"' -p '{b}=\"…\"'` gives a text"
    )


@pytest.mark.parametrize(
    ("words", "parameter", "told"),
    [
        ("run a.B::c --delay 1h --at 02:00", "options.delay", "--delay and --at exclude each other"),
        ("run a.B::c --delay 1h --expires 5m", "options.delay", "--delay is no shorter than --expires"),
        ("run a.B::c --delay 999999d", "options.delay", None),
        ("pause --for 0", "resumes_in", "--for takes a time above 0"),
        ("pause --until 2020-01-01", "resumes_at", "--until takes a moment to come"),
    ],
)
def test_which_options_are_in_each_others_way_is_told_by_their_names(
    words: str, parameter: str, told: str | None
) -> None:
    assert try_meant(InvalidParameterError(parameter=parameter), arguments.parse(words.split())) == told


def _refuse(line: Line, _: object) -> None:
    line.refuse("PermissionDenied", reason="uid 7 may not read")


def test_a_name_like_one_that_there_is_is_told_with_it_to_who_may_read(tmp_path: Path) -> None:
    errors = (
        (NotApprovedError(class_name="shop.jobs.Emial"), "did you mean shop.jobs.Email?"),
        (NotApprovedError(class_name="other.Thing"), None),
        (MethodNotApprovedError(class_name="shop.jobs.Email", method_name="sent"), "did you mean send?"),
        (MethodNotApprovedError(class_name="shop.Gone", method_name="sent"), None),
        (ScheduleNotFoundError(name="nightli"), "did you mean nightly?"),
        (ScheduleNotFoundError(name="nightly"), None),
        (HostNotFoundError(name="nowhere like it"), None),
        (InvalidParameterError(parameter="queue"), "did you mean default?"),
    )
    for script, may_read in ((tell_samples, True), (_refuse, False)):
        with ScriptedDaemon(tmp_path / f"s{may_read}", script) as daemon:
            given = argparse.Namespace(socket=str(daemon.path), queue="defualt")
            for error, told in errors:
                assert try_meant(error, given) == (told if may_read else None)

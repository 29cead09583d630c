"""What is written after `bgjob` and `bgjobd`, as their parsers read it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import pytest

from bgjob.commands import arguments
from bgjobd import main

_MORE = {"show": ["1"], "why": ["1"], "output": ["1"], "run": ["a.B::c"], "wait": ["1"], "cancel": ["1"]}
_MORE |= {"retry": ["1"], "completion": ["bash"]}


def _options(parser: argparse.ArgumentParser) -> Iterator[tuple[list[str], str, str]]:
    """Each option of each command that takes a value: the words, its name and where its value goes."""
    (commands,) = (one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    for name, command in commands.choices.items():
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


def test_two_hyphens_end_the_options() -> None:
    assert arguments.parse(["pause", "--", "-x"]).queue == "-x"
    assert arguments.parse(["cancel", "--", "1"]).ids == [1]

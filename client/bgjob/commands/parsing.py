"""A parser of command lines as both commands have it: what argparse has wrong or leaves open, mended."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from bgjob import text, unknown_names


class Parser(argparse.ArgumentParser):
    """Quotes what was given in its errors, which may be a file's name, in a way that moves no terminal; and says where
    more is told, instead of telling it before what is wrong.
    """

    def error(self, message: str) -> NoReturn:
        usage = self.format_usage()
        if usage.count("\n") == 1:
            self._print_message(usage, sys.stderr)
        more = f"{self.prog} --help"
        told = (
            message if more in message else f"{message}{' ' if message.endswith('?') else '; '}see `{more}`"
        )
        self.exit(2, f"{self.prog}: error: {text.one_line(told)}\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Of a command what it does not know is its own error, not the one of the parser of all commands."""
        given, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(self._unrecognized(unknown))
        return given, unknown

    def _unrecognized(self, words: Sequence[str]) -> str:
        options = [word.partition("=")[0] for word in words if word.startswith("--")]
        meant = unknown_names.perhaps(options, self._option_string_actions) or self._without_option(words)
        return f"unrecognized arguments: {' '.join(words)}{meant and '; '}{meant}"

    def _without_option(self, words: Sequence[str]) -> str:
        """A question, of the first value that an option takes which was left out; empty where there is none."""
        for word in words:
            taking = [one for one in self._actions if one.option_strings and word in (one.choices or ())]
            if taking:
                return f"did you mean {taking[0].option_strings[-1]} {word}?"
            if "-p" in self._option_string_actions and "=" in word and not word.startswith("-"):
                return f"did you mean -p {word}?"
        return ""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Of commands, of which there are many, those alone that were perhaps meant."""
        if isinstance(action, argparse._SubParsersAction) and value not in (action.choices or ()):
            meant = unknown_names.perhaps([value], action.choices or ())
            told = f"no command {value!r}; {meant}{meant and ' '}{self.prog} --help lists them"
            raise argparse.ArgumentError(None, told)
        super()._check_value(action, value)

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """As from Python 3.13 on: before, the value of `--search=--` is taken for the end of the options, and lost."""
        if not action.option_strings or arg_strings != ["--"]:
            return super()._get_values(action, arg_strings)
        value = self._get_value(action, "--")
        self._check_value(action, value)
        return value if action.nargs is None else [value]

"""A parser of command lines as both commands have it: what argparse has wrong or leaves open, mended."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from bgjob import text, unknown_names


class Parser(argparse.ArgumentParser):
    """Quotes what was given in its errors, which may be a file's name, in a way that moves no terminal."""

    def error(self, message: str) -> NoReturn:
        super().error(text.one_line(message))

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

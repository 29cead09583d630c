"""What is wrong with a configuration: each problem with its place, its key and a sentence about the value."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bgjob.text import one_line
from bgjob.unknown_names import perhaps
from bgjobd.config.alerts import AlertRule, AlertTarget
from bgjobd.config.approved import ClassPolicy
from bgjobd.config.schedules import Schedule
from bgjobd.config.sections import Config, Queue
from bgjobd.config.values import shown

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_PLAIN_MESSAGES: Final = {
    "bool_type": "must be true or false",
    "dict_type": "must be a table",
    "int_type": "must be a whole number",
    "model_type": "must be a table",
    "string_type": "must be text",
    "tuple_type": "must be a list",
}


@dataclass(frozen=True)
class Problem:
    """One thing wrong with the configuration."""

    where: str  # a file, a variable, or "defaults"
    key: str  # dotted, as TOML would write it; empty where the file as a whole is meant
    message: str

    def __str__(self) -> str:
        message = ": ".join(part for part in (self.where, self.key, self.message) if part)
        return one_line(message)  # it quotes names of files, variables and keys


class ConfigError(Exception):
    """The configuration cannot be used; as text, every problem, one a line."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def dotted(loc: tuple[int | str, ...]) -> str:
    """The key as TOML writes it."""
    key = ""
    for part in loc:
        if isinstance(part, int):
            key += f"[{part}]"
        else:
            key += "." * bool(key) + (part if _BARE_KEY.fullmatch(part) else json.dumps(part))
    return key


def fault_message(fault: Mapping[str, Any], loc: tuple[int | str, ...]) -> str:
    """What is wrong with the value, as a sentence about it."""
    match fault["type"]:
        case "extra_forbidden":
            keys = _keys_beside(loc)
            meant = perhaps([str(loc[-1])], keys)
            return f"there is no such key; {meant}{meant and ' '}allowed here: {', '.join(keys)}"
        case "value_error":
            return str(fault["ctx"]["error"])
        case "missing":
            return "is required"  # what is quoted elsewhere would be all that is there
        case known if known in _PLAIN_MESSAGES:
            return _PLAIN_MESSAGES[known] + _quoted(fault["input"], loc)
        case _:
            return str(fault["msg"]).replace("Input should", "must", 1) + _quoted(fault["input"], loc)


def _quoted(value: object, loc: tuple[int | str, ...]) -> str:
    """The value that it is not to be; nothing where it may be a secret, as variables are, unless it is a number."""
    is_kept_back = loc[:2] == ("app", "env") and not isinstance(value, int | float)
    return "" if is_kept_back else f", not {shown(value)}"


def _keys_beside(loc: tuple[int | str, ...]) -> list[str]:
    match loc:
        case (_,):
            table: Any = Config
        case ("queues", *_):
            table = Queue
        case ("approved", *_):
            table = ClassPolicy
        case ("schedules", *_):
            table = Schedule
        case ("alerts", "rules", *_):
            table = AlertRule
        case ("alerts", "targets", *_):
            table = AlertTarget
        case _:
            table = Config.model_fields[str(loc[0])].annotation
    return list(table.model_fields)

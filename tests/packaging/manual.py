"""The manual pages, made of the parsers of both commands and the models of the configuration: `./run man`.

What they say is written once, where the commands and keys are; here is only how it becomes pages.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from bgjob.commands import arguments
from bgjobd import main
from bgjobd.config import alerts, approved, loading, schedules, section, sections, values
from tests.packaging import roff

PAGES: Final = Path(__file__).resolve().parents[2] / "docs" / "man"
"""Where the pages are kept; the wheel installs them below share/man."""

RULES: Final = {
    "daemon.slots": "number of cores",
    "hosts.name": "the machine's host name",
    **dict.fromkeys(
        ("daemon.socket", "daemon.state_dir", "daemon.runtime_dir", "daemon.log_dir"), "see FILES"
    ),
}
"""Keys whose default is a rule."""


def pages() -> dict[str, str]:
    """Every page by its file's name."""
    return {"bgjob.1": _bgjob(), "bgjobd.8": _bgjobd(), "bgjobd.toml.5": _configuration()}


def write() -> None:
    PAGES.mkdir(exist_ok=True)
    for name, content in pages().items():
        (PAGES / name).write_text(content, encoding="ascii")


# Commands


def _bgjob() -> str:
    parser = arguments.parser()
    return roff.document(
        [
            *_program(parser, 1, "General Commands Manual"),
            roff.section("environment"),
            roff.entry(roff.bold("BGJOBD_SOCKET"), "the daemon's socket, a path or `unix:PATH`"),
            roff.entry(roff.bold("NO_COLOR"), "no colours, if it is set and not empty"),
            roff.entry(roff.bold("PAGER"), "what shows long results on a terminal"),
            *_files({"socket": _PLACES["socket"]}),
            roff.section("see also"),
            roff.paragraph("`bgjobd`(8), `bgjobd.toml`(5)"),
        ]
    )


def _bgjobd() -> str:
    return roff.document(
        [
            *_program(main.parser(), 8, "System Manager's Manual"),
            roff.section("environment"),
            roff.entry(roff.bold("BGJOBD_CONFIG"), "the configuration, where `--config` does not name one"),
            roff.entry(roff.bold("BGJOBD_SECTION__KEY"), "overrides a value: see `bgjobd.toml`(5)"),
            *_files(_PLACES),
            roff.section("see also"),
            roff.paragraph("`bgjob`(1), `bgjobd.toml`(5)"),
        ]
    )


_PLACES: Final[Mapping[str, str]] = {"configuration": str(loading.SYSTEM_FILE)} | loading._system_places()


def _files(places: Mapping[str, str]) -> Iterator[str]:
    yield roff.section("files")
    told = {
        "configuration": "the configuration: see `bgjobd.toml`(5); or `$XDG_CONFIG_HOME/bgjobd/bgjobd.toml`",
        "socket": "the socket, where the daemon runs as root and nothing else is set",
        **{name: f"{_lowered(_described(sections.Daemon)[name])}, likewise" for name in sections.DIRECTORIES},
    }
    for name, place in places.items():
        yield roff.entry(roff.bold(place), told[name])


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _program(parser: argparse.ArgumentParser, number: int, volume: str) -> Iterator[str]:
    (commands,) = (one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    description = parser.description or ""
    yield roff.page(parser.prog, number, f"bgjobd {version('bgjobd')}", volume)
    yield roff.section("name")
    summary = description.partition(":")[0].rstrip(".")
    yield f"{roff.code(parser.prog)} \\- {roff.text(_lowered(summary))}\n"
    yield roff.section("synopsis")
    yield (
        roff.joined([roff.bold(parser.prog), roff.italic("COMMAND"), "[" + roff.italic("OPTION") + "]..."])
        + "\n"
    )
    yield roff.section("description")
    epilog, _, codes = (parser.epilog or "").partition("exit codes: ")
    for prose in (description, *epilog.split("\n\n")):
        if prose.strip():
            yield roff.paragraph(_sentence(prose))
    yield roff.section("options")
    general = [action for action in parser._actions if action.option_strings]
    yield from map(_entry, general)
    yield roff.section("commands")
    known = {option for action in general for option in action.option_strings}
    for name, command in commands.choices.items():
        yield from _command(f"{parser.prog} {name}", command, known)
    yield roff.section("exit status")
    for code, meaning in re.findall(r"(\d+) (.*?)(?=,\s+\d+ |$)", codes.strip(), re.DOTALL):
        yield roff.entry(roff.bold(code), meaning)


def _command(name: str, parser: argparse.ArgumentParser, known: set[str]) -> Iterator[str]:
    positional = [action for action in parser._actions if not action.option_strings]
    shown = [action for action in parser._actions if action.help != argparse.SUPPRESS]
    own = [action for action in shown if not known.issuperset(action.option_strings or ("",))]
    has_options = len(own) > len(positional)
    yield roff.part(name)
    options = f"[{roff.italic('OPTION')}]..." if has_options else ""
    yield roff.joined([roff.bold(name), options, *map(_value, positional)]) + "\n"
    yield roff.paragraph(_sentence(parser.description or ""))
    yield from map(_entry, sorted(own, key=lambda action: bool(action.option_strings)))
    _, _, examples = (parser.epilog or "").partition(":\n")
    if examples:
        yield roff.example(line.strip() for line in examples.splitlines())


def _entry(action: argparse.Action) -> str:
    value = _value(action)
    names = ", ".join(roff.bold(option) for option in action.option_strings)
    return roff.entry(roff.joined([names, value]), action.help or "")


def _value(action: argparse.Action) -> str:
    """What the action takes, as a synopsis has it; nothing for an option that takes no value."""
    if action.nargs == 0:
        return ""
    if isinstance(action.metavar, tuple):  # the first, and perhaps others
        first, *others = map(roff.italic, action.metavar)
        return " ".join([first, *(f"[{other}]" for other in others)])
    name = str(action.metavar or "|".join(map(str, action.choices or ())) or action.dest.upper())
    told = roff.italic(name)
    match action.nargs:
        case "?":
            return f"[{told}]"
        case "+":
            return f"{told}..."
        case "*":
            return f"[{told}...]"
        case _:
            return told


def _sentence(told: str) -> str:
    """As a sentence, if it is not one already."""
    told = " ".join(told.split())
    if not told:
        return ""
    return told if told.endswith((".", ":")) else f"{told}."


# The configuration


def _configuration() -> str:
    return roff.document(
        [
            roff.page("bgjobd.toml", 5, f"bgjobd {version('bgjobd')}", "File Formats Manual"),
            roff.section("name"),
            f"bgjobd.toml \\- {roff.text('configuration of the daemon bgjobd')}\n",
            roff.section("description"),
            *map(roff.paragraph, _ABOUT),
            roff.section("example"),
            roff.example(_EXAMPLE.splitlines()),
            roff.section("sections"),
            *_sections(),
            *_files(_PLACES),
            roff.paragraph(
                "These are those of a daemon that runs as root. For another user they are in `$XDG_RUNTIME_DIR` and "
                "`$XDG_STATE_HOME`. "
                "`$STATE_DIRECTORY`, `$RUNTIME_DIRECTORY` and `$LOGS_DIRECTORY`, which systemd sets, come before both."
            ),
            roff.section("see also"),
            roff.paragraph("`bgjobd`(8), `bgjob`(1)"),
        ]
    )


_ABOUT: Final = (
    "The file is TOML, UTF-8. `bgjobd check` tells every problem of it with the key; a key that is not known is one. "
    "A relative path counts from the directory of the file.",
    "It is the file that `--config` names, else `$BGJOBD_CONFIG`, else the first of those under FILES that there is.",
    "A variable `BGJOBD_SECTION__KEY` in the daemon's environment overrides a value, as in `BGJOBD_DAEMON__SLOTS=8`.",
    "A time is a number of seconds, or text such as `500ms`, `5m`, `2h` or `14d`. A size is a number of bytes, or "
    "text such as `64K` or `256M`. `false` takes a limit away.",
)

_EXAMPLE: Final = """\
[app]
path = ["/srv/myapp"]

[approved]
"myapp.jobs.EmailNotification" = { methods = ["send"], max_retries = 1 }
"""


def _sections() -> Iterator[str]:
    for name, hint in get_type_hints(sections.Config, include_extras=True).items():
        if name not in sections.Config.model_fields:
            continue
        model = _model_of(hint)
        table = isinstance(hint, type)
        prefix = name if table else f"{name}.NAME"
        yield roff.part(f"[{name}]" if table else f"[{name}]: NAME = {{ ... }}")
        yield roff.paragraph(_about(model))
        described = _described(model)
        for key, kind in get_type_hints(model, include_extras=True).items():
            if key in model.model_fields:
                yield _key(f"{prefix}.{key}", key, kind, model, described[key])


def _key(path: str, key: str, kind: object, model: type[BaseModel], described: str) -> str:
    default = RULES.get(path) or _default(model, key)
    usual = "" if default == "none" else f" Default: {default if path in RULES else f'`{default}`'}."
    return roff.entry(f"{roff.bold(key)} = {roff.italic(words_of(kind))}", f"{described}.{usual}")


def _model_of(hint: Any) -> type[BaseModel]:
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return hint
    found: type[BaseModel] = get_args(hint)[1]
    return found


def _about(model: type[BaseModel]) -> str:
    """The model's docstring, without what only Python calls None."""
    told = inspect.getdoc(model) or ""
    for only_in_python in (
        r"None \((?=`false`)|(?<=`false`) in a file\)",
        r"; None is not set",
        r"^`\[\w+\]`: ",
    ):
        told = re.sub(only_in_python, "", told)
    return _sentence(told[:1].upper() + told[1:])


def described() -> dict[type[BaseModel], dict[str, str]]:
    """What each key of each section is, as the sources have it below the key."""
    found: dict[type[BaseModel], dict[str, str]] = {}
    for module in (sections, approved, schedules, alerts):
        for statement in ast.parse(inspect.getsource(module)).body:
            model = getattr(module, statement.name, None) if isinstance(statement, ast.ClassDef) else None
            if (
                isinstance(statement, ast.ClassDef)
                and isinstance(model, type)
                and issubclass(model, section.Section)
            ):
                found[model] = dict(_described_in(statement))
    return found


def _described_in(statement: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, below in zip(statement.body, statement.body[1:], strict=False):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(told))):
                yield name, " ".join(told.split()).removesuffix(".")


def _described(model: type[BaseModel]) -> dict[str, str]:
    return described()[model]


_KINDS: Final[Mapping[Any, str]] = {
    values.Count: "whole number from 1",
    values.Whole: "whole number",
    values.Size: "size",
    values.SizeOrNone: "size|0",
    values.Delay: "time",
    values.Duration: "time above 0",
    values.Cores: "number",
    values.Rate: "number/time",
    values.Crashes: "whole number from 2|false",
    values.Umask: "octal digits",
    values.Network: 'true|false|"no-tcp"',
    values.Place: "path",
    values.AbsolutePlace: "absolute path",
    values.SocketPlace: "path",
    values.Address: "address",
    values.Database: "postgresql://…",
    values.Executable: "path or name",
    values.Text: "text",
    values.HostName: "name",
    values.RoleName: "role",
    values.ViewName: "name",
    values.ViewAddress: "address",
    values.BasePath: "path of an address",
    values.Labels: "list of at most 10 texts of 1 to 64 characters",
    values.Key: "text of 1 to 255 characters",
    values.MethodName: "name",
    values.FunctionPath: "name with its module",
    values.Account: "name or number",
    values.Member: "name",
    values.VariableName: "name",
    values.VariableValue: "text",
    values.RetriableOutcome: "outcome",
    values.JobPath: "class::method",
    values.JsonObject: "table",
    values.CronExpression: "cron expression",
    values.Interval: "time from 1 s",
    values.Instant: "date and time",
    values.Zone: "time zone",
    values.ScheduleName: "name",
    alerts.AlertTarget: "table",
    alerts.AlertRule: "table",
    float: "number",
}


def words_of(kind: Any) -> str:
    """What a key of this type takes, in words. Raises KeyError for a type that has none yet."""
    known = next((words for one, words in _KINDS.items() if one == kind), None)
    if known is not None:
        return known
    arguments = get_args(kind)
    match get_origin(kind):
        case origin if origin is Annotated:
            return _annotated(arguments)
        case origin if origin in (Union, UnionType):
            (inner,) = (one for one in arguments if one is not NoneType)
            return words_of(inner)
        case origin if origin is tuple:
            return f"list: {words_of(arguments[0])}"
        case origin if origin is dict:
            return f"table: {words_of(arguments[0])} = {words_of(arguments[1])}"
        case origin if origin is Literal:
            return "|".join(json.dumps(one) for one in arguments)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "|".join(json.dumps(one.value) for one in kind)
    raise KeyError(kind)


def _annotated(arguments: tuple[Any, ...]) -> str:
    inner, *marks = arguments
    if inner is bool:
        return "true|false"
    if inner is int:
        return _bounded(marks)
    told = words_of(inner)
    return f"{told}|false" if values.FalseIsNone in marks else told


def _bounded(marks: list[Any]) -> str:
    constraints = [one for mark in marks for one in getattr(mark, "metadata", ())]
    lowest = next((one.ge for one in constraints if hasattr(one, "ge")), None)
    highest = next((one.le for one in constraints if hasattr(one, "le")), None)
    is_any = lowest is None or highest is None or abs(lowest) > 2**31
    return "whole number" if is_any else f"whole number from {lowest} to {highest}"


def _default(model: type[BaseModel], key: str) -> str:
    """The default as TOML would have it; "none" where there is none."""
    field = model.model_fields[key]
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined or value is None:
        return "none"
    if isinstance(value, bool | str):
        return json.dumps(value)
    if isinstance(value, tuple | dict):
        return json.dumps(list(value) if isinstance(value, tuple) else value)
    if isinstance(value, int | float):
        return _amount(value, get_type_hints(model, include_extras=True)[key])
    return json.dumps(str(value))


def _amount(value: float, kind: object) -> str:
    """A number; a size in the largest unit that it fills, and a time in days where it is some."""
    words = words_of(kind).removesuffix("|false").removesuffix("|0")
    if words == "size":
        unit, amount = next(
            (unit, int(value) >> shift)
            for unit, shift in (("G", 30), ("M", 20), ("K", 10), ("", 0))
            if int(value) % (1 << shift) == 0
        )
        return f'"{amount}{unit}"' if unit else str(amount)
    if words.startswith("time") and value and value % sections.DAY == 0:
        return f'"{value / sections.DAY:g}d"'
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    write()

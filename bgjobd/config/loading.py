"""Loading the configuration: defaults, a file and the environment put together; what keys may hold is in `sections`."""

import json
import os
import pwd
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin
from zoneinfo import ZoneInfo

from pydantic import BaseModel, Strict, TypeAdapter, ValidationError

from bgjobd.config.problems import ConfigError, Problem, dotted, fault_message
from bgjobd.config.sections import Config, Retry
from bgjobd.config.values import ValidationContext

SYSTEM_FILE: Final = Path("/etc/bgjobd/bgjobd.toml")
_SYSTEMD_DIRECTORIES: Final = {
    "state_dir": "STATE_DIRECTORY",
    "runtime_dir": "RUNTIME_DIRECTORY",
    "log_dir": "LOGS_DIRECTORY",
}


def load(path: Path | None, environ: Mapping[str, str], *, is_root: bool) -> Config:
    """The configuration: defaults, the file at `path` (else the first usual one), the environment over both.

    Zones have the rules that the machine has by now. Raises `ConfigError` with every problem found, in the file and in
    the environment.
    """
    ZoneInfo.clear_cache()
    file = _file_to_read(path, environ)
    written = {} if file is None else _read(file)
    variables = _variables(environ, known_queues=_names(written, "queues"))
    values = _merged(_usual_places(environ, is_root), written)
    values = _merged(values, _overrides(variables, environ))
    try:
        return Config.model_validate(values, context=_surroundings(file, variables, values))
    except ValidationError as error:
        raise ConfigError(*_problems(error, file, variables)) from None


# The file


def _file_to_read(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    if path is not None:
        return path.absolute()
    if environ.get("BGJOBD_CONFIG"):
        return Path(environ["BGJOBD_CONFIG"]).absolute()
    return next((file for file in usual_files(environ) if os.path.exists(file)), None)


def usual_files(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Where a file is looked for if nobody names one; the first that is there is read."""
    config_home = _try_directory(environ, "XDG_CONFIG_HOME") or _home(environ) / ".config"
    return SYSTEM_FILE, config_home / "bgjobd" / "bgjobd.toml"


def _read(file: Path) -> dict[str, Any]:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigError(Problem(str(file), "", f"cannot be read: {error.strerror}")) from None
    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(Problem(str(file), "", f"is not UTF-8 (at line {line})")) from None
    except RecursionError:
        raise ConfigError(Problem(str(file), "", "is not TOML: nested too deeply")) from None
    except ValueError as error:  # tomllib's own error, or int() refusing thousands of digits
        line = content.rstrip().count(b"\n") + 1
        reason = str(error).replace("at end of document", f"at line {line}, the end of the document")
        raise ConfigError(Problem(str(file), "", f"is not TOML: {reason}")) from None


# The environment


def _variables(environ: Mapping[str, str], known_queues: Collection[str]) -> dict[tuple[str, ...], str]:
    """The variables that override a key, by the key's parts: `BGJOBD_RETRY__CAP` by `("retry", "cap")`."""
    names = (name for name in environ if name.startswith("BGJOBD_"))
    split = ((name.removeprefix("BGJOBD_").split("__"), name) for name in names)
    return {_key_parts(parts, known_queues): name for parts, name in split if len(parts) > 1}


def _key_parts(parts: list[str], known_queues: Collection[str]) -> tuple[str, ...]:
    """The parts in lower case, but for names that only the user knows how to spell."""
    lowered = [part.lower() for part in parts]
    match lowered:
        case ["queues", queue, *keys]:
            return ("queues", next((name for name in known_queues if name.lower() == queue), queue), *keys)
        case ["app", "env", *_]:
            return ("app", "env", *parts[2:])
        case ["approved" | "schedules" as section, _, *keys]:
            return (section, parts[1], *keys)
        case _:
            return tuple(lowered)


def _overrides(variables: Mapping[tuple[str, ...], str], environ: Mapping[str, str]) -> dict[str, Any]:
    """The variables' values as the tables that a file would have had."""
    tables: dict[str, Any] = {}
    for (section, *keys), name in variables.items():
        table = tables.setdefault(section, {})
        if section not in Config.model_fields:
            continue  # the section is what is wrong
        for key in keys[:-1]:
            if isinstance(table, dict):
                table = table.setdefault(key, {})
        if isinstance(table, dict):
            table[keys[-1]] = _value_of(environ[name], _type_of(section, keys))
    return tables


def _type_of(section: str, keys: Iterable[str]) -> Any:
    """The type of a key; of one that there is not it is text, but in the tables whose names are the user's."""
    kind = Config.model_fields[section].annotation
    unknown = object if get_origin(kind) is dict else str
    for key in keys:
        kind = _type_below(kind, key)
    return unknown if kind is None else kind


def _type_below(kind: Any, key: str) -> Any:
    """The type of a key of a table of this type; None where there is none."""
    for one in (kind, *get_args(kind)):
        if get_origin(one) is dict:
            return get_args(one)[1]
        if isinstance(one, type) and issubclass(one, BaseModel) and key in one.model_fields:
            return one.model_fields[key].annotation
    return None


def _value_of(text: str, kind: Any) -> object:
    """As JSON where it is some, and where its key holds more than text."""
    value = text if _is_text(kind) else _json_or_text(text)
    if isinstance(value, str) and _is_strict_or_none(kind):
        # Its quotes have come along, as from a file of variables that keeps them.
        with suppress(ValidationError):
            return TypeAdapter(kind).validate_python(_json_or_text(value))
    return value


def _is_strict_or_none(kind: Any) -> bool:
    """Whether it is a number or truth value, taken as nothing else, that may be missing."""
    members = get_args(kind) if get_origin(kind) in (Union, UnionType) else ()
    return any(isinstance(mark, Strict) for member in members for mark in get_args(member)[1:])


def _is_text(annotation: object) -> bool:
    """Whether a key of this type takes text alone, so that 1000 is a name and no number."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _is_text(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return all(member is NoneType or _is_text(member) for member in get_args(annotation))
    return annotation in (str, Path)


def _json_or_text(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
    except (ValueError, RecursionError):  # thousands of digits or brackets: enough of them to be refused
        return text[:100]


# Putting both together


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both as one, `above` winning; a value where a table should be stays, for its problem to be told."""
    both = dict(below)
    for key, value in above.items():
        if not isinstance(value, dict) or key not in below:
            both[key] = value
        elif isinstance(below[key], dict):
            both[key] = _merged(below[key], value)
    return both


def _surroundings(
    file: Path | None, variables: Collection[tuple[str, ...]], values: Mapping[str, Any]
) -> ValidationContext:
    retry, daemon = values.get("retry", {}), values.get("daemon", {})
    has_others = isinstance(daemon, dict) and daemon.get("database") is not None
    return ValidationContext(
        file=file,
        from_environment=frozenset(parts[1] for parts in variables if parts[0] in ("daemon", "app", "web")),
        queues=None if has_others else frozenset({"default", *_names(values, "queues")}),
        cap=retry.get("cap", Retry().cap) if isinstance(retry, dict) else None,
    )


def _names(values: Mapping[str, Any], section: str) -> Collection[str]:
    table = values.get(section)
    return table.keys() if isinstance(table, dict) else ()


# Where things are if nobody says so


def _usual_places(environ: Mapping[str, str], is_root: bool) -> dict[str, dict[str, str]]:
    places = _system_places() if is_root else _own_places(environ)
    for key, variable in _SYSTEMD_DIRECTORIES.items():
        directory = environ.get(variable, "").split(":")[0]  # a unit may have several
        if directory:
            places[key] = directory
    return {"daemon": places}


def _system_places() -> dict[str, str]:
    return {
        "socket": "/run/bgjobd.sock",
        "state_dir": "/var/lib/bgjobd",
        "runtime_dir": "/run/bgjobd",
        "log_dir": "/var/log/bgjobd",
    }


def _own_places(environ: Mapping[str, str]) -> dict[str, str]:
    """A person's places; `log_dir` is missing, for it follows the final `state_dir`."""
    fallback = Path("/tmp") / f"bgjobd-{os.getuid()}"
    runtime_dir = _try_directory(environ, "XDG_RUNTIME_DIR")
    state_home = _try_directory(environ, "XDG_STATE_HOME") or _home(environ) / ".local" / "state"
    return {
        "socket": str(fallback.with_suffix(".sock") if runtime_dir is None else runtime_dir / "bgjobd.sock"),
        "state_dir": str(state_home / "bgjobd"),
        "runtime_dir": str(fallback if runtime_dir is None else runtime_dir / "bgjobd"),
    }


def _try_directory(environ: Mapping[str, str], variable: str) -> Path | None:
    """The variable's directory; as the XDG rules have it, an empty or relative one counts as unset."""
    directory = Path(environ.get(variable, ""))
    return directory if directory.is_absolute() else None


def _home(environ: Mapping[str, str]) -> Path:
    try:
        return _try_directory(environ, "HOME") or Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:  # a uid that no account has, as in containers
        return Path("/")


# What was wrong


def _problems(
    error: ValidationError, file: Path | None, variables: Mapping[tuple[str, ...], str]
) -> Iterator[Problem]:
    faults = error.errors(include_url=False)
    misnamed = {fault["loc"][:-1] for fault in faults if fault["loc"][-1] == "[key]"}
    for fault in faults:
        loc = fault["loc"]
        if loc[-1] == "[key]":
            loc = loc[:-1]
        elif any(loc[: len(table)] == table for table in misnamed):
            continue  # what stands under a wrong name says nothing
        elif fault["type"] == "default_factory_not_called":
            continue  # a consequence of a problem that is told
        where = _try_variable(loc, variables) or (str(file) if file else "defaults")
        yield Problem(where, dotted(loc), fault_message(fault, loc))


def _try_variable(loc: tuple[int | str, ...], variables: Mapping[tuple[str, ...], str]) -> str | None:
    """The variable that set what stands at `loc`, or a part of it."""
    for parts, name in variables.items():
        shorter = min(len(parts), len(loc))
        if shorter > 1 and parts[:shorter] == loc[:shorter]:
            return name
    if loc[0] in Config.model_fields:
        return None
    return next((name for parts, name in variables.items() if parts[0] == loc[0]), None)

"""The daemon's configuration: its sections, and loading them from defaults, a file and the environment; what
a single value looks like is in `units`, and whether files, users or classes exist is asked elsewhere."""

import json
import os
import pwd
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    StrictBool,
    StrictInt,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

from bgjob.text import one_line
from bgjob.words import INT_MAX, INT_MIN, MAX_DEPTH, MAX_FRAME, Backoff, Outcome
from bgjobd.config import values as units
from bgjobd.config.values import Surroundings, around, shown
from bgjobd.core.stopping import AtStop

SYSTEM_FILE: Final = Path("/etc/bgjobd/bgjobd.toml")
DAY: Final = 86_400.0

_SYSTEMD_DIRECTORIES: Final = {
    "state_dir": "STATE_DIRECTORY",
    "runtime_dir": "RUNTIME_DIRECTORY",
    "log_dir": "LOGS_DIRECTORY",
}
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
        told = ": ".join(part for part in (self.where, self.key, self.message) if part)
        return one_line(told)  # it quotes names of files, variables and keys


class ConfigError(Exception):
    """The configuration cannot be used; as text, every problem, one a line."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class Section(BaseModel):
    """A table of the file: it knows its keys and refuses others."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


DIRECTORIES: Final = ("state_dir", "runtime_dir", "log_dir")
"""The keys of [daemon] that name directories of ours."""


class Daemon(Section):
    """`[daemon]`: where it lives and how much it does at once."""

    socket: units.SocketPlace
    """A path, or `"unix:PATH"`."""
    fifo: units.Place | None = None
    """The named pipe."""
    state_dir: units.Place
    """Database, outputs, backups."""
    runtime_dir: units.Place
    """The spool, working directories."""
    log_dir: units.Place = Field(default_factory=lambda given: given.get("state_dir", Path("/")) / "log")
    """The log file."""
    slots: units.Count = Field(default_factory=lambda: len(os.sched_getaffinity(0)))
    """Attempts at once."""
    at_stop: AtStop = AtStop.AUTO
    """What becomes of attempts at a stop: `leave`, `stop` or `drain`; `auto`: `stop` in a container, else `leave`."""
    drain: StrictBool = False
    """The same as `at_stop = "drain"`."""

    @property
    def directories(self) -> dict[str, Path]:
        """Those of ours, by their keys."""
        return {key: getattr(self, key) for key in DIRECTORIES}

    @field_validator("drain")
    @classmethod
    def _agrees_with_at_stop(cls, value: bool, info: ValidationInfo) -> bool:
        said = info.data.get("at_stop")
        if value and said in (AtStop.LEAVE, AtStop.STOP):
            raise ValueError(f'must not be true where at_stop = "{said}"; at_stop = "drain" says the same')
        return value

    @property
    def wanted_at_stop(self) -> AtStop:
        """What either key asks for."""
        return AtStop.DRAIN if self.drain else self.at_stop


class Socket(Section):
    """`[socket]`: what a peer may ask of the socket; bytes and seconds."""

    max_frame: units.Size = MAX_FRAME
    """Of a request, and of a line of the named pipe."""
    max_parameters: units.Size = 64 * 1024
    """Of a job's parameters."""
    max_depth: units.Count = MAX_DEPTH
    """Levels of nesting."""
    max_name: units.Count = 255
    """Characters of a name."""
    max_connections: units.Count = 256
    """More are closed at once."""
    max_connections_per_uid: units.Count = 64
    """The same, of one user."""
    frame_timeout: units.Duration = 10.0
    """For a request that has begun."""
    idle_timeout: units.Duration = 600.0
    """For a quiet connection."""
    max_unread: units.Size = 4 * 1024 * 1024
    """Replies that a peer leaves unread, or that wait behind an earlier one."""
    max_pipelined: units.Count = 64
    """Requests of a connection at once."""
    max_under_way: units.Size = 32 * 1024 * 1024
    """Requests of all that are under way; a quarter of it of one user, and one above 64 KiB."""


class App(Section):
    """`[app]`: the interpreter that the approved classes are imported by, and what it is given."""

    python: units.Executable | None = None  # None: the daemon's own
    """The interpreter of the jobs; else the daemon's."""
    path: tuple[units.Place, ...] = ()
    """Where their code is."""
    env: dict[units.VariableName, units.VariableValue] = Field(default_factory=dict)
    """Variables for it."""
    import_timeout: units.Duration = 30.0
    """For each module, and for describing each class."""


class Retry(Section):
    """`[retry]`: for jobs whose caller and class say nothing else."""

    cap: units.Whole = 100
    """The most retries that anybody may ask for."""
    max_retries: units.Whole = 3
    """How often a job is tried again whose caller and class say nothing."""
    retry_delay: units.Delay = 5.0
    """Between two attempts of such a job."""
    backoff: Backoff = Backoff.CONSTANT
    """How that time grows: `constant`, or `exponential`, doubling with jitter."""
    max_retry_delay: units.Delay = 3600.0
    """The longest that an exponential backoff waits."""

    @field_validator("max_retries")
    @classmethod
    def _is_within_cap(cls, value: int, info: ValidationInfo) -> int:
        return _within_cap(value, info.data.get("cap"))


class Limits(Section):
    """`[limits]`: of an attempt, for classes that set no other; None (`false` in a file) is no limit."""

    timeout: Annotated[units.Duration | None, units.FalseIsNone] = None
    """Of an attempt, for classes that say nothing, as all here."""
    stop_grace: units.Delay = 10.0
    """From SIGTERM to SIGKILL."""
    memory: Annotated[units.Size | None, units.FalseIsNone] = None
    """Bytes of data; what a cgroup limits a job of the daemon's user can lift."""
    cpu: Annotated[units.Duration | None, units.FalseIsNone] = None
    """Seconds of CPU time."""
    cpu_share: Annotated[units.Cores | None, units.FalseIsNone] = None
    """Cores; by a cgroup."""
    open_files: Annotated[units.Count | None, units.FalseIsNone] = None
    """Descriptors."""
    processes: Annotated[units.Count | None, units.FalseIsNone] = None
    """Processes and threads; by a cgroup, or for its user."""
    file_size: Annotated[units.Size | None, units.FalseIsNone] = None
    """Bytes of a file that is written."""
    max_output: Annotated[units.Size | None, units.FalseIsNone] = 1024 * 1024
    """Of an attempt's output that is kept; `false`: all."""
    work_limit: Annotated[units.Size | None, units.FalseIsNone] = 1024**3
    """Of a class's working directories together, from which on none of its jobs starts; `false`: none."""
    nice: Annotated[StrictInt, Field(ge=-20, le=19)] | None = None
    """The kernel's priority of an attempt, -20 to 19."""
    best_effort: StrictBool = False
    """Go on where a limit cannot be had."""


class Queue(Section):
    """A queue of `[queues]`."""

    slots: units.Count | None = None  # None: as many as the daemon has
    """Attempts of this queue at once; `default` is always there."""
    max_pending: units.Count = 100_000
    """Pending jobs, from which on the queue is full."""


class Log(Section):
    """`[log]`: what the console shows."""

    console: Literal["auto", "text", "json", "none"] = "auto"
    """Of stderr: `"auto"`, `"text"`, `"json"` or `"none"`."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """Of stderr; `"warning"` and `"error"`: failures only."""
    snapshots: StrictBool = False
    """The job as JSON after "initiated" and "started"."""


class Web(Section):
    """`[web]`: the page."""

    enabled: StrictBool = True
    """The page."""
    allow_remote: StrictBool = False
    """Whether it may listen beyond this machine."""
    bind: units.Address = units.TcpAddress("127.0.0.1", 8377)
    """Where it listens: an address of this machine, or `"unix:PATH"`."""
    per_page: Annotated[StrictInt, Field(ge=1, le=100)] = 10
    """Rows of a list, unless a person chooses."""
    actions: StrictBool = False
    """Whether it can retry, cancel and pause."""

    @field_validator("bind")
    @classmethod
    def _is_allowed(cls, value: units.Address, info: ValidationInfo) -> units.Address:
        if not value.is_loopback and info.data.get("allow_remote") is False:
            raise ValueError(
                f"must be a loopback address unless allow_remote = true, not {shown(str(value))}"
            )
        return value


class Access(Section):
    """`[access]`: users and "@groups"; None is not set."""

    submit: tuple[units.Member, ...] | None = None
    """Users and `"@groups"` who may submit."""
    manage: tuple[units.Member, ...] | None = None
    """The same, who may cancel, retry, pause and reload."""
    read: tuple[units.Member, ...] | None = None
    """The same, who may look."""


class Retention(Section):
    """`[retention]`: seconds; None (`false` in a file) keeps for ever."""

    completed: Annotated[units.Duration | None, units.FalseIsNone] = 14 * DAY
    """For how long jobs that completed are kept."""
    failed: Annotated[units.Duration | None, units.FalseIsNone] = 90 * DAY
    """Those that failed or were cancelled."""
    logs: Annotated[units.Duration | None, units.FalseIsNone] = 30 * DAY
    """Log entries, of whatever job."""


class ClassPolicy(Section):
    """A class of `[approved]`; None is not set."""

    methods: Annotated[tuple[units.MethodName, ...], units.NotEmpty] | None = None
    """Those that may be called; else all that can."""
    queue: units.Text | None = None
    """For callers that say nothing; else `default`."""
    priority: Annotated[StrictInt, Field(ge=INT_MIN, le=INT_MAX)] | None = None
    """For callers that say nothing, higher goes first; else 0."""
    slots: units.Count | None = None
    """Attempts of this class at once, however many queues they come from."""

    max_retries: units.Whole | None = None
    """Before the class attribute and `[retry]`."""
    retry_delay: units.Delay | None = None
    """The same."""
    backoff: Backoff | None = None
    """The same."""
    max_retry_delay: units.Delay | None = None
    """The same."""
    retry_lost: StrictBool | None = None
    """Whether an attempt whose end nobody saw is retried; else it is."""
    retry_on: tuple[units.RetriableOutcome, ...] | None = None
    """The outcomes that are retried; else all that are bad."""

    timeout: units.Duration | None = None
    """Before `[limits]`, as all of the next."""
    stop_grace: units.Delay | None = None
    """From SIGTERM to SIGKILL."""
    memory: units.Size | None = None
    """Bytes of data."""
    cpu: units.Duration | None = None
    """Seconds of CPU time."""
    cpu_share: units.Cores | None = None
    """Cores."""
    open_files: units.Count | None = None
    """Descriptors."""
    processes: units.Count | None = None
    """Processes and threads."""
    file_size: units.Size | None = None
    """Bytes of a file that is written."""
    max_output: units.Size | None = None
    """Of an attempt's output that is kept."""
    work_limit: units.Size | None = None
    """Of its working directories together, from which on none of its jobs starts."""
    nice: Annotated[StrictInt, Field(ge=-20, le=19)] | None = None
    """The kernel's priority of an attempt, -20 to 19."""

    user: units.Account | None = None
    """Whom its attempts run as, where the daemon is root."""
    group: units.Account | None = None
    """The same, of groups."""
    writable: tuple[units.AbsolutePlace, ...] | None = None
    """Where its attempts may write, beside their own directory."""
    sensitive: tuple[units.Text, ...] | None = None
    """Names of parameters whose values are shown nowhere."""

    @field_validator("queue")
    @classmethod
    def _is_known(cls, value: str | None, info: ValidationInfo) -> str | None:
        queues = around(info).queues
        if value is not None and queues is not None and value not in queues:
            raise ValueError(f"must be a queue of [queues] ({', '.join(sorted(queues))}), not {shown(value)}")
        return value

    @field_validator("max_retries")
    @classmethod
    def _is_within_cap(cls, value: int | None, info: ValidationInfo) -> int | None:
        return value if value is None else _within_cap(value, around(info).cap)

    @field_validator("retry_on")
    @classmethod
    def _agrees_about_lost(
        cls, value: tuple[Outcome, ...] | None, info: ValidationInfo
    ) -> tuple[Outcome, ...] | None:
        if value is not None and Outcome.LOST in value and info.data.get("retry_lost") is False:
            raise ValueError("must not name lost where retry_lost = false")
        return value


class Config(Section):
    """Everything that was configured, checked and with its defaults; paths are absolute."""

    daemon: Daemon
    socket: Socket = Field(default_factory=Socket)
    app: App = Field(default_factory=App)
    retry: Retry = Field(default_factory=Retry)
    limits: Limits = Field(default_factory=Limits)
    queues: dict[units.QueueName, Queue] = Field(default_factory=dict)
    log: Log = Field(default_factory=Log)
    web: Web = Field(default_factory=Web)
    access: Access = Field(default_factory=Access)
    retention: Retention = Field(default_factory=Retention)
    approved: dict[units.ClassPath, ClassPolicy] = Field(default_factory=dict)
    _file: Path | None = PrivateAttr(default=None)

    @property
    def file(self) -> Path | None:
        """The file it came from; None if there is none."""
        return self._file

    @field_validator("queues")
    @classmethod
    def _has_default(cls, value: dict[str, Queue]) -> dict[str, Queue]:
        return {"default": Queue()} | value

    def model_post_init(self, context: object) -> None:
        """Takes the file from the surroundings: as a field it would be a key that files may set."""
        if isinstance(context, Surroundings):
            self._file = context.file


def load(path: Path | None, environ: Mapping[str, str], *, is_root: bool) -> Config:
    """The configuration: defaults, the file at `path` (else the first usual one), the environment over both.

    Raises `ConfigError` with every problem found, in the file and in the environment.
    """
    file = _file_to_read(path, environ)
    written = {} if file is None else _read(file)
    variables = _variables(environ, known_queues=_names(written, "queues"))
    values = _merged(_usual_places(environ, is_root), written)
    values = _merged(values, _overrides(variables, environ))
    try:
        return Config.model_validate(values, context=_surroundings(file, variables, values))
    except ValidationError as error:
        raise ConfigError(*_problems(error, file, variables)) from None


def _within_cap(value: int, cap: object) -> int:
    if isinstance(cap, int) and value > cap:
        raise ValueError(f"must be at most the cap of [retry], {cap}, not {shown(value)}")
    return value


# The file


def _file_to_read(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    if path is not None:
        return path.absolute()
    if environ.get("BGJOBD_CONFIG"):
        return Path(environ["BGJOBD_CONFIG"]).absolute()
    config_home = _try_directory(environ, "XDG_CONFIG_HOME") or _home(environ) / ".config"
    usual = (SYSTEM_FILE, config_home / "bgjobd" / "bgjobd.toml")
    return next((file for file in usual if os.path.exists(file)), None)


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
        case ["approved", _, *keys]:
            return ("approved", parts[1], *keys)
        case _:
            return tuple(lowered)


def _overrides(variables: Mapping[tuple[str, ...], str], environ: Mapping[str, str]) -> dict[str, Any]:
    """The variables' values as the tables that a file would have had."""
    source = _Overrides(
        Config,  # type: ignore[arg-type]  # of the class it reads the fields alone
        case_sensitive=True,
        env_prefix="",
        env_nested_delimiter="__",
    )
    source.env_vars = {"__".join(parts): environ[name] for parts, name in variables.items()}
    unknown = {parts[0]: dict[str, Any]() for parts in variables if parts[0] not in Config.model_fields}
    return unknown | source()


class _Overrides(EnvSettingsSource):
    """Takes a value as JSON where it is some, and where its key holds more than text."""

    def field_is_complex(self, field: FieldInfo) -> bool:
        return not _is_text(field.annotation)

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: str) -> object:
        return _json_or_text(value)


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
) -> Surroundings:
    retry = values.get("retry", {})
    return Surroundings(
        file=file,
        from_environment=frozenset(parts[1] for parts in variables if parts[0] in ("daemon", "app", "web")),
        queues=frozenset({"default", *_names(values, "queues")}),
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
        yield Problem(where, _dotted(loc), fault_message(fault, loc))


def _try_variable(loc: tuple[int | str, ...], variables: Mapping[tuple[str, ...], str]) -> str | None:
    """The variable that set what stands at `loc`, or a part of it."""
    for parts, name in variables.items():
        shorter = min(len(parts), len(loc))
        if shorter > 1 and parts[:shorter] == loc[:shorter]:
            return name
    if loc[0] in Config.model_fields:
        return None
    return next((name for parts, name in variables.items() if parts[0] == loc[0]), None)


def _dotted(loc: tuple[int | str, ...]) -> str:
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
            return f"there is no such key; allowed here: {', '.join(_keys_beside(loc))}"
        case "value_error":
            return str(fault["ctx"]["error"])
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
        case _:
            table = Config.model_fields[str(loc[0])].annotation
    return list(table.model_fields)

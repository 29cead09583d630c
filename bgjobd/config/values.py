"""The single values of a configuration and how each is written; no sections, files or environment in here."""

import ipaddress
import keyword
import math
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    StrictInt,
    ValidationInfo,
)

from bgjob.codec import to_json
from bgjob.labels import LABEL_LENGTHS, MOST_LABELS, are_labels, distinct
from bgjob.words import INT_MAX, INT_MIN, KEY_LENGTHS, Outcome
from bgjobd.config.cron_expressions import fields_of
from bgjobd.core.rates import Rate as RateOfStarts
from bgjobd.forkserver.network import NO_TCP
from bgjobd.forkserver.network import NONE as NO_NETWORK

LONGEST_SOCKET_PATH: Final = 107  # bytes: the kernel's sun_path has 108, with the final NUL
LONGEST_DURATION: Final = 36_500 * 86_400.0  # a hundred years; far below what overflows a datetime
RETRIABLE: Final = frozenset(Outcome) - {
    Outcome.COMPLETED,
    Outcome.CANCELLED,
    Outcome.SNOOZED,
    Outcome.NOT_STARTED,  # goes back to pending in any case, and spends no retry
}

_SIZE_UNITS: Final = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_TIME_UNITS: Final = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SIZE: Final = re.compile(r"([0-9]{1,19})\s*([KMGT]?)(?:iB|B)?", re.IGNORECASE | re.ASCII)
_TIME: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)\s*(ms|[smhdw]?)", re.ASCII)
_RATE: Final = re.compile(
    r"([0-9]{1,9})\s*/\s*([0-9]{0,12}(?:\.[0-9]{1,9})?\s*(?:ms|[smhdw]?))(?:\s+burst\s+([0-9]{1,9}))?",
    re.ASCII,
)
_MOST_STARTS: Final = 10_000  # a second
_UMASK: Final = re.compile(r"0?[0-7]{3}")
_QUEUE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_ACCOUNT: Final = re.compile(r"[^\s@:,/][^\s:,/]*")


@dataclass(frozen=True)
class ValidationContext:
    """What checking a value takes beyond the value; pydantic hands it to the validators as their context."""

    file: Path | None = None
    from_environment: frozenset[str] = frozenset()  # names of the keys with paths that a variable has set
    queues: frozenset[str] | None = None  # None: any name will do
    cap: int | None = None

    def base_of(self, key: str | None) -> Path:
        """The directory that a relative path in `key` counts from."""
        if self.file is None or key in self.from_environment:
            return Path.cwd()
        return self.file.parent


@dataclass(frozen=True)
class TcpAddress:
    """A host and port to listen on."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it; a host name other than localhost counts as reachable."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


@dataclass(frozen=True)
class UnixAddress:
    """A Unix socket to listen on."""

    path: Path

    def __str__(self) -> str:
        return f"unix:{self.path}"

    @property
    def is_loopback(self) -> bool:
        """Always: a Unix socket never leaves the machine."""
        return True


def around(info: ValidationInfo) -> ValidationContext:
    """What the validation runs in; without bounds for a section that is built by hand."""
    return info.context if isinstance(info.context, ValidationContext) else ValidationContext()


def shown(value: object) -> str:
    """A value as a message quotes it: on one line, and never long."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and not INT_MIN <= value <= INT_MAX:
        return "a number beyond 64 bits"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def size(value: object) -> int:
    """Bytes, from a number of them or from text such as "64K", "256M", "2GiB" (units of 1024)."""
    written = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if written is not None:
        value = int(written[1]) * _SIZE_UNITS[written[2].upper()]
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f'must be a size, in bytes or such as "64K" or "256M", not {shown(value)}')
    if not 0 < value <= INT_MAX:
        raise ValueError(f"must be a size from 1 byte to 2**63 - 1, not {shown(value)}")
    return value


def _size_or_none(value: object) -> int:
    if value == 0 and not isinstance(value, bool):
        return 0
    return size(value)


def delay(value: object) -> float:
    """Seconds, from a number of them or from text such as "500ms", "5m", "14d"; zero is allowed."""
    written = _TIME.fullmatch(value) if isinstance(value, str) else None
    if written is not None:
        value = float(written[1]) * _TIME_UNITS[written[2]]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f'must be a time, in seconds or such as "500ms", "5m" or "14d", not {shown(value)}')
    if not 0 <= value <= LONGEST_DURATION:
        raise ValueError(f'must be a time from 0 to a hundred years ("36500d"), not {shown(value)}')
    return float(value)


def duration(value: object) -> float:
    """As `delay`, but above zero."""
    seconds = delay(value)
    if seconds == 0:
        raise ValueError(f"must be a time above 0, not {shown(value)}")
    return seconds


def _rate(value: object) -> RateOfStarts:
    if isinstance(value, RateOfStarts):
        return value
    written = _RATE.fullmatch(value) if isinstance(value, str) else None
    if written is None:
        raise ValueError(f'must be a rate such as "100/1m" or "100/1m burst 20", not {shown(value)}')
    period = written[2] if written[2][:1].isdigit() else f"1{written[2]}"
    count, burst = int(written[1]), int(written[3] or 1)
    rate = RateOfStarts(count, duration(period), burst) if count else None
    if rate is None or not 1 <= burst <= count or count > rate.period * _MOST_STARTS:
        raise ValueError(
            f"must be a rate above 0 and of at most {_MOST_STARTS:,} a second, with a burst from 1 to the "
            f"number of starts, not {shown(value)}"
        )
    return rate


def _umask(value: object) -> int:
    """Text, for as a number 22 would be another than 0o22, and nobody could tell which was meant."""
    if not isinstance(value, str) or not _UMASK.fullmatch(value):
        raise ValueError(f'must be three octal digits in quotes, such as "022", not {shown(value)}')
    return int(value, 8)


def _cores(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"must be a number of cores such as 0.5 or 2, not {shown(value)}")
    if not 0 < value < math.inf:
        raise ValueError(f"must be a number of cores above 0, not {shown(value)}")
    return float(value)


def _network(value: object) -> str | None:
    """What attempts do without; None: nothing."""
    if value is None or value is True:
        return None
    if value is False:
        return NO_NETWORK
    if value != NO_TCP:
        raise ValueError(f'must be false, "{NO_TCP}" or true, not {shown(value)}')
    return NO_TCP


def _crashes(value: object) -> int:
    """After how many in a row a job is given up; 0: whatever it takes."""
    if value is False:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not _FEWEST <= value <= _MOST_CRASHES:
        raise ValueError(
            f"must be a whole number from {_FEWEST} to {_MOST_CRASHES}, or false, not {shown(value)}"
        )
    return value


_FEWEST, _MOST_CRASHES = 2, 100
"""One may be another's doing, whose start has ended the fork server of both."""


def _none_if_false(value: object) -> object:
    return None if value is False else value


def _place(value: object, info: ValidationInfo) -> Path:
    if isinstance(value, Path):
        value = str(value)
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"must be a path, not {shown(value)}")
    return around(info).base_of(info.field_name) / value


def _absolute_place(value: object, info: ValidationInfo) -> Path:
    place = _place(value, info)
    if not os.path.isabs(str(value)):
        raise ValueError(f"must be an absolute path, not {shown(value)}")
    return place


def _socket_place(value: object, info: ValidationInfo) -> Path:
    if isinstance(value, str):
        value = value.removeprefix("unix:")
        if value.startswith("@"):
            raise ValueError(f'must be "unix:PATH" or a path, and no abstract socket such as {shown(value)}')
    place = _place(value, info)
    length = len(os.fsencode(place))
    if length > LONGEST_SOCKET_PATH:
        limit = f"a socket's path may have {LONGEST_SOCKET_PATH} bytes"
        raise ValueError(f"is too long: {limit}, and {shown(os.fspath(place))} has {length}")
    return place


def database_address(value: object) -> str:
    """The address of a database of PostgreSQL. What is secret has no place in a file that many may read."""
    if not isinstance(value, str) or not value.startswith(("postgresql://", "postgres://")) or "\0" in value:
        raise ValueError(f'must be "postgresql://USER@HOST/DATABASE", not {shown(value)}')
    told = urlsplit(value)
    asked = {name for name, _ in parse_qsl(told.query)}
    if told.password is not None or not asked.isdisjoint(_SECRETS):
        raise ValueError("must have no password: put it into a file that PGPASSFILE names, or ~/.pgpass")
    return value


_SECRETS: Final = ("password", "sslpassword")


def _address(value: object, info: ValidationInfo) -> TcpAddress | UnixAddress:
    if isinstance(value, TcpAddress | UnixAddress):
        return value
    if isinstance(value, str) and value.startswith("unix:"):
        return UnixAddress(_socket_place(value, info))
    address = _try_tcp_address(value) if isinstance(value, str) else None
    if address is None:
        raise ValueError(f'must be "HOST:PORT", "[IPV6]:PORT" or "unix:PATH", not {shown(value)}')
    return address


def _try_tcp_address(text: str) -> TcpAddress | None:
    written = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})", text)
    if written is None or int(written[3]) > 65535:
        return None
    if written[1] is not None and not _is_ipv6(written[1]):
        return None
    return TcpAddress(written[1] or written[2], int(written[3]))


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _executable(value: str, info: ValidationInfo) -> str:
    return str(_place(value, info)) if "/" in value or not value else _text(value)


def _key(value: str) -> str:
    if len(value) not in KEY_LENGTHS:
        raise ValueError(f"must have {KEY_LENGTHS[0]} to {KEY_LENGTHS[-1]} characters, not {len(value)}")
    return value


def _labels(given: tuple[str, ...]) -> tuple[str, ...]:
    if not are_labels(list(given)):
        lengths = f"{LABEL_LENGTHS[0]} to {LABEL_LENGTHS[-1]}"
        raise ValueError(f"must be at most {MOST_LABELS} texts of {lengths} characters, without controls")
    return tuple(distinct(list(given)))


def _text(value: str) -> str:
    if not value or "\0" in value:
        raise ValueError(f"must be text that is not empty and has no NUL, not {shown(value)}")
    return value


def _class_path(value: str) -> str:
    parts = value.split(".")
    if len(parts) < 2 or not all(part.isidentifier() and not keyword.iskeyword(part) for part in parts):
        raise ValueError(
            'must be a class with its module, in quotes, such as "myapp.jobs.ExampleJob", or a module with its '
            f"package, not {shown(value)}"
        )
    return value


def _function_path(value: str) -> str:
    *module, name = value.split(".")
    if not module or not all(part.isidentifier() and not keyword.iskeyword(part) for part in (*module, name)):
        raise ValueError(f'must be a function with its module, such as "django.setup", not {shown(value)}')
    return value


def _public_name(value: str) -> str:
    if not value.isidentifier() or value.startswith("_"):
        raise ValueError(f"must be a method's name, without a leading underscore, not {shown(value)}")
    return value


def _not_empty(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("must name at least one, and is empty")
    return value


def _queue_name(value: str) -> str:
    if not _QUEUE.fullmatch(value):
        raise ValueError(
            "must be a queue's name (a letter, then at most 63 letters, digits, '_', '.' or '-'), "
            f"not {shown(value)}"
        )
    return value


def _host_name(value: str) -> str:
    if not value.isprintable() or not 0 < len(value) <= _LONGEST_HOST_NAME or set(value) & _NOT_OF_HOSTS:
        raise ValueError(
            f'must be a host\'s name, such as "web1", of at most {_LONGEST_HOST_NAME} characters and without '
            f"blanks, not {shown(value)}"
        )
    return value


_LONGEST_HOST_NAME: Final = 64
_NOT_OF_HOSTS: Final = frozenset(" /,")


def _view_name(value: str) -> str:
    if not value.isprintable() or not 0 < len(value.strip()) == len(value) <= _LONGEST_VIEW_NAME:
        raise ValueError(f"must be a name of 1 to {_LONGEST_VIEW_NAME} characters, not {shown(value)}")
    return value


def _view_address(value: str) -> str:
    if not _VIEW_ADDRESS.fullmatch(value):
        raise ValueError(f'must be an address of the page, such as "/jobs?status=failed", not {shown(value)}')
    return value


def _base_path(value: str) -> str:
    before, *parts = value.split("/")
    if before or len(value) > _LONGEST_BASE_PATH or not all(map(_PART_OF_PATH.fullmatch, parts)):
        example = f'"/jobs", of at most {_LONGEST_BASE_PATH} characters'
        rule = "letters, digits, -, ., _ and ~ between each /, and no / at its end, no . or .."
        raise ValueError(f"must be empty, or a path such as {example}: {rule}; not {shown(value)}")
    return value


_LONGEST_BASE_PATH: Final = 200
_PART_OF_PATH: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._~-]+")
_LONGEST_VIEW_NAME: Final = 64
_VIEW_ADDRESS: Final = re.compile(r"/(?![/\\])[!-\[\]-~]{0,2000}")


def _role_name(value: str) -> str:
    if not value.isprintable() or not 0 < len(value.encode()) <= _LONGEST_ROLE_NAME:
        raise ValueError(f"must be the name of a role of PostgreSQL, not {shown(value)}")
    return value


_LONGEST_ROLE_NAME: Final = 63


def _schedule_name(value: str) -> str:
    if not _QUEUE.fullmatch(value):
        raise ValueError(
            "must be a schedule's name (a letter, then at most 63 letters, digits, '_', '.' or '-'), "
            f"not {shown(value)}"
        )
    return value


def _job_path(value: str) -> str:
    class_name, separator, method_name = value.partition("::")
    if not separator:
        raise ValueError(
            f'must be a class and its method, such as "myapp.jobs.Report::build", not {shown(value)}'
        )
    return f"{_class_path(class_name)}::{_public_name(method_name)}"


def _json_object(value: dict[str, object]) -> dict[str, object]:
    try:
        to_json(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"must be what JSON can hold: {error}") from None
    return value


def _interval(value: object) -> float:
    seconds = delay(value)
    if seconds < 1:
        raise ValueError(f"must be at least 1 s, not {shown(value)}")
    return seconds


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError
        pass
    except KeyError:
        if not available_timezones():
            raise ValueError("cannot be looked up: this machine has no zones; install tzdata") from None
    else:
        return value
    raise ValueError(f'must be a time zone such as "Europe/Berlin", not {shown(value)}')


def _instant(value: object) -> float:
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        at = None
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise ValueError(
            f"must be a date and time with its offset, such as 2026-01-05T06:00:00Z, not {shown(value)}"
        )
    try:
        return at.astimezone(UTC).timestamp()
    except OverflowError:
        raise ValueError(f"must be of the years 1 to 9999 in UTC, not {shown(value)}") from None


def _written_instant(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def _account(value: str) -> str:
    if not _ACCOUNT.fullmatch(value) or not value.isprintable():
        raise ValueError(f'must be a name or a number in quotes, such as "www-data", not {shown(value)}')
    return value


def _member(value: str) -> str:
    if not _ACCOUNT.fullmatch(value.removeprefix("@")) or not value.isprintable():
        raise ValueError(f'must be a user such as "alice" or a group such as "@ops", not {shown(value)}')
    return value


def _variable_name(value: str) -> str:
    if not value or "=" in value or "\0" in value:
        raise ValueError(f'must be the name of a variable, without "=" and NUL, not {shown(value)}')
    return value


def _variable_value(value: str) -> str:
    if "\0" in value:
        raise ValueError("must be text without NUL")  # the value stays unquoted: it may be a secret
    return value


def _retriable(value: object) -> Outcome:
    for outcome in RETRIABLE:
        if outcome == value:
            return outcome
    raise ValueError(f"must be one of {', '.join(sorted(RETRIABLE))}, not {shown(value)}")


Count = Annotated[StrictInt, Field(ge=1, le=INT_MAX)]
Whole = Annotated[StrictInt, Field(ge=0, le=INT_MAX)]
Size = Annotated[int, BeforeValidator(size)]
SizeOrNone = Annotated[int, BeforeValidator(_size_or_none)]
Delay = Annotated[float, BeforeValidator(delay)]
Duration = Annotated[float, BeforeValidator(duration)]
Cores = Annotated[float, BeforeValidator(_cores)]
Rate = Annotated[RateOfStarts, PlainValidator(_rate), PlainSerializer(str, when_used="json")]
Crashes = Annotated[int, BeforeValidator(_crashes)]
Umask = Annotated[int, BeforeValidator(_umask)]
Network = Annotated[str | None, BeforeValidator(_network)]
FalseIsNone = BeforeValidator(_none_if_false)  # TOML has no null

Place = Annotated[Path, BeforeValidator(_place)]
AbsolutePlace = Annotated[Path, BeforeValidator(_absolute_place)]
SocketPlace = Annotated[Path, BeforeValidator(_socket_place)]
Database = Annotated[str, BeforeValidator(database_address)]
Address = Annotated[TcpAddress | UnixAddress, PlainValidator(_address)]
Executable = Annotated[str, AfterValidator(_executable)]

Text = Annotated[str, AfterValidator(_text)]
Key = Annotated[str, AfterValidator(_key)]
Labels = Annotated[tuple[str, ...], AfterValidator(_labels)]
ClassPath = Annotated[str, AfterValidator(_class_path)]
FunctionPath = Annotated[str, AfterValidator(_function_path)]
MethodName = Annotated[str, AfterValidator(_public_name)]
NotEmpty = AfterValidator(_not_empty)
QueueName = Annotated[str, AfterValidator(_queue_name)]
HostName = Annotated[str, AfterValidator(_host_name)]
ScheduleName = Annotated[str, AfterValidator(_schedule_name)]
JobPath = Annotated[str, AfterValidator(_job_path)]
JsonObject = Annotated[dict[str, object], AfterValidator(_json_object)]
CronExpression = Annotated[str, AfterValidator(fields_of)]
Zone = Annotated[str, AfterValidator(_zone)]
Interval = Annotated[float, BeforeValidator(_interval)]
Instant = Annotated[float, BeforeValidator(_instant), PlainSerializer(_written_instant, when_used="json")]
Account = Annotated[str, AfterValidator(_account)]
Member = Annotated[str, AfterValidator(_member)]
RoleName = Annotated[str, AfterValidator(_role_name)]
ViewName = Annotated[str, AfterValidator(_view_name)]
ViewAddress = Annotated[str, AfterValidator(_view_address)]
BasePath = Annotated[str, AfterValidator(_base_path)]
VariableName = Annotated[str, AfterValidator(_variable_name)]
VariableValue = Annotated[str, AfterValidator(_variable_value)]
RetriableOutcome = Annotated[Outcome, BeforeValidator(_retriable)]

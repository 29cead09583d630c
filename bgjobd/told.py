"""What `bgjobd status` reads of answers, as shapes, for whoever answers at the socket may be no daemon; no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from bgjob.commands import text
from bgjob.errors import ProtocolError
from bgjob.words import INT_MAX

_T = TypeVar("_T")


def _moment(told: str) -> str:
    text.instant(told)
    return told


_Count = Annotated[int, Field(ge=0, le=INT_MAX)]
_Moment = Annotated[str, AfterValidator(_moment)]


class _Shape(BaseModel):
    """Later daemons tell more."""

    model_config = ConfigDict(strict=True)


class _Queue(_Shape):
    name: str
    pending: _Count
    running: _Count
    paused: bool


class _Minute(_Shape):
    completed: _Count
    failed: _Count


class _Stats(_Shape):
    version: str
    pid: _Count
    started_at: _Moment
    code_version: str | None
    python: str | None
    loaded_at: _Moment | None
    slots: _Count
    storage_trouble: str | None
    database_bytes: _Count
    minutes: list[_Minute]
    oldest_pending: _Moment | None
    queues: list[_Queue]


class _Class(_Shape):
    name: str
    unavailable: str | None


_STATS: Final = TypeAdapter(_Stats)
_CLASSES: Final = TypeAdapter(list[_Class])


def check_stats(stats: Mapping[str, Any]) -> None:
    """Raises ProtocolError where these are no figures of a daemon."""
    _check(_STATS, stats)


def unavailable_of(classes: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The classes that cannot be used, with the reason. Raises ProtocolError where these are no classes."""
    checked = _check(_CLASSES, list(classes))
    return {one.name: one.unavailable for one in checked if one.unavailable is not None}


def _check(shape: TypeAdapter[_T], told: object) -> _T:
    try:
        return shape.validate_python(told)
    except ValidationError as error:
        where = ".".join(str(step) for step in error.errors(include_url=False)[0]["loc"])
        raise ProtocolError(
            f"the daemon's answer has no valid {where!r}; is it a bgjobd of this version?"
        ) from None

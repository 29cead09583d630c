"""What can be sent: a request as bytes, or where and why it cannot be one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bgjob import codec, values
from bgjob.codec import Request
from bgjob.errors import InvalidParametersError, ProtocolError, TooLargeError
from bgjob.words import MAX_DEPTH, MAX_FRAME


def frame_of(request: Request) -> bytes:
    """The request as bytes. Raises TypeError for a value of a type that JSON has no form for, InvalidParametersError
    for one that it cannot hold.
    """
    try:
        return request.to_bytes()
    except (TypeError, ValueError, RecursionError):
        # Here: what has JSON's own types alone pays nothing for it.
        parameters = values.plain(request.parameters)
    try:
        return request._replace(parameters=parameters).to_bytes()
    except (TypeError, ValueError, RecursionError) as error:
        path, reason = _try_unsendable(parameters) or ("", str(error))
        raise _unsendable(path, reason) from None


def check_frame(request: Request) -> None:
    """Raises the reason why a daemon hangs up on such a request instead of answering it, if there is one."""
    frame = frame_of(request)[:-1]
    if len(frame) > MAX_FRAME:
        raise TooLargeError(limit=MAX_FRAME, size=len(frame))
    try:
        codec.parse_request(frame)
    except ProtocolError as error:
        raise _unsendable("", str(error)) from None
    except codec.IntegerOutOfRangeError:
        return  # that is answered


def _unsendable(path: str, reason: str) -> InvalidParametersError:
    return InvalidParametersError(problems=[{"path": path.removeprefix("parameters."), "message": reason}])


def _try_unsendable(value: Any, path: str = "", depth: int = 0) -> tuple[str, str] | None:
    """Where, and why, a value cannot be sent; None if it can."""
    if depth > MAX_DEPTH:
        return path, values.TOO_DEEP
    inner = _items(value)
    if inner is None:
        return _try_unsendable_leaf(value, path)
    parts = ((f"{path}.{name}" if path else str(name), part) for name, part in inner)
    return next(filter(None, (_try_unsendable(part, place, depth + 1) for place, part in parts)), None)


def _items(value: Any) -> Iterable[tuple[Any, Any]] | None:
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, list | tuple) else None


def _try_unsendable_leaf(value: Any, path: str) -> tuple[str, str] | None:
    try:
        codec.to_json(value).encode()
    except (TypeError, ValueError) as error:
        return path, str(error)
    return None

"""What of a draft can be seen to be wrong where it is written, before anybody is asked; no I/O here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bgjob import predecessors, request_values, submitting_calls
from bgjob.errors import InvalidParameterError, InvalidParametersError
from bgjob.predecessors import ResultOf
from bgjob.submission_rules import check_names, check_shape
from bgjob.values import TOO_DEEP
from bgjob.words import KEY_LENGTHS, MAX_DEPTH, IfHeld

if TYPE_CHECKING:
    from bgjob.submitting_calls import Options
    from bgjob.typed import TypedCall


def checked_name(name: str | None) -> str | None:
    """The same. Raises TypeError, ValueError."""
    _check_text("the name of a job", name, range(1, 65))
    if name is not None and name.startswith("#"):
        raise ValueError(f"the name of a job begins with no #, unlike {name!r}")
    return name


def check_group(name: str | None, idempotency_key: str | None, is_open: bool) -> None:
    """Raises TypeError, ValueError."""
    _check_text("the name of a group", name, range(256))
    _check_text("the idempotency key of a group", idempotency_key, KEY_LENGTHS)
    if not isinstance(is_open, bool):
        raise TypeError(f"a group is open or is not, which {is_open!r} does not say")


def _check_text(what: str, text: Any, lengths: range) -> None:
    if text is None:
        return
    if not isinstance(text, str):
        raise TypeError(f"{what} is a text, not {text!r}")
    if len(text) not in lengths:
        raise ValueError(f"{what} has {lengths[0]} to {lengths[-1]} characters, unlike {text!r}")
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError(f"{what} holds no NUL and no lone surrogate, unlike {text!r}")


def checked_options(call: TypedCall, retry_count: int, options: Options) -> Options:
    """The options, `after` as a tuple. Raises the error that a daemon would answer, TypeError, ValueError."""
    checked: Options = {**options}
    own = {name: request_values.plain_time(value) for name, value in options.items() if value is not None}
    unknown = next((name for name in own if name not in submitting_calls.Options.__annotations__), None)
    if unknown is not None:
        raise InvalidParameterError(parameter=f"options.{unknown}")
    if (after := own.pop("after", None)) is not None:
        checked["after"] = after = predecessors.checked(after)
    if (group := own.pop("group", None)) is not None:
        predecessors.check_group(group)
    names = {"class_name": call.class_name, "method_name": call.method_name}
    check_shape({**names, "retry_count": retry_count, "options": own})
    check_names(call.class_name, call.method_name)
    _check_beside(own, bool(after))
    return checked


def _check_beside(own: dict[str, Any], comes_after: bool) -> None:
    """Raises InvalidParameterError for options that mean nothing beside others, whatever the class says."""
    if "delay" in own and ("at" in own or comes_after):
        raise InvalidParameterError(parameter="options.delay")
    if "expires_in" in own and "expires_at" in own:
        raise InvalidParameterError(parameter="options.expires_in")
    if "at_latest" in own and own.get("if_held") != IfHeld.REPLACE:
        raise InvalidParameterError(parameter="options.at_latest")


def check_parameters(parameters: Any) -> None:
    """Raises TypeError for a result in any other place than as the value of a parameter, InvalidParametersError for
    what is nested too deeply, such as a list in itself.
    """
    given, _taken = predecessors.split(parameters)
    level = [given]
    for _ in range(MAX_DEPTH):
        found = next((one for one in level if isinstance(one, ResultOf)), None)
        if found is not None:
            raise TypeError(f"{found!r} is the value of a parameter, and no part of one")
        once = {id(one): one for one in level if isinstance(one, _INNER)}.values()
        level = [part for one in once for part in (one.values() if isinstance(one, dict) else one)]
        if not level:
            return
    raise InvalidParametersError(problems=[{"path": "", "message": TOO_DEEP}])


_INNER: Final = (dict, list, tuple, set, frozenset)

"""What a request says of its unique key, or its class does in its stead: checked, and the key made; no I/O."""

from __future__ import annotations

from bgjob.codec import JsonObject
from bgjob.errors import InvalidParameterError
from bgjob.words import IfHeld, UniqueWhile
from bgjobd.api.schemas import Options
from bgjobd.config.policy import Policy
from bgjobd.core.unique import Unique


def unique_of(options: Options, policy: Policy, parameters: JsonObject) -> Unique | None:
    """None for a job without a key. Raises InvalidParameterError for what means nothing without one."""
    key = options.unique_key or policy.unique_key(parameters)
    if key is None:
        for name in ("unique_while", "unique_for", "if_held", "at_latest"):
            if getattr(options, name) is not None:
                raise InvalidParameterError(parameter=f"options.{name}")
        return None
    if options.at_latest is not None and options.if_held != "replace":
        raise InvalidParameterError(parameter="options.at_latest")
    return Unique(
        key,
        UniqueWhile(options.unique_while or UniqueWhile.UNFINISHED),
        options.unique_for,
        IfHeld(options.if_held or IfHeld.RETURN),
        options.at_latest,
    )

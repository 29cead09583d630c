"""The terms of a job: what whoever submits it asks for, request or schedule, and what its class says of the rest."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple, TypedDict, Unpack

from bgjob.codec import JsonObject
from bgjob.errors import InvalidParameterError, InvalidParametersError
from bgjob.words import KEY_LENGTHS
from bgjobd.config.policy import AboveCapError, Policy, Terms
from bgjobd.config.sections import Config
from bgjobd.core.unique import derived


class Others(NamedTuple):
    """What other hosts that work from the same database have, which a job may ask for."""

    queues: Collection[str] = ()
    hosts: Collection[str] = ()


NOBODY: Final = Others()


class Asked(TypedDict):
    """What may be asked for; None leaves it to the class."""

    queue: str | None
    priority: int | None
    timeout: float | None
    max_retries: int | None
    retry_delay: float | None
    backoff: str | None


def terms_of(config: Config, policy: Policy, others: Others = NOBODY, **asked: Unpack[Asked]) -> Terms:
    """What holds for a job of the class with this policy. Raises InvalidParameterError."""
    try:
        terms = policy.terms(cap=config.retry.cap, **asked)
    except AboveCapError:
        raise InvalidParameterError(parameter="options.max_retries") from None
    if terms.queue not in config.queues and terms.queue not in others.queues:
        raise InvalidParameterError(parameter="options.queue")
    return terms


def key_of(policy: Policy, parameters: JsonObject, sensitive: Collection[str]) -> str | None:
    """The key that a parameter holds of a job whose caller gives none; a digest of what nobody is shown.

    Raises InvalidParametersError where that is no text, of a length that keys have, and no integer.
    """
    name = policy.key
    if name is None or parameters.get(name) is None:
        return None
    value = parameters[name]
    if type(value) not in (str, int) or len(str(value)) not in KEY_LENGTHS:
        message = (
            f"is the key of the job, and has to be an integer, or text of 1 to {KEY_LENGTHS[-1]} characters"
        )
        raise InvalidParametersError(problems=[{"path": name, "message": message}])
    return derived([value]) if name in sensitive else str(value)

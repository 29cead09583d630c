"""The terms of a job: what whoever submits it asks for, request or schedule, and what its class says of the rest."""

from __future__ import annotations

from typing import TypedDict, Unpack

from bgjob.errors import InvalidParameterError
from bgjobd.config.policy import AboveCapError, Policy, Terms
from bgjobd.config.sections import Config


class Asked(TypedDict):
    """What may be asked for; None leaves it to the class."""

    queue: str | None
    priority: int | None
    timeout: float | None
    max_retries: int | None
    retry_delay: float | None
    backoff: str | None


def terms_of(config: Config, policy: Policy, **asked: Unpack[Asked]) -> Terms:
    """What holds for a job of the class with this policy. Raises InvalidParameterError."""
    try:
        terms = policy.terms(cap=config.retry.cap, **asked)
    except AboveCapError:
        raise InvalidParameterError(parameter="options.max_retries") from None
    if terms.queue not in config.queues:
        raise InvalidParameterError(parameter="options.queue")
    return terms

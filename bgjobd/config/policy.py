"""What holds for a class's jobs where the caller says nothing else: config before class attributes before defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import ValidationError

from bgjob.words import Backoff, Outcome, Unknown
from bgjobd.config.approved import ClassPolicy
from bgjobd.config.problems import fault_message
from bgjobd.config.sections import Config
from bgjobd.config.values import ValidationContext
from bgjobd.core.attempt_life import EndTerms
from bgjobd.core.job import RetryPolicy
from bgjobd.core.rates import Rate
from bgjobd.core.unique import derived
from bgjobd.core.verdict import NO_CAPS, Caps
from bgjobd.forkserver.class_rules import ATTRIBUTES


class InvalidAttributeError(Exception):
    """A class attribute that says how to retry holds a value that it cannot have."""


class AboveCapError(Exception):
    """A caller asks for more retries than anybody may."""


class Terms(NamedTuple):
    """What holds for one job: what its caller said, before its class's policy."""

    retry: RetryPolicy
    queue: str
    priority: int
    timeout: float | None


@dataclass(frozen=True, slots=True)
class Policy:
    """One class's: delays and limits in seconds, `max_output` and `work_limit` in bytes; `slots` is None where it has
    no own limit, `slots_everywhere` where all hosts together have none.

    `retry_on` is None where every bad outcome may be retried. `throttle`: its jobs may keep others from starting.
    `unknown` is what becomes of a job of which nobody knows what it did. After so many `crashes` in a row a job is
    given up; None: they count for nothing.
    """

    retry: RetryPolicy
    queue: str
    priority: int
    slots: int | None
    slots_everywhere: int | None
    timeout: float | None
    max_output: int | None
    work_limit: int | None
    stop_grace: float
    retry_lost: bool
    crashes: int | None
    retry_on: frozenset[Outcome] | None
    sensitive: frozenset[str]
    unique: tuple[str, ...] = ()
    key: str | None = None
    rate: Rate | None = None
    throttle: bool = True
    caps: Caps = NO_CAPS
    unknown: Unknown = Unknown.FAILED

    def unique_key(self, parameters: Mapping[str, Any]) -> str | None:
        """The key of a job whose caller gives none; None for one that has none of the parameters."""
        if not any(name in parameters for name in self.unique):
            return None
        return derived([parameters.get(name) for name in self.unique])

    def terms(
        self,
        *,
        cap: int,
        queue: str | None = None,
        priority: int | None = None,
        timeout: float | None = None,
        max_retries: int | None = None,
        retry_delay: float | None = None,
        backoff: str | None = None,
    ) -> Terms:
        """What holds for a job whose caller says this. Raises AboveCapError."""
        if max_retries is not None and max_retries > cap:
            raise AboveCapError(f"{max_retries} retries, and {cap} are the most that anybody may ask for")
        own = self.retry
        if max_retries is not None or retry_delay is not None or backoff is not None:
            own = RetryPolicy(
                max_retries=first(max_retries, own.max_retries),
                retry_delay=first(retry_delay, own.retry_delay),
                backoff=Backoff(first(backoff, own.backoff)),
                max_retry_delay=own.max_retry_delay,
            )
        return Terms(
            retry=own,
            queue=first(queue, self.queue),
            priority=first(priority, self.priority),
            timeout=first(timeout, self.timeout),
        )

    def end_terms(self, timeout: float | None = None, has_key: bool = True) -> EndTerms:
        """What this says of the end of an attempt whose job has that timeout in seconds, and a key or none."""
        return EndTerms(
            timeout=timeout,
            caps=self.caps,
            retry_lost=self.retry_lost,
            retry_on=self.retry_on,
            reviews=self.unknown is Unknown.REVIEW,
            crashes=self.crashes,
            may_throttle=self.throttle,
            has_key=has_key,
        )


def policy_of(config: Config, class_name: str, attributes: Mapping[str, Any] | None = None) -> Policy:
    """The policy of a class, approved or not any more. Raises InvalidAttributeError."""
    own = config.approved.get(class_name, ClassPolicy())
    said = _from_attributes(attributes or {}, config.retry.cap)
    retry, limits = config.retry, config.limits
    return Policy(
        retry=RetryPolicy(
            max_retries=first(own.max_retries, said.max_retries, retry.max_retries),
            retry_delay=first(own.retry_delay, said.retry_delay, retry.retry_delay),
            backoff=Backoff(first(own.backoff, said.backoff, retry.backoff)),
            max_retry_delay=first(own.max_retry_delay, said.max_retry_delay, retry.max_retry_delay),
        ),
        queue=first(own.queue, "default"),
        priority=first(own.priority, 0),
        slots=own.slots,
        slots_everywhere=own.slots_everywhere,
        timeout=first(own.timeout, limits.timeout),
        max_output=first(own.max_output, limits.max_output),
        work_limit=first(own.work_limit, limits.work_limit),
        stop_grace=first(own.stop_grace, limits.stop_grace),
        caps=Caps(
            memory=first(own.memory, limits.memory),
            cpu=first(own.cpu, limits.cpu),
            file_size=first(own.file_size, limits.file_size),
        ),
        retry_lost=first(own.retry_lost, True),
        crashes=first(own.crashes, retry.crashes) or None,
        retry_on=None if own.retry_on is None else frozenset(own.retry_on),
        sensitive=frozenset(own.sensitive or ()),
        unique=own.unique or (),
        key=own.key,
        rate=own.rate,
        throttle=first(own.throttle, True),
        unknown=first(own.unknown, Unknown.FAILED),
    )


def first(*values: Any) -> Any:
    """The first that was set; None where none was."""
    for value in values:
        if value is not None:
            return value
    return None


def _from_attributes(attributes: Mapping[str, Any], cap: int) -> ClassPolicy:
    values = {name.lower(): attributes[name] for name in ATTRIBUTES if name in attributes}
    try:
        return ClassPolicy.model_validate(values, context=ValidationContext(cap=cap))
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise InvalidAttributeError(
            f"its attribute {str(fault['loc'][0]).upper()} {fault_message(fault, fault['loc'])}"
        ) from None

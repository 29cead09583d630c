"""What a schedule's definition asks for by the code that is there, and how it is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from bgjob.codec import to_json
from bgjob.errors import InvalidParameterError, RequestError, TooLargeError
from bgjobd.config.problems import dotted
from bgjobd.config.schedules import Schedule
from bgjobd.config.sections import Config
from bgjobd.core.facts import Submitted
from bgjobd.core.job import Call
from bgjobd.core.schedules import spans_of
from bgjobd.core.unique import Unique
from bgjobd.daemon.catalogue import Catalogue
from bgjobd.daemon.terms import NOBODY, Others, key_of, terms_of
from bgjobd.host.pacing import Pace
from bgjobd.store.committed import StoredSchedule
from bgjobd.store.items import ScheduleDefined


def job_of(config: Config, catalogue: Catalogue, schedule: Schedule, others: Others = NOBODY) -> Submitted:
    """What each occurrence of the schedule asks for. Raises the refusals of a submit."""
    if schedule.host not in (None, config.hosts.name, *others.hosts):
        raise InvalidParameterError(parameter="options.host")
    class_name, _, method_name = schedule.job.partition("::")
    catalogue.check(class_name, method_name, schedule.parameters)
    text = to_json(schedule.parameters)
    if len(text.encode()) > config.socket.max_parameters:
        raise TooLargeError(limit=config.socket.max_parameters, size=len(text.encode()))
    sensitive = catalogue.sensitive(class_name, method_name, schedule.parameters)
    policy = catalogue.policies[class_name]
    key = schedule.unique_key or policy.unique_key(schedule.parameters)
    terms = terms_of(
        config,
        policy,
        others,
        queue=schedule.queue,
        priority=schedule.priority,
        timeout=schedule.timeout,
        max_retries=schedule.max_retries,
        retry_delay=schedule.retry_delay,
        backoff=schedule.backoff,
    )
    return Submitted(
        id=0,  # the ledger gives it
        call=Call(class_name, method_name, text, sensitive),
        retry_count=0,
        policy=terms.retry,
        queue=terms.queue,
        priority=terms.priority,
        timeout=terms.timeout,
        unique=None if key is None else Unique(key),
        expires_in=schedule.expires_in,
        key=schedule.key or key_of(policy, schedule.parameters, sensitive),
        host=None if config.host is None else schedule.host,
        labels=schedule.labels,
    )


def refusals(config: Config, catalogue: Catalogue, others: Others = NOBODY) -> dict[str, str]:
    """The schedules whose jobs are refused, with the reason."""
    reasons: dict[str, str] = {}
    for name, schedule in config.schedules.items():
        try:
            job_of(config, catalogue, schedule, others)
        except RequestError as refusal:
            reasons[name] = str(refusal)
    return reasons


def newly_refused(
    config: Config,
    catalogue: Catalogue,
    config_before: Config,
    catalogue_before: Catalogue,
    others: Others = NOBODY,
) -> dict[str, str]:
    """Those of them whose jobs were not refused before, or that are new."""
    found = refusals(config, catalogue, others)
    before = refusals(config_before, catalogue_before, others) if found else {}
    return {name: reason for name, reason in found.items() if name not in before}


@dataclass(frozen=True, slots=True)
class Before:
    """What a schedule meant until now, and how far it was dealt with."""

    meant: Schedule
    cursor: float
    known: frozenset[float]


def defined_as(name: str, schedule: Schedule, before: Before | None, now: float) -> ScheduleDefined:
    """What is to be stored of a schedule; where its times are others than before, with what was due by those."""
    text = definition_of(schedule)
    if before is None:
        return ScheduleDefined(name, text, is_new=True)
    if times_of(before.meant) == times_of(schedule):
        return ScheduleDefined(name, text)
    spans = spans_of(before.meant.calendar, before.cursor, now, before.known)
    changed = tuple([span for span in spans if span is not None])
    return ScheduleDefined(name, text, is_new=True, changed=changed, since=now)


async def all_defined(
    schedules: Mapping[str, Schedule], stored: Iterable[StoredSchedule], now: Callable[[], float]
) -> tuple[list[ScheduleDefined], dict[str, Meaningless]]:
    """The same of all that are configured, and those of which what was stored means nothing any more."""
    before = {one.name: one for one in stored}
    pace, defined, meaningless = Pace(), [], {}
    for name, schedule in schedules.items():
        meant = meaning_of(before[name].definition) if name in before else None
        if isinstance(meant, Meaningless):
            meaningless[name] = meant
        was = Before(meant, before[name].cursor, before[name].known) if isinstance(meant, Schedule) else None
        defined.append(defined_as(name, schedule, was, now()))
        if pace.is_over:
            await pace.rest()
    return defined, meaningless


def definition_of(schedule: Schedule) -> str:
    """What was configured, as JSON text."""
    return to_json(schedule.model_dump(mode="json", exclude_unset=True))


@dataclass(frozen=True, slots=True)
class Meaningless:
    """What was stored means nothing any more, as of a zone that is gone, and `why`."""

    why: str


def meaning_of(definition: str) -> Schedule | Meaningless:
    """What was stored."""
    try:
        return Schedule.model_validate_json(definition)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]  # it may have secrets
    why = fault.get("ctx", {}).get("error", fault["msg"])
    return Meaningless(f"{dotted(fault['loc'])} {why}".lstrip())


def try_schedule(definition: str) -> Schedule | None:
    """What was stored; None where it means nothing any more."""
    meant = meaning_of(definition)
    return meant if isinstance(meant, Schedule) else None


def times_of(schedule: Schedule) -> tuple[Any, ...]:
    """What its occurrences follow from."""
    return schedule.cron, schedule.every, schedule.starting, schedule.zone

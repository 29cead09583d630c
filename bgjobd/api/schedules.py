"""The methods of org.bgjobd.Jobs about schedules: how they stand, what became of them, what is asked of one."""

from __future__ import annotations

import json
import pwd
import re
from itertools import islice
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from bgjob.codec import JsonObject, to_json
from bgjob.errors import (
    InvalidNameError,
    InvalidParameterError,
    InvalidParametersError,
    PermissionDeniedError,
    ScheduleNotFoundError,
)
from bgjobd.api import schemas
from bgjobd.api.dispatch import Encoded
from bgjobd.api.peer import Caller
from bgjobd.api.submissions import checked_text, checked_value, stored_instant, submitter, try_instant
from bgjobd.api.who_asked import say_who, who
from bgjobd.config.problems import dotted, fault_message
from bgjobd.config.schedules import Schedule
from bgjobd.config.values import ValidationContext
from bgjobd.core.masking import masked
from bgjobd.core.schedules import Calendar
from bgjobd.host.clock import to_text
from bgjobd.host.pacing import Pace
from bgjobd.store.occurrences import ScheduleStanding

if TYPE_CHECKING:
    from bgjobd.daemon.loop import Daemon

_NEXT: Final = 3
_TOGETHER: Final = 10_000
"""About how many occurrences are told at once, of all schedules; some microseconds each."""

_MOST: Final = 1000
"""Schedules of one answer."""

_PAGE: Final = 50


async def schedules(daemon: Daemon, given: schemas.Schedules, caller: Caller) -> Encoded:
    every = _wanted(daemon, given)
    wanted = every[: given.limit or _MOST]
    count = count_of_each(given.next, len(wanted))
    async with caller.turn:
        standings = await daemon.readers.read(lambda reader: reader.schedules.standings(given.name))
        shown, pace, now = [], Pace(), daemon.clock.now()
        for name, schedule in wanted:
            told = _shown(daemon, name, schedule, standings.get(name, ScheduleStanding()))
            told["next"] = []
            for at in islice(schedule.calendar.after(now), count):
                told["next"].append(coming(schedule.calendar, at))
                if pace.is_over:
                    await pace.rest()
            shown.append(to_json(told))
            if pace.is_over:
                await pace.rest()
    following_name = wanted[-1][0] if len(wanted) < len(every) else None
    return Encoded(f'{{"schedules":[{",".join(shown)}],"next":{to_json(following_name)}}}'.encode())


def _wanted(daemon: Daemon, given: schemas.Schedules) -> list[tuple[str, Schedule]]:
    """Those that are configured or were put, by name, or the one that is asked for. Raises ScheduleNotFoundError."""
    put = {name: kept.definition for name, kept in daemon.schedules.kept.items() if kept.uid is not None}
    every = {**daemon.config.schedules, **put}
    if given.name is None:
        return [(name, every[name]) for name in sorted(every) if given.after is None or name > given.after]
    if given.name not in every:
        raise ScheduleNotFoundError(name=given.name)
    return [(given.name, every[given.name])]


def count_of_each(asked: int | None, schedules: int) -> int:
    """How many occurrences of each of so many schedules are told."""
    return min(_NEXT if asked is None else asked, max(_NEXT, _TOGETHER // max(1, schedules)))


def coming(calendar: Calendar, at: float) -> JsonObject:
    """An occurrence that is to come: in UTC, as its zone's clocks show it, and what is special about it."""
    return {"at": to_text(at), "local": calendar.local(at), "note": calendar.note(at)}


def _shown(daemon: Daemon, name: str, schedule: Schedule, standing: ScheduleStanding) -> JsonObject:
    class_name, _, method_name = schedule.job.partition("::")
    secrets = daemon.current_catalogue.secrets(class_name, method_name, schedule.parameters)
    kept = daemon.schedules.kept.get(name)
    return {
        "name": name,
        **schedule.told,
        "parameters": masked(schedule.parameters, secrets),
        "jitter": schedule.jitter,
        "paused_at": standing.paused_at,
        "last": standing.last,
        "refused": daemon.schedules.refused(name),
        "uid": None if kept is None else kept.uid,
        "made_by": None if kept is None else kept.made_by,
    }


async def occurrences(daemon: Daemon, given: schemas.Occurrences, caller: Caller) -> JsonObject:
    before = stored_instant(given.before, "before")
    async with caller.turn:
        page = await daemon.readers.read(
            lambda reader: reader.schedules.occurrences(given.name, before, given.limit or _PAGE)
        )
    if page is not None:
        return {"occurrences": page.rows, "next": page.next}
    if given.name not in daemon.config.schedules and given.name not in daemon.schedules.kept:
        raise ScheduleNotFoundError(name=given.name)
    return {"occurrences": [], "next": None}


async def run_schedule(daemon: Daemon, given: schemas.ScheduleName, caller: Caller) -> JsonObject:
    job_id = await daemon.schedule_requests.run(given.name, submitter(caller))
    say_who(daemon, f"run of schedule {given.name} (job {job_id})", caller)
    return {"id": job_id}


async def pause_schedule(daemon: Daemon, given: schemas.ScheduleName, caller: Caller) -> JsonObject:
    await daemon.schedule_requests.pause(given.name, who(daemon, caller))
    say_who(daemon, f"pause of schedule {given.name}", caller)
    return {}


async def resume_schedule(daemon: Daemon, given: schemas.ScheduleName, caller: Caller) -> JsonObject:
    await daemon.schedule_requests.resume(given.name, who(daemon, caller))
    say_who(daemon, f"resume of schedule {given.name}", caller)
    return {}


async def backfill(daemon: Daemon, given: schemas.Backfill, caller: Caller) -> JsonObject:
    first, last = _instant(given.since, "since"), _instant(given.until, "until")
    ids: list[int] = []
    try:
        async with caller.turn:
            count = await daemon.schedule_requests.backfill(
                given.name,
                first,
                last,
                given.spread or 0.0,
                submitter(caller),
                None if given.check_only else ids,
            )
    finally:  # those that were made before a refusal stay
        if ids:
            what = f"backfill of schedule {given.name} from {given.since} to {given.until} ({len(ids)} jobs)"
            say_who(daemon, what, caller)
    return {"count": count, "ids": ids}


def _instant(text: str, parameter: str) -> float:
    """Seconds since the epoch. Raises InvalidParameterError."""
    at = try_instant(text)
    if at is None:
        raise InvalidParameterError(parameter=parameter)
    return at


async def put_schedule(daemon: Daemon, given: schemas.PutSchedule, caller: Caller) -> JsonObject:
    if not _may_be_put(given.name):
        raise InvalidNameError(field="name", value=given.name[:_LONGEST_NAME])
    definition = _definition(daemon, await _own(daemon, given.definition))
    reason = daemon.schedules.why_no_submit(caller.uid)
    if reason is not None:
        raise PermissionDeniedError(reason=reason)
    async with caller.turn:
        created = await daemon.schedule_requests.put(
            given.name, definition, caller.uid, _name_of(caller.uid), who(daemon, caller)
        )
    say_who(daemon, f"schedule {given.name} ({'new' if created else 'changed'})", caller)
    return {"created": created}


async def delete_schedule(daemon: Daemon, given: schemas.ScheduleName, caller: Caller) -> JsonObject:
    await daemon.schedule_requests.delete(given.name, who(daemon, caller))
    say_who(daemon, f"deletion of schedule {given.name}", caller)
    return {}


_LONGEST_NAME: Final = 128
_PART: Final = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)


def _may_be_put(name: str) -> bool:
    """Whether it has a slash, so that it is never one of the configuration's, and looks like those beside that."""
    parts = name.split("/")
    is_named = len(parts) > 1 and len(name) <= _LONGEST_NAME and name[0].isalpha()
    return is_named and all(_PART.fullmatch(part) for part in parts)


_LONGEST_DEFINITION: Final = 8 * 1024
"""Bytes, but for the parameters: each unknown key is a fault of its own, and each term of a cron expression is read."""


async def _own(daemon: Daemon, given: JsonObject) -> JsonObject:
    """The same of lists and objects of its own, for those of a large request are emptied once that is answered.

    Raises TooLargeError for more than any schedule has: it would keep all others waiting.
    """
    rest = dict(given)
    own: JsonObject = {}
    if isinstance(given.get("parameters"), dict):
        text = await checked_text(rest.pop("parameters"), daemon.limits.max_parameters, lambda _: None)
        own["parameters"] = json.loads(text)
    own.update(json.loads(await checked_value(rest, _LONGEST_DEFINITION, "definition")))
    return own


def _definition(daemon: Daemon, given: JsonObject) -> Schedule:
    """What the keys of [schedules] would have it be. Raises InvalidParametersError with what the configuration says."""
    config = daemon.config
    queues = frozenset(config.queues) if config.host is None else None  # it may be that of another host
    around = ValidationContext(queues=queues, cap=config.retry.cap)
    try:
        return Schedule.model_validate(given, context=around)
    except ValidationError as error:
        faults = error.errors(include_url=False)
    where = ("schedules", "")
    raise InvalidParametersError(
        problems=[
            {
                "path": dotted(fault["loc"]) or "definition",
                "message": fault_message(fault, where + fault["loc"]),
            }
            for fault in faults
        ]
    )


def _name_of(uid: int) -> str:
    """As this machine calls the user, else the number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)

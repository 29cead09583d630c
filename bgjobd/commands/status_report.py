"""How a daemon does, judged from what `status` gathered: health, reasons, and one screen about it; pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Any, Final

from bgjob import text
from bgjob.commands import screen
from bgjob.commands.problems import followed
from bgjob.words import Status
from bgjobd.core import needs
from bgjobd.core.need_kinds import REASONS, Kind, Need, Seen
from bgjobd.host.disk_space import Room

_TOLD_ONE_BY_ONE: Final = 5
"""Classes that are throttled: there may be many, for one reason."""


class Health(StrEnum):
    """What it comes to."""

    WELL = "well"
    DEGRADED = "degraded"
    NOT_RUNNING = "not running"


EXIT_CODES: Final = {Health.WELL: 0, Health.DEGRADED: 1, Health.NOT_RUNNING: 3}
"""A contract with whoever monitors it."""


class Answer(StrEnum):
    """What the socket does."""

    ANSWERS = "answers"
    HANGS = "hangs"
    REFUSES = "refuses"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class PageState:
    """The page's address, None where it is switched off or has any port; whether it answers; who is there instead."""

    address: str | None
    answers: bool
    taken_by: str | None = None


@dataclass(frozen=True, slots=True)
class Throttling:
    """Until when no attempt of a class starts, as a stored time, and which job has asked for that."""

    until: str
    by: int


@dataclass(frozen=True, slots=True)
class Gathered:
    """What was there at one moment.

    `holder` is the pid of the daemon that holds the lock, `can_see_lock` whether this user can tell. `stats` is the
    daemon's own answer, where it gave one; `told` why it did not. `unavailable` are classes with the reason, `hints`
    what comes next for them; `throttled` those of which a job was told to come later, `held` those of which only
    trials start, with why. `needs` is what the daemon says that needs somebody, None of an earlier one, which does not.
    `is_named`: --config was given.
    """

    now: float
    socket: str
    state_dir: str
    holder: int | None
    can_see_lock: bool
    answer: Answer
    told: str = ""
    stats: Mapping[str, Any] | None = None
    unavailable: Mapping[str, str] = field(default_factory=dict)
    hints: Mapping[str, str] = field(default_factory=dict)
    throttled: Mapping[str, Throttling] = field(default_factory=dict)
    held: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[Need, ...] | None = None
    rooms: tuple[Room, ...] = ()
    page: PageState = PageState(None, False)
    is_synchronised: bool | None = None
    installed: str = ""
    is_named: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """What it comes to, why it is not well, and what else a person may want to know."""

    health: Health
    reasons: tuple[str, ...]
    remarks: tuple[str, ...]
    gathered: Gathered

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.health]

    def as_json(self) -> str:
        """For programs."""
        seen = self.gathered
        return json.dumps(
            {
                "status": self.health,
                "reasons": self.reasons,
                "remarks": self.remarks,
                "socket": seen.socket,
                "socket_answers": seen.answer is Answer.ANSWERS,
                "lock_held_by": seen.holder,
                "is_lock_known": seen.can_see_lock,
                "daemon": seen.stats,
                "unavailable": dict(seen.unavailable),
                "held": dict(seen.held),
                "needs": [one._asdict() for one in needing(seen)],
                "throttled": {name: asdict(one) for name, one in seen.throttled.items()},
                "file_systems": [asdict(one) | {"path": str(one.path)} for one in seen.rooms],
                "page": asdict(seen.page),
                "is_clock_synchronised": seen.is_synchronised,
            }
        )


def judge(seen: Gathered) -> Standing:
    """What was gathered, judged."""
    if seen.answer is Answer.NOBODY and seen.holder is None:
        return Standing(Health.NOT_RUNNING, (_why_not_running(seen),), (), seen)
    needed = needing(seen)
    reasons = (*_reasons(seen), *(needs.told(one) for one in needed if one.kind in REASONS))
    remarks = (*(needs.told(one) for one in needed if one.kind not in REASONS), *_remarks(seen, needed))
    return Standing(Health.DEGRADED if reasons else Health.WELL, reasons, remarks, seen)


def need_of(told: Mapping[str, Any]) -> Need:
    """A need as the socket tells it."""
    kind = told["kind"]
    return Need(kind, told["subject"], text.instant(told["since"]), told["sentence"], told["hint"])


def needing(seen: Gathered) -> tuple[Need, ...]:
    """What needs somebody: as the daemon says, and on what disks, which are seen from here as well, there is no room.

    Of an earlier daemon, which says nothing, by the same rules what makes it degraded.
    """
    rooms = {str(one.path): one.trouble for one in seen.rooms if one.trouble is not None}
    if seen.needs is not None:
        full = needs.needs(Seen(host="", disks=rooms), seen.now)
        return (*(one for one in seen.needs if one.kind != Kind.DISK), *full)
    stats = seen.stats or {"code_version": ""}
    known = Seen(
        host="",
        storage_trouble=stats.get("storage_trouble"),
        has_code=stats["code_version"] is not None,
        held_back=stats.get("held") or {},
        unavailable=seen.unavailable if seen.stats is not None else {},
        hints=seen.hints,
        refused=stats.get("refused_schedules") or {},
        disks=rooms,
    )
    return tuple(needs.needs(known, seen.now))


def _why_not_running(seen: Gathered) -> str:
    if not seen.can_see_lock:
        known = f"this user cannot see whether one holds the lock in {seen.state_dir}"
    else:
        known = f"nobody holds the lock in {seen.state_dir}"
    starts = "`bgjobd serve`, or the service manager, starts one"
    names = "" if seen.is_named else "; --config or $BGJOBD_CONFIG names the configuration of another"
    return followed(seen.told, f"{known}; {starts}{names}")


def _reasons(seen: Gathered) -> Iterator[str]:
    """What is not as it should be, each with what to do."""
    yield from _of_answer(seen)
    if seen.stats is not None:
        if seen.page.taken_by is not None:
            message = f"{seen.page.taken_by} listens at {seen.page.address}, where the page is to be"
            yield f"{message}; stop it, or set [web] bind, and restart the daemon"
        elif seen.page.address is not None and not seen.page.answers:
            yield f"the page does not answer at {seen.page.address}; the daemon's log and console say why"


def _of_answer(seen: Gathered) -> Iterator[str]:
    holder = "a daemon" if seen.holder is None else f"the daemon (pid {seen.holder})"
    match seen.answer:
        case Answer.HANGS:
            yield f"{holder} hangs: {seen.told}; see whether the machine is busy, else restart it: jobs go on"
        case Answer.REFUSES:
            yield f"{holder} does not say how it does: {seen.told}"
        case Answer.NOBODY:
            message = f"{holder} holds the lock, and does not serve its socket: {seen.told}"
            yield f"{message}; it starts or ends, or somebody removed the socket: look again, then restart it"
        case Answer.ANSWERS:
            pid = None if seen.stats is None else seen.stats["pid"]
            if seen.holder is not None and pid != seen.holder:
                message = (
                    f"another daemon (pid {pid}) answers at the socket, and pid {seen.holder} holds the lock"
                )
                yield f"{message} in {seen.state_dir}; give each a [daemon] socket of its own"


def _remarks(seen: Gathered, needed: Sequence[Need]) -> Iterator[str]:
    if seen.stats is not None:
        told_of = {one.subject for one in needed if one.kind == Kind.PAUSED}
        for queue in seen.stats["queues"]:
            if queue["paused"] and queue["name"] not in told_of:
                yield _paused(queue, seen.now)
        for name, one in islice(seen.throttled.items(), _TOLD_ONE_BY_ONE):
            until = text.moment(one.until, seen.now)
            yield f"no job of {name} starts until {until}: job {one.by} was told to come later"
        if len(seen.throttled) > _TOLD_ONE_BY_ONE:
            yield "jobs of other classes were told to come later, too; `bgjob classes` says which"
        failure = seen.stats.get("reload_failure")
        if failure is not None:
            yield f"the last reload failed and changed nothing: {failure}; mend it, and reload"
        drained_at = seen.stats.get("drained_at")
        if drained_at is not None:
            since = text.moment(drained_at, seen.now)
            told = f"it drains since {since}, as was asked for, and starts nothing new"
            yield f"{told}; a restart has it start jobs again"
        difference = seen.stats.get("clock_difference")
        if difference is not None:
            which = "ahead of" if difference > 0 else "behind"
            yield f"the machine's clock is {abs(difference):.1f} s {which} the database's, by which jobs are due"
        if seen.stats["version"] != seen.installed:
            message = f"bgjobd {seen.installed} is installed, and the daemon runs {seen.stats['version']}"
            yield f"{message}; a restart takes it up"
        if seen.holder is None and seen.can_see_lock:
            yield f"nobody is seen to hold the lock in {seen.state_dir}: the daemon may serve another directory"
    if seen.is_synchronised is False:
        yield "nobody keeps the clock right (NTP)"


def _paused(queue: Mapping[str, Any], now: float) -> str:
    name, at = queue["name"], queue.get("resumes_at")  # which daemons before it did not tell
    until, before = ("", "") if at is None else (f" until {text.moment(at, now)}", " before")
    return f"queue {name} is paused{until}; `bgjob resume {name}` goes on with it{before}"


def _waited(seen: Gathered) -> float | None:
    since = None if seen.stats is None else seen.stats["oldest_pending"]
    return None if since is None else max(0.0, seen.now - text.instant(since))


# Lines


def lines(standing: Standing) -> Iterator[str]:
    """One screen."""
    seen = standing.gathered
    colour = {Health.WELL: "green", Health.DEGRADED: "yellow", Health.NOT_RUNNING: "red"}[standing.health]
    yield f"bgjobd is {screen.painted(standing.health, colour)}{text.one_line(_who(seen))}"
    for title, told in _rows(seen):
        yield f"{title:<11}  {text.one_line(told)}"
    for reason in standing.reasons:
        yield f"{screen.painted('reason', colour)}       {text.one_line(reason)}"
    for remark in standing.remarks:
        yield f"remark       {text.one_line(remark)}"


def _who(seen: Gathered) -> str:
    stats = seen.stats
    if stats is None:
        return ""
    up = text.span(max(0.0, seen.now - text.instant(stats["started_at"])))
    return f": {stats['version']}, pid {stats['pid']}, for {up}, since {text.date(stats['started_at'])} UTC"


def _rows(seen: Gathered) -> Iterator[tuple[str, str]]:
    yield "socket", f"{seen.socket}{', answers' if seen.answer is Answer.ANSWERS else ''}"
    if seen.stats is not None:
        yield from _of_daemon(seen, seen.stats)
    for index, one in enumerate(seen.rooms):
        yield "" if index else "disk", str(one)
    if seen.stats is not None:
        yield "page", _page(seen.page)


def _of_daemon(seen: Gathered, stats: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    loaded = "none is loaded"
    if stats["code_version"] is not None:
        since = text.when(stats["loaded_at"], seen.now)
        loaded = f"version {stats['code_version']}, Python {stats['python']}, loaded {since}"
    yield "code", loaded
    yield "slots", f"{sum(queue['running'] for queue in stats['queues'])} of {stats['slots']} in use"
    for index, queue in enumerate(stats["queues"]):
        counts = f"{queue['pending']} pending, {queue['running']} running"
        counts += f", {queue['behind']} behind" if queue.get("behind") else ""
        counts += f", {queue['waiting']} waiting" if queue.get("waiting") else ""
        rules = text.key_rules(queue)
        counts += f", per key {rules}" if rules else ""
        paused = text.paused(queue, seen.now)
        yield "" if index else "queues", f"{queue['name']}: {counts}{paused and f', {paused}'}"
    waited = _waited(seen)
    if waited is not None:
        yield "waiting", f"the oldest job that is due, for {text.about(waited)}"
    if "minutes" in stats:  # which the daemons before it did not tell
        yield "last hour", ", ".join(f"{_lately(stats, status)} {status}" for status in _TOLD)
    yield "database", text.size(stats["database_bytes"])


_TOLD: Final = (Status.COMPLETED, Status.FAILED)


def _lately(stats: Mapping[str, Any], status: Status) -> int:
    return sum(minute[status] for minute in stats["minutes"])


def _page(page: PageState) -> str:
    if page.address is None:
        return "switched off, or at a port that is not known"
    message = "answers" if page.answers else "does not answer" if page.taken_by is None else "is another's"
    return f"{page.address}, {message}"

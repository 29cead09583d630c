"""The rows of hosts: which daemon has which term, who was seen when, and what becomes of what a lost one ran.

Of SQLite's file no statement here is run. `clock_now()` is the database's clock as a text, in each engine's own words.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from bgjob.words import ChangeKind
from bgjobd.core.hosts import Drained, Former, Profile, Pulse, Seen, Term, wait_before_term
from bgjobd.core.job import AttemptKey
from bgjobd.host.clock import Reading, from_text, to_text
from bgjobd.store import changes
from bgjobd.store.batch import Batch
from bgjobd.store.engines import Database, Engine, Execute
from bgjobd.store.items.hosts import Beat, HostDrained, HostLeft, HostLost
from bgjobd.store.sql_functions import held

LIVES_FOR: Final = 600.0
"""Seconds without a beat after which a host that never counts as lost has its name no more, should another want it."""

_LOCK: Final = "LOCK TABLE hosts IN SHARE ROW EXCLUSIVE MODE"
"""So that two who want the same name come one after the other."""

_COLUMNS: Final = "name, boot_id, lost_after, version, schema, slots, queues, classes"
_SELECT_NAMESAKE: Final = """
    SELECT seen_at FROM hosts WHERE name = :name AND uuid <> :uuid AND left_at IS NULL AND lost_at IS NULL
    AND seen_at > clock_before(coalesce(lost_after, :lives_for))
"""
_SELECT_OWN: Final = """
    SELECT id, lost_at IS NOT NULL, term, beats, boot_id, clock_since(seen_at), left_at IS NOT NULL FROM hosts
    WHERE uuid = :uuid
"""
_INSERT: Final = f"""
    INSERT INTO hosts (uuid, {_COLUMNS}, term, beats, seen_at) VALUES
    (:uuid, :name, :boot_id, :lost_after, :version, :schema, :slots, :queues, :classes, 1, 0, clock_now())
    RETURNING id, term
"""
_TAKE_TERM: Final = f"""
    UPDATE hosts SET ({_COLUMNS}) = (:name, :boot_id, :lost_after, :version, :schema, :slots, :queues, :classes),
    term = term + 1, beats = 0, seen_at = clock_now(), left_at = NULL, lost_at = NULL, trouble = NULL,
    drained_at = NULL, drained_by = NULL
    WHERE id = :id RETURNING id, term
"""
_TAKE_ANOTHER: Final = """
    UPDATE hosts SET term = term + 1, beats = 0, seen_at = clock_now(), left_at = NULL, lost_at = NULL
    WHERE id = :id AND term = :term RETURNING term
"""
_TAKE_BACK: Final = "DELETE FROM consequences WHERE \"of\" = 'host' AND id = :id"

_BEAT: Final = """
    UPDATE hosts SET beats = beats + 1, seen_at = clock_now() WHERE id = :id RETURNING beats, drained_at, drained_by
"""
_OTHERS: Final = """
    h.id, h.name, h.term, h.beats, h.lost_after,
    EXISTS (SELECT 1 FROM job_attempts AS a WHERE a.host = h.id AND a.outcome IS NULL),
    h.left_at IS NOT NULL, h.lost_at IS NOT NULL
"""
_BEAT_ALONE: Final = f"""
    UPDATE hosts SET beats = beats + 1, seen_at = clock_now()
    WHERE id = :id AND term = :term AND lost_at IS NULL
    AND NOT EXISTS (SELECT 1 FROM tallies WHERE tallies.id > :seen)
    AND NOT EXISTS (SELECT 1 FROM consequences WHERE "of" <> 'host')
    RETURNING beats, drained_at, drained_by, seen_at,
        (SELECT json_agg(json_build_array({_OTHERS}) ORDER BY h.id) FROM hosts AS h WHERE h.id <> :id),
        (SELECT json_agg(c.id ORDER BY c.id) FROM consequences AS c WHERE c."of" = 'host')
"""
_SELECT_BEATS: Final = "SELECT beats FROM hosts WHERE id = :id AND term = :term"
_TELL: Final = """
    UPDATE hosts SET slots = :slots, queues = :queues, classes = :classes, code_version = :code_version,
    trouble = :trouble, clock_difference = :clock_difference, rules = :rules WHERE id = :id
"""
_SELECT_OTHERS: Final = f"SELECT {_OTHERS} FROM hosts AS h WHERE h.id <> :id ORDER BY h.id"
_SELECT_OWING: Final = "SELECT id FROM consequences WHERE \"of\" = 'host' ORDER BY id"
_DRAIN: Final = """
    UPDATE hosts SET drained_at = coalesce(drained_at, clock_now()), drained_by = coalesce(drained_by, :by)
    WHERE name = :name AND left_at IS NULL AND lost_at IS NULL RETURNING id
"""
_LEAVE: Final = "UPDATE hosts SET left_at = clock_now() WHERE id = :id"

_LOSE: Final = """
    UPDATE hosts SET lost_at = clock_now()
    WHERE id = :id AND term = :term AND (beats = :beats OR :any_beats = 1) AND lost_at IS NULL RETURNING name
"""
_OWE: Final = "INSERT INTO consequences VALUES ('host', :id, 0) ON CONFLICT (\"of\", id) DO NOTHING"
TAKE_OWED: Final = "SELECT 1 FROM consequences WHERE \"of\" = 'host' AND id = :id"
"""Which no two hosts have at once: of another engine its row is locked, or passed over."""

_SELECT_OPEN: Final = """
    SELECT job_id, number FROM job_attempts WHERE host = :id AND host IS NOT NULL AND outcome IS NULL
    ORDER BY job_id, number
"""
SELECT_LOST: Final = """
    SELECT a.job_id, a.number, j.class_name FROM job_attempts AS a JOIN background_jobs AS j ON j.id = a.job_id
    WHERE a.host = :id AND a.outcome IS NULL AND j.class_name IN (SELECT value FROM json_each(:classes))
    ORDER BY a.job_id, a.number LIMIT :count
"""
SELECT_HOSTS: Final = """
    SELECT id, uuid, name, boot_id, term, version, schema, code_version, slots, queues, classes, seen_at,
        clock_since(seen_at) AS unseen_for, lost_after, clock_difference, trouble, left_at, lost_at, drained_at,
        (SELECT count(*) FROM job_attempts AS a WHERE a.host = h.id AND a.outcome IS NULL) AS running
    FROM hosts AS h ORDER BY name, id
"""


def own_beats(database: Database, own: Term) -> int | None:
    """How many beats the database has of a term; None where that is not the newest of its host any more."""
    row = database.connection().execute(_SELECT_BEATS, {"id": own.host, "term": own.number}).fetchone()
    return None if row is None else int(row[0])


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Who wants to be a host; `uuid` is of its state directory; `beat` and `lost_after` are seconds, None: never."""

    uuid: str
    name: str
    boot_id: str
    lost_after: float | None
    version: str
    profile: Profile
    beat: float


class Wait(NamedTuple):
    """Seconds before a daemon may take a term, for another one may be this host, whose pulse this is."""

    pulse: Pulse
    seconds: float


class Joined(NamedTuple):
    """The term that a daemon has taken; `was_lost`: others have said so of the one before."""

    term: Term
    was_lost: bool


class NameTakenError(Exception):
    """Another host that lives has this name."""

    def __init__(self, name: str, seen_at: str) -> None:
        super().__init__(
            f"another host that is called {name} works from this database, last seen at {seen_at}: "
            "give this one another name ([hosts] name), or stop that one"
        )


def join(
    engine: Engine, newcomer: Newcomer, watched: Pulse | None = None, was_away: bool = False
) -> Joined | Wait | None:
    """Take a term as this host; None where nobody else can work from the database, whose hosts nobody counts.

    What counted as lost before, and has not been settled, is the host's own again. Where it is to wait nothing has
    changed, and it asks again then, with the pulse; `was_away`: until now the database was. Raises NameTakenError,
    LivesElsewhereError, peewee's errors.
    """
    if not engine.is_shared:
        return None
    database = engine.open_for_writing()
    try:
        database.begin_writing()
        joined = _join(database, engine.version(database), newcomer, watched, was_away)
        database.commit_writing()
    except BaseException:
        database.roll_back()
        raise
    finally:
        database.close()
    return joined


def _join(
    database: Database, schema: int, newcomer: Newcomer, watched: Pulse | None, was_away: bool
) -> Joined | Wait:
    execute = database.connection().execute
    execute(_LOCK)
    namesake = {"name": newcomer.name, "uuid": newcomer.uuid, "lives_for": LIVES_FOR}
    taken = execute(_SELECT_NAMESAKE, namesake).fetchone()
    if taken is not None:
        raise NameTakenError(newcomer.name, taken[0])
    row = _row_of(newcomer, schema)
    known = execute(_SELECT_OWN, {"uuid": newcomer.uuid}).fetchone()
    if known is None:
        host, number = execute(_INSERT, row).fetchone()
        return Joined(Term(host, number, newcomer.name), was_lost=False)
    id, was_lost, term, beats, *rest = known
    former = Former((term, beats), *rest)
    if seconds := wait_before_term(former, newcomer.boot_id, newcomer.beat, watched, was_away):
        return Wait(former.pulse, seconds)
    host, number = execute(_TAKE_TERM, row | {"id": id}).fetchone()
    execute(_TAKE_BACK, {"id": host})
    return Joined(Term(host, number, newcomer.name), was_lost)


def _row_of(newcomer: Newcomer, schema: int) -> dict[str, Any]:
    told = _told(newcomer.profile)
    own = {name: getattr(newcomer, name) for name in ("uuid", "name", "boot_id", "lost_after", "version")}
    return own | {name: told[name] for name in ("slots", "queues", "classes")} | {"schema": schema}


def _told(profile: Profile) -> dict[str, Any]:
    return {
        "slots": profile.slots,
        "queues": json.dumps(profile.queues),
        "classes": json.dumps(profile.classes),
        "code_version": profile.code_version,
        "trouble": profile.trouble,
        "clock_difference": profile.clock_difference,
        "rules": json.dumps(dict(profile.rules)),
    }


def come_back(database: Database, term: Term) -> Term | None:
    """Another term for a daemon whose own has counted as lost; None where somebody else has taken one."""
    database.write_as(None)
    database.begin_writing()
    execute = database.connection().execute
    row = execute(_TAKE_ANOTHER, {"id": term.host, "term": term.number}).fetchone()
    if row is not None:
        execute(_TAKE_BACK, {"id": term.host})
    database.commit_writing()
    return None if row is None else term._replace(number=row[0])


# What a transaction of the ledger does


class Beaten(NamedTuple):
    """A stored beat: how many there are of this term, the other hosts, and the lost ones that are not settled yet; who
    has this one drain.
    """

    beats: int
    others: tuple[Seen, ...]
    owing: tuple[int, ...]
    drained: Drained | None = None


def carry_out(
    execute: Execute, item: Beat | HostLost | HostDrained | HostLeft, batch: Batch
) -> Beaten | bool | None:
    """The item's answer. Raises ValueError where there is no host, for the database is one daemon's alone."""
    own = batch.host
    if own is None:
        raise ValueError(f"{item} is nothing for a database of one daemon's own")
    match item:
        case Beat(profile):
            return _beat(execute, own.host, profile)
        case HostLost():
            return _lose(execute, item, batch)
        case HostDrained(name, by):
            return execute(_DRAIN, {"name": name, "by": by}).fetchone() is not None
        case HostLeft():
            execute(_LEAVE, {"id": own.host})
    return None


def _beat(execute: Execute, host: int, profile: Profile | None) -> Beaten:
    beat = execute(_BEAT, {"id": host})
    if profile is not None:
        execute(_TELL, _told(profile) | {"id": host})
    others, owing = execute(_SELECT_OTHERS, {"id": host}), execute(_SELECT_OWING)
    beats, drained_at, drained_by = beat.fetchone()
    drained = None if drained_at is None else Drained(drained_at, drained_by)
    return Beaten(beats, tuple([_seen(row) for row in others]), tuple([id for (id,) in owing]), drained)


def try_beat(execute: Execute, own: Term, seen: int) -> tuple[Beaten, Reading] | None:
    """A beat by one statement, which is a transaction by itself, with what time the database has; None, and no beat,
    where jobs were moved since this row of the tally, something is left to settle, or the term is over.
    """
    asked = time.monotonic()
    row = execute(_BEAT_ALONE, {"id": own.host, "term": own.number, "seen": seen}).fetchone()
    if row is None:
        return None
    beats, drained_at, drained_by, at, others, owing = row
    drained = None if drained_at is None else Drained(drained_at, drained_by)
    beaten = Beaten(beats, tuple([_seen(one) for one in others or ()]), tuple(owing or ()), drained)
    return beaten, Reading.taken(from_text(at), asked, time.monotonic())


def _seen(row: Sequence[Any]) -> Seen:
    return Seen(*row[:5], *map(bool, row[5:]))


def _lose(execute: Execute, item: HostLost, batch: Batch) -> bool:
    beats = item.beats
    wanted = {"id": item.host, "term": item.term, "beats": beats or 0, "any_beats": int(beats is None)}
    lost = execute(_LOSE, wanted).fetchone()
    if lost is not None:
        execute(_OWE, {"id": item.host})
        changes.note(execute, batch, ChangeKind.HOST_LOST, {"host": lost[0]}, item.who)
    return lost is not None


# What is old


OLDEST_GONE: Final = "SELECT min(coalesce(lost_at, left_at)) FROM hosts"
TRIM: Final = """
    DELETE FROM hosts WHERE coalesce(lost_at, left_at) < :before AND id IS NOT :own
    AND NOT EXISTS (SELECT 1 FROM job_attempts AS a WHERE a.host = hosts.id AND a.host IS NOT NULL
        AND a.outcome IS NULL)
    AND NOT EXISTS (SELECT 1 FROM job_attempts AS a WHERE a.hook_host = hosts.id AND a.hook_host IS NOT NULL
        AND a.hook_called_at IS NULL)
    AND NOT EXISTS (SELECT 1 FROM consequences AS c WHERE c."of" = 'host' AND c.id = hosts.id)
    AND NOT EXISTS (SELECT 1 FROM schedules AS s WHERE s.set_by = hosts.id AND s.removed_at IS NULL)
    RETURNING name
"""
_RETENTION: Final = "retention"
TAKE_RETENTION: Final = """
    INSERT INTO properties (name, value) VALUES (:name, :mine)
    ON CONFLICT (name) DO UPDATE SET value = :mine WHERE properties.value = :mine OR NOT EXISTS (
        SELECT 1 FROM hosts AS h WHERE h.id || '.' || h.term = properties.value AND left_at IS NULL AND lost_at IS NULL
        AND seen_at > clock_before(coalesce(lost_after, :lives_for)))
    RETURNING name
"""
"""By a row that names the host and its term: one that ends, or is not seen any more, has it no longer."""
_GIVE_RETENTION: Final = "DELETE FROM properties WHERE name = :name AND value = :mine"


def trim(execute: Execute, before: float, own: int | None) -> tuple[str, ...]:
    """The names of the hosts that are forgotten; one that is back then is a new one."""
    given = {"before": to_text(held(before)), "own": own}
    return tuple([name for (name,) in execute(TRIM, given).fetchall()])


def take_retention(execute: Execute, own: Term | None) -> bool:
    """Whether it is this host's to delete what is old, from now on; where there is no other it always is."""
    if own is None:
        return True
    given = {"name": _RETENTION, "mine": _mine(own), "lives_for": LIVES_FOR}
    return execute(TAKE_RETENTION, given).fetchone() is not None


def give_retention(execute: Execute, own: Term | None) -> None:
    if own is not None:
        execute(_GIVE_RETENTION, {"name": _RETENTION, "mine": _mine(own)})


def _mine(own: Term) -> str:
    return f"{own.host}.{own.number}"


def take_owed(execute: Execute, host: int) -> set[AttemptKey] | None:
    """The attempts of a lost host that have no end; None where another host sees to them, or nobody has to any more."""
    if execute(TAKE_OWED, {"id": host}).fetchone() is None:
        return None
    return set(execute(_SELECT_OPEN, {"id": host}).fetchall())


def settle_owed(execute: Execute, host: int) -> None:
    """Nothing is left of what the host ran."""
    execute(_TAKE_BACK, {"id": host})

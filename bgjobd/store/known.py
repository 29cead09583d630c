"""What a ledger knows of the database between two transactions; where others write as well, each reads it anew."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from bgjobd.core.quarantine import ClassHold
from bgjobd.host.clock import from_text
from bgjobd.store import adoption, class_holds, pauses, rates, release, tallies
from bgjobd.store.adoption import Adopted
from bgjobd.store.engines import Database, Execute
from bgjobd.store.holds import Holds
from bgjobd.store.statements import of_pauses, of_times
from bgjobd.store.tallies import Seen
from bgjobd.store.tally import NOTHING, Tally, counted

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Known(NamedTuple):
    """What is known of the file between two transactions, so that each need not read it anew.

    `limits` of keys and classes are those of the last transaction, None where it had none. Where others write as well
    the tally is of all that they have told up to what was `seen`, without the last transaction's own; and `others` is
    what is stored of the keys of queues that are theirs. `class_holds` is what is known of classes whose attempts
    crash.
    """

    tally: Tally
    has_consequences: bool
    next_expiry: float
    next_resume: float
    holds: Holds
    adopted: Adopted
    limits: tuple[Any, ...] | None = None
    seen: Seen = Seen()
    others: Adopted = Adopted()
    class_holds: Mapping[str, ClassHold] = _NOTHING

    @property
    def has_more(self) -> bool:
        """Whether something is left to do for the next transaction, though nothing comes."""
        return self.has_consequences or not self.adopted.is_whole


def read_alone(database: Database, execute: Execute, now: float) -> Known:
    """What is known before the first transaction of who writes alone."""
    return Known(
        counted(database, now),
        release.has_consequences(execute),
        read_next_expiry(execute),
        pauses.next_end(execute),
        Holds(rates.holds(execute)),
        adoption.stored(execute),
        class_holds=class_holds.stored(execute),
    )


def read_next_expiry(execute: Execute) -> float:
    """When the next job expires that has not started, `inf` for never."""
    (at,) = execute(of_times.SELECT_NEXT_EXPIRY).fetchone()
    return _time(at)


_SELECT_STANDING: Final = f"""
    SELECT ({release.HAS_CONSEQUENCES}), ({of_times.SELECT_NEXT_EXPIRY}), ({of_pauses.SELECT_NEXT_RESUME}),
        (SELECT value FROM properties WHERE name = '{adoption.PROPERTY}'),
        (SELECT json_agg(json_build_array(id, is_sum, differences) ORDER BY id) FROM tallies WHERE id > :id),
        (SELECT json_agg(json_build_array({class_holds.COLUMNS})) FROM class_holds)
"""


def read_anew(
    database: Database, execute: Execute, before: Known | None, queues: Collection[str], now: float
) -> Known:
    """The same before each transaction of one of several, whose own these queues are."""
    seen = Seen() if before is None else before.seen
    found = execute(_SELECT_STANDING, {"id": seen.id}).fetchone()
    database.check_term()
    has_consequences, expires_at, resumes_at, rules, rows, of_classes = found
    known = tallies.after(rows or (), None if before is None else before.tally, seen, now)
    if known.tally is None:
        known = _begun(database, execute, now)
    holds = Holds(rates.holds(execute)) if before is None or known.is_new else before.holds
    for scope, until, at in known.holds:
        holds.learn(scope, until, at)
    own, others = adoption.parted(rules, queues)
    return Known(
        known.tally or NOTHING,
        bool(has_consequences),
        _time(expires_at),
        _time(resumes_at),
        holds,
        own if before is None else before.adopted,
        None if before is None else before.limits,
        known.seen,
        others,
        class_holds.from_rows(of_classes or ()),
    )


def _begun(database: Database, execute: Execute, now: float) -> tallies.Read:
    """Count what nobody has told of yet; meanwhile nobody moves anything."""
    database.lock_log()
    rows = execute(tallies.SELECT_NEWER, {"id": 0}).fetchall()
    if rows:
        return tallies.after(rows, None, Seen(), now)
    tally = counted(database, now)
    return tallies.Read(tally, tallies.begin(execute, tally))


def _time(at: str | None) -> float:
    return math.inf if at is None else from_text(at)

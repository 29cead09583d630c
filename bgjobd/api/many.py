"""The methods of org.bgjobd.Jobs about all jobs that match a filter: how many those are, and a wish about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bgjob.codec import JsonObject, to_json
from bgjob.errors import InvalidParameterError
from bgjob.text import capped
from bgjobd.api import schemas
from bgjobd.api.dispatch import Encoded
from bgjobd.api.filters import job_filter
from bgjobd.api.peer import Caller
from bgjobd.api.submissions import try_instant
from bgjobd.api.who_asked import say_who, who
from bgjobd.core.many import Wish
from bgjobd.daemon.many import Done, Wanted
from bgjobd.host.clock import to_text
from bgjobd.store.matching import about

if TYPE_CHECKING:
    from bgjobd.daemon.loop import Daemon


async def matching(daemon: Daemon, given: schemas.Matching, caller: Caller) -> Encoded:
    as_of = _moment(daemon, given.as_of)
    wanted = about(job_filter(given.filter, "filter."), Wish(given.to))
    async with caller.turn:
        matched = await daemon.many.count(wanted, as_of)
    return Encoded(to_json({**matched.as_json(), "as_of": to_text(as_of)}).encode())


async def retry_matching(daemon: Daemon, given: schemas.RetryMatching, caller: Caller) -> JsonObject:
    spread, at_most_once = given.spread or 0.0, bool(given.at_most_once)
    done = await _ask(daemon, Wish.RETRY, given, caller, spread, at_most_once)
    return {"retried": done.done, "left_out": done.left_out, "change": done.change}


async def cancel_matching(daemon: Daemon, given: schemas.CancelMatching, caller: Caller) -> JsonObject:
    done = await _ask(daemon, Wish.CANCEL, given, caller)
    return {"cancelled": done.done, "left_out": done.left_out, "change": done.change}


async def _ask(
    daemon: Daemon,
    wish: Wish,
    given: schemas.CancelMatching,
    caller: Caller,
    spread: float = 0.0,
    at_most_once: bool = False,
) -> Done:
    as_of, told = _moment(daemon, given.as_of), given.filter.model_dump(exclude_none=True)
    wanted = about(job_filter(given.filter, "filter."), wish)
    what = {"filter": told, "as_of": to_text(as_of), "expected": given.expected, "host": daemon.host_name}
    asked = Wanted(wish, wanted, as_of, what, who(daemon, caller), spread, at_most_once)

    def say(done: Done) -> None:
        say_who(daemon, sentence(wish, done, told), caller)

    return await daemon.many.carry_out(asked, given.expected, say)


def sentence(wish: Wish, done: Done, told: JsonObject) -> str:
    """What the log says of it, of a long filter the beginning.

    >>> sentence(Wish.RETRY, Done(1, 2), {"status": ["failed"]})
    'retry of 1 job, 2 left out (all that match {"status":["failed"]})'
    """
    jobs = f"{done.done} job{'' if done.done == 1 else 's'}"
    left = f", {done.left_out} left out" if done.left_out else ""
    return f"{wish} of {jobs}{left} (all that match {capped(to_json(told), _MOST_TOLD)})"


_MOST_TOLD: Final = 1000


def _moment(daemon: Daemon, text: str | None) -> float:
    """The instant that a caller names, which is none to come."""
    now = daemon.clock.now()
    if text is None:
        return now
    at = try_instant(text)
    if at is None:
        raise InvalidParameterError(parameter="as_of")
    return min(at, now)

"""What a job waits for of what it shares with others, its key, the rate of its class, its turn, in words; no I/O.

How many have a place and since when a bucket is empty is as it is stored; what a limit is, as it is configured. After a
reload the one may not be settled by the other yet: of a job behind a key that has places left that is said.
"""

from __future__ import annotations

from collections import Counter

from bgjobd.core.gate import NO_RULES, KeyRules, Share
from bgjobd.core.on_file import MOST_AHEAD, Ahead, OfKey, OnFile
from bgjobd.core.planner import Lanes, free_slots
from bgjobd.core.rates import Bucket, Rate
from bgjobd.core.sentences import moment, named_jobs, short, soon


def its_class_was_told_to_wait(on_file: OnFile, now: float) -> str | None:
    """Because one of its class was told to come later."""
    bucket = on_file.of_class
    return f"waits: {_held(on_file, bucket, 'its class', now)}" if bucket.is_held(now) else None


def its_key_has_no_place(on_file: OnFile, lanes: Lanes, now: float) -> str | None:
    """Because those of its key hold the places, or its rate lets none start; None where it has a place."""
    job, of_key = on_file.job, on_file.of_key
    if of_key is None or not (job.is_behind or not of_key.has_come_in):
        return None
    rules = _rules(on_file, lanes)
    return (
        _its_key_is_held(on_file, of_key, rules, now)
        or _its_places_are_taken(on_file, of_key, rules)
        or _its_key_has_a_rate(on_file, of_key, rules, now)
        or (_a_place_is_free(on_file, of_key, lanes, rules) if job.is_behind else None)
    )


def _its_key_is_held(on_file: OnFile, of_key: OfKey, rules: KeyRules, now: float) -> str | None:
    if not of_key.bucket.is_held(now):
        return None
    whose = f"{_key(on_file, rules)} in queue {on_file.job.queue}"
    return f"waits: {_held(on_file, of_key.bucket, whose, now)}, and {before(of_key.ahead)}"


def _its_places_are_taken(on_file: OnFile, of_key: OfKey, rules: KeyRules) -> str | None:
    takers = [*of_key.running, *of_key.ready]
    if rules.slots is None or len(takers) < rules.slots:
        return None
    places = "1 place" if rules.slots == 1 else f"{rules.slots:,} places"
    taken = f"taken by {named_jobs(takers, MOST_AHEAD)}" if takers else "of which none is left"
    key, queue = _key(on_file, rules), on_file.job.queue
    return f"waits for its key: {key} has {places} in queue {queue}, {taken}, and {before(of_key.ahead)}"


def _its_key_has_a_rate(on_file: OnFile, of_key: OfKey, rules: KeyRules, now: float) -> str | None:
    rate = rules.rate
    if rate is None:
        return None
    starts = f"{_key(on_file, rules)} starts {rate} in queue {on_file.job.queue}"
    if of_key.ready:
        told = f"{named_jobs(of_key.ready, MOST_AHEAD)} waits for a slot as the next"
    elif rate.tokens(of_key.bucket.full_at, now) == 0:
        told = _next(rate, of_key.bucket, now)
    else:
        return None
    return f"waits for the rate of its key: {starts}, {told}, and {before(of_key.ahead)}"


def _a_place_is_free(on_file: OnFile, of_key: OfKey, lanes: Lanes, rules: KeyRules) -> str:
    """Its limits were others until a moment ago, or its time has come: the next transaction deals with it."""
    has_slots = free_slots(lanes, Counter(one.queue for one in on_file.running)) > 0
    given = "given away in a moment" if has_slots else "given away once a slot is free"
    free = f"{_key(on_file, rules)} has a free place in queue {on_file.job.queue}, {given}"
    return f"waits for its key: {free}, and {before(of_key.ahead)}"


def the_rate_of_its_class_is_used_up(on_file: OnFile, lanes: Lanes, now: float) -> str | None:
    """Because as many of its class have started as may by now."""
    job, bucket = on_file.job, on_file.of_class
    rate = lanes.rates.get(job.class_name)
    if rate is None or rate.tokens(bucket.full_at, now) > 0:
        return None
    starts = f"{job.class_name} starts {rate}, {_next(rate, bucket, now)}"
    return f"waits for its rate: {starts}, and {ahead_in_queue(on_file, lanes)}"


def its_turn_is_later(on_file: OnFile, lanes: Lanes) -> str:
    """Because others go before it, though slots are free."""
    rules = _rules(on_file, lanes)
    if rules.share is Share.NONE:
        return f"waits for its turn: slots are free, and {ahead_in_queue(on_file, lanes)}"
    shares = f"queue {on_file.job.queue} shares by {rules.share}"
    return (
        f"waits for its turn: {shares}, slots are free, and {before(on_file.ahead)}{_of_own(on_file, rules)}"
    )


def ahead_in_queue(on_file: OnFile, lanes: Lanes) -> str:
    """How many go before it in its queue; where keys take turns, how many of its own are among them."""
    rules, queue = _rules(on_file, lanes), on_file.job.queue
    if rules.share is Share.NONE:
        return before(on_file.ahead, queue)
    return f"{before(on_file.ahead, queue)}, which shares by {rules.share}{_of_own(on_file, rules)}"


def throttled(on_file: OnFile) -> str | None:
    """Whom a job that was told to come later keeps from starting meanwhile; None where it keeps nobody."""
    job, of_key = on_file.job, on_file.of_key
    if on_file.of_class.held_by == job.id:
        return "no other of its class starts before"
    return (
        "no other of its key starts before"
        if of_key is not None and of_key.bucket.held_by == job.id
        else None
    )


# Words


def before(ahead: Ahead, queue: str | None = None) -> str:
    """How many are before a job, in this queue, or of its key."""
    place, of = ("", "") if queue is None else (f" in queue {queue}", f" of queue {queue}")
    match ahead:
        case Ahead(0, False):
            return f"it is the next{of}"
        case Ahead(0, True):
            return f"it is among the next{of}"
        case Ahead(number, may_be_more):
            jobs = f"{number:,} job{'s' if number > 1 else ''}"
            or_more = " or more" if may_be_more else ""
            return f"{jobs}{or_more} {'is' if number == 1 else 'are'} before it{place}"


def _of_own(on_file: OnFile, rules: KeyRules) -> str:
    """How many of those before it are of its own key."""
    if on_file.of_key is None or on_file.of_key.ahead.number == 0:
        return ""
    number, may_be_more = on_file.of_key.ahead
    return f", {number:,}{' or more' if may_be_more else ''} of them of {_key(on_file, rules)}"


def _rules(on_file: OnFile, lanes: Lanes) -> KeyRules:
    return (lanes.keys or {}).get(on_file.job.queue, NO_RULES)


def _key(on_file: OnFile, rules: KeyRules) -> str:
    key = short(on_file.job.key or "")
    is_uid = rules.share is Share.USER and key.isdecimal()  # others are of before the queue's last reload
    return f"user {key}" if is_uid else key


def _held(on_file: OnFile, bucket: Bucket, whose: str, now: float) -> str:
    by = "it" if bucket.held_by == on_file.job.id else f"job {bucket.held_by}"
    until = moment(bucket.held_until or 0.0, now)
    return f"{by} was told to come later, and no other of {whose} starts until {until}"


def _next(rate: Rate, bucket: Bucket, now: float) -> str:
    return f"next {soon(max(0.0, rate.next_at(bucket.full_at) - now))}"

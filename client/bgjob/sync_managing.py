"""How what is asked gets to a daemon; what is asked of its queues, schedules, groups and itself.

Of jobs: `client` and `sync_reading`. Made of `async_managing.py` by `./run sync`: change that file.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar

from bgjob import calls, errors, managing_calls
from bgjob.answers import (
    Backfilled,
    ClassStats,
    DoneToMany,
    ErrorRead,
    Graph,
    Matched,
    Needed,
    Page,
    PageBy,
    Reloaded,
)
from bgjob.calls import Call
from bgjob.codec import JsonObject
from bgjob.connections import try_substitute
from bgjob.errors import BgjobError, BrokenError, DaemonUnavailableError, NoAnswerError, ShuttingDownError
from bgjob.filters import Filter
from bgjob.retrying import Breaks, Tries, Waiting, WaitingForGroup
from bgjob.sync_connections import ConnectingClient, connected

if TYPE_CHECKING:
    from datetime import datetime, timedelta

T = TypeVar("T")


class CallingClient(ConnectingClient):
    """How what is asked gets there: over the connection that calls share, or over one of its own."""

    def _call(self, call: Call[T]) -> T:
        substitute = try_substitute()
        if substitute is not None:
            return call.parse(substitute.answer(call.request))
        tries = Tries(call, time.monotonic() + self._timeout)
        while True:
            try:
                answer = call.answer(self._exchange(call.request))
            except NoAnswerError as error:
                raise call.keyed(_told_why(self._path, error) if call.needs_code else error) from None
            except BgjobError as error:
                pause = tries.pause_after(error, self._was_reached, time.monotonic())
            else:
                self._reached()
                return answer
            time.sleep(pause)

    def _carried_out(self, asking: Generator[Call[Any], Any, T]) -> T:
        """What several calls come to, each of which is sent its answer, or thrown its error."""
        with closing(asking):
            try:
                call = next(asking)
                while True:
                    try:
                        answer = self._call(call)
                    except BgjobError as error:
                        call = asking.throw(error)
                    else:
                        call = asking.send(answer)
            except StopIteration as end:
                stored: T = end.value
                return stored

    def _waited(self, waiting: Waiting[T]) -> T:
        """What was asked, once it has ended. Raises WaitTimeoutError."""
        while True:
            try:
                return waiting.ended(self._call_waiting(waiting))
            except (DaemonUnavailableError, ShuttingDownError) as error:
                pause = self._pause_after(waiting.breaks, error)
            time.sleep(waiting.shortened(pause, time.monotonic()))

    def _call_waiting(self, waiting: Waiting[T]) -> T:
        """An exchange over the connection that calls share, if that is free, else on one of its own."""
        connection = self._try_borrow() if try_substitute() is None else None
        now = time.monotonic()
        if connection is not None:
            waiting.breaks.connected(now)
            call, left = waiting.call(now), waiting.left(now)
            try:
                limit = None if left is None else left + self._timeout
                return call.answer(self._call_borrowed(connection, call.request, limit))
            except BrokenError:
                now = time.monotonic()  # it may have been closed for want of use
        return self._call_apart(waiting.call(now), waiting.left(now), waiting.breaks)

    def _call_apart(self, call: Call[T], limit: float | None, breaks: Breaks) -> T:
        """An exchange on a connection of its own: others go on calling meanwhile."""
        substitute = try_substitute()
        if substitute is not None:
            return call.parse(substitute.answer(call.request))
        with self._connect() as connection:
            breaks.connected(time.monotonic())
            return call.answer(
                connection.call(call.request, None if limit is None else limit + self._timeout)
            )


class SchedulingClient(CallingClient):
    """What is asked of schedules; to run one now, which makes a job, is below."""

    def schedules(self, *, next: int | None = None, name: str | None = None) -> list[JsonObject]:
        """The schedules by name: what each submits and when, `description` in words, its `next` occurrences (3, or up
        to 100), the `last` one that was dealt with, and whether it is paused or refused.

        With `name` that one alone. Raises ScheduleNotFoundError.
        """
        page = self._call(managing_calls.schedules(next, name))
        found = page.items
        while page.next is not None:
            page = self._call(managing_calls.schedules(next, name, page.next))
            found += page.items
        return found

    def put_schedule(self, name: str, definition: Mapping[str, Any]) -> bool:
        """Make a schedule, or change one that was put; whether it is new. Its name has a slash, such as `customer/7`;
        `definition` has the keys of [schedules]. Its jobs are submitted as this user.

        Raises InvalidNameError, InvalidParametersError for what is wrong with a key, and the refusals of a submit.
        """
        return self._call(managing_calls.put_schedule(name, dict(definition)))

    def delete_schedule(self, name: str) -> None:
        """End a schedule that was put; its jobs go on. Raises ScheduleNotFoundError."""
        self._call(managing_calls.delete_schedule(name))

    def occurrences(
        self, name: str, *, before: str | datetime | None = None, limit: int | None = None
    ) -> PageBy[JsonObject, str]:
        """What became of a schedule's occurrences, newest first, 50, or up to 1000, a page.

        `before`: an instant, or the last page's `next`. Raises ScheduleNotFoundError.
        """
        return self._call(managing_calls.occurrences(name, before, limit))

    def pause_schedule(self, name: str) -> None:
        """Have a schedule's occurrences become no jobs; what runs goes on. Raises ScheduleNotFoundError."""
        self._call(managing_calls.pause_schedule(name))

    def resume_schedule(self, name: str) -> None:
        """Have a schedule's occurrences become jobs again. Raises ScheduleNotFoundError."""
        self._call(managing_calls.resume_schedule(name))

    def backfill(
        self,
        name: str,
        since: datetime | str,
        until: datetime | str,
        *,
        spread: float | timedelta | None = None,
        check_only: bool = False,
    ) -> Backfilled:
        """Submit a job of each occurrence of a schedule in a span that has none and is not to come, at most 10,000;
        they start spread over `spread` seconds. How many there are, and the jobs' ids; with `check_only` none is made.

        Raises ScheduleNotFoundError, InvalidParametersError for too many, and the refusals of a submit, after which
        those jobs stay that were made.
        """
        return self._call(managing_calls.backfill(name, since, until, spread, check_only))


class ManagingClient(SchedulingClient):
    """What is asked of queues and of the daemon itself; what is asked of jobs is below."""

    def prune(self, job_ids: Sequence[int], last_entry: int) -> tuple[list[int], int]:
        """Delete those of at most 1000 jobs that have ended and have no log entry newer than that id, with all that is
        stored of them: the ids of those that are gone, and how many log entries. For root and the daemon's own user.
        """
        return self._call(managing_calls.prune(job_ids, last_entry))

    def prune_logs(self, before: str, after: int = 0) -> tuple[int, int | None]:
        """Delete some of the log entries behind an id that are older than `before`, a UTC text; how many, and the id
        to go on behind, None at the end. For root and the daemon's own user.
        """
        return self._call(managing_calls.prune_logs(before, after))

    def pause(
        self,
        queue: str = "default",
        *,
        resumes_in: float | timedelta | None = None,
        resumes_at: str | datetime | None = None,
    ) -> str | None:
        """Start no more jobs of a queue until it is resumed, or for so many seconds, or until an instant, by itself;
        that instant, a UTC text, or None. Of one that is paused already this replaces when it ends.
        """
        return self._call(managing_calls.pause(queue, resumes_in, resumes_at))

    def resume(self, queue: str = "default") -> None:
        """Start jobs of a queue again."""
        self._call(managing_calls.resume(queue))

    def hold_class(self, name: str) -> None:
        """Start no more attempts of an approved class until it is resumed; its jobs wait. Raises NotApprovedError."""
        self._call(managing_calls.hold_class(name))

    def resume_class(self, name: str) -> None:
        """Start attempts of a class again, which is held as its jobs crash, or as somebody has asked. Raises
        NotApprovedError.
        """
        self._call(managing_calls.resume_class(name))

    def classes(self) -> list[JsonObject]:
        """What may run: name, doc, methods, policy with the limits, unavailable and held of each approved class."""
        return self._call(managing_calls.classes())

    def limits(self) -> dict[str, str]:
        """What enforces each limit on the daemon's machine, or what that takes, by the limit's name."""
        return self._call(managing_calls.limits())

    def stats(self, usage: bool = False, counts: bool = False) -> JsonObject:
        """How the daemon stands: version, pid, slots, jobs by status and by minute of their end, queues.

        With `usage` also what the latest attempts of each class used, as p50 and p95 in seconds and bytes; with
        `counts` also what attempts and jobs have come to since the daemon started.
        """
        return self._call(managing_calls.stats(usage, counts))

    def running(self, host: str | None = None, *, label: str | None = None) -> list[JsonObject]:
        """The attempts that run, or those on the host of this name or with this label: job_id, number, class_name,
        method_name, queue, pid, started_at, progress, timeout, host; `cpu`, the seconds that the process has used
        until now, and `memory`, its bytes now, None where unknown, as on another host than the one that is asked.
        """
        return self._call(managing_calls.running(host, label))

    def keys(
        self,
        queue: str,
        *,
        search: str | None = None,
        after: str | None = None,
        limit: int | None = None,
        busiest: bool = False,
    ) -> PageBy[JsonObject, str]:
        """How the keys of a queue's jobs stand, in their order, 50, or up to 1000, a page: key, how many of its jobs
        are running, ready and behind, each at most 1000, and next_at, when its rate lets the first behind start.

        `search`: a part of the key. `after`: a key, or the last page's `next`. Pages may be short, or empty. With
        `busiest` those that have most jobs.
        """
        return self._call(managing_calls.keys(queue, search, after, limit, busiest))

    def labels(
        self, *, prefix: str | None = None, after: str | None = None, limit: int | None = None
    ) -> PageBy[JsonObject, str]:
        """The labels that jobs have, in their order, 50, or up to 1000, a page: label, how many jobs have it, at most
        1000, the newest of them, and of the newest 100 how many are pending, running, completed, failed, cancelled.

        `prefix`: those that begin so. `after`: a label, or the last page's `next`.
        """
        return self._call(managing_calls.labels(prefix, after, limit))

    def hosts(self) -> list[JsonObject]:
        """The hosts that work from the daemon's database: name, state ("alive", "draining", "left" or "lost"),
        is_own, seen_at, unseen_for, lost_after, slots, queues, classes, running, version, code_version,
        clock_difference, trouble, id, term, left_at, lost_at, drained_at. Where the database is a file, this one.
        """
        return self._call(managing_calls.hosts())

    def needs(self) -> Needed:
        """What waits for somebody, in the order in which it is shown, at most 100, and how many `more` there are: kind,
        subject, since, sentence, hint.
        """
        return self._call(managing_calls.needs())

    def alerts(
        self, *, is_open: bool = False, before: int | None = None, limit: int | None = None
    ) -> PageBy[JsonObject, int]:
        """What was raised of what needs somebody, newest first: 50, or up to 1000, a page. `is_open`: what is not over;
        `before` is the last page's `next`.
        """
        return self._call(managing_calls.alerts(is_open, before, limit))

    def acknowledge_alert(self, alert_id: int) -> None:
        """Take an open alert up: nobody is told of it any more, but of its end. Raises AlertNotFoundError where there
        is none, or it is over.
        """
        self._call(managing_calls.acknowledge_alert(alert_id))

    def mute_alerts(self, rule: str, seconds: float) -> None:
        """Have a rule tell nobody for so long; 0: it tells again. Raises InvalidParameterError for an unknown one."""
        self._call(managing_calls.mute_alerts(rule, seconds))

    def test_alerts(self, rule: str | None = None) -> list[int]:
        """Have a notice that is marked as a test told to all targets of a rule, or all there are: the jobs that do.

        Raises InvalidParameterError for an unknown rule, and what a submit of a target's job would raise.
        """
        return self._call(managing_calls.test_alerts(rule))

    def drain(self, host: str | None = None) -> JsonObject:
        """Have a host, by its name, or the one that is asked, start nothing new until its daemon is started again; what
        runs there goes on. Keys: host; running, how many attempts do; unseen_for, seconds since it was seen.

        Raises HostNotFoundError, HostGoneError where it has left or counts as lost.
        """
        return self._call(managing_calls.drain(host))

    def host_lost(self, name: str) -> None:
        """Have another host count as lost, so that what it ran runs elsewhere: twice, if it lives after all. For root
        and the daemon's own user. Raises InvalidParameterError where there is none of that name.
        """
        self._call(managing_calls.host_lost(name))

    def host_accept(self) -> bool:
        """Take the database as it is, though it has gone back in time; False where it has not. For root and the
        daemon's own user.
        """
        return self._call(managing_calls.host_accept())

    def matching(self, wanted: Filter, to: str, *, as_of: str | datetime | None = None) -> Matched:
        """How many jobs a wish about all that match would be about, "retry" or "cancel", and which: those that had
        ended, or were submitted, by `as_of`, else by now. Raises InvalidParameterError.
        """
        return self._about_many(managing_calls.matching(wanted, to, as_of))

    def retry_matching(
        self,
        wanted: Filter,
        *,
        as_of: str | datetime,
        expected: int,
        spread: float | timedelta | None = None,
        at_most_once: bool = False,
    ) -> DoneToMany:
        """Run all jobs again that match, with all their retries, their starts `spread` over so many seconds: those
        that `matching` has counted, whose `as_of` and number these are. Each of which a retry would be refused is left
        out, and so are those whose `max_retries` is 0, unless `at_most_once`.

        It goes on if the answer is lost. Raises ChangedError where there are more by now, and nothing is done.
        """
        return self._about_many(managing_calls.retry_matching(wanted, as_of, expected, spread, at_most_once))

    def cancel_matching(self, wanted: Filter, *, as_of: str | datetime, expected: int) -> DoneToMany:
        """The same to cancel them; those that run are stopped."""
        return self._about_many(managing_calls.cancel_matching(wanted, as_of, expected))

    def _about_many(self, call: Call[T]) -> T:
        return self._call_apart(call, managing_calls.FOR_MANY, Breaks())

    def changes(self, *, before: int | None = None, limit: int | None = None) -> Page[JsonObject]:
        """What somebody has changed, or befell the daemon, newest first, 50, or up to 1000, a page: `kind`, `what`,
        `at`, and `who`, None where nobody has. `before`: an id, or the last page's `next`.
        """
        return self._call(managing_calls.changes(before, limit))

    def errors(
        self,
        *,
        since: str | datetime | None = None,
        class_name: str | type | None = None,
        new: bool = False,
        sort: str | None = None,
        before: str | None = None,
        limit: int | None = None,
    ) -> PageBy[JsonObject, str]:
        """Errors that have ended attempts, whichever jobs met them, those that were met last first: 50, or up to 1000,
        a page. `since`: met since then; `class_name`: met by that class; `new`: met first within a day; `sort`: "last",
        or "failed" or "newest" first. `before` is the last page's `next`.
        """
        return self._call(managing_calls.errors(since, class_name, new, sort, before, limit))

    def error(self, error_id: int, *, traits: bool = False) -> ErrorRead:
        """An error with how many of its newest attempts are of each class, what became of their jobs, and its latest
        traceback; with `traits` also what its newest attempts have in common. Raises ErrorGroupNotFoundError.
        """
        return self._call(managing_calls.error(error_id, traits))

    def trend(
        self, of: str = "", span: int = 300, *, since: str | datetime | None = None
    ) -> list[JsonObject]:
        """What ended, or how queues stood, by spans of 300, 3600 or 86400 seconds, oldest first, as far back as they
        are kept: of all classes, of "class:NAME", "queue:NAME", "queues" or "error:ID". A span in which nothing ended
        has no point; `at` is its begin, and null is whatever is not told of that kind.
        """
        return self._call(managing_calls.trend(of, span, since))

    def class_trends(self) -> list[JsonObject]:
        """What ended of each class in the last 24 hours, `day`, and in the 13 days before; how many attempts ended and
        jobs failed each hour.
        """
        return self._call(managing_calls.class_trends())

    def class_stats(self, class_name: str | type, *, limit: int | None = None) -> ClassStats:
        """The same of one class, with its newest `attempts` that have ended, 500 at most."""
        return self._call(managing_calls.class_stats(class_name, limit))

    def ping(self) -> JsonObject:
        """Who answers: vendor, product, version, url, interfaces."""
        return self._call(managing_calls.ping())

    def reload(self) -> str:
        """Have the daemon read its configuration and import the code anew; the new code's version.

        Raises ReloadFailedError; then all stays as it was. It takes as long as the imports do.
        """
        return (self.reload_and_tell()).code_version

    def reload_and_tell(self) -> Reloaded:
        """The same; with what takes a restart, which jobs that wait do not fit the new code, and what is approved with
        words that mean nothing.
        """
        call = managing_calls.reload()
        connection = self._try_borrow() if try_substitute() is None else None
        if connection is not None:
            try:
                return call.answer(self._call_borrowed(connection, call.request, None))
            except BrokenError as error:
                if error.was_sent:  # it may be under way
                    raise
        return self._call_apart(call, None, Breaks())


class GroupingClient(ManagingClient):
    """What is asked of groups of jobs, and of those that come after others."""

    def groups(
        self,
        *,
        state: str | None = None,
        group: int | None = None,
        before: int | None = None,
        limit: int | None = None,
    ) -> Page[JsonObject]:
        """How groups stand, newest first, 50, or up to 1000, a page. `state`: "open", "sealed", "completed", "failed".
        `group`: those in this one. `before`: an id, or the last page's `next`.
        """
        return self._call(calls.groups(state, group, before, limit))

    def wait_group(self, group_id: int, timeout: float | None = None) -> JsonObject:
        """How the group stands once it has ended. Raises GroupNotFoundError, and WaitTimeoutError after `timeout`
        seconds; it goes on.
        """
        return self._waited(WaitingForGroup(group_id, timeout, time.monotonic()))

    def seal_group(self, group_id: int) -> None:
        """Have a group take no more members, so that it ends with the last of them. Raises GroupNotFoundError."""
        self._call(calls.seal_group(group_id))

    def cancel_group(self, group_id: int) -> None:
        """Seal a group, and cancel its members that have not ended. Raises GroupNotFoundError."""
        self._call(calls.cancel_group(group_id))

    def retry_group(self, group_id: int) -> int:
        """Run those members again that failed, so that those go on that were cancelled for it; how many. Raises
        GroupNotFoundError.
        """
        return self._call(calls.retry_group(group_id))

    def graph(self, job_id: int, *, limit: int | None = None, count: int | None = None) -> Graph:
        """What comes before a job and after it, and so on, as far as `limit` jobs, up to 1000, the nearest ones. With
        `count` as many are looked at: the graph has its `total`, and in half of the room those that failed, and what
        they block. Raises JobNotFoundError.
        """
        return self._call(calls.graph(job_id, limit, count))


def _told_why(path: str, error: NoAnswerError) -> NoAnswerError:
    """The same, or that the daemon loads its code, where it says so on another connection."""
    asked = managing_calls.stats()
    try:
        with connected(path, managing_calls.ASIDE) as connection:
            return errors.silence(error, asked.answer(connection.call(asked.request, managing_calls.ASIDE)))
    except BgjobError:
        return error

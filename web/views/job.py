"""The view of one job, and what is asked of it: shapes what the daemon says; no sockets, no markup."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from bgjob.answers import OutputPart, is_for_review
from bgjob.changes_told import MOST_CHANGES, just_before
from bgjob.errors import ElsewhereError, ErrorGroupNotFoundError, MethodNotFoundError
from bgjob.errors_told import where
from bgjob.words import Status

from ..entries import rows_of
from ..exchange import Request, Response, plain, redirect
from ..lists import id_in
from ..printed import Seen, shown_of
from ..stacks import Stacks
from ..steps import again_as, steps_of
from ..values import values_of
from .groups import beside
from .means import Means

_MOST_ENTRIES: Final = 100
_MOST_ATTEMPTS: Final = 20
_FIRST_ATTEMPTS: Final = 3
_MOST_OUTPUT: Final = 64 * 1024

Told = dict[str, Any]


class JobViews:
    """Of one page; remembers where jobs were when somebody looked."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._stacks = Stacks()

    def one(self, request: Request, job_id: int) -> Response:
        """A job with its latest attempts, one of them with the end of what it printed, and what it waits for.

        Of output and log only what is behind what has been `seen`, where that is told.
        """
        job = self._means.client.get(job_id, limit=_MOST_ATTEMPTS).snapshot
        attempts = job["attempts"][::-1]
        has_ended = Status(job["status"]).is_final
        seen = Seen.of(request.query.get("seen", ""))
        chosen = self._chosen(job, request.query.get("attempt", ""))
        values = {
            "job": job,
            "why": self._means.client.why(job_id) if is_for_review(job) or not has_ended else None,
            "is_for_review": is_for_review(job),
            "attempts": attempts,
            "left_out": attempts[-1]["number"] - 1 if attempts else 0,
            "earlier": self._first_of(job),
            "chosen": chosen,
            "error": self._error_of(attempts),
            "used": self._used_by(job),
            **self._log_of(job, seen, request.query.get("log") == "all"),
            **self._printed_by(job, chosen, seen),
            **beside(self._means.client, job_id),
            "again_as": again_as(self._means.client, job),
            **steps_of(self._means.client, job),
            **values_of(self._means.client, job),
            "can_retry": job["status"] in ("failed", "cancelled") and not is_for_review(job),
            "can_cancel": not has_ended,
            "is_asked": request.query.get("ask") == "cancel",
            "looked": self._stacks.shown(job),
        }
        return self._means.shown(request, "job.html", values)

    def _chosen(self, job: Told, told: str) -> Told | None:
        """The attempt of this number, the latest where there is none; None before the first."""
        latest: Told | None = job["attempts"][-1] if job["attempts"] else None
        number = id_in(told)
        if latest is None or not 0 < number < latest["number"]:
            return latest
        found = [one for one in job["attempts"] if one["number"] == number]
        found = found or self._means.client.get(job["id"], before=number + 1, limit=1).snapshot["attempts"]
        return found[0] if found and found[0]["number"] == number else latest

    def _first_of(self, job: Told) -> Sequence[Told]:
        """The first attempts of a job that has more than are told of it otherwise."""
        if not job["attempts"] or job["attempts"][0]["number"] == 1:
            return []
        most = min(_FIRST_ATTEMPTS, job["attempts"][0]["number"] - 1)
        first: Sequence[Told] = self._means.client.get(job["id"], before=most + 1, limit=most).snapshot[
            "attempts"
        ]
        return first

    def _error_of(self, attempts: Sequence[Told]) -> Told | None:
        """What has ended the latest that ended by one, and what was changed before; None where it is forgotten, too."""
        group = next((one["error_group"] for one in attempts if one.get("error_group") is not None), None)
        if group is None:
            return None
        try:
            error = self._means.client.error(group).error
        except (ErrorGroupNotFoundError, MethodNotFoundError):
            return None
        changes = self._means.client.changes(limit=MOST_CHANGES).items
        return error | {"where": where(error), "after": just_before(error["first_at"], changes)}

    def _used_by(self, job: Told) -> Told | None:
        """What the attempt that runs uses now; None where none does, or nobody knows."""
        if job["status"] != Status.RUNNING:
            return None
        try:
            running = self._means.client.running()
        except MethodNotFoundError:
            return None
        return next((one for one in running if one["job_id"] == job["id"]), None)

    def _printed_by(self, job: Told, attempt: Told | None, seen: Seen) -> Told:
        """The end of what the attempt printed, or the host that alone knows it."""
        parts: Sequence[OutputPart] = []
        elsewhere = None
        if attempt is not None:
            try:
                parts = self._means.slow.output_parts(job["id"], attempt["number"], tail=_MOST_OUTPUT)
            except ElsewhereError as error:
                elsewhere = str(error.parameters["host"])
        printed = shown_of(parts, seen, is_whole=attempt is None or attempt["outcome"] is not None)
        return {
            "output": printed.text,
            "output_of": printed.number,
            "output_before": printed.begin,
            "output_end": printed.end,
            "output_rewinds": printed.rewinds,
            "output_elsewhere": elsewhere,
        }

    def _log_of(self, job: Told, seen: Seen, is_all: bool) -> Told:
        """The latest entries, or those behind what has been seen; `last_entry` is the last one, shown or not."""
        page = self._means.client.logs(id=job["id"], after=seen.entry or None, limit=_MOST_ENTRIES)
        entries = page.items if seen.entry else page.items[::-1]
        return {
            "entries": rows_of(entries, job["created_at"], is_all),
            "is_all": is_all,
            "entries_after": seen.entry,
            "last_entry": entries[-1]["id"] if entries else seen.entry,
            "has_older_entries": not seen.entry and page.next is not None,
        }

    def output(self, request: Request, job_id: int, number: int) -> Response:
        """All that is kept of what an attempt printed, as it is stored, as a file."""
        known = self._means.client.get(job_id, before=number + 1, limit=1).snapshot["attempts"]
        if not known or known[-1]["number"] != number:
            return plain(f"job {job_id} has no attempt {number}", 404)
        content = self._means.slow.output(job_id, number)
        told = {
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Disposition": f'attachment; filename="job-{job_id}-attempt-{number}.txt"',
        }
        return Response(200, content, told)

    # What is asked for

    def retry(self, request: Request, job_id: int) -> Response:
        self._means.client.retry(job_id, anyway="anyway" in request.form)
        return self._means.done(request, f"/jobs/{job_id}", f"retry of job {job_id}")

    def cancel(self, request: Request, job_id: int) -> Response:
        """Ends a job that waits; who would stop one that runs is asked first, unless the form says that it is to be."""
        if (
            "stops" not in request.form
            and self._means.client.get(job_id, limit=1).snapshot["status"] == Status.RUNNING
        ):
            return redirect(f"/jobs/{job_id}?ask=cancel")
        self._means.client.cancel(job_id)
        return self._means.done(request, f"/jobs/{job_id}", f"cancel of job {job_id}")

    def stack(self, request: Request, job_id: int) -> Response:
        """Asks a job where it is, and leads to its page, which tells that."""
        self._stacks.keep(job_id, self._means.slow.stack(job_id))
        return self._means.done(request, f"/jobs/{job_id}", f"look at job {job_id}")

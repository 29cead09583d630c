"""The view of one job, and what is asked of it: shapes what the daemon says; no sockets, no markup."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from bgjob.answers import OutputPart, is_for_review
from bgjob.errors import ElsewhereError
from bgjob.words import Status

from ..exchange import Request, Response, redirect
from ..printed import Seen, shown_of
from ..stacks import Stacks
from ..steps import again_as, steps_of
from ..values import values_of
from .groups import beside
from .means import Means

_MOST_ENTRIES: Final = 100
_MOST_ATTEMPTS: Final = 20
_MOST_OUTPUT: Final = 64 * 1024


class JobViews:
    """Of one page; remembers where jobs were when somebody looked."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._stacks = Stacks()

    def one(self, request: Request, job_id: int) -> Response:
        """A job with its latest attempts, the end of what the last of them printed, and what it waits for.

        Of output and log only what is behind what has been `seen`, where that is told.
        """
        job = self._means.client.get(job_id, limit=_MOST_ATTEMPTS).snapshot
        attempts = job["attempts"][::-1]
        seen = Seen.of(request.query.get("seen", ""))
        entries = self._entries(job_id, seen.entry)
        parts, elsewhere = self._parts(job_id) if attempts else ([], None)
        has_ended = Status(job["status"]).is_final
        printed = shown_of(parts, seen, is_whole=has_ended)
        values = {
            "job": job,
            "why": self._means.client.why(job_id) if is_for_review(job) or not has_ended else None,
            "is_for_review": is_for_review(job),
            "attempts": attempts,
            "left_out": attempts[-1]["number"] - 1 if attempts else 0,
            "entries": entries.items if seen.entry else entries.items[::-1],
            "entries_after": seen.entry,
            "has_older_entries": not seen.entry and entries.next is not None,
            "output": printed.text,
            "output_of": printed.number,
            "output_before": printed.begin,
            "output_end": printed.end,
            "output_elsewhere": elsewhere,
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

    def _parts(self, job_id: int) -> tuple[Sequence[OutputPart], str | None]:
        """The end of what the latest attempt printed, or the host that alone knows it."""
        try:
            return self._means.slow.output_parts(job_id, tail=_MOST_OUTPUT), None
        except ElsewhereError as error:
            return [], str(error.parameters["host"])

    def _entries(self, job_id: int, after: int) -> Any:
        """The latest of a job, newest first; behind one that has been seen, oldest first."""
        if after:
            return self._means.client.logs(id=job_id, after=after, limit=_MOST_ENTRIES)
        return self._means.client.logs(id=job_id, limit=_MOST_ENTRIES)

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

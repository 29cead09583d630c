"""What a stand-in tells of its jobs when it is asked; nothing here changes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bgjob.codec import JsonObject
from bgjob.errors import InvalidStateError
from bgjob.testing import listing
from bgjob.testing.job_book import JobBook
from bgjob.testing.stepping import StepBook
from bgjob.words import INTERFACE, Status


class ReadAnswers:
    """The methods that read; `try_open_before` is what a job comes after that keeps it from running."""

    def __init__(
        self, book: JobBook, steps: StepBook, try_open_before: Callable[[JsonObject], str | None]
    ) -> None:
        self._book = book
        self._steps = steps
        self._try_open_before = try_open_before
        self.answers: dict[str, Callable[[JsonObject], JsonObject]] = {
            f"{INTERFACE}.Get": self._get,
            f"{INTERFACE}.List": self._list,
            f"{INTERFACE}.Labels": lambda given: listing.labels(book.rows.values(), given),
            f"{INTERFACE}.Steps": lambda given: steps.of(book.row(given["id"])).page(given),
            f"{INTERFACE}.Stack": self._stack,
            f"{INTERFACE}.Values": lambda given: steps.of(book.row(given["id"])).values.page(given),
            f"{INTERFACE}.Running": lambda given: {"attempts": self.running(given.get("label"))},
            f"{INTERFACE}.Why": lambda given: {"sentence": self._why(book.row(given["id"]))},
        }

    def running(self, label: str | None = None) -> list[JsonObject]:
        """The attempts that run in this process just now, such as the one that asks; or those with this label."""
        with self._book.lock:
            rows = [row for row in self._book.rows.values() if row["status"] == Status.RUNNING]
            return [listing.as_running(row) for row in rows if label is None or label in row["labels"]]

    def _get(self, given: JsonObject) -> JsonObject:
        listing.check_page(given)
        row = self._book.named(given)
        known = row["attempts"]
        earlier = known if given.get("before") is None else known[: given["before"] - 1]
        page = earlier[-(given.get("limit") or len(earlier)) :]
        has_more = len(page) < len(earlier)
        return {"job": {**row, "attempts": page}, "next": page[0]["number"] if has_more else None}

    def _list(self, given: JsonObject) -> JsonObject:
        with self._book.lock:
            return listing.jobs(self._book.rows.values(), given)

    def _stack(self, given: JsonObject) -> JsonObject:
        """No job has a process of its own that could be asked. Raises JobNotFoundError, InvalidStateError."""
        row = self._book.row(given["id"])
        raise InvalidStateError(id=row["id"], status=str(row["status"]))

    def _why(self, row: JsonObject) -> str:
        """What a daemon would say, in fewer words."""
        before = self._try_open_before(row) if row["is_blocked"] else None
        if row["waiting_on"] is not None:
            return f"job {row['id']} waits for {row['waiting_on']}"
        if before is not None:
            return f"job {row['id']} waits for {before}"
        return f"job {row['id']} {_WHY[row['status']].format(attempt=len(row['attempts']), **row)}"


_WHY: Final = {
    Status.PENDING: "is only recorded and will never run: there is no daemon here",
    Status.RUNNING: "runs: attempt {attempt} began at {started_at}, in this process",
    Status.COMPLETED: "completed at {finished_at}, by attempt {attempt}",
    Status.FAILED: "failed at {finished_at}: {error} (attempt {attempt})",
    Status.CANCELLED: "was cancelled at {finished_at}",
}

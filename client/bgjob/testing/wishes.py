"""What a stand-in makes of what is asked of single jobs: to cancel, retry, change or signal them, or do them again."""

from __future__ import annotations

from collections.abc import Callable

from bgjob.codec import JsonObject
from bgjob.errors import IdempotencyConflictError, InvalidParameterError, NotForReviewError
from bgjob.testing import again, changes
from bgjob.testing.flows import cancel
from bgjob.testing.group_answers import Proceed
from bgjob.testing.job_book import JobBook
from bgjob.testing.stepping import StepBook
from bgjob.testing.submissions import Submission, instant
from bgjob.testing.ties import Node
from bgjob.words import FINAL, INTERFACE, Status


class WishAnswers:
    """The methods about single jobs that change them; `checked` makes a submission of a job's fields, or raises its
    refusal.
    """

    def __init__(
        self,
        book: JobBook,
        steps: StepBook,
        proceed: Proceed,
        checked: Callable[[JsonObject], Submission],
    ) -> None:
        self._book = book
        self._steps = steps
        self._proceed = proceed
        self._checked = checked
        self.answers: dict[str, Callable[[JsonObject], JsonObject]] = {
            f"{INTERFACE}.Cancel": lambda given: self.cancel(given["ids"]),
            f"{INTERFACE}.Change": self._change,
            f"{INTERFACE}.Retry": lambda given: self.retry(
                given["ids"], bool(given.get("anyway")), bool(given.get("from_start"))
            ),
            f"{INTERFACE}.Again": self._again,
            f"{INTERFACE}.Settle": self._settle,
            f"{INTERFACE}.Signal": self._signal,
        }

    def cancel(self, ids: list[int]) -> JsonObject:
        with self._book.lock:
            rows = self._book.rows_in(ids, (Status.PENDING, Status.RUNNING))
            for row in rows:
                cancel(row)
            freed = self._book.flows.tell(*[Node("job", row["id"]) for row in rows])
        self._proceed(freed)
        return {"ids": ids}

    def retry(self, ids: list[int], anyway: bool = False, from_start: bool = False) -> JsonObject:
        with self._book.lock:
            rows = self._book.rows_in(ids, (Status.FAILED, Status.CANCELLED))
            free = [row for row in rows if anyway or not self._book.flows.is_kept(row, ids)]
            self._book.uniques.take_again(free)
            for row in rows:
                self._steps.of(row).run_again(from_start=from_start)
            for row in free:
                row.update(status=Status.PENDING, retry_count=0, finished_at=None, error=None)
                row.update(cancel_requested_at=None, scheduled_at=None, updated_at=instant())
                row.update(cancelled_after=None, expires_at=None)
                self._book.flows.put_back(row, anyway)
            freed = self._book.flows.tell(*[Node("job", row["id"]) for row in free])
        self._proceed([*free, *freed])
        return {"ids": ids}

    def _again(self, given: JsonObject) -> JsonObject:
        known = self._book.try_of_key(given.get("idempotency_key"))
        if known is not None:
            row, earlier = known
            if earlier.request != again.request_of(given):
                raise IdempotencyConflictError(id=row["id"])
            return {"id": row["id"], "created": False}
        (source,) = self._book.rows_in([given["id"]], FINAL)
        kept = self._steps.of(source)
        unique_while = self._book.uniques.while_of(source)
        checked = self._checked(again.call_of(given, source, kept.retry_count_at_submit, unique_while))
        wanted = again.submission(given, source, checked)
        count = None if given.get("from_step") is None else kept.count_before(given["from_step"])
        with self._book.lock:
            self._book.uniques.check_free(wanted, source)
        stored = self._book.store([wanted])
        (one,) = stored.jobs
        if count is not None:
            self._steps.of(one.row).take_over(kept, count)
        self._proceed(stored.free)
        return {"id": one.row["id"], "created": True}

    def _settle(self, given: JsonObject) -> JsonObject:
        """None of its jobs ends so that nobody knows what it did: they run in this process."""
        completed, step = given.get("completed"), given.get("step")
        if (completed is None) == (step is None):
            raise InvalidParameterError(parameter="completed")
        wrong = "result" if completed is False else "why"
        if given.get(wrong) is not None:
            raise InvalidParameterError(parameter=wrong)
        row = self._book.row(given["id"])
        raise NotForReviewError(id=row["id"], status=row["status"])

    def _change(self, given: JsonObject) -> JsonObject:
        terms = changes.new_terms(given)
        with self._book.lock:
            rows = self._book.rows_in(given["ids"], (Status.PENDING,))
            changes.change(rows, terms)
            for row in rows if "scheduled_at" in terms else ():
                self._steps.of(row).move_wait(terms["scheduled_at"])
        return {"ids": list(dict.fromkeys(given["ids"]))}

    def _signal(self, given: JsonObject) -> JsonObject:
        row = self._book.named(given)
        with self._book.lock:
            is_new = self._steps.of(row).send(given)
        self._proceed([row])
        return {"id": row["id"], "created": is_new}

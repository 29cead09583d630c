"""The jobs of a stand-in: taken in as they were submitted, all of a request or nothing, and found again; none runs."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from typing import NamedTuple

from bgjob.codec import JsonObject
from bgjob.errors import IdempotencyConflictError, InvalidParameterError, InvalidStateError, JobNotFoundError
from bgjob.testing.flows import Flows
from bgjob.testing.placing import Placing
from bgjob.testing.submissions import Submission
from bgjob.testing.submitted import Jobs, SubmittedJob
from bgjob.testing.ties import NewGroup, Node
from bgjob.testing.uniques import Earlier, Uniques, replace
from bgjob.words import Status


class JobBook:
    """All jobs, what hangs together, and who holds which key. Whoever has several of them change holds the lock, but
    never while code of the application runs; `store` takes it itself.
    """

    def __init__(self) -> None:
        self.jobs = Jobs()
        self.rows: dict[int, JsonObject] = {}
        self.flows = Flows(self.rows)
        self.uniques = Uniques()
        self.lock = threading.Lock()
        self._by_key: dict[str, tuple[JsonObject, Submission]] = {}

    # Taken in

    def store(
        self,
        wanted: Sequence[Submission],
        key_place: str = "",
        groups: Sequence[NewGroup] = (),
        seal: Sequence[int] = (),
    ) -> Stored:
        """All of it, or, where a key stands for another request or a tie is refused, nothing. `key_place` is where the
        request has each one's key.
        """
        stored: list[StoredJob] = []
        new: dict[int, tuple[JsonObject, Submission]] = {}
        by_key: dict[str, tuple[JsonObject, Submission]] = {}
        with self.lock, self.uniques.all_or_none():
            last_id = len(self.rows)
            placing = Placing(self.flows, groups, last_id)
            for index, one in enumerate(wanted):
                known = self._try_known(key_place.format(index), one, by_key)
                earlier = self.uniques.try_held(one, index) if known is None else Earlier(known)
                if earlier is not None:
                    stored.append(StoredJob(earlier.row, created=False, replaced=earlier.is_replaced))
                    placing.know(index, earlier.row["id"], earlier.row["group_id"])
                    continue
                row = one.row(last_id + len(new) + 1)
                stored.append(StoredJob(row))
                self.uniques.take(one, row)
                new[row["id"]] = row, one._replace(ties=placing.place(index, row["id"], one.ties))
                by_key |= {} if one.key is None else {one.key: (row, one)}
            ids = placing.groups(seal)
            placing.commit()
            self._by_key |= by_key
            for one, of_it in zip(wanted, stored, strict=True):
                if of_it.replaced:
                    self._replace(of_it.row, one)
            return Stored(stored, ids, self._take_in(new, [*ids, *seal], seal))

    def _take_in(
        self, new: dict[int, tuple[JsonObject, Submission]], groups: Sequence[int], seal: Sequence[int]
    ) -> list[JsonObject]:
        """Have new jobs known; which may run now."""
        free = [row for row, _ in new.values()]
        for job_id, (row, one) in new.items():
            self.rows[job_id] = row
            self.jobs.append(SubmittedJob(row, one.told_options))
            free += self.flows.add(row, one.ties, one.options.get("if_failed"))
        for group_id in seal:
            free += self.flows.seal(group_id)
        return free + self.flows.tell(*[Node("group", group_id) for group_id in groups])

    def _replace(self, row: JsonObject, by: Submission) -> None:
        replace(row, by)
        self.uniques.take(by, row)
        self.jobs.replace(SubmittedJob(row, by.told_options))

    def _try_known(
        self, place: str, wanted: Submission, here: dict[str, tuple[JsonObject, Submission]]
    ) -> JsonObject | None:
        """The job that this key made before, `here` in the same submission or earlier. Raises where it is another."""
        row, earlier = here.get(wanted.key or "") or self._by_key.get(wanted.key or "") or (None, wanted)
        if row is None or earlier.request == wanted.request:
            return row
        if wanted.key in here:
            raise InvalidParameterError(parameter=place)
        raise IdempotencyConflictError(id=row["id"])

    # Found again

    def named(self, given: JsonObject) -> JsonObject:
        """The job by its id or by its idempotency key. Raises InvalidParameterError, JobNotFoundError."""
        job_id, key = given.get("id"), given.get("key")
        if (job_id is None) is (key is None):
            raise InvalidParameterError(parameter="id" if key is None else "key")
        if key is None:
            return self.row(given["id"])
        if key not in self._by_key:
            raise JobNotFoundError(id=0, key=key)
        return self._by_key[key][0]

    def row(self, job_id: int) -> JsonObject:
        """Raises JobNotFoundError."""
        row = self.rows.get(job_id)
        if row is None:
            raise JobNotFoundError(id=job_id)
        return row

    def rows_in(self, ids: Collection[int], allowed: Collection[Status]) -> list[JsonObject]:
        """These jobs, if all have one of the statuses. Raises JobNotFoundError, InvalidStateError."""
        if not ids:
            raise InvalidParameterError(parameter="ids")
        rows = [self.row(job_id) for job_id in dict.fromkeys(ids)]
        for row in rows:
            if row["status"] not in allowed:
                raise InvalidStateError(id=row["id"], status=str(row["status"]))
        return rows

    def try_of_key(self, key: str | None) -> tuple[JsonObject, Submission] | None:
        """The job that has this idempotency key, and what was asked for."""
        return self._by_key.get(key or "")


class StoredJob(NamedTuple):
    """Whether it is a new one, or what was asked for has taken the place of what it was."""

    row: JsonObject
    created: bool = True
    replaced: bool = False


class Stored(NamedTuple):
    """The jobs; the groups' ids; and which may run now, the new ones first."""

    jobs: list[StoredJob]
    groups: list[int]
    free: list[JsonObject]

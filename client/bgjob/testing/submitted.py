"""What a test sees of the jobs that were submitted; nothing here runs or changes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeVar, overload

from bgjob import request_values
from bgjob.codec import JsonObject
from bgjob.words import Status

T = TypeVar("T")


class SubmittedJob:
    """What was submitted: `options` as the caller gave them, drafts and steps by the ids that they got; and how it
    stands.
    """

    def __init__(self, row: JsonObject, options: JsonObject) -> None:
        self._row = row
        self.id: int = row["id"]
        self.class_name: str = row["class_name"]
        self.method_name: str = row["method_name"]
        self.retry_count: int = row["retry_count"]
        self.options = options

    def __repr__(self) -> str:
        return (
            f"<SubmittedJob {self.id} {self.class_name}::{self.method_name} {self.parameters} {self.status}>"
        )

    @property
    def parameters(self) -> JsonObject:
        """As JSON has them; those among them that were taken from results by now."""
        return copied(self._row["parameters"])

    @property
    def snapshot(self) -> JsonObject:
        """The job as `Client.get` tells it, with its attempts."""
        return copied(self._row)

    @property
    def status(self) -> Status:
        return Status(self._row["status"])

    @property
    def result(self) -> Any:
        """What the method returned; None where it has not, too."""
        return copied(self._row["result"])

    @property
    def error(self) -> str | None:
        """`"Type: message"` of the last attempt that ended badly."""
        error: str | None = self._row["error"]
        return error


class Jobs(Sequence[SubmittedJob]):
    """What was submitted, in order; a repeated idempotency key is no second job."""

    def __init__(self) -> None:
        self._jobs: list[SubmittedJob] = []

    @overload
    def __getitem__(self, index: int) -> SubmittedJob: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[SubmittedJob]: ...
    def __getitem__(self, index: int | slice) -> SubmittedJob | Sequence[SubmittedJob]:
        return self._jobs[index]

    def __len__(self) -> int:
        return len(self._jobs)

    def __repr__(self) -> str:
        return f"<Jobs {self._jobs}>"

    def of(self, class_name: str | type, method_name: str | None = None) -> list[SubmittedJob]:
        """Those of a class, or of one of its methods."""
        name = request_values.class_name_of(class_name)
        return [job for job in self if job.class_name == name and method_name in (None, job.method_name)]

    def replace(self, job: SubmittedJob) -> None:
        """Have it in the place of the one with its id."""
        self._jobs = [job if one.id == job.id else one for one in self._jobs]

    def append(self, job: SubmittedJob) -> None:
        self._jobs.append(job)


def copied(value: T) -> T:
    """A copy that nobody else holds, of what JSON can hold."""
    copy: T = json.loads(json.dumps(value))
    return copy

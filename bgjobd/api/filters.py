"""Which jobs a caller asks for, by the filters that lists and wishes about many have in common."""

from __future__ import annotations

from bgjob.errors import InvalidParameterError
from bgjob.words import STATUS_WORDS, Outcome
from bgjobd.api import schemas
from bgjobd.api.submissions import stored_instant
from bgjobd.store.filters import JobFilter


def job_filter(given: schemas.Filter, within: str = "") -> JobFilter:
    """The same as the store has it. Raises InvalidParameterError, with the name of what is wrong behind `within`."""
    return JobFilter(
        status=_words(given.status, f"{within}status"),
        queue=given.queue,
        class_name=given.class_name,
        method_name=given.method_name,
        since=stored_instant(given.since, f"{within}since"),
        schedule=given.schedule,
        group=given.group,
        key=given.key,
        again_of=given.again_of,
        bulk=given.bulk,
        host=given.host,
        error=given.error,
        label=given.label,
        until=stored_instant(given.until, f"{within}until"),
        longer_than=given.longer_than,
        outcome=_outcome(given.outcome, f"{within}outcome"),
    )


def _words(status: list[str] | None, parameter: str) -> tuple[str, ...] | None:
    for index, word in enumerate(status or ()):
        if word not in STATUS_WORDS:
            raise InvalidParameterError(parameter=f"{parameter}.{index}")
    return None if status is None else tuple(status)


def _outcome(word: str | None, parameter: str) -> str | None:
    if word is not None and word not in tuple(Outcome):
        raise InvalidParameterError(parameter=parameter)
    return word

"""What a signal to a job comes to: kept, in order, until a wait takes it; the job that waits for it wakes; no SQL."""

from __future__ import annotations

from bgjob.errors import (
    InvalidStateError,
    JobNotFoundError,
    PermissionDeniedError,
    TooLargeError,
    TooManySignalsError,
)
from bgjob.words import MOST_SIGNAL_BYTES, MOST_SIGNALS, EntryType, Status
from bgjobd.core.facts import SignalSent
from bgjobd.core.job import Carried, Job
from bgjobd.core.log_entries import signal_message
from bgjobd.host.clock import to_text
from bgjobd.store.applying import apply_fact
from bgjobd.store.batch import Overlay, SentSignal
from bgjobd.store.items.submitter import Submitter
from bgjobd.store.items.wishes import Signal
from bgjobd.store.noting import log
from bgjobd.store.rows import carried_row
from bgjobd.store.waits import is_waited_for
from bgjobd.store.written import Kind


def send(item: Signal, overlay: Overlay) -> tuple[int, bool]:
    """Raises the refusals: of a job that is not there, has ended, or has too many signals; of who may not."""
    job, uid = _addressed(item, overlay)
    _check_owner(job, uid, item.submitter)
    sent = overlay.signals_of(job.id)
    if item.signal_key is not None and any(one.key == item.signal_key for one in sent):
        return job.id, False
    if job.status not in (Status.PENDING, Status.RUNNING):
        raise InvalidStateError(id=job.id, status=job.status)
    untaken = [one for one in sent if one.is_untaken]
    if len(untaken) >= MOST_SIGNALS:
        raise TooManySignalsError(id=job.id, limit=MOST_SIGNALS)
    size = len(item.payload.encode())
    if sum(one.size for one in untaken) + size > MOST_SIGNAL_BYTES:
        raise TooLargeError(limit=MOST_SIGNAL_BYTES, size=size)
    if not sent:
        overlay.write(Kind.COUNTED_STEPS, carried_row(job.id, job.carried or Carried()))
    number = sent[-1].number + 1 if sent else 1
    sent.append(SentSignal(number, item.name, item.signal_key, True, size))
    row = {"job_id": job.id, "number": number, "name": item.name, "payload": item.payload}
    by = {"now": to_text(overlay.batch.now), "uid": item.submitter.uid}
    overlay.write(Kind.NEW_SIGNAL, {**row, "key": item.signal_key, **by})
    told = EntryType.INFO, signal_message(item.name, item.submitter.uid)
    log(overlay, job, job.attempt or None, overlay.batch.now, *told)
    if is_waited_for(job, item.name):
        apply_fact(job.id, SignalSent(item.name), overlay)
    return job.id, True


def _addressed(item: Signal, overlay: Overlay) -> tuple[Job, int | None]:
    """The job that it is sent to, and who has submitted that."""
    if item.job_id is not None:
        return overlay.job(item.job_id), overlay.batch.submitters.get(item.job_id)
    keyed = None if item.key is None else overlay.keyed_as(item.key)
    if keyed is None:
        raise JobNotFoundError(id=0, key=item.key)
    return overlay.job(keyed.id), keyed.submitted_uid


def _check_owner(job: Job, uid: int | None, by: Submitter) -> None:
    is_own = by.uid is not None and uid == by.uid
    if by.may_manage or is_own:
        return
    raise PermissionDeniedError(reason=f"job {job.id} is another user's; who may manage may send it a signal")

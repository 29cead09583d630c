"""What `bgjob show` tells of a job's steps, waits, signals and state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from bgjob import text
from bgjob.answers import StepsRead, is_for_review
from bgjob.client import Client
from bgjob.codec import JsonObject
from bgjob.commands import tables
from bgjob.commands.tables import Column, Cut
from bgjob.filters import RETRIED
from bgjob.words import FINAL

_USUAL: Final = 50
"""So many of the latest steps are told unless all are asked for."""


def as_json(read: StepsRead) -> JsonObject:
    """What is told beside a job, whose own `steps` counts them."""
    state = {"state": read.state, "state_size": read.state_size}
    return {"steps_told": read.steps, **state, "signals": read.signals}


def try_open(client: Client, job: Mapping[str, Any]) -> JsonObject | None:
    """The step that has begun last and is not finished, with its token."""
    return client.steps(job["id"], after=job.get("steps") or 0, limit=_USUAL).open_step


def amid(client: Client, job_id: int) -> list[str]:
    """The names of the steps that a job for review has begun and not finished; none of any other job."""
    job = client.get(job_id, limit=1).snapshot
    told = client.steps(job_id, after=job.get("steps") or 0, limit=_USUAL).steps if is_for_review(job) else []
    return [step["name"] for step in told if step["kind"] == "step" and step["finished_at"] is None]


def lines_of(client: Client, job: Mapping[str, Any], now: float, *, with_values: bool) -> list[str]:
    """Tables of them, each behind an empty line: of the latest, or of all with their values."""
    if with_values:
        read = client.get(job["id"]).steps()
        left_out, signals, first = 0, read.signals, read
    else:
        left_out = max(0, (job.get("steps") or 0) - _USUAL)
        first = client.steps(job["id"], limit=1 if left_out else _USUAL)
        read = client.steps(job["id"], after=left_out, limit=_USUAL) if left_out else first
        signals = [one for one in first.signals if one["taken_by"] is None]
    more = [f"  {left_out} earlier ones; --steps has all"] if left_out else []
    told = ["", *more, *_table(_columns(read.steps, now, with_values))] if read.steps else []
    may_be_taken = job["status"] not in FINAL or job["status"] in RETRIED
    nobody = "nobody yet" if may_be_taken else "nobody"
    sent = ["", *_table(_columns_of_signals(signals, now, nobody, with_values))] if signals else []
    state = _lines_of_state(first, with_values)
    sizes = _meaning_of_sizes(read) if with_values else []
    return told + sent + state + sizes or (["", "it has no steps"] if with_values else [])


def _lines_of_state(read: StepsRead, with_values: bool) -> list[str]:
    """The state in one line, or its size."""
    if read.state_size is None:
        return []
    size = text.size(read.state_size)
    if not with_values:
        return ["", f"its state takes {size}" + ("" if read.state is None else "; --steps shows it")]
    return ["", f"state {size if read.state is None else text.to_json(read.state)}"]


def _meaning_of_sizes(read: StepsRead) -> list[str]:
    """What sizes in the place of values mean; empty where there are none."""
    values = [(step["result"], step["size"]) for step in read.steps]
    values += [(one["payload"], one["size"]) for one in read.signals if one["taken_by"] is None]
    values += [(read.state, read.state_size or 0)]
    if all(_is_told(value, size) for value, size in values):
        return []
    return [
        "",
        "sizes stand for values that are not told: of a class with sensitive parameters, or no readable JSON",
    ]


def _table(columns: Sequence[Column]) -> list[str]:
    return tables.table(columns).splitlines()


def _columns(steps: Sequence[Mapping[str, Any]], now: float, with_values: bool) -> list[Column]:
    unused = [_unused(step) for step in steps]
    return [
        Column("STEP", [text.step_name(step) for step in steps], cut=Cut.END),
        Column("TRIES", [str(step["tries"]) for step in steps], is_number=True),
        Column("BEGAN", [text.when(step["began_at"], now) for step in steps]),
        Column("TOOK", [text.step_took(step, now) for step in steps], cut=Cut.END, least=12),
        *([Column("", unused)] if any(unused) else []),
        *([Column("RESULT", [_value(step, "result") for step in steps], cut=Cut.END)] if with_values else []),
    ]


def _unused(step: Mapping[str, Any]) -> str:
    if step["by_uid"] is not None:
        return f"settled by uid {step['by_uid']}"
    return "" if step["unused_in"] is None else f"did not come in attempt {step['unused_in']}"


def _columns_of_signals(
    signals: Sequence[Mapping[str, Any]], now: float, nobody: str, with_values: bool
) -> list[Column]:
    senders = ["" if one["uid"] is None else f"uid {one['uid']}" for one in signals]
    taken = [nobody if one["taken_by"] is None else one["taken_by"] for one in signals]
    values = [_value(one, "payload") for one in signals]
    return [
        Column("SIGNAL", [one["name"] for one in signals], cut=Cut.END),
        Column("SENT", [text.when(one["sent_at"], now) for one in signals]),
        Column("BY", senders),
        Column("TAKEN BY", taken, cut=Cut.END),
        *([Column("PAYLOAD", values, cut=Cut.END)] if with_values else []),
    ]


def _value(told: Mapping[str, Any], name: str) -> str:
    """The value in one line; the size alone of one that is not told."""
    if told["size"] == 0:
        return "–"
    return text.to_json(told[name]) if _is_told(told[name], told["size"]) else text.size(told["size"])


def _is_told(value: Any, size: int) -> bool:
    """Whether the value is told, or there is none to tell; null in the place of another has not its size."""
    return value is not None or size in (0, len("null"))

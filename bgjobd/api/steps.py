"""The method of org.bgjobd.Jobs that tells the steps of a job, what it waits for, its state, and its signals."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from bgjob.codec import JsonObject, to_json
from bgjob.errors import JobNotFoundError
from bgjobd.api import schemas
from bgjobd.api.dispatch import Encoded
from bgjobd.api.peer import Caller
from bgjobd.forkserver.journal_lines import MAX_NESTING
from bgjobd.forkserver.steps import seed_of, token_of
from bgjobd.host import json_portions
from bgjobd.store.reader import Reader
from bgjobd.store.step_pages import StepsOfJob, Value

if TYPE_CHECKING:
    from bgjobd.daemon.loop import Daemon

_PAGE: Final = 50


async def steps(daemon: Daemon, given: schemas.Steps, caller: Caller) -> Encoded:
    def read(reader: Reader) -> Encoded | None:
        found = reader.steps(given.id, given.after, given.limit or _PAGE)
        if found is None:
            return None
        sensitive = found.sensitive | daemon.current_catalogue.policy(found.class_name).sensitive
        return _encoded(found, seed_of(reader.database_id(), given.id, found.life), not sensitive)

    async with caller.turn:
        reply = await daemon.readers.read(read)
    if reply is None:
        raise JobNotFoundError(id=given.id)
    return reply


def _encoded(found: StepsOfJob, seed: str, shows_values: bool) -> Encoded:
    """Written out where it is read; values pass through as they are stored, but for those that no reply can hold."""
    told = [(step | {"token": _token(seed, step)}, value) for step, value in found.steps]
    steps = _listed(told, "result", shows_values)
    signals = _listed(found.signals, "payload", shows_values)
    state, following = found.state, to_json(found.next)
    value = _told(state.text if state is not None and shows_values else None)
    size = to_json(None if state is None else state.size)
    of_state = f'"state":{value},"signals":[{signals}],"next":{following},"state_size":{size}'
    return Encoded(f'{{"steps":[{steps}],{of_state}}}'.encode())


def _token(seed: str, step: JsonObject) -> str:
    return token_of(seed, step["name"]) if step["kind"] == "step" else ""


def _listed(rows: Iterable[tuple[JsonObject, Value]], name: str, shows_values: bool) -> str:
    return ",".join(
        f'{to_json(row | {"size": value.size})[:-1]},"{name}":{_told(value.text if shows_values else None)}}}'
        for row, value in rows
    )


def _told(text: str | None) -> str:
    """The value, null where no client could read it: a job may have written its journal by itself."""
    try:
        for _ in json_portions.check(text or "null", MAX_NESTING + 1):
            pass
    except (ValueError, json_portions.UnsayableError):
        return "null"
    return text or "null"

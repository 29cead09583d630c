"""What is asked of attempts of other hosts: what they have given the database, or where to ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgjob.errors import ElsewhereError
from bgjobd.store.kept_outputs import KeptOutput
from bgjobd.supervisor.outputs import Part

if TYPE_CHECKING:
    from bgjobd.daemon.loop import Daemon


async def try_kept(daemon: Daemon, job_id: int, number: int) -> KeptOutput | None:
    """What the database has of the output of an attempt that is on another host; None where it is on this one.

    Of no host's, as in a file and of what came from one, it is what came from a server, where there is no file here.
    Raises ElsewhereError where it is not known.
    """
    own, has_file = daemon.peers.own, bool(daemon.outputs.size((job_id, number)))
    if own is None and has_file:
        return None
    place = await daemon.readers.read(lambda reader: reader.hosts.place_of(job_id, number))
    if place.host is None:
        return None if has_file else place.kept
    if place.host == own:
        return None
    if place.kept is None:
        raise ElsewhereError(host=place.host)
    return place.kept


async def check_here(daemon: Daemon, job_id: int, number: int) -> None:
    """Raises ElsewhereError for an attempt of another host."""
    own = daemon.peers.own
    if own is None:
        return
    place = await daemon.readers.read(lambda reader: reader.hosts.place_of(job_id, number))
    if place.host not in (None, own):
        raise ElsewhereError(host=place.host)


async def read_output(
    daemon: Daemon, job_id: int, number: int, offset: int, limit: int, kept: KeptOutput | None
) -> Part:
    """Some of what an attempt has printed: of its file, or of what is kept of it."""
    if kept is None:
        return await daemon.outputs.read((job_id, number), offset, limit)
    begin = max(0, len(kept) + offset) if offset < 0 else offset
    start, data = kept.read(begin, limit)
    return Part(start - begin, start, data)

"""What hosts are given of the outputs of attempts that have ended elsewhere: head and tail, one row an attempt.

Where the database is a file none is written; it may have some that came from a server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bgjobd.store.engines import Execute
from bgjobd.store.items.attempts import OutputEnded
from bgjobd.store.statements.of_attempts import named_host
from bgjobd.store.written import Row

# Of a job that is gone, as one that counted as lost may be, nothing is kept.
KEEP: Final = """
    INSERT INTO job_outputs (job_id, number, head, tail, left_out)
    SELECT id, :number, :head, :tail, :left_out FROM background_jobs WHERE id = :job_id
    ON CONFLICT (job_id, number) DO NOTHING
"""
_SELECT: Final = "SELECT head, tail, left_out FROM job_outputs WHERE job_id = :job_id AND number = :number"
_SELECT_PLACE: Final = f"""
    SELECT {named_host("a")}, a.outcome IS NOT NULL, a.output_bytes FROM job_attempts AS a
    WHERE a.job_id = :job_id AND a.number = :number
"""


@dataclass(frozen=True, slots=True)
class KeptOutput:
    """So many bytes between head and tail are `left_out`."""

    head: bytes = b""
    tail: bytes = b""
    left_out: int = 0

    def __len__(self) -> int:
        """How many bytes the attempt has printed."""
        return len(self.head) + self.left_out + len(self.tail)

    def read(self, offset: int, limit: int) -> tuple[int, bytes]:
        """Where data begins from `offset` on, and at most `limit` bytes of them."""
        behind = len(self.head) + self.left_out
        if offset < len(self.head):
            return offset, self.head[offset : offset + limit]
        offset = max(offset, behind)
        return offset, self.tail[offset - behind :][:limit]


@dataclass(frozen=True, slots=True)
class Place:
    """On which host an attempt is, None where there is but one, and what the database knows of what it printed.

    `kept` is None until it has ended, and where nothing of it was kept.
    """

    host: str | None
    kept: KeptOutput | None = None


def place_of(execute: Execute, job_id: int, number: int) -> Place:
    """Of an attempt that there is not, nowhere."""
    asked = {"job_id": job_id, "number": number}
    host, has_ended, size = execute(_SELECT_PLACE, asked).fetchone() or (None, False, None)
    if not has_ended:
        return Place(host)
    row = execute(_SELECT, asked).fetchone()
    if row is None:
        return Place(host, KeptOutput() if size == 0 and host is not None else None)
    head, tail, left_out = row
    return Place(host, KeptOutput(bytes(head), bytes(tail), left_out))


def row_of(item: OutputEnded) -> Row:
    """The whole row of what an attempt has printed."""
    return {
        "job_id": item.job_id,
        "number": item.number,
        "head": item.head,
        "tail": item.tail,
        "left_out": item.left_out,
    }

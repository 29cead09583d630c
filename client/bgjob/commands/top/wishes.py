"""What somebody at `bgjob top` can want: values that a key makes, and that the lookout carries out."""

from __future__ import annotations

from typing import NamedTuple

from bgjob.commands.top.many import Counted, Many
from bgjob.commands.top.scene import Name


class Leave(NamedTuple):
    """To see no more."""


class Cancel(NamedTuple):
    job_id: int


class Retry(NamedTuple):
    job_id: int


class Pause(NamedTuple):
    queue: str


class Resume(NamedTuple):
    queue: str


class Count(NamedTuple):
    """To know how many these are, before they are retried or cancelled."""

    many: Many


class DoToAll(NamedTuple):
    """To retry or cancel those that were counted."""

    counted: Counted


class Search(NamedTuple):
    """To see only jobs whose class or method has this in its name."""

    only: str


class Read(NamedTuple):
    """To see all of a job, or of an error; or none any more."""

    name: Name | None


class Errors(NamedTuple):
    """To see the errors instead of the failed jobs, or these again."""

    are_wanted: bool


Wish = Leave | Cancel | Retry | Pause | Resume | Count | DoToAll | Search | Read | Errors

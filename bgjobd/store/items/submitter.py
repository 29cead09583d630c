"""Who has asked for what is stored."""

from __future__ import annotations

from typing import NamedTuple


class Submitter(NamedTuple):
    """Who asked, as the kernel says; None where it does not, as for a line of the named pipe.

    `job` is the one whose attempt asked, None where it was none. `may_manage` groups of
    others, too, `may_read` results.
    """

    uid: int | None
    gid: int | None
    pid: int | None
    job: int | None = None
    may_manage: bool = False
    may_read: bool = False

"""Which children of this process are known to somebody, and which of the others come from a fork server of ours."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from typing import Final

from bgjobd.forkserver import subreaper
from bgjobd.supervisor import fork_server_marks

_INIT: Final = 1
"""The pid of the process that every orphan of its pid namespace falls to, as to the first of a container."""


class OwnChildren:
    """`known` tells the pids of fork servers, attempts and hooks, `marks` those that our fork servers carry.

    `others` are children whom the entry point starts, such as the page.
    """

    def __init__(
        self, *, known: Callable[[], Collection[int]], marks: Callable[[], Collection[str | None]]
    ) -> None:
        self._known = known
        self._marks = marks
        # Who was there before the daemon was executed in their parent's place.
        self._inherited = subreaper.children()
        self._may_get_others = bool(self._inherited) or os.getpid() == _INIT
        self.others: set[int] = set()

    def known(self) -> set[int]:
        """Those that are not strays."""
        return self._inherited | self.others | set(self._known())

    def is_ours(self, pid: int) -> bool:
        """Whether a child that nobody knows comes from a fork server: by its mark, where others' orphans may fall to
        this process, for it is init or had children before it was the daemon.
        """
        return not self._may_get_others or fork_server_marks.try_mark_of(pid) in self._marks()

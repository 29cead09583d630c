"""What attempts left behind, ended once it falls to the fork server, and told by name at an attempt's end."""

from __future__ import annotations

from collections.abc import Callable, Collection

from . import subreaper


class Strays:
    """The children of the fork server whom nobody knows. `known` answers which it has forked; of `dying` ones not all
    are reaped yet, and what they had forked falls to it with their end.
    """

    def __init__(self, known: Callable[[], Collection[int]]) -> None:
        self._known = known
        self._helpers: frozenset[int] = frozenset()
        self._told: frozenset[int] = frozenset()
        self.dying: frozenset[int] = frozenset()

    def leave_helpers(self) -> None:
        """Those that are there now are left alone: the imports have started them."""
        self._helpers = frozenset(subreaper.children())

    def on_end(self, pid: int) -> None:
        """A child that is none of those forked here has ended."""
        self._helpers -= {pid}
        self.end()  # what it had forked is ours now

    def end(self) -> dict[int, str]:
        """Kill what ended attempts left behind. Those found anew, by pid with the names of their programs.

        A live attempt takes in its own orphans, so that none of them is here. Of two attempts that end in the same
        moment, the first may be told the other's strays.
        """
        try:
            strangers = subreaper.end_strangers(self._known_or_helpers)
        except OSError:  # no descriptors; the next end is another occasion
            return {}
        found = {pid: name for pid, name in strangers.found.items() if pid not in self._told}
        self.dying = strangers.dying
        # Who was below one of them falls to this process later, and is told already.
        self._told = self._told.union(found) if self.dying else frozenset()
        return found

    def _known_or_helpers(self) -> Collection[int]:
        return self._helpers.union(self._known())

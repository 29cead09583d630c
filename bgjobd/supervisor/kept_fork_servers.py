"""The fork servers that the spool keeps: which may exist, and which of them may still start something."""

from __future__ import annotations

from contextlib import suppress

from bgjobd.supervisor import fork_server_marks
from bgjobd.supervisor.fork_server_marks import Marked
from bgjobd.supervisor.spool_files import SpoolFiles


class KeptForkServers:
    """`earlier` are the marks of those of earlier daemons."""

    def __init__(self, files: SpoolFiles) -> None:
        self._files = files
        self._idle: set[str] = set()
        self.earlier = fork_server_marks.kept(files.path)

    def marks(self) -> frozenset[str]:
        """Those that may exist, or may have left something. Raises OSError for want of descriptors."""
        with self._files.a_descriptor_to_spare():
            # By the descriptor, whatever has become of the path: they have it open as well.
            return fork_server_marks.kept(self._files.descriptor)

    def able(self) -> frozenset[str]:
        """Those that may still carry out a start. Raises OSError, as `marks`."""
        return self.marks() - self._idle

    def holders(self, mark: str | None) -> list[str] | None:
        """Those that may still have a start before them which this one was asked for; None where that is not known:
        those of earlier versions left no marks.

        `mark` is None where it was one of an earlier daemon's. Raises OSError, as `marks`.
        """
        if mark is None and not self.earlier:
            return None
        return sorted((self.earlier if mark is None else {mark}) & self.able())

    def all(self) -> list[Marked]:
        """What is kept of each; a file that tells of none is removed."""
        found = []
        for mark in self.marks():
            with suppress(OSError):  # it cannot be read now: it stays for the next daemon
                server = fork_server_marks.try_read(self._files.path, mark)
                if server is None:
                    self.remove(mark)
                else:
                    found.append(server)
        return found

    def set_idle(self, mark: str) -> None:
        """This one is gone, with all that could still carry out a start of its."""
        self._idle.add(mark)

    def remove(self, mark: str) -> None:
        """Nothing of this one is left."""
        fork_server_marks.remove(self._files.path, mark)
        self._idle.discard(mark)

    def remove_earlier(self) -> None:
        """Those of earlier daemons are another database's."""
        for mark in self.earlier:
            self.remove(mark)
        self.earlier = frozenset()

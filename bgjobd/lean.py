"""structlog without what it imports where it finds it, and the daemon never uses: rich, for tracebacks, is a fifth of
the daemon's start, greenlet 1.5 MiB, for as long as it runs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _absent(name: str) -> Iterator[None]:
    """Meanwhile an import of this module fails, unless it has been imported before."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # what the import system takes for "not there"
    try:
        yield
    finally:
        del sys.modules[name]


with _absent("rich"), _absent("greenlet"):
    import structlog as structlog
    import structlog.typing

__all__ = ["structlog"]

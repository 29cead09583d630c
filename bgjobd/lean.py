"""structlog without rich, which it imports where it finds it, for tracebacks that the daemon never draws: a fifth of
the daemon's start, and memory for as long as it runs.
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


with _absent("rich"):
    import structlog as structlog
    import structlog.typing

__all__ = ["structlog"]

"""Why a server cannot be used, for those as well who are without psycopg."""

from __future__ import annotations

from pathlib import Path

from bgjobd.store.database import UnusableDatabaseError


class UnusableServerError(UnusableDatabaseError):
    """PostgreSQL cannot be used now."""

    def _next(self, path: Path) -> str:
        return "see that the server runs and takes this address, then start again"


class AwayServerError(UnusableServerError):
    """It does not answer, or has no room for us: waiting may mend it."""

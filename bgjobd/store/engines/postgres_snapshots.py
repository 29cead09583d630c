"""Who keeps a server from removing what is dead: for the daemon, and for who checks it from outside."""

from __future__ import annotations

from typing import Final

OLDEST_SNAPSHOT: Final = """
    SELECT pid, extract(epoch FROM clock_timestamp() - xact_start)::double precision,
        concat_ws(', ', usename, nullif(application_name, ''), state)
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
        AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
    ORDER BY xact_start LIMIT 1
"""
"""Pid, seconds, and whose it is."""

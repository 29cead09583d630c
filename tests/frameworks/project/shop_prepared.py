"""What is called before the project's code is imported."""

from __future__ import annotations


def setup() -> None:
    """Django's own setup; and a connection, as an import might make one."""
    import django

    django.setup()
    from django.db import connection

    connection.ensure_connection()

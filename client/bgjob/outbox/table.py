"""The table of an outbox for SQLAlchemy's metadata, so that `create_all` and Alembic know it."""

from __future__ import annotations

from typing import Any

from bgjob.outbox.rows import TABLE


def table(metadata: Any) -> Any:
    """The `sqlalchemy.Table`, in this MetaData; the same as `bgjob outbox --ddl` prints."""
    import sqlalchemy as sql

    return sql.Table(
        TABLE,
        metadata,
        sql.Column("key", sql.String(32), primary_key=True),
        sql.Column("request", sql.Text, nullable=False),
        sql.Column("created_at", sql.DateTime(timezone=True), nullable=False),
        sql.Column("refused", sql.Text),
        sql.Index(f"{TABLE}_created_at", "created_at", "key"),
    )

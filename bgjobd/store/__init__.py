"""Everything that knows SQL or SQLite: models, migrations, the one writer, the read-only reader."""

from bgjobd.host.absence import absent

# Drivers that peewee takes up where it finds one, as may be installed for an application's outbox: psycopg is 60 ms of
# the start, and 16 MiB, for good.
with absent("psycopg", "psycopg2", "psycopg2cffi", "pymysql", "MySQLdb"):
    import peewee  # noqa: F401

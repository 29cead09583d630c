"""Everything that knows SQL: the one writer, readers that cannot write, the tables and their steps.

What goes to the writer is in `items`, the tables in `models`, texts of SQL in `statements`, lists in `pages`, what else
is asked in `reads`.
"""

from bgjobd.host.absence import absent

# Drivers that peewee takes up where it finds one, as may be installed for an application's outbox: psycopg is 60 ms of
# the start, and 16 MiB, for good.
with absent("psycopg", "psycopg2", "psycopg2cffi", "pymysql", "MySQLdb"):
    import peewee  # noqa: F401

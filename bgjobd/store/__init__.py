"""Everything that knows SQL or SQLite: models, migrations, the one writer, the read-only reader."""

"""The table of the outbox."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """Frozen, as each that was released."""

    initial = True

    operations = (
        migrations.CreateModel(
            name="OutboxRow",
            fields=[
                ("key", models.CharField(max_length=32, primary_key=True, serialize=False)),
                ("request", models.TextField()),
                ("backend", models.CharField(blank=True, default="", max_length=255)),
                ("created_at", models.DateTimeField()),
                ("refused", models.TextField(blank=True, null=True)),
            ],
            options={
                "verbose_name": "row of the outbox",
                "verbose_name_plural": "outbox",
                "db_table": "bgjob_outbox",
                "indexes": [
                    models.Index(fields=["backend", "created_at", "key"], name="bgjob_outbox_oldest")
                ],
            },
        ),
    )

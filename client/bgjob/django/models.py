"""The table of the application: the outbox. Who writes it and when it is submitted is elsewhere."""

from __future__ import annotations

from django.db import models

from bgjob.outbox.rows import TABLE


class OutboxRow(models.Model):
    """A job that is not submitted yet.

    `request` is JSON as text, since not every database keeps its order and numbers. `backend` is the alias in TASKS
    whose daemon is meant, empty for the one that `bgjob.run_background_job` asks; `refused` is why that one refuses it.
    """

    key = models.CharField(max_length=32, primary_key=True)
    request = models.TextField()
    backend = models.CharField(max_length=255, default="", blank=True)
    created_at = models.DateTimeField()
    refused = models.TextField(null=True, blank=True)

    class Meta:
        db_table = TABLE
        verbose_name = "row of the outbox"
        verbose_name_plural = "outbox"
        indexes = (models.Index(fields=("backend", "created_at", "key"), name="bgjob_outbox_oldest"),)

    def __str__(self) -> str:
        return str(self.key)

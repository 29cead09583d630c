"""The tables of schedules and their occurrences."""

from __future__ import annotations

from peewee import CharField, CompositeKey, IntegerField, Model, TextField


class Schedule(Model):
    """A schedule: what was configured, as JSON, and up to which occurrence (`cursor`) it was dealt with, since when.

    `uid` and `made_by` are of who made it while the daemon ran; null where the configuration has it.
    `set_by` is the host whose configuration it is of.
    """

    name = CharField(primary_key=True)
    definition = TextField()
    since = CharField()
    cursor = CharField()
    paused_at = CharField(null=True)
    removed_at = CharField(null=True)
    uid = IntegerField(null=True)
    made_by = CharField(null=True)
    set_by = IntegerField(null=True)

    class Meta:
        table_name = "schedules"


class ScheduleOccurrence(Model):
    """What became of an occurrence, or of `count` of them in a row, from `at` to `until`, that were skipped.

    `job_id` is the job that it became; where others overlapped, the one that had not ended.
    """

    name = CharField()
    at = CharField()
    until = CharField()
    count = IntegerField()
    verdict = CharField()
    reason = CharField(null=True)
    job_id = IntegerField(null=True)
    dealt_at = CharField()

    class Meta:
        table_name = "schedule_occurrences"
        primary_key = CompositeKey("name", "at")
        without_rowid = True

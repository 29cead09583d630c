"""The tables of what is counted: by spans of time of classes, queues and errors, and what methods use."""

from __future__ import annotations

from peewee import BlobField, CharField, CompositeKey, FloatField, IntegerField, Model, TextField


class MethodUsage(Model):
    """How long the `runs` of a method that completed took, and how much memory: 64 counts of two bytes each."""

    class_name = CharField()
    method_name = CharField()
    seconds = BlobField()
    memory = BlobField()
    runs = IntegerField()
    completed_at = CharField()
    code_version = CharField(null=True)

    class Meta:
        table_name = "method_usage"
        primary_key = CompositeKey("class_name", "method_name")
        without_rowid = True


class ClassTally(Model):
    """What of a class ended in the `span` seconds from `at` on: attempts that completed, `failed` jobs, attempts that
    were `retried`, those that ended badly by outcome (`bad`, a JSON object); how long attempts took and had waited, 64
    counts of four bytes each; seconds of `cpu`, and the most `memory` of one, in bytes. All classes together are "".
    """

    span = IntegerField()
    at = CharField()
    class_name = CharField()
    completed = IntegerField()
    failed = IntegerField()
    retried = IntegerField()
    bad = TextField()
    seconds = BlobField()
    waited = BlobField()
    cpu = FloatField()
    memory = IntegerField()

    class Meta:
        table_name = "class_tallies"
        primary_key = CompositeKey("span", "at", "class_name")
        without_rowid = True


class QueueTally(Model):
    """Of a queue in the `span` seconds from `at` on: the most jobs that were pending, and running, and the longest
    that one had `waited`, in seconds.
    """

    span = IntegerField()
    at = CharField()
    queue = CharField()
    pending = IntegerField()
    running = IntegerField()
    waited = FloatField()

    class Meta:
        table_name = "queue_tallies"
        primary_key = CompositeKey("span", "at", "queue")
        without_rowid = True


class ErrorTally(Model):
    """So many attempts an error ended in the `span` seconds from `at` on, and by so many of these their job failed."""

    error_group = IntegerField()
    span = IntegerField()
    at = CharField()
    attempts = IntegerField()
    failed = IntegerField()

    class Meta:
        table_name = "error_tallies"
        primary_key = CompositeKey("error_group", "span", "at")
        without_rowid = True

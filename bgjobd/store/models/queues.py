"""The tables of what starts jobs, or holds them back: queues, their turns, rates, held classes."""

from __future__ import annotations

from peewee import CharField, CompositeKey, FloatField, IntegerField, Model, TextField


class Queue(Model):
    """A queue that was paused, until it `resumes_at` or for good; one without a row is open."""

    name = CharField(primary_key=True)
    paused_at = CharField()
    resumes_at = CharField(null=True)

    class Meta:
        table_name = "queues"


class Rate(Model):
    """A bucket of starts, of a class ("class:NAME") or a key ("key:QUEUE:KEY"): `full_at`, in seconds since the epoch,
    it would be full again. Nothing of it starts before `held_until`, as the job `held_by` has asked.
    """

    scope = CharField(primary_key=True)
    full_at = FloatField()
    held_until = FloatField(null=True)
    held_by = IntegerField(null=True)

    class Meta:
        table_name = "rates"
        without_rowid = True


class QueueTurn(Model):
    """The greatest turn of a queue's jobs of a priority that was claimed so far."""

    queue = CharField()
    priority = IntegerField()
    turn = IntegerField()

    class Meta:
        table_name = "queue_turns"
        primary_key = CompositeKey("queue", "priority")
        without_rowid = True


class ClassHold(Model):
    """Why a class is held: `crashes` in a row of its `jobs`, a JSON list of ids, or because somebody `asked`; since
    when, null where it is only being counted. After so many `tries` the next is at `next_try_at`.
    """

    class_name = CharField(primary_key=True)
    reason = CharField()
    code_version = CharField(null=True)
    since = CharField(null=True)
    message = TextField(null=True)
    jobs = TextField()
    crashes = IntegerField()
    tries = IntegerField()
    next_try_at = CharField(null=True)
    by_uid = IntegerField(null=True)

    class Meta:
        table_name = "class_holds"
        without_rowid = True

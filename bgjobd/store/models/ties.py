"""The tables of what ties jobs to others: edges, groups, what follows from an end, unique keys."""

from __future__ import annotations

from peewee import AutoField, CharField, CompositeKey, IntegerField, Model


class JobDependency(Model):
    """An edge: that a job comes after another, or after a group (`of`); `standing` is 0 open, 1 met, 2 failed."""

    job_id = IntegerField()
    of = CharField()
    after_id = IntegerField()
    standing = IntegerField()

    class Meta:
        table_name = "job_dependencies"
        primary_key = CompositeKey("job_id", "of", "after_id")
        without_rowid = True


class JobGroup(Model):
    """A group, its members by how they stand; `since_id` is the newest job before it, `group_id` the group it is in."""

    id = AutoField()
    name = CharField(null=True)
    since_id = IntegerField()
    group_id = IntegerField(null=True)
    total = IntegerField()
    unfinished = IntegerField()
    completed = IntegerField()
    failed = IntegerField()
    cancelled = IntegerField()
    sealed_at = CharField(null=True)
    ended_at = CharField(null=True)
    cancel_requested_at = CharField(null=True)
    created_at = CharField()
    idempotency_key = CharField(null=True)
    submitted_uid = IntegerField(null=True)

    class Meta:
        table_name = "job_groups"


class Consequence(Model):
    """What follows from an end, and no transaction had time for: of jobs after it, those behind `done_to` are left.

    `of` is "job" or "group"; "cancel" where members of a group are to be cancelled, "cancel_nested" its groups.
    """

    of = CharField()
    id = IntegerField()
    done_to = IntegerField()

    class Meta:
        table_name = "consequences"
        primary_key = CompositeKey("of", "id")
        without_rowid = True


class UniqueKey(Model):
    """Which job holds a key of a class and method: by where it stands, and until `held_until` whatever became of it."""

    class_name = CharField()
    method_name = CharField()
    key = CharField()
    job_id = IntegerField()
    held_until = CharField(null=True)

    class Meta:
        table_name = "unique_keys"
        primary_key = CompositeKey("class_name", "method_name", "key")
        without_rowid = True

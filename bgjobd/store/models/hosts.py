"""The tables of the database itself: the hosts that work from it, and facts about it."""

from __future__ import annotations

from peewee import AutoField, CharField, FloatField, IntegerField, Model, TextField


class Host(Model):
    """A host that works from the database. Its daemon has the `term` that it took last, and may write while nobody else
    has taken one; so many `beats` of this term were committed, the last `seen_at` by the database's clock. `lost_after`
    seconds without one others may say that it was lost: `lost_at`. `queues` and `classes` are JSON lists of names,
    `trouble` is what its status says; its clock goes `clock_difference` seconds before the database's. It starts
    nothing new since `drained_at`, for somebody, `drained_by`, has asked for it. `rules` is a JSON object: what its
    configuration says that counts for all.
    """

    id = AutoField()
    uuid = CharField(unique=True)
    name = CharField()
    boot_id = CharField()
    term = IntegerField()
    beats = IntegerField()
    seen_at = CharField()
    lost_after = FloatField(null=True)
    version = CharField()
    schema = IntegerField()
    code_version = CharField(null=True)
    slots = IntegerField()
    queues = TextField()
    classes = TextField()
    clock_difference = FloatField(null=True)
    trouble = TextField(null=True)
    left_at = CharField(null=True)
    lost_at = CharField(null=True)
    drained_at = CharField(null=True)
    drained_by = TextField(null=True)
    rules = TextField(null=True)

    class Meta:
        table_name = "hosts"


class Property(Model):
    """A fact about the database itself, such as its id."""

    name = CharField(primary_key=True)
    value = TextField()

    class Meta:
        table_name = "properties"

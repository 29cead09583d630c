"""The tables of what needs somebody, and of what may explain it: errors, alerts, changes."""

from __future__ import annotations

from peewee import AutoField, BooleanField, CharField, IntegerField, Model, TextField


class ErrorGroup(Model):
    """One error, by its `fingerprint`: of which outcome and type, where, with its latest message and line; when it was
    first and last, by which job and code; so many `attempts` it has ended, so many jobs have `failed` by it for good.
    `is_named`: by a word of the job's own, its `name`. It is back since `back_at`, after a long silence.
    """

    id = AutoField()
    fingerprint = CharField(unique=True)
    outcome = CharField()
    error_type = TextField(null=True)
    message = TextField(null=True)
    place = TextField(null=True)
    line = TextField(null=True)
    class_name = CharField()
    is_named = BooleanField()
    name = TextField(null=True)
    first_at = CharField()
    first_job = IntegerField()
    first_version = CharField(null=True)
    last_at = CharField()
    last_job = IntegerField()
    last_attempt = IntegerField()
    last_version = CharField(null=True)
    attempts = IntegerField()
    failed = IntegerField()
    back_at = CharField(null=True)

    class Meta:
        table_name = "error_groups"


class Alert(Model):
    """A need of a `rule` that was raised, and told, until it was cleared; one is open of a rule and a subject."""

    id = AutoField()
    rule = CharField()
    subject = CharField()
    raised_at = CharField()
    last_at = CharField()
    count = IntegerField()
    cleared_at = CharField(null=True)
    told_at = CharField(null=True)
    end_told_at = CharField(null=True)
    told_count = IntegerField()
    message = TextField()
    facts = TextField()
    acknowledged_at = CharField(null=True)
    acknowledged_uid = IntegerField(null=True)

    class Meta:
        table_name = "alerts"


class AlertMute(Model):
    """A rule that tells nothing until then, for the user of `uid` has said so."""

    rule = CharField(primary_key=True)
    until = CharField()
    uid = IntegerField(null=True)

    class Meta:
        table_name = "alert_mutes"
        without_rowid = True


class Change(Model):
    """What somebody has done, or what befell the daemon, that may explain what came after: of a `kind`, to `what`."""

    id = AutoField()
    at = CharField()
    kind = CharField()
    what = TextField()
    who = TextField(null=True)

    class Meta:
        table_name = "changes"

"""The tables of what a job hands on to its next attempt, or has told: steps, signals, state, values."""

from __future__ import annotations

from peewee import BooleanField, CharField, CompositeKey, IntegerField, Model, TextField


class JobStep(Model):
    """A step of a job: `number` is in which place it was finished, null until then; `attempt` began it last, or
    finished it, `tries` is how many began it. `result` is JSON text; `by_uid`, who has said that it took effect.
    """

    job_id = IntegerField()
    kind = CharField()
    name = CharField()
    turn = IntegerField()
    number = IntegerField(null=True)
    attempt = IntegerField()
    tries = IntegerField()
    began_at = CharField()
    finished_at = CharField(null=True)
    until = CharField(null=True)
    result = TextField(null=True)
    is_awaited = BooleanField()
    timed_out = BooleanField()
    unused_in = IntegerField(null=True)
    by_uid = IntegerField(null=True)

    class Meta:
        table_name = "job_steps"
        primary_key = CompositeKey("job_id", "kind", "name", "turn")
        without_rowid = True


class JobSignal(Model):
    """A signal that was sent to a job, as JSON text; `taken_by` is the wait that it was for ("packed 2")."""

    job_id = IntegerField()
    number = IntegerField()
    name = CharField()
    payload = TextField(null=True)
    key = CharField(null=True)
    sent_at = CharField()
    uid = IntegerField(null=True)
    taken_by = CharField(null=True)

    class Meta:
        table_name = "job_signals"
        primary_key = CompositeKey("job_id", "number")
        without_rowid = True


class JobState(Model):
    """The state of a job, as JSON text: the `saved`-th that its `attempt` has saved."""

    job_id = IntegerField(primary_key=True)
    value = TextField()
    attempt = IntegerField()
    saved = IntegerField()

    class Meta:
        table_name = "job_states"


class JobValue(Model):
    """A value that an attempt has emitted, as JSON text; in a `step`, null outside. Up to it the values of its job,
    those that are deleted by now too, take so many bytes: there it `ends`.
    """

    job_id = IntegerField()
    number = IntegerField()
    ends = IntegerField()
    attempt = IntegerField()
    step = CharField(null=True)
    at = CharField()
    value = TextField()

    class Meta:
        table_name = "job_values"
        primary_key = CompositeKey("job_id", "number")
        without_rowid = True

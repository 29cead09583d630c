"""The tables of jobs, their attempts, log entries, outputs and labels."""

from __future__ import annotations

from peewee import (
    SQL,
    AutoField,
    BlobField,
    BooleanField,
    CharField,
    CompositeKey,
    FloatField,
    IntegerField,
    Model,
    TextField,
)


class BackgroundJob(Model):
    """One job; its id is never used again. `ready` says what a pending one waits for: 0 its time, 1 a slot, 2 others, 3
    those with the same `key`, or their rate: the first of these `waits_until` then.

    `sensitive` is a JSON list of names of parameters, `request_digest` stands for the request that made the job.
    `crashes` counts the attempts in a row, up to the latest, that ended what ran them. `submitted_by_job` is the job
    whose attempt submitted this one, `occurrence` for when a `schedule` has. `waits_for` of its edges are not met, for
    `failed_before` of these it is cancelled, `cancelled_after` names one; `takes` is JSON, what of results it takes.
    `turn` is when it is the turn of a job among those of equal priority. So many `steps` are finished, whose results
    take `step_bytes`; `carries`: the next attempt is given some. `life` counts the times that all of it was forgotten.
    So many values it has `emitted` outside of steps, in one attempt. It calls `again_of`, another job, once more. What
    it did nobody knows since `review_since`; by `settled_at` a person has said it, that was `settled_uid`.
    `host_wanted` is the name of the host that alone may start it. `traceparent` is the span that it was submitted in.
    Retried or cancelled with many it was last by the change `bulk`. `labels` is a JSON list, as in `job_labels`.
    """

    id = AutoField()
    class_name = CharField()
    method_name = CharField()
    parameters = TextField()
    status = CharField()
    retry_count = IntegerField()
    max_retries = IntegerField()
    retry_delay = FloatField()
    backoff = CharField()
    max_retry_delay = FloatField()
    queue = CharField()
    priority = IntegerField()
    timeout = FloatField(null=True)
    scheduled_at = CharField(null=True)
    started_at = CharField(null=True)
    finished_at = CharField(null=True)
    created_at = CharField()
    updated_at = CharField()
    cancel_requested_at = CharField(null=True)
    idempotency_key = CharField(null=True)
    result = TextField(null=True)
    error = TextField(null=True)
    submitted_uid = IntegerField(null=True)
    submitted_gid = IntegerField(null=True)
    submitted_pid = IntegerField(null=True)
    ready = IntegerField()
    request_digest = CharField(null=True)
    sensitive = TextField(null=True)
    crashes = IntegerField(constraints=[SQL("DEFAULT 0")])
    submitted_by_job = IntegerField(null=True)
    schedule = CharField(null=True)
    occurrence = CharField(null=True)
    waits_for = IntegerField(constraints=[SQL("DEFAULT 0")])
    failed_before = IntegerField(constraints=[SQL("DEFAULT 0")])
    if_failed = CharField(null=True)
    cancelled_after = CharField(null=True)
    group_id = IntegerField(null=True)
    takes = TextField(null=True)
    expires_at = CharField(null=True)
    unique_key = CharField(null=True)
    unique_while = CharField(null=True)
    key = CharField(null=True)
    turn = IntegerField(constraints=[SQL("DEFAULT 0")])
    waits_until = CharField(null=True)
    carries = IntegerField(constraints=[SQL("DEFAULT 0")])
    steps = IntegerField(constraints=[SQL("DEFAULT 0")])
    step_bytes = IntegerField(constraints=[SQL("DEFAULT 0")])
    life = IntegerField(constraints=[SQL("DEFAULT 0")])
    retry_count_at_submit = IntegerField(constraints=[SQL("DEFAULT 0")])
    waiting_on = CharField(null=True)
    emitted = IntegerField(constraints=[SQL("DEFAULT 0")])
    again_of = IntegerField(null=True)
    review_since = CharField(null=True)
    settled_at = CharField(null=True)
    settled_uid = IntegerField(null=True)
    host_wanted = CharField(null=True)
    traceparent = CharField(null=True)
    bulk = IntegerField(null=True)
    labels = TextField(null=True)

    class Meta:
        table_name = "background_jobs"


class JobAttempt(Model):
    """One child process of a job, numbered from 1.

    `noted` is how many notes of its journal are in the log; `progress` the latest that it told, as JSON with
    `fraction`, `message` and `at`. `spends_retry` is 0 where it ended by no doing of the job's.
    `error_class` is an exception's type with its module. So many values that it has emitted were kept, `valued`.
    `host` is where it runs, one of `hosts`; `error_group` the error that has ended it. Of several hosts
    `hook_host` calls the hook that its end is owed, and nobody else once it was about to, `hook_called_at`.
    So many seconds its job had `waited` for a slot when it got it.
    """

    job_id = IntegerField()
    number = IntegerField()
    token = CharField()
    boot_id = CharField()
    pid = IntegerField(null=True)
    started_at = CharField(null=True)
    finished_at = CharField(null=True)
    outcome = CharField(null=True)
    exit_code = IntegerField(null=True)
    signal = IntegerField(null=True)
    error_type = TextField(null=True)
    error_message = TextField(null=True)
    traceback = TextField(null=True)
    max_rss = IntegerField(null=True)
    cpu_user = FloatField(null=True)
    cpu_system = FloatField(null=True)
    output_bytes = IntegerField(null=True)
    code_version = CharField(null=True)
    noted = IntegerField(constraints=[SQL("DEFAULT 0")])
    progress = TextField(null=True)
    spends_retry = BooleanField(constraints=[SQL("DEFAULT 1")])
    error_class = TextField(null=True)
    valued = IntegerField(constraints=[SQL("DEFAULT 0")])
    host = IntegerField(null=True)
    error_group = IntegerField(null=True)
    hook_host = IntegerField(null=True)
    hook_called_at = CharField(null=True)
    waited = FloatField(null=True)

    class Meta:
        table_name = "job_attempts"
        primary_key = CompositeKey("job_id", "number")
        without_rowid = True


class JobLog(Model):
    """One log entry of a job; `folded` is what a search looks in, where that is not lower(message).

    `attempts_allowed` is how many attempts the job was to have in all, where the entry is of one that ran.
    """

    id = AutoField()
    job_id = IntegerField()
    attempt = IntegerField(null=True)
    type = CharField()
    message = TextField()
    context = TextField(null=True)
    created_at = CharField()
    folded = TextField(null=True)
    attempts_allowed = IntegerField(null=True)

    class Meta:
        table_name = "job_logs"


class JobOutput(Model):
    """Head and tail of what an attempt has printed, for other hosts; so many bytes between them are `left_out`."""

    job_id = IntegerField()
    number = IntegerField()
    head = BlobField()
    tail = BlobField()
    left_out = IntegerField()

    class Meta:
        table_name = "job_outputs"
        primary_key = CompositeKey("job_id", "number")
        without_rowid = True


class JobLabel(Model):
    """A label of a job, by which it is found."""

    label = CharField()
    job_id = IntegerField()

    class Meta:
        table_name = "job_labels"
        primary_key = CompositeKey("label", "job_id")
        without_rowid = True

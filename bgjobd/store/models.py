"""The tables as peewee models, unbound: column names and formats are the contract with users."""

from __future__ import annotations

from typing import Final

from peewee import (
    SQL,
    AutoField,
    BooleanField,
    CharField,
    CompositeKey,
    FloatField,
    IntegerField,
    Model,
    TextField,
)


class BackgroundJob(Model):
    """One job; its id is never used again. `ready` says that a pending job waits for nothing but a slot.

    `sensitive` is a JSON list of names of parameters, `request_digest` stands for the request that made the job.
    `crashes` counts the attempts in a row, up to the latest, that ended what ran them. `submitted_by_job` is the job
    whose attempt submitted this one.
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
    ready = BooleanField()
    request_digest = CharField(null=True)
    sensitive = TextField(null=True)
    crashes = IntegerField(constraints=[SQL("DEFAULT 0")])
    submitted_by_job = IntegerField(null=True)

    class Meta:
        table_name = "background_jobs"


class JobAttempt(Model):
    """One child process of a job, numbered from 1.

    `noted` is how many notes of its journal are in the log; `progress` the latest that it told, as JSON with
    `fraction`, `message` and `at`. `spends_retry` is 0 where it ended by no doing of the job's.
    `error_class` is an exception's type with its module.
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


class Queue(Model):
    """A queue that was paused; one without a row is open."""

    name = CharField(primary_key=True)
    paused_at = CharField()

    class Meta:
        table_name = "queues"


class Property(Model):
    """A fact about the database itself, such as its id."""

    name = CharField(primary_key=True)
    value = TextField()

    class Meta:
        table_name = "properties"


MODELS: Final[tuple[type[Model], ...]] = (BackgroundJob, JobAttempt, JobLog, Queue, Property)

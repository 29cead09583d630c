"""The tables as peewee models, unbound: column names and formats are the contract with users."""

from __future__ import annotations

from typing import Final

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


class Queue(Model):
    """A queue that was paused, until it `resumes_at` or for good; one without a row is open."""

    name = CharField(primary_key=True)
    paused_at = CharField()
    resumes_at = CharField(null=True)

    class Meta:
        table_name = "queues"


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


class Host(Model):
    """A host that works from the database. Its daemon has the `term` that it took last, and may write while nobody else
    has taken one; so many `beats` of this term were committed, the last `seen_at` by the database's clock. `lost_after`
    seconds without one others may say that it was lost: `lost_at`. `queues` and `classes` are JSON lists of names,
    `trouble` is what its status says; its clock goes `clock_difference` seconds before the database's. It starts
    nothing new since `drained_at`, for somebody, `drained_by`, has asked for it.
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

    class Meta:
        table_name = "hosts"


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


class Change(Model):
    """What somebody has done, or what befell the daemon, that may explain what came after: of a `kind`, to `what`."""

    id = AutoField()
    at = CharField()
    kind = CharField()
    what = TextField()
    who = TextField(null=True)

    class Meta:
        table_name = "changes"


class JobLabel(Model):
    """A label of a job, by which it is found."""

    label = CharField()
    job_id = IntegerField()

    class Meta:
        table_name = "job_labels"
        primary_key = CompositeKey("label", "job_id")
        without_rowid = True


class Property(Model):
    """A fact about the database itself, such as its id."""

    name = CharField(primary_key=True)
    value = TextField()

    class Meta:
        table_name = "properties"


MODELS: Final[tuple[type[Model], ...]] = (
    BackgroundJob,
    JobAttempt,
    JobLog,
    Queue,
    Schedule,
    ScheduleOccurrence,
    JobDependency,
    JobGroup,
    Consequence,
    UniqueKey,
    JobStep,
    JobSignal,
    JobState,
    JobValue,
    Rate,
    QueueTurn,
    Host,
    JobOutput,
    ErrorGroup,
    ClassHold,
    MethodUsage,
    Alert,
    AlertMute,
    ClassTally,
    QueueTally,
    ErrorTally,
    Change,
    JobLabel,
    Property,
)

"""The keys of the configuration, section by section.

What a single value looks like is in `values`, where they come from in `loading`; whether files, users or classes exist
is asked elsewhere.
"""

import math
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    StrictBool,
    StrictInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from bgjob.words import INT_MAX, INT_MIN, MAX_DEPTH, MAX_FRAME, Backoff, Outcome, Unknown
from bgjobd.config import values
from bgjobd.config.values import ValidationContext, around, shown
from bgjobd.core.alerts import JOURNAL, Watch
from bgjobd.core.calendar import Cron, Every
from bgjobd.core.gate import KeyRules, Share
from bgjobd.core.job import MOST_CRASHES
from bgjobd.core.need_kinds import ASKED, COUNTED_FOR, KEYS, OF_METHODS, USUAL, Kind
from bgjobd.core.schedules import Calendar, Missed, Overlap, Rules
from bgjobd.core.stopping import AtStop
from bgjobd.host import container

DAY: Final = 86_400.0


class Section(BaseModel):
    """A table of the file: it knows its keys and refuses others."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


DIRECTORIES: Final = ("state_dir", "runtime_dir", "log_dir")
"""The keys of [daemon] that name directories of ours."""


class Daemon(Section):
    """`[daemon]`: where it lives and how much it does at once."""

    socket: values.SocketPlace
    """A path, or `"unix:PATH"`."""
    fifo: values.Place | None = None
    """The named pipe."""
    state_dir: values.Place
    """Database, outputs, backups."""
    database: values.Database | None = None
    """A database of PostgreSQL in place of the file in `state_dir`, as `"postgresql://bgjobd@db.example/bgjobd"`."""
    runtime_dir: values.Place
    """The spool, working directories."""
    log_dir: values.Place = Field(default_factory=lambda given: given.get("state_dir", Path("/")) / "log")
    """The log file."""
    slots: values.Count = Field(default_factory=container.cores)
    """Attempts at once."""
    spares: values.Whole = 4
    """Processes that wait for attempts; at most as many as free slots."""
    at_stop: AtStop = AtStop.AUTO
    """What becomes of attempts at a stop: `leave`, `stop` or `drain`; `auto`: `stop` in a container, else `leave`."""
    drain: StrictBool = False
    """The same as `at_stop = "drain"`."""

    @property
    def directories(self) -> dict[str, Path]:
        """Those of ours, by their keys."""
        return {key: getattr(self, key) for key in DIRECTORIES}

    @field_validator("drain")
    @classmethod
    def _agrees_with_at_stop(cls, value: bool, info: ValidationInfo) -> bool:
        said = info.data.get("at_stop")
        if value and said in (AtStop.LEAVE, AtStop.STOP):
            raise ValueError(f'must not be true where at_stop = "{said}"; at_stop = "drain" says the same')
        return value

    @property
    def wanted_at_stop(self) -> AtStop:
        """What either key asks for."""
        return AtStop.DRAIN if self.drain else self.at_stop


class Socket(Section):
    """`[socket]`: what a peer may ask of the socket; bytes and seconds."""

    max_frame: values.Size = MAX_FRAME
    """Of a request, and of a line of the named pipe."""
    max_parameters: values.Size = 64 * 1024
    """Of a job's parameters."""
    max_depth: values.Count = MAX_DEPTH
    """Levels of nesting."""
    max_name: values.Count = 255
    """Characters of a name."""
    max_connections: values.Count = 256
    """More are told so and closed."""
    max_connections_per_uid: values.Count = 64
    """The same, of one user."""
    frame_timeout: values.Duration = 10.0
    """For a request that has begun."""
    idle_timeout: values.Duration = 600.0
    """For a quiet connection."""
    max_unread: values.Size = 4 * 1024 * 1024
    """Replies that a peer leaves unread, or that wait behind an earlier one."""
    max_pipelined: values.Count = 64
    """Requests of a connection at once."""
    max_under_way: values.Size = 32 * 1024 * 1024
    """Requests of all that are under way; a quarter of it of one user, and one above 64 KiB."""


class App(Section):
    """`[app]`: the interpreter that the approved classes are imported by, and what it is given."""

    python: values.Executable | None = None  # None: the daemon's own
    """The interpreter of the jobs; else the daemon's."""
    path: tuple[values.Place, ...] = ()
    """Where their code is."""
    env: dict[values.VariableName, values.VariableValue] = Field(default_factory=dict)
    """Variables for it."""
    prepare: values.FunctionPath | None = None
    """A function that is called once, before anything approved is imported, such as `django.setup`."""
    on_failure: values.FunctionPath | None = None
    """A function that is called when a job of any class has failed for good, after the class's own hook."""
    import_timeout: values.Duration = 30.0
    """For `prepare`, for each module, and for describing each class."""
    exit_grace: values.Delay = 5.0
    """For what ends with an attempt, after its outcome: threads, `atexit`, logging; `0` runs nothing."""
    exit_handlers: Literal["own", "all"] = "own"
    """What of `atexit` runs then: what the attempt has registered; `"all"`: what imports have, too."""


class Retry(Section):
    """`[retry]`: for jobs whose caller and class say nothing else."""

    cap: values.Whole = 100
    """The most retries that anybody may ask for."""
    max_retries: values.Whole = 3
    """How often a job is tried again whose caller and class say nothing."""
    retry_delay: values.Delay = 5.0
    """Between two attempts of such a job."""
    backoff: Backoff = Backoff.CONSTANT
    """How that time grows: `constant`, or `exponential`, doubling with jitter."""
    max_retry_delay: values.Delay = 3600.0
    """The longest that an exponential backoff waits."""
    crashes: values.Crashes = MOST_CRASHES
    """After so many in a row a job is given up; `false`: they are ends as any other, and hold no class."""

    @field_validator("max_retries")
    @classmethod
    def _is_within_cap(cls, value: int, info: ValidationInfo) -> int:
        return _within_cap(value, info.data.get("cap"))


class Limits(Section):
    """`[limits]`: of an attempt, for classes that set no other; None (`false` in a file) is no limit."""

    timeout: Annotated[values.Duration | None, values.FalseIsNone] = None
    """Of an attempt, for classes that say nothing, as all here."""
    stop_grace: values.Delay = 10.0
    """From SIGTERM to SIGKILL."""
    memory: Annotated[values.Size | None, values.FalseIsNone] = None
    """Bytes of data; what a cgroup limits a job of the daemon's user can lift."""
    cpu: Annotated[values.Duration | None, values.FalseIsNone] = None
    """Seconds of CPU time."""
    cpu_share: Annotated[values.Cores | None, values.FalseIsNone] = None
    """Cores; by a cgroup."""
    open_files: Annotated[values.Count | None, values.FalseIsNone] = None
    """Descriptors."""
    processes: Annotated[values.Count | None, values.FalseIsNone] = None
    """Processes and threads; by a cgroup, or for its user."""
    file_size: Annotated[values.Size | None, values.FalseIsNone] = None
    """Bytes of a file that is written."""
    max_output: Annotated[values.Size | None, values.FalseIsNone] = 1024 * 1024
    """Of an attempt's output that is kept; `false`: all."""
    work_limit: Annotated[values.Size | None, values.FalseIsNone] = 1024**3
    """Of a class's working directories together, from which on none of its jobs starts; `false`: none."""
    nice: Annotated[StrictInt, Field(ge=-20, le=19)] | None = None
    """The kernel's priority of an attempt, -20 to 19."""
    best_effort: StrictBool = False
    """Go on where a limit cannot be had."""


class Queue(Section):
    """A queue of `[queues]`."""

    slots: values.Count | None = None  # None: as many as the daemon has
    """Attempts of this queue at once; `default` is always there."""
    max_pending: values.Count = 100_000
    """Pending jobs, from which on the queue is full."""
    slots_everywhere: values.Count | None = None
    """Attempts of this queue at once on all hosts together that work from the database; else no limit."""
    slots_per_key: values.Count | None = None
    """Attempts at once of jobs with the same key; else no limit."""
    rate_per_key: values.Rate | None = None
    """How often they start, such as `"10/1s"` or `"100/1m burst 20"`; else no limit."""
    share: Share = Share.NONE
    """Who takes turns among jobs of equal priority: nobody, keys or users (`none`, `key` or `user`)."""

    @property
    def key_rules(self) -> KeyRules:
        """What it says of keys."""
        return KeyRules(self.slots_per_key, self.rate_per_key, self.share)


class Log(Section):
    """`[log]`: what the console shows."""

    console: Literal["auto", "text", "json", "none"] = "auto"
    """Of stderr: `"auto"`, `"text"`, `"json"` or `"none"`."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """Of stderr; `"warning"` and `"error"`: failures only."""
    snapshots: StrictBool = False
    """The job as JSON after "initiated" and "started"."""


class Web(Section):
    """`[web]`: the page."""

    enabled: StrictBool = True
    """The page."""
    allow_remote: StrictBool = False
    """Whether it may listen beyond this machine."""
    bind: values.Address = values.TcpAddress("127.0.0.1", 8377)
    """Where it listens: an address of this machine, or `"unix:PATH"`."""
    per_page: Annotated[StrictInt, Field(ge=1, le=100)] = 10
    """Rows of a list, unless a person chooses."""
    actions: StrictBool = False
    """Whether it can retry, cancel, pause, and run schedules."""
    views: dict[values.ViewName, values.ViewAddress] = Field(default_factory=dict)
    """Names for addresses of it, which it shows over its lists of jobs."""

    @field_validator("bind")
    @classmethod
    def _is_allowed(cls, value: values.Address, info: ValidationInfo) -> values.Address:
        if not value.is_loopback and info.data.get("allow_remote") is False:
            raise ValueError(
                f"must be a loopback address unless allow_remote = true, not {shown(str(value))}"
            )
        return value


class Access(Section):
    """`[access]`: users and "@groups"; None is not set."""

    submit: tuple[values.Member, ...] | None = None
    """Users and `"@groups"` who may submit."""
    manage: tuple[values.Member, ...] | None = None
    """The same, who may cancel, retry, pause, reload and look at a stack."""
    read: tuple[values.Member, ...] | None = None
    """The same, who may look."""
    roles: dict[values.RoleName, values.Account] = Field(default_factory=dict)
    """Roles of PostgreSQL that may submit in their own transactions, each with the user for whom they do."""


class Retention(Section):
    """`[retention]`: seconds; None (`false` in a file) keeps for ever."""

    completed: Annotated[values.Duration | None, values.FalseIsNone] = 14 * DAY
    """For how long jobs that completed are kept."""
    failed: Annotated[values.Duration | None, values.FalseIsNone] = 90 * DAY
    """Those that failed or were cancelled."""
    logs: Annotated[values.Duration | None, values.FalseIsNone] = 30 * DAY
    """Log entries, of whatever job."""


class Traces(Section):
    """`[traces]`: how jobs go on with the traces in which they were submitted."""

    near: values.Duration = 3600.0
    """For so long after the submit attempts go on with its trace; later ones have a trace of their own."""


class Hosts(Section):
    """`[hosts]`: this one among those that share a database of PostgreSQL; of a file in `state_dir` it says nothing."""

    name: values.HostName = Field(default_factory=lambda: socket.gethostname() or "localhost")
    """How it is called; unique among those that live."""
    beat: values.Duration = 5.0
    """How often it says that it lives; at least `"100ms"`."""
    lost_after: Annotated[values.Duration | None, values.FalseIsNone] = 600.0
    """Without a beat for so long, others take over what it ran; at least four times `beat`; `false`: never."""
    outputs: values.SizeOrNone = 256 * 1024
    """Of an attempt's output that others are given when it ends; `0`: none."""

    @field_validator("beat")
    @classmethod
    def _is_seldom_enough(cls, value: float) -> float:
        if value < _SHORTEST_BEAT:
            raise ValueError(f"must be at least {_SHORTEST_BEAT:g} s, not {shown(value)}")
        return value

    @field_validator("lost_after")
    @classmethod
    def _outlasts_beats(cls, value: float | None, info: ValidationInfo) -> float | None:
        beat = info.data.get("beat")
        if value is not None and beat is not None and value < _BEATS_MISSED * beat:
            raise ValueError(
                f"must be at least four times beat, {_BEATS_MISSED * beat:g} s, or one late beat would be the end of "
                f"a host; not {shown(value)}"
            )
        return value


_SHORTEST_BEAT: Final = 0.1
_BEATS_MISSED: Final = 4


def _known_queue(value: str | None, info: ValidationInfo) -> str | None:
    queues = around(info).queues
    if value is not None and queues is not None and value not in queues:
        raise ValueError(f"must be a queue of [queues] ({', '.join(sorted(queues))}), not {shown(value)}")
    return value


def _retries_within_cap(value: int | None, info: ValidationInfo) -> int | None:
    return value if value is None else _within_cap(value, around(info).cap)


class ClassPolicy(Section):
    """A class of `[approved]`; None is not set."""

    methods: Annotated[tuple[values.MethodName, ...], values.NotEmpty] | None = None
    """Those that may be called; else all that can."""
    queue: values.Text | None = None
    """For callers that say nothing; else `default`."""
    priority: Annotated[StrictInt, Field(ge=INT_MIN, le=INT_MAX)] | None = None
    """For callers that say nothing, higher goes first; else 0."""
    slots: values.Count | None = None
    """Attempts of this class at once, however many queues they come from."""
    slots_everywhere: values.Count | None = None
    """The same on all hosts together that work from the database; else no limit."""
    rate: values.Rate | None = None
    """How often they start, such as `"100/1m"` or `"100/1m burst 20"`; else no limit."""
    key: values.Text | None = None
    """The parameter whose value is a job's key, where its caller gives none."""

    max_retries: values.Whole | None = None
    """Before the class attribute and `[retry]`."""
    retry_delay: values.Delay | None = None
    """The same."""
    backoff: Backoff | None = None
    """The same."""
    max_retry_delay: values.Delay | None = None
    """The same."""
    crashes: values.Crashes | None = None
    """The same."""
    retry_lost: StrictBool | None = None
    """Whether an attempt whose end nobody saw is retried; else it is."""
    retry_on: tuple[values.RetriableOutcome, ...] | None = None
    """The outcomes that are retried; else all that are bad."""
    unknown: Unknown | None = None
    """What becomes of a job of which nobody knows what it did, `failed` or `review`; else it has failed."""
    throttle: StrictBool | None = None
    """Whether its jobs may keep others from starting, by `Throttled`; else they may."""

    exit_grace: values.Delay | None = None
    """Before `[app]`: for what ends with an attempt, after its outcome."""
    exit_handlers: Literal["own", "all"] | None = None
    """The same: what of `atexit` runs then."""

    timeout: values.Duration | None = None
    """Before `[limits]`, as all of the next."""
    stop_grace: values.Delay | None = None
    """From SIGTERM to SIGKILL."""
    memory: values.Size | None = None
    """Bytes of data."""
    cpu: values.Duration | None = None
    """Seconds of CPU time."""
    cpu_share: values.Cores | None = None
    """Cores."""
    open_files: values.Count | None = None
    """Descriptors."""
    processes: values.Count | None = None
    """Processes and threads."""
    file_size: values.Size | None = None
    """Bytes of a file that is written."""
    max_output: values.Size | None = None
    """Of an attempt's output that is kept."""
    work_limit: values.Size | None = None
    """Of its working directories together, from which on none of its jobs starts."""
    nice: Annotated[StrictInt, Field(ge=-20, le=19)] | None = None
    """The kernel's priority of an attempt, -20 to 19."""

    user: values.Account | None = None
    """Whom its attempts run as, where the daemon is root."""
    group: values.Account | None = None
    """The same, of groups."""
    writable: tuple[values.AbsolutePlace, ...] | None = None
    """Where its attempts may write, beside their own directory."""
    network: values.Network = None
    """`false`: its attempts have no network but a loopback of their own; `"no-tcp"`: none by TCP; else the daemon's."""
    umask: values.Umask | None = None
    """What is taken from the modes of files that its attempts make, such as `"022"`; else `"077"`."""
    unique: Annotated[tuple[values.Text, ...], values.NotEmpty] | None = None
    """The parameters whose values are a job's unique key, where its caller gives none."""
    sensitive: tuple[values.Text, ...] | None = None
    """Names of parameters whose values are shown nowhere."""

    _is_known = field_validator("queue")(_known_queue)
    _is_within_cap = field_validator("max_retries")(_retries_within_cap)

    @field_validator("sensitive")
    @classmethod
    def _keeps_secrets_out_of_keys(
        cls, value: tuple[str, ...] | None, info: ValidationInfo
    ) -> tuple[str, ...] | None:
        both = sorted(set(value or ()) & set(info.data.get("unique") or ()))
        if both:
            raise ValueError(f"must not name {both[0]}, which unique does: who knows the key could guess it")
        return value

    @field_validator("retry_on")
    @classmethod
    def _agrees_about_lost(
        cls, value: tuple[Outcome, ...] | None, info: ValidationInfo
    ) -> tuple[Outcome, ...] | None:
        if value is not None and Outcome.LOST in value and info.data.get("retry_lost") is False:
            raise ValueError("must not name lost where retry_lost = false")
        return value

    @field_validator("unknown")
    @classmethod
    def _is_not_repeated_either(cls, value: Unknown | None, info: ValidationInfo) -> Unknown | None:
        if value is Unknown.REVIEW and info.data.get("retry_lost", False) is not False:
            raise ValueError(
                "must have retry_lost = false beside it: else what is lost runs again, and nobody is asked "
                "what it did"
            )
        return value


class Schedule(Section):
    """A schedule of `[schedules]`, whose job is submitted again and again; None is not set."""

    job: values.JobPath
    """What is submitted: class and method."""
    parameters: values.JsonObject = Field(default_factory=dict)
    """Its parameters."""
    cron: values.CronExpression | None = None
    """When: five fields, or `"@daily"` and the like."""
    every: values.Interval | None = None
    """The same, by elapsed time."""
    starting: values.Instant | None = None
    """An instant that `every` counts from; else `1970-01-01T00:00:00Z`."""
    zone: values.Zone | None = None
    """Whose clocks `cron` is of; else `"UTC"`."""
    missed: Missed = Missed.RUN_ONCE
    """What runs of occurrences that nobody dealt with in time: `skip`, `run_once` or `run_all`."""
    overlap: Overlap = Overlap.SKIP
    """What becomes of one while a job of it has not ended: `skip`, `allow`, `wait` or `cancel`."""
    late: values.Interval = 60.0
    """From when on an occurrence is missed; at least 1 s, for each is dealt with a moment after its time."""
    missed_limit: Annotated[StrictInt, Field(ge=1, le=1000)] = 100
    """The most jobs that `run_all` makes at once."""
    jitter: values.Duration | None = None
    """Up to so much later it starts, at each occurrence another part of it."""

    queue: values.Text | None = None
    """Of the job, before what its class says, as all of the next."""
    priority: Annotated[StrictInt, Field(ge=INT_MIN, le=INT_MAX)] | None = None
    """Higher goes first."""
    timeout: values.Duration | None = None
    """Of an attempt."""
    max_retries: values.Whole | None = None
    """How often it is tried again."""
    retry_delay: values.Delay | None = None
    """Between two attempts."""
    backoff: Backoff | None = None
    """How that time grows."""
    unique_key: values.Key | None = None
    """An occurrence is skipped while another job of the method has this key."""
    expires_in: values.Duration | None = None
    """A job that has not started so long after its time is cancelled."""
    key: values.Key | None = None
    """What the job shares with others of its queue; else the parameter that its class names."""
    host: values.HostName | None = None
    """Of several hosts the one that alone starts it."""
    labels: values.Labels = ()
    """What its jobs are found by."""

    _is_known = field_validator("queue")(_known_queue)
    _is_within_cap = field_validator("max_retries")(_retries_within_cap)

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        wrong = next((told for is_wrong, told in self._disagreements() if is_wrong), None)
        if wrong is not None:
            raise ValueError(wrong)
        return self

    def _disagreements(self) -> Iterator[tuple[bool, str]]:
        has_cron, has_every = self.cron is not None, self.every is not None
        yield has_cron and has_every, "must not have both cron and every; two schedules may have the same job"
        yield not (has_cron or has_every), 'must have cron, such as "30 2 * * *", or every, such as "15m"'
        yield has_every and self.zone is not None, "must not have zone beside every, which is elapsed time"
        yield has_cron and self.starting is not None, "must not have starting beside cron, only beside every"
        yield (
            self.missed is Missed.RUN_ALL and self.overlap in (Overlap.SKIP, Overlap.CANCEL),
            f'must not have missed = "run_all" with overlap = "{self.overlap}", by which all but one would not run; '
            'overlap = "wait" has them run one after the other',
        )
        yield (
            self.jitter is not None and self.jitter >= (self.every or math.inf),
            "must have a jitter below every",
        )

    @property
    def calendar(self) -> Calendar:
        """When its occurrences are."""
        if self.cron is not None:
            return Cron(self.cron, UTC if self.clocks == "UTC" else ZoneInfo(str(self.clocks)))
        return Every(self.every or 0.0, self.starting or 0.0)

    @property
    def clocks(self) -> str | None:
        """The zone whose clocks `cron` is of; None with `every`, which is elapsed time."""
        return None if self.cron is None else self.zone or "UTC"

    @property
    def told(self) -> dict[str, Any]:
        """What it is, as socket and commands tell it."""
        return {
            "job": self.job,
            "cron": self.cron,
            "every": self.every,
            "zone": self.clocks,
            "description": self.calendar.description,
            "missed": self.missed,
            "overlap": self.overlap,
        }

    @property
    def rules(self) -> Rules:
        """What becomes of them."""
        return Rules(self.missed, self.overlap, self.late, self.missed_limit)


NOTICE: Final = "bgjob.alerts.Notice"
NOTICE_METHODS: Final = ("command", "smtp")
"""The class whose jobs tell targets; nobody can submit any."""


class AlertTarget(Section):
    """Who is told, a target of `[alerts.targets]`: by a job, a command or a mail; one of the three."""

    job: values.JobPath | None = None
    """A method of a class of yours, which gets the notice as `notice`."""
    command: Annotated[tuple[values.Text, ...], values.NotEmpty] | None = None
    """A program by its absolute path, and its arguments; the notice comes on stdin, as JSON."""
    smtp: values.Text | None = None
    """A mail server, as `"127.0.0.1:25"`, without a login."""
    to: tuple[values.Text, ...] = ()
    """Whom mail goes to."""
    sender: values.Text | None = None
    """Whom mail is from; else `bgjobd@` and the machine's host name."""

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        given = [name for name in ("job", "command", "smtp") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("must have one of job, command and smtp")
        if (self.smtp is not None) != bool(self.to):
            raise ValueError("must have to beside smtp, and beside nothing else")
        if self.command is not None and not self.command[0].startswith("/"):
            raise ValueError(f"must have a command with an absolute path, not {shown(self.command[0])}")
        if self.smtp is not None and not self.smtp.rpartition(":")[2].isdecimal():
            raise ValueError(f'must have smtp with a port, such as "127.0.0.1:25", not {shown(self.smtp)}')
        return self


class AlertRule(Section):
    """A rule of `[alerts.rules]`: a kind by its own name, with other numbers, or one `when`; None is not set."""

    when: Kind | None = None
    """The kind of what it looks for; of a rule by the name of a kind, that one."""
    job: values.Text | None = None
    """A class, or class and method, of whose jobs alone."""
    queue: values.Text | None = None
    """The queue alone."""
    schedule: values.Text | None = None
    """The schedule alone."""
    longer: values.Duration | None = None
    """How long it has to last."""
    times: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """How often the usual."""
    least: values.Count | None = None
    """Of how many it is known what is usual, or how bad they are."""
    last: values.Count | None = None
    """How many in a row."""
    over: values.Duration | None = None
    """Of how long the last attempts count; at most an hour."""
    above: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Which share has to be bad."""
    within: values.Duration | None = None
    """Of `no_success`: how long it may take until one completes."""
    tell: tuple[values.Text, ...] | None = None
    """Whom; none: it is only shown; else `alerts.tell`."""


def _check_rule(name: str, rule: AlertRule) -> None:
    """Raises ValueError where it means nothing, or less than was meant."""
    is_kind = name in list(Kind)
    if rule.when is None and not is_kind:
        raise ValueError(f"rules.{name} must have when: the kind of what it looks for")
    if is_kind and rule.when not in (None, name):
        raise ValueError(f"rules.{name} is the kind of this name, and cannot have when = {shown(rule.when)}")
    kind = Kind(name) if rule.when is None else rule.when
    odd = sorted(rule.model_fields_set - {"when", "tell"} - KEYS[kind])
    if odd:
        has = ", ".join(sorted(KEYS[kind])) or "no key"
        raise ValueError(f"rules.{name} cannot have {odd[0]}: {kind} takes {has}, beside tell")
    if kind is Kind.NO_SUCCESS and None in (rule.job, rule.within):
        raise ValueError(f"rules.{name} must have job and within: what is to complete, and within what time")
    if rule.job is not None and "::" in rule.job and kind not in OF_METHODS:
        raise ValueError(f"rules.{name}.job must be a class, for {kind} knows no methods")
    if rule.over is not None and rule.over > COUNTED_FOR:
        raise ValueError(f"rules.{name}.over must be an hour at most: for so long it is counted")


class Alerts(Section):
    """`[alerts]`: who is told of what needs somebody; nobody, unless there is a target."""

    tell: tuple[values.Text, ...] = ()
    """The targets of kinds and rules that say nothing else; `journal` is the daemon's own log."""
    quiet: values.Duration = 3600.0
    """The same again at the earliest."""
    gather: values.Duration = 10.0
    """What comes within it is one notice."""
    most: values.Count = 20
    """Notices an hour; one more says that others wait."""
    targets: dict[values.ScheduleName, AlertTarget] = Field(default_factory=dict)
    """By name."""
    rules: dict[values.ScheduleName, AlertRule] = Field(default_factory=dict)
    """By name."""

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        known = {JOURNAL, *self.targets}
        for name, rule in self.rules.items():
            _check_rule(name, rule)
        for place, told in [
            ("tell", self.tell),
            *((f"rules.{n}.tell", r.tell or ()) for n, r in self.rules.items()),
        ]:
            unknown = [one for one in told if one not in known]
            if unknown:
                raise ValueError(
                    f"{place} must name targets ({', '.join(sorted(known))}), not {shown(unknown[0])}"
                )
        return self

    @property
    def is_on(self) -> bool:
        """Whether anything is told, and so stored."""
        return bool(self.tell) or any(rule.tell for rule in self.rules.values())

    @property
    def needs_notice(self) -> bool:
        """Whether some target is told by a job of ours, be it a test alone."""
        return any(target.job is None for target in self.targets.values())

    @property
    def watches(self) -> tuple[Watch, ...]:
        """All rules, those of the kinds first."""
        own = [kind for kind in Kind if kind not in ASKED or kind.value in self.rules]
        names = [*own, *(name for name in self.rules if name not in own)]
        return tuple(self._watch(str(name)) for name in names)

    @property
    def awaiting(self) -> tuple[Watch, ...]:
        """Those that wait for a success; none where nobody is told anything, and so nothing is stored of them."""
        waiting = (one for one in self.watches if one.rule.kind is Kind.NO_SUCCESS)
        return tuple(waiting) if self.is_on else ()

    def _watch(self, name: str) -> Watch:
        asked = self.rules.get(name, AlertRule())
        kind = Kind(name) if asked.when is None else asked.when
        given = {key: getattr(asked, key) for key in asked.model_fields_set - {"when", "tell"}}
        usual = USUAL[kind]
        told = self.tell if asked.tell is None else asked.tell
        return Watch(
            name, replace(usual, **{key: one for key, one in given.items() if one is not None}), told
        )


class Config(Section):
    """Everything that was configured, checked and with its defaults; paths are absolute."""

    daemon: Daemon
    socket: Socket = Field(default_factory=Socket)
    app: App = Field(default_factory=App)
    retry: Retry = Field(default_factory=Retry)
    limits: Limits = Field(default_factory=Limits)
    queues: dict[values.QueueName, Queue] = Field(default_factory=dict)
    log: Log = Field(default_factory=Log)
    web: Web = Field(default_factory=Web)
    access: Access = Field(default_factory=Access)
    retention: Retention = Field(default_factory=Retention)
    traces: Traces = Field(default_factory=Traces)
    hosts: Hosts = Field(default_factory=Hosts)
    approved: dict[values.ClassPath, ClassPolicy] = Field(default_factory=dict)
    schedules: dict[values.ScheduleName, Schedule] = Field(default_factory=dict)
    alerts: Alerts = Field(default_factory=Alerts)

    @property
    def host(self) -> str | None:
        """The name of this host, where others may work from the same database."""
        return None if self.daemon.database is None else self.hosts.name

    _file: Path | None = PrivateAttr(default=None)

    @property
    def file(self) -> Path | None:
        """The file it came from; None if there is none."""
        return self._file

    @property
    def fenced_after(self) -> float | None:
        """Seconds without a beat after which others repeat what ran here; None where no others do by themselves."""
        return None if self.daemon.database is None else self.hosts.lost_after

    @field_validator("queues")
    @classmethod
    def _has_default(cls, value: dict[str, Queue]) -> dict[str, Queue]:
        return {"default": Queue()} | value

    def model_post_init(self, context: object) -> None:
        """Takes the file from the surroundings: as a field it would be a key that files may set."""
        if isinstance(context, ValidationContext):
            self._file = context.file


def _within_cap(value: int, cap: object) -> int:
    if isinstance(cap, int) and value > cap:
        raise ValueError(f"must be at most the cap of [retry], {cap}, not {shown(value)}")
    return value

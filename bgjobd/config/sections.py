"""The keys of the configuration, section by section.

Those of `[approved]`, `[schedules]` and `[alerts]` are in files of their own, and taken together in `Config` here.
What a single value looks like is in `values`, where they come from in `loading`; whether files, users or classes exist
is asked elsewhere.
"""

import socket
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, PrivateAttr, StrictBool, StrictInt, ValidationInfo, field_validator

from bgjob.words import MAX_DEPTH, MAX_FRAME, Backoff
from bgjobd.config import values
from bgjobd.config.alerts import Alerts
from bgjobd.config.approved import ClassPolicy
from bgjobd.config.schedules import Schedule
from bgjobd.config.section import Section, within_cap
from bgjobd.config.values import ValidationContext, shown
from bgjobd.core.gate import KeyRules, Share
from bgjobd.core.job import MOST_CRASHES
from bgjobd.core.stopping import AtStop
from bgjobd.host import container

DAY: Final = 86_400.0


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
        return within_cap(value, info.data.get("cap"))


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
    base_path: values.BasePath = ""
    """What each of its addresses begins with behind a web server, such as `"/jobs"`."""
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

"""The keys of a class of `[approved]`; what holds for its jobs, with all that says nothing, is in `policy`."""

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictInt, ValidationInfo, field_validator

from bgjob.words import INT_MAX, INT_MIN, Backoff, Outcome, Unknown
from bgjobd.config import values
from bgjobd.config.section import Section, known_queue, retries_within_cap


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

    _is_known = field_validator("queue")(known_queue)
    _is_within_cap = field_validator("max_retries")(retries_within_cap)

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

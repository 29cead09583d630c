"""The words that client and daemon share: statuses, outcomes, types, names and bounds of the socket; no behaviour."""

from enum import StrEnum
from typing import Final

INTERFACE: Final = "org.bgjobd.Jobs"
SERVICE: Final = "org.varlink.service"

MAX_FRAME: Final = 1024 * 1024
MAX_DEPTH: Final = 32
INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1
KEY_LENGTHS: Final = range(1, 256)
"""How many characters a key may have, and a name of a step or signal."""
MAX_JOBS: Final = 10_000
"""How many jobs a request may have."""
MAX_EDGES: Final = 20_000
"""How many others all jobs of a request may come after."""
MAX_PREDECESSORS: Final = 1000
"""How many others a job may come after."""
MAX_GROUP_DEPTH: Final = 8
"""How many groups may be in one another."""
MOST_STEPS: Final = 1000
"""How many steps and waits a job may have."""
MOST_STEP_BYTES: Final = 1024 * 1024
"""What the results of all of them may take, as JSON."""
MOST_STATE_BYTES: Final = 64 * 1024
"""What a job's state may take, as JSON."""
MOST_SIGNALS: Final = 100
"""How many signals that nobody has taken a job may have."""
MOST_SIGNAL_BYTES: Final = 1024 * 1024
"""What those may bring together, as JSON."""
MOST_PAYLOAD_BYTES: Final = 64 * 1024
"""What one of them may bring."""
MOST_VALUES: Final = 10_000
"""How many values an attempt may emit, and of a job are kept."""
MOST_BYTES_OF_VALUES: Final = 1024 * 1024
"""What those of an attempt may take together, as JSON."""
MOST_BYTES_OF_A_VALUE: Final = 64 * 1024
"""What one of them may take."""
MOST_BYTES_KEPT: Final = 4 * 1024 * 1024
"""What those of a job that are kept may take: the newest are."""


class Status(StrEnum):
    """Where a job stands."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens to the job unless a person asks for it."""
        return self in FINAL


class ChangeKind(StrEnum):
    """What somebody has changed, or befell the daemon, that may explain what came after."""

    STARTED = "started"
    LOADED = "loaded"
    RELOAD_FAILED = "reload_failed"
    PAUSED = "paused"
    RESUMED = "resumed"
    RETRIED_MANY = "retried_many"
    CANCELLED_MANY = "cancelled_many"
    SCHEDULE_CHANGED = "schedule_changed"
    CLASS_HELD = "class_held"
    CLASS_RESUMED = "class_resumed"
    HOST_LOST = "host_lost"


FINAL: Final = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})

SCHEDULED: Final = "scheduled"
RETRYING: Final = "retrying"
SNOOZED: Final = "snoozed"
"""What a pending job is called that waits for its time, for its next attempt, or for the one that it asked for."""

BLOCKED: Final = "blocked"
"""The same of one that waits for other jobs, whatever its time is."""

BEHIND: Final = "behind"
"""The same of one that waits for others with its key, or for their rate."""

WAITING: Final = "waiting"
"""The same of one whose attempt has ended to sleep, or to wait for a signal, until that is over."""

REVIEW: Final = "review"
"""What a failed job is called of which nobody knows what it did, until a person says it."""

STATUS_WORDS: Final = (
    *(status.value for status in Status),
    *(SCHEDULED, RETRYING, SNOOZED, BLOCKED, BEHIND, WAITING, REVIEW),
)
"""What a filter of jobs by status understands: pending ones that wait for no slot yet have words of their own, and so
have failed ones that are for review.
"""


class IfFailed(StrEnum):
    """What it means to a job that what it comes after has failed or was cancelled."""

    CANCEL = "cancel"
    RUN = "run"
    WAIT = "wait"


class UniqueWhile(StrEnum):
    """Until when a job holds its unique key: until it ends, or until its first attempt starts."""

    UNFINISHED = "unfinished"
    PENDING = "pending"


class IfHeld(StrEnum):
    """What becomes of a submit whose unique key another job holds: it gets that, is refused, or takes its place."""

    RETURN = "return"
    REFUSE = "refuse"
    REPLACE = "replace"


class Throttle(StrEnum):
    """Whom an attempt that was told to come later keeps from starting: others of its class, of its key, or nobody."""

    CLASS = "class"
    KEY = "key"
    JOB = "job"


MOST_OF_KEY: Final = 1000
"""How many jobs of a key are counted of each kind, those that run, are ready and behind: there may be a million."""

LONGEST_THROTTLE: Final = 3600.0
"""For how many seconds others are kept from starting at once, at most."""


class Removable(StrEnum):
    """What a job that waits can be without, by the name that Change has for it."""

    AT = "at"
    EXPIRES_AT = "expires_at"
    TIMEOUT = "timeout"


QUARANTINED: Final = "quarantined"
"""What the error of a job begins with that is tried no more, for its attempts crash."""

EXPIRED: Final = "expired"
"""What a cancelled job is called that had not started in time: so its error begins."""


class Outcome(StrEnum):
    """How an attempt ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    EXITED = "exited"
    SIGNALLED = "signalled"
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"
    CPU_EXCEEDED = "cpu_exceeded"
    OUTPUT_EXCEEDED = "output_exceeded"
    CANCELLED = "cancelled"
    LOST = "lost"
    NOT_STARTED = "not_started"
    SNOOZED = "snoozed"
    SUSPENDED = "suspended"


class Unknown(StrEnum):
    """What becomes of a job whose last attempt ended so that nobody knows what it did."""

    FAILED = "failed"
    REVIEW = "review"


class Backoff(StrEnum):
    """How the delay between retries grows."""

    CONSTANT = "constant"
    EXPONENTIAL = "exponential"


class ErrorSort(StrEnum):
    """Which errors come first: those met last, those by which most jobs have failed, those met first of late."""

    LAST = "last"
    FAILED = "failed"
    NEWEST = "newest"


class EntryType(StrEnum):
    """The level of a log entry."""

    SUCCESS = "success"
    FAILURE = "failure"
    INFO = "info"


RULES: Final = (
    *(
        "storage",
        "no_code",
        "daemon",
        "unavailable",
        "quarantined",
        "review",
        "new_error",
        "rising_error",
        "paused",
    ),
    *("oldest_pending", "slow", "refused", "missed", "schedule_fails", "disk", "host"),
)
"""The rules of alerts that each daemon has: the kinds of what needs somebody that are looked for without one."""

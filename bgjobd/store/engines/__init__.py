"""What a database is to the store: how it is opened, begun, interrupted, and what its errors mean.

The statements are those of SQLite, text with named placeholders. Whoever runs them does not know which database has
them; an engine of another one has its connections translate them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from enum import Enum, auto
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

from bgjobd.core.hosts import Term
from bgjobd.host.clock import Reading
from bgjobd.store.engines.locks import Locks

AT_ONCE: Final = 10
"""How often a transaction is tried that another has been in the way of."""


class CommitFate(Enum):
    """What has become of a transaction whose commit had no answer; nobody knows where the server has forgotten it, or
    is another one by now.
    """

    COMMITTED = auto()
    ABORTED = auto()
    UNKNOWN = auto()


Given = Mapping[str, Any] | Sequence[Any]
"""The values of a statement, by the names of its placeholders, or in their order."""

Execute = Callable[..., Any]
"""Runs a statement, with its values, in the transaction that is open."""


class TermOverError(Exception):
    """Nothing of this host's term counts any more: the transaction was not begun."""


class CountsAsLostError(TermOverError):
    """Other hosts have said that this one was lost."""

    def __init__(self) -> None:
        super().__init__("this host counts as lost: others have not seen it for too long")


class TermTakenError(TermOverError):
    """Somebody else is this host by now."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"another daemon has taken the place of host {name}: its state directory was copied, or put back; "
            "see which one is to go on, and stop the other"
        )


class Connection(Protocol):
    """What statements run on; those of SQLite are sqlite3's own, for nothing stands between on the way of each job."""

    def execute(self, sql: str, given: Given = ..., /) -> Any:
        """A cursor as the DB-API has it. Raises peewee's errors, or those of SQLite."""

    def executemany(self, sql: str, rows: Iterable[Given], /) -> Any:
        """The same for each of the rows; its `rowcount` is of all of them."""


@runtime_checkable
class Interruptible(Protocol):
    """A connection that has a statement of its own interrupted at a monotonic instant; with None no more."""

    def interrupt_at(self, deadline: float | None) -> None: ...


class Database(Protocol):
    """An open connection, with what is not a statement of both engines alike."""

    @property
    def distance(self) -> float:
        """About how many times as long a statement takes as on a file beside us."""

    @property
    def locks(self) -> Locks:
        """What keeps other writers away."""

    @property
    def is_drained(self) -> bool:
        """Whether the host whose transaction has begun is to start nothing new."""

    def connection(self) -> Any:
        """A Connection; of SQLite the driver's own."""

    def execute_sql(self, sql: str, params: Any = ...) -> Any:
        """A cursor. Raises peewee's errors."""

    def walk(self, sql: str, given: Given) -> Generator[tuple[Any, ...]]:
        """Rows of which there may be very many, a part at a time; to be closed. Raises peewee's errors."""

    def atomic(self) -> AbstractContextManager[Any]:
        """All that is read meanwhile is of one moment."""

    def time(self) -> Reading | None:
        """What the server's clock shows; None where there is no other than this machine's."""

    def close(self) -> Any: ...

    def write_as(self, term: Term | None) -> None:
        """Transactions are this host's from now on, for as long as its term counts; None: nobody's."""

    def begin_writing(self) -> None:
        """Begin the transaction of a batch."""

    def check_term(self) -> None:
        """Raises TermOverError where the host that has begun the transaction may write no more; each commit asks."""

    def is_lost_update(self, error: BaseException) -> bool:
        """Whether that says of a guarded update, which was not waited for, that it met another status."""

    def give_back_ids(self, counter: str, last: int, until: int) -> None:
        """Those behind the last up to `until` came to nothing."""

    def tell(self, text: str) -> None:
        """Have those who listen hear this object, JSON, once it is committed, if it is; with the id of the newest log
        entry in it, `log`. At most once a transaction, last of all.
        """

    def lock_log(self) -> None:
        """From here to the commit nobody else gives ids to log entries, so that they are in the order of commits."""

    def write_log(self, rows: Sequence[dict[str, Any]]) -> Callable[[], int]:
        """Write log entries, which get ids in a row, behind the newest one. Nothing is read from here to the commit.

        What this answers tells the id of the first, once the transaction is committed.
        """

    def commit_writing(self) -> None:
        """Raises UncertainCommitError where nobody knows whether that has succeeded, else peewee's errors."""

    def fate_of(self, transaction: Any) -> CommitFate:
        """What has become of the one that an UncertainCommitError names. Raises peewee's errors, also as long as it is
        still under way.
        """

    def first_entry_of(self, transaction: Any) -> int:
        """The id of the first log entry that this one wrote by write_log, and committed; 0 where it wrote none."""

    def roll_back(self) -> None:
        """Nothing is left of the transaction, nor an error told."""

    def end_standing(self, seconds: float) -> int:
        """Have the server end sessions of daemons that hold up others, and have sent nothing for so long amid a
        transaction, as those of a host that was cut off then; how many.
        """


class Looked(NamedTuple):
    """What somebody who listens finds from time to time: the newest log entry, and whether others listen as well.

    `has_sent`: an application has, and nobody has made a job of it yet. `may_have_missed`: nobody listened for a while.
    With `trouble` nobody can, nor knows the rest.
    """

    last_entry: int = 0
    has_others: bool = True
    has_sent: bool = False
    may_have_missed: bool = False
    trouble: str | None = None


class OldSnapshot(NamedTuple):
    """The transaction that has been looking at the database for longest, so that nothing dead since is removed."""

    pid: int
    seconds: float
    whose: str


class Listening(Protocol):
    """Hears, on a thread of its own, what others tell."""

    def start(self) -> None: ...

    def close(self) -> None: ...


class Ground(Protocol):
    """What a writer's database stands on: files that may be moved, or a disk that may be full."""

    def check(self) -> None:
        """Raises OSError where it is not there any more."""

    def learn(self) -> None:
        """It has just been opened."""

    def check_written(self) -> int:
        """The same as check() once something is committed; how many bytes the write-ahead log has."""

    def prove_room(self) -> None:
        """Raises OSError where there is no room."""

    def rest(self, database: Database) -> None:
        """Nothing follows at once."""

    def is_let_go(self, database: Database, error: Exception) -> bool:
        """Whether the connection is to be closed after this error."""

    def leave(self) -> None:
        """Have the files be whole for whoever copies them, once nobody of this process has them open any more."""


class Engine(Protocol):
    """A kind of database, and where it is."""

    @property
    def name(self) -> str:
        """How it is called in messages: its path, or its address without what is secret."""

    @property
    def is_shared(self) -> bool:
        """Whether other hosts may work from it."""

    @property
    def may_go_back(self) -> bool:
        """Whether it may forget what it has acknowledged without being another, as a server by its standby."""

    def prepare(self, on_progress: Callable[[], None]) -> bool:
        """Have it there with the newest schema; whether it is a copy that was put in its place."""

    def open_for_writing(self) -> Database:
        """A connection to what `prepare` has made; it makes nothing."""

    def open_for_reading(self, is_patient: bool = False) -> Database:
        """`is_patient`: a question may take as long as it does, for nobody waits for the next."""

    def ground(self) -> Ground: ...

    def time(self) -> Reading | None:
        """The same as a Database's, by a connection of its own. Raises UnusableDatabaseError."""

    def listen(
        self, on_text: Callable[[str], None], on_look: Callable[[Looked], None], greeting: str, beat: float
    ) -> Listening | None:
        """What is to be started to hear what others tell, and to look each `beat` seconds; None where nobody can.

        Both are called on its thread. `greeting` is what the others are told when it begins.
        """

    def size(self, database: Database) -> int:
        """How many bytes it takes."""

    def oldest_snapshot(self, database: Database) -> OldSnapshot | None:
        """None where nobody has one, or old ones cost nothing."""

    def unusable(self, reason: object) -> Exception:
        """What tells those who ask from outside that it cannot be used, and what to do: an UnusableDatabaseError."""

    def version(self, database: Database) -> int:
        """Of the schema that is there; 0 where there is none."""

    def too_new(self, found: int) -> Exception:
        """What says that a newer bgjobd has written it: a SchemaTooNewError."""

    @property
    def silence(self) -> str:
        """What it may be where it has not answered for `{:.0f}` seconds, and what to do."""

    def is_trouble(self, error: Exception) -> bool:
        """Whether the database or the machine is to blame, so that the same may succeed later."""

    def is_away(self, error: Exception) -> bool:
        """Whether a question could not be asked, for nobody answers there."""

    def is_passing(self, error: Exception) -> bool:
        """Whether the same is to be tried again at once, for another transaction was in the way."""


Place = Path | Engine
"""Where the database is: a state directory, which has the file of SQLite in it, or another engine."""

"""The client: one connection to the daemon, and jobs as objects; waiting is pushed over the socket, never polled."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, ClassVar, Final, TypeVar

from bgjob import codec
from bgjob.codec import JsonObject, Reply, Request
from bgjob.errors import (
    DaemonUnavailableError,
    JobCancelledError,
    JobFailedError,
    ProtocolError,
    WaitTimeoutError,
    from_reply,
)
from bgjob.words import INTERFACE, Status

T = TypeVar("T")

_SYSTEM_SOCKET: Final = "/run/bgjobd.sock"
_NOT_REPEATED: Final = (f"{INTERFACE}.Cancel", f"{INTERFACE}.Retry")


def run_background_job(
    class_name: str | type,
    method_name: str,
    parameters: JsonObject | None = None,
    retry_count: int = 0,
    **options: Any,
) -> Job:
    """Submit a job to the daemon that $BGJOBD_SOCKET, the person's or the system's socket leads to.

    The job is stored when this returns. Options are those of `Submit`: delay, at, priority, queue, timeout,
    max_retries, retry_delay, backoff, idempotency_key. Raises RequestError and DaemonUnavailableError.
    """
    return Client().run_background_job(class_name, method_name, parameters, retry_count, **options)


class Client:
    """A connection to a daemon, made when it is first needed; safe for threads and after a fork.

    `address` is a path or `unix:PATH`; `timeout` is how many seconds a reply may take.
    """

    MAX_RETRIES: ClassVar[int | None] = None
    RETRY_DELAY: ClassVar[float | None] = None

    def __init__(self, address: str | None = None, *, timeout: float = 5.0) -> None:
        self._path = _path_of(address)
        self._timeout = timeout
        self._lock = threading.Lock()
        self._connection: _Connection | None = None
        self._owner = 0

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next call makes another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def run_background_job(
        self,
        class_name: str | type,
        method_name: str,
        parameters: JsonObject | None = None,
        retry_count: int = 0,
        **options: Any,
    ) -> Job:
        """Submit a job; it is stored when this returns. A repeat after a lost reply gives the same job."""
        job = {
            "class_name": class_name,
            "method_name": method_name,
            "parameters": parameters,
            "retry_count": retry_count,
        }
        reply = self._call("Submit", **self._submission({**job, "options": options}))
        return Job(self, _field(reply, "id", int))

    def submit_many(self, jobs: Iterable[JsonObject]) -> list[Job]:
        """Submit several jobs, all or none; each has the fields of Submit."""
        asked = [self._submission(job) for job in jobs]
        return [Job(self, job_id) for job_id in _field(self._call("SubmitMany", jobs=asked), "ids", list)]

    def get(self, job_id: int) -> Job:
        """The job with this id. Raises JobNotFoundError."""
        return Job(self, job_id, _job_of(self._call("Get", id=job_id)))

    def cancel(self, *job_ids: int) -> None:
        """Cancel jobs. Raises JobNotFoundError, InvalidStateError; then none of them is cancelled."""
        self._call("Cancel", ids=list(job_ids))

    def retry(self, *job_ids: int) -> None:
        """Run failed or cancelled jobs again, with all their retries. Raises JobNotFoundError, InvalidStateError."""
        self._call("Retry", ids=list(job_ids))

    def reload(self) -> str:
        """Have the daemon read its configuration and import the code anew; the new code's version.

        Raises ReloadFailedError; then all stays as it was. It takes as long as the imports do.
        """
        with _Connection(self._path, None) as connection:
            reply = _checked(connection.call(f"{INTERFACE}.Reload", {}))
        return _field(reply, "code_version", str)

    def pause(self, queue: str = "default") -> None:
        """Start no more jobs of a queue."""
        self._call("Pause", queue=queue)

    def resume(self, queue: str = "default") -> None:
        """Start jobs of a queue again."""
        self._call("Resume", queue=queue)

    def classes(self) -> list[JsonObject]:
        """What may run: name, doc, methods, unavailable of each approved class."""
        return _field(self._call("Classes"), "classes", list)

    def stats(self) -> JsonObject:
        """How the daemon stands: version, pid, slots, jobs by status, queues."""
        return self._call("Stats")

    def wait(self, job_id: int, timeout: float | None = None) -> JsonObject:
        """The job once it has ended. Raises WaitTimeoutError after `timeout` seconds; the job goes on."""
        # On a connection of its own: others go on calling meanwhile.
        with _Connection(self._path, None if timeout is None else timeout + self._timeout) as connection:
            job = _job_of(_checked(connection.call(f"{INTERFACE}.Wait", {"id": job_id, "timeout": timeout})))
        if not Status(job["status"]).is_final:
            raise WaitTimeoutError(f"job {job_id} is {job['status']} after {timeout:g} s; it goes on")
        return job

    def _submission(self, job: JsonObject) -> JsonObject:
        """The job as the daemon takes it: the class by its name, and the options that this client always sets."""
        own = {
            "max_retries": self.MAX_RETRIES,
            "retry_delay": self.RETRY_DELAY,
            "idempotency_key": _new_key(),
        }
        given = {name: value for name, value in (job.get("options") or {}).items() if value is not None}
        cls = job["class_name"]
        name = cls if isinstance(cls, str) else f"{cls.__module__}.{cls.__qualname__}"
        return {**job, "class_name": name, "options": own | given}

    def _call(self, method: str, **parameters: Any) -> JsonObject:
        with self._lock:
            reply = self._ask(f"{INTERFACE}.{method}", parameters)
        return _checked(reply)

    def _ask(self, method: str, parameters: JsonObject) -> Reply:
        """One exchange; a connection that the daemon has closed since the last one is replaced once.

        A cancel or retry that was sent is not repeated: the lost answer may have been that it is done, and then a
        second is refused.
        """
        is_fresh = self._connection is None or self._owner != os.getpid()
        connection = self._connect() if is_fresh or self._connection is None else self._connection
        try:
            return connection.call(method, parameters)
        except _NoAnswerError:
            self._connection = None
            raise
        except DaemonUnavailableError as error:
            self._connection = None
            may_be_done = method in _NOT_REPEATED and not isinstance(error, _UnsentError)
            if is_fresh or may_be_done:
                raise
        except BaseException:
            # Whatever comes over this connection later answers a question that nobody asks any more.
            self.close()
            raise
        return self._connect().call(method, parameters)

    def _connect(self) -> _Connection:
        self._connection = _Connection(self._path, self._timeout)
        self._owner = os.getpid()
        return self._connection


class Job:
    """A job at a daemon; `snapshot` is the last that was seen of it, keys as the columns."""

    def __init__(self, client: Client, job_id: int, snapshot: JsonObject | None = None) -> None:
        self._client = client
        self.id = job_id
        self.snapshot = snapshot if snapshot is not None else {"id": job_id}

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.snapshot.get('status', 'as submitted')}>"

    def refresh(self) -> JsonObject:
        """Ask how the job stands."""
        self.snapshot = self._client.get(self.id).snapshot
        return self.snapshot

    def wait(self, timeout: float | None = None) -> JsonObject:
        """Wait for the job's end, whichever it is. Raises WaitTimeoutError after `timeout` seconds."""
        self.snapshot = self._client.wait(self.id, timeout)
        return self.snapshot

    def result(self, timeout: float | None = None) -> Any:
        """What the method returned. Raises JobFailedError, JobCancelledError, WaitTimeoutError."""
        job = self.wait(timeout)
        match job["status"]:
            case Status.COMPLETED:
                return job["result"]
            case Status.CANCELLED:
                raise JobCancelledError(job)
            case _:
                raise JobFailedError(job)

    def cancel(self) -> None:
        """Cancel the job. Raises InvalidStateError where it has ended."""
        self._client.cancel(self.id)

    def retry(self) -> None:
        """Run the job again, with all its retries. Raises InvalidStateError unless it failed or was cancelled."""
        self._client.retry(self.id)


class _NoAnswerError(DaemonUnavailableError):
    """The daemon is there and says nothing; asking again would not help."""


class _UnsentError(DaemonUnavailableError):
    """The daemon had closed the connection before it had the whole request: nothing was done."""


class _Connection:
    def __init__(self, path: str, timeout: float | None) -> None:
        self._path = path
        self._timeout = timeout
        self._frames = codec.FrameReader(max_frame=1 << 62)  # what the daemon sends is as large as it is
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if timeout is not None:
            # Not settimeout: a connect that must not block fails at once where it would have to queue.
            limit = struct.pack("ll", int(timeout), int(timeout % 1 * 1_000_000))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise DaemonUnavailableError(
                f"no daemon answers at {path} ({error.strerror or error}); is bgjobd running?"
            ) from None
        self._socket.settimeout(timeout)

    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def call(self, method: str, parameters: JsonObject) -> Reply:
        is_sent = False
        try:
            self._socket.sendall(Request(method, parameters).to_bytes())
            is_sent = True
            return codec.parse_reply(self._next_frame())
        except TimeoutError as error:
            self.close()
            raise _NoAnswerError(
                f"the daemon at {self._path} did not answer within {self._timeout:g} s"
            ) from error
        except OSError as error:
            self.close()
            kind = DaemonUnavailableError if is_sent else _UnsentError
            raise kind(f"the connection to {self._path} broke: {error}") from error

    def _next_frame(self) -> bytes:
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        while True:
            if deadline is not None:
                self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionResetError("the daemon closed it")
            frames = self._frames.feed(data)
            if frames:
                if len(frames) > 1:
                    raise ProtocolError("the daemon answered more than it was asked")
                return frames[0]


def _new_key() -> str:
    """A key that nobody has used; keys made one after the other stand together in the daemon's index."""
    return f"{time.time_ns():x}-{os.urandom(16).hex()}"


def _checked(reply: Reply) -> JsonObject:
    if reply.error is not None:
        raise from_reply(reply.error, reply.parameters)
    return reply.parameters


def _field(reply: JsonObject, name: str, kind: type[T]) -> T:
    """What the daemon answered under this name. Raises ProtocolError where it is not there, or is something else."""
    value = reply.get(name)
    if not isinstance(value, kind):
        raise ProtocolError(f"the daemon's answer has no valid {name!r}; is it a bgjobd of this version?")
    return value


def _job_of(reply: JsonObject) -> JsonObject:
    job = _field(reply, "job", dict)
    if job.get("status") not in frozenset(Status):
        raise ProtocolError(f"the daemon knows a status that this client does not: {job.get('status')!r}")
    return job


def _path_of(address: str | None) -> str:
    """The socket's path: the address given, $BGJOBD_SOCKET, the person's, else the system's."""
    given = address or os.environ.get("BGJOBD_SOCKET")
    if given:
        return given.removeprefix("unix:")
    runtime_dir = os.environ.get("XDG_RUNTIME_DIR")
    own = f"{runtime_dir}/bgjobd.sock" if runtime_dir else ""
    return own if own and os.path.exists(own) else _SYSTEM_SOCKET

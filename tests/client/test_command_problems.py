"""What `bgjob` says of each thing that can go wrong, and the exit code it ends with."""

from __future__ import annotations

import pytest

from bgjob import errors
from bgjob.commands.problems import code_of, explained, followed

JOB = {"id": 12, "status": "failed", "error": "ValueError: no recipient"}


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (errors.JobFailedError(JOB), 1, "job 12 failed: ValueError: no recipient; `bgjob show 12` has"),
        (errors.JobCancelledError(JOB | {"status": "cancelled"}), 3, "`bgjob retry 12` runs it again"),
        (errors.ErrorGroupNotFoundError(id=9), 4, "there is no error 9; `bgjob errors` has those there are"),
        (errors.GroupNotFoundError(id=9), 4, "there is no group 9; `bgjob group` has the newest"),
        (errors.JobNotFoundError(id=12), 4, "there is no job 12; `bgjob list` has those there are"),
        (
            errors.unreachable("/run/bgjobd.sock", FileNotFoundError(2, "No such file or directory")),
            69,
            "no daemon answers at /run/bgjobd.sock (No such file or directory); is bgjobd running? `systemctl start",
        ),
        (
            errors.unreachable("/run/bgjobd.sock", PermissionError(13, "Permission denied")),
            77,
            "this user may not connect to /run/bgjobd.sock (Permission denied); `ls -l` of it tells the group",
        ),
        (
            errors.NoAnswerError("/run/bgjobd.sock", 5.0),
            69,
            "the daemon at /run/bgjobd.sock did not answer within 5 s; `bgjobd status` says whether it hangs",
        ),
        (
            errors.BrokenError("/run/bgjobd.sock", "the daemon closed it", was_sent=False),
            69,
            "the connection to /run/bgjobd.sock broke: the daemon closed it; `bgjobd status` says whether it is up",
        ),
        (
            errors.TooManyConnectionsError(limit=3, setting="max_connections"),
            75,
            "([socket] max_connections = 3); close some, let callers share a client, or raise that; or try again in",
        ),
        (
            errors.CodeLoadingError("/run/bgjobd.sock", 5.0),
            69,
            "the daemon at /run/bgjobd.sock is up and loads its code, which goes on after 5 s; ask again; `bgjobd",
        ),
        (errors.InternalError(reason="KeyError"), 70, "the daemon met a bug: KeyError; its log has more"),
        (errors.QueueFullError(queue="mail", limit=5), 75, "queue mail is full (5 pending jobs)"),
        (
            errors.StorageUnavailableError(reason="the disk is full"),
            75,
            "nothing was stored: the disk is full",
        ),
        (errors.ShuttingDownError(), 75, "the daemon is shutting down; try again in a moment"),
        (errors.ProtocolError("the answer is no JSON"), 76, "the answer is no JSON"),
        (
            errors.MethodNotApprovedError(class_name="a.B", method_name="c"),
            77,
            "a.B has no approved method c; `bgjob classes a.B` lists them",
        ),
        (
            errors.PermissionDeniedError(reason="uid 7 may not manage; list it under [access] manage"),
            77,
            "refused: uid 7 may not manage; list it under [access] manage",
        ),
        (errors.MethodNotFoundError(method="x.Y"), 77, "the daemon has no method x.Y; it is older than"),
        (errors.WaitTimeoutError("job 12 is running after 5 s"), 124, "job 12 is running after 5 s"),
        (errors.JobNotFoundError(id="1\n\x1b[2J"), 4, r"there is no job 1\n\x1b[2J"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_has_its_exit_code_and_says_what_to_do_next(
    error: errors.BgjobError, code: int, told: str
) -> None:
    assert code_of(error) == code
    assert told in explained(error)


@pytest.mark.parametrize(
    ("error", "keys", "is_told"),
    [
        (errors.NoAnswerError("/s", 5.0), ("k",), True),
        (errors.BrokenError("/s", "it was closed", was_sent=True), ("k",), True),
        (errors.BrokenError("/s", "it was closed", was_sent=False), ("k",), False),
        (errors.CodeLoadingError("/s", 5.0), ("k",), False),
        (errors.unreachable("/s", FileNotFoundError(2, "No such file or directory")), ("k",), False),
        (errors.NoAnswerError("/s", 5.0), (), False),
    ],
)
def test_a_submit_of_which_nobody_says_what_became_of_it_tells_the_key_with_which_a_repeat_is_one_job(
    error: errors.BgjobError, keys: tuple[str, ...], is_told: bool
) -> None:
    error.idempotency_keys = keys
    told = explained(error)
    assert told.endswith("the job may be stored, and a repeat with --idempotency-key k is one job") == is_told


def test_every_error_that_the_client_can_raise_has_an_exit_code() -> None:
    kinds = [errors.BgjobError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    assert len(kinds) > 20
    assert all(code_of(kind.__new__(kind)) != 0 for kind in kinds)


def test_a_long_failure_is_said_in_a_few_lines_and_the_next_command_after_it() -> None:
    told = explained(errors.JobFailedError(JOB | {"error": "é" * 65_536}))
    assert len(told) < 600
    assert told.endswith("é…; `bgjob show 12` has its attempts")


def test_what_comes_next_follows_a_sentence_as_well_as_a_question() -> None:
    assert followed("the daemon is shutting down", "waiting") == "the daemon is shutting down; waiting"
    assert followed("is bgjobd running?", "waiting") == "is bgjobd running? waiting"

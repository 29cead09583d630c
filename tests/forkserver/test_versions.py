"""An upgrade under running attempts: journals of every version are read, and two versions never talk to each other."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bgjobd.forkserver import journal as journals
from bgjobd.forkserver import journal_lines, wire
from bgjobd.supervisor import journal_facts
from tests.forkserver.driven import MAIN

STARTED = (
    b'{"v":1,"type":"started","token":"aa","pid":17,"start_time":0,"pidfd_inode":99,"boot_id":"b00",'
    b'"monotonic":12.5,"at":1733322713.0}\n'
)
COMPLETED = b'\n{"v":1,"type":"outcome","outcome":"completed","pid":17,"result":{"sent":1}}\n'
FAILED = (
    b'\n{"v":1,"type":"outcome","outcome":"failed","pid":17,"error_type":"ValueError",'
    b'"error_message":"no recipient","traceback":"","may_retry":true,"delay":null}\n'
)
EXIT = b'\n{"v":1,"type":"exit","pid":17,"at":1733322714.0,"code":0,"signal":null,"usage":null}\n'
USED = (
    b'\n{"v":1,"type":"exit","pid":17,"at":1733322714.0,"code":0,"signal":null,"usage":'
    b'{"max_rss":1,"cpu_user":0.5,"cpu_system":0.25,"output_bytes":3}}\n'
)
"""What version 1 wrote, byte for byte: frozen, and read by every later one."""


@pytest.mark.parametrize("outcome", [COMPLETED, FAILED])
@pytest.mark.parametrize("exit_record", [EXIT, USED, EXIT + USED])
def test_a_journal_as_the_first_version_wrote_it_is_understood(outcome: bytes, exit_record: bytes) -> None:
    journal = journals.parse(STARTED + outcome + exit_record)
    assert _of(journal.started, "monotonic") == 12.5
    assert _of(journal.outcome, "pid") == 17
    assert _of(journal.exit, "code") == 0


def test_what_a_newer_version_adds_to_a_record_is_passed_over_and_so_are_records_of_a_new_kind() -> None:
    newer = STARTED.replace(b'{"v":1', b'{"v":2,"cgroup":"a/b"')
    strange = b'\n{"v":2,"type":"slept","pid":17}\n'
    journal = journals.parse(newer + strange + COMPLETED + EXIT)
    assert _of(journal.started, "token") == "aa"
    assert _of(journal.outcome, "outcome") == "completed"
    assert _of(journal.exit, "code") == 0


def test_a_journal_that_does_not_tell_the_class_of_an_error_gives_none() -> None:
    journal = journals.parse(STARTED + FAILED + EXIT)
    ending = journal_facts.left_in(journal)
    assert ending is not None
    assert (ending.error_type, ending.error_class) == ("ValueError", None)


def _of(record: journal_lines.Record | None, field: str) -> object:
    assert record is not None
    return record[field]


def test_a_fork_server_of_another_version_says_so_and_ends(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(20)
    with ours, theirs:
        process = subprocess.Popen(
            [sys.executable, "-I", "-X", "utf8", str(MAIN), str(theirs.fileno())], pass_fds=[theirs.fileno()]
        )
        theirs.close()
        ours.sendall(wire.encode({"type": "configure", "version": wire.VERSION + 1}))
        (told,) = wire.Decoder().feed(ours.recv(65536))
        assert told == {"type": "outdated", "version": wire.VERSION}
        assert process.wait(20) == 1

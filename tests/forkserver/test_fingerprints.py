"""What an attempt tells of which error has ended it, and what is made of that where a job has written it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bgjob.fingerprints import Whence, is_fingerprint
from bgjobd.forkserver import journal as journals
from bgjobd.forkserver import journal_lines
from bgjobd.supervisor import journal_facts
from tests.forkserver.driven import fork_server, order

CODE = """
class Declined(Exception):
    error_group = "declined by hunter2"


class Failing:
    def fail(self, password="", word=None):
        return self.deliver(password, word)

    def deliver(self, password, word):
        error = Declined("no") if word else ValueError(f"no {password}")
        raise error
"""
STARTED = journal_lines.started("ab", 7, 0, 1, "cd", 1.0)
WHENCE = Whence("0123456789abcdef", "myapp.mail:deliver", "mail.py:88", "declined")


def whence_of(line: bytes) -> Whence | None:
    ending = journal_facts.left_in(journals.parse(STARTED + line))
    assert ending is not None
    return ending.whence


def failed(whence: Whence | None = WHENCE) -> bytes:
    return journal_lines.failed(7, "ValueError", "no", "", may_retry=True, whence=whence)


def test_an_attempt_tells_which_error_it_was_without_what_is_sensitive(tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(CODE)
    told = []
    with fork_server(tmp_path, approved={"failing.Failing": None}) as server:
        for job, given in enumerate(
            ({"password": "hunter2"}, {"password": "other"}, {"password": "hunter2", "word": True}), 1
        ):
            server.send(
                {**order(job, "fail", **given), "class_name": "failing.Failing", "sensitive": ["password"]}
            )
            assert server.receive()["type"] == "ended"
            journal = server.journal(job)
            assert journal is not None
            ending = journal_facts.left_in(journal)
            assert ending is not None
            assert ending.whence is not None
            told.append(ending.whence)
    one, same, named = told
    assert one == same
    assert (one.place, one.line, one.name) == ("failing:Failing.deliver", "failing.py:12", None)
    assert (named.place, named.name) == ("failing:Failing.deliver", "declined by ***")
    assert is_fingerprint(named.fingerprint)


def test_a_record_tells_which_error_it_was_and_one_of_before_does_not() -> None:
    assert whence_of(failed()) == WHENCE
    assert whence_of(failed(Whence(WHENCE.fingerprint))) == Whence(WHENCE.fingerprint)
    assert whence_of(failed(None)) is None


@pytest.mark.parametrize(
    "word", [7, None, "", "0123456789ABCDEF", "0123456789abcde", "'; DROP", ["a"], "é" * 16]
)
def test_a_fingerprint_that_is_none_was_never_told(word: Any) -> None:
    record = json.loads(failed()) | {"fingerprint": word}
    assert whence_of(json.dumps(record).encode() + b"\n") is None


@pytest.mark.parametrize("name", ["place", "line", "name"])
@pytest.mark.parametrize("text", [7, None, "", {"a": 1}])
def test_what_is_told_beside_a_fingerprint_and_is_no_text_is_passed_over(name: str, text: Any) -> None:
    record = json.loads(failed()) | {name: text}
    assert whence_of(json.dumps(record).encode() + b"\n") == WHENCE._replace(**{name: None})


def test_what_is_told_of_an_error_is_bounded_and_can_be_stored() -> None:
    record = json.loads(failed()) | {"place": "\ud800" * 9999, "line": "x" * 9999, "name": "x" * 9999}
    found = whence_of(json.dumps(record).encode() + b"\n")
    assert found == (WHENCE.fingerprint, "?" * 511, "x" * 511, "x" * 200)


def test_a_failure_that_finds_no_room_tells_which_error_it_was_in_any_case() -> None:
    whence = Whence(WHENCE.fingerprint, "\0" * 511, "mail.py:88", "\0" * 200)
    line = journal_lines.failed(7, "\0" * 255, "\0" * 9999, "\0" * 9999, may_retry=True, whence=whence)
    short = journal_lines.shortened(line)
    assert short is not None
    assert len(short) <= 4096
    assert whence_of(short) == Whence(WHENCE.fingerprint, None, "mail.py:88", None)

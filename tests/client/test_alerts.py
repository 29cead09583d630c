"""What tells an alert: a program that gets it, and a letter in which nobody's words are more than words."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bgjob.alerts import Notice, letter, lines

NOTICE: dict[str, Any] = {
    "id": 14,
    "rule": "new_error",
    "kind": "new_error",
    "subject": "3",
    "message": "OSError is new\nBcc: all@example.com",
    "hint": "look",
    "since": "2025-11-25T12:00:00.000000Z",
    "count": 2,
    "cleared": False,
    "host": "web1\nX: y",
    "others": [],
    "more": 0,
    "note": None,
}
OTHER = NOTICE | {"id": 15, "cleared": True, "message": "queue mail is paused"}


def test_a_program_gets_the_notice_as_json(tmp_path: Path) -> None:
    copy = f"import sys; open({str(tmp_path / 'got')!r}, 'w').write(sys.stdin.read())"
    Notice().command([sys.executable, "-c", copy], NOTICE)
    assert json.loads((tmp_path / "got").read_text()) == NOTICE


def test_a_program_that_fails_fails_the_job() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        Notice().command([sys.executable, "-c", "raise SystemExit(3)"], NOTICE)


def test_words_of_jobs_are_in_the_body_alone_and_each_on_one_line() -> None:
    written = letter(None, ["ops@example.com"], NOTICE)
    assert written["Subject"] == "bgjobd on web1\\nX: y: new_error"
    assert written["Bcc"] is None
    assert written.get_content().splitlines()[0] == "OSError is new\\nBcc: all@example.com"


def test_a_letter_has_what_came_beside_and_what_is_over() -> None:
    told = list(lines(NOTICE | {"others": [OTHER], "more": 1200, "note": "this is a test"}))
    assert told[0] == "(this is a test)"
    assert "OVER: queue mail is paused" in told
    assert told[-1] == "and 1,200 more: `bgjob alerts` has them"

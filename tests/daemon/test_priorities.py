"""How grave a line is, told to journald where it reads stderr, and to nobody else."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bgjob.errors import ReloadFailedError
from bgjob.words import EntryType
from bgjobd.host.journal_priorities import is_for_journald
from bgjobd.host.log import Line, Log
from tests.daemon.running import daemon
from tests.support import eventually

AT = 1733322713.0
LINES = (
    Line(AT, EntryType.SUCCESS, "a.B::run", "initiated", context='{"id":7}'),
    Line(AT, EntryType.FAILURE, "a.B::run", "tried again", is_passing=True),
    Line(AT, EntryType.FAILURE, "a.B::run", "given\nup"),
)


def stream_of(path: Path) -> str:
    """$JOURNAL_STREAM of whoever has this file as stderr."""
    found = path.stat()
    return f"{found.st_dev}:{found.st_ino}"


@pytest.mark.parametrize("kind", ["text", "json"])
def test_each_line_has_its_priority_where_journald_reads_it(tmp_path: Path, kind: str) -> None:
    stream = io.StringIO()
    log = Log(tmp_path, kind, snapshots=True, stream=stream, for_journald=True)
    log.put(LINES)
    log.close()
    told = stream.getvalue().splitlines()
    # The snapshot's own.
    priorities = ["<6>", "<6>", "<4>", "<3>"] if kind == "text" else ["<6>", "<4>", "<3>"]
    assert [line[:3] for line in told] == priorities
    if kind == "json":
        assert all("priority" not in json.loads(line[3:]) for line in told)


def test_nobody_else_reads_priorities(tmp_path: Path) -> None:
    stream = io.StringIO()
    log = Log(tmp_path, "text", stream=stream)
    log.put(LINES)
    log.close()
    assert all(line.startswith("[2024-12-04") for line in stream.getvalue().splitlines())


def test_journald_reads_a_descriptor_that_is_the_very_file_of_its_variable(tmp_path: Path) -> None:
    for name in ("journal", "elsewhere"):
        (tmp_path / name).touch()
    with (tmp_path / "journal").open("ab") as journal, (tmp_path / "elsewhere").open("ab") as elsewhere:
        environ = {"JOURNAL_STREAM": stream_of(tmp_path / "journal")}
        assert is_for_journald(environ, journal.fileno())
        assert not is_for_journald(environ, elsewhere.fileno())
        assert not is_for_journald({}, journal.fileno())
    assert not is_for_journald(environ, 1_000_000)


def test_a_failed_job_and_a_failed_reload_are_errors_in_the_journal_and_the_page_is_heard_there(
    tmp_path: Path,
) -> None:
    console = tmp_path / "console"
    console.touch()
    page = f'bind = "unix:{tmp_path}/p.sock"'
    environ = {"JOURNAL_STREAM": stream_of(console)}
    settings = '[log]\nconsole = "text"\n'
    with daemon(tmp_path, "", settings, environ=environ, web=page) as running, running.client() as client:
        client.run_background_job("probes.Probe", "fail").wait(20)
        (tmp_path / "probes.py").write_text("import nosuch")
        with pytest.raises(ReloadFailedError):
            client.reload()
        for line in (
            r"<3>\[.*FAILURE: probes.Probe::fail - ValueError: no recipient \(attempt 2 of 2\)",
            r"<4>\[.*FAILURE: probes.Probe::fail - ValueError: no recipient \(attempt 1 of 2, next at .*\)",
            r"<3>\[.*FAILURE: bgjobd - the reload failed, the old code and configuration stay: .*",
            r"<6>\[.*SUCCESS: probes.Probe::fail - Background job started",
            r"<6>bgjobd-web: the page is at .*",
        ):
            eventually(lambda line=line: re.search(f"^{line}$", running.console(), re.MULTILINE))
        assert not re.search("^<", running.log_file.read_text(), re.MULTILINE)


def test_a_command_that_cannot_start_says_so_as_an_error(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    journal.touch()
    (tmp_path / "bgjobd.toml").write_text("[daemon]\nslots = 0\n")
    with journal.open("ab") as stderr:
        subprocess.run(
            [sys.executable, "-m", "bgjobd", "serve", "--config", str(tmp_path / "bgjobd.toml")],
            env=os.environ | {"JOURNAL_STREAM": stream_of(journal)},
            stderr=stderr,
            check=False,
        )
    told = journal.read_text().splitlines()
    assert told
    assert all(line.startswith("<3>") for line in told)

"""However much a job or an application says at once, what is stored, logged and answered of it stays small."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from bgjob.errors import ClassUnavailableError
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

MOST: Final = 64 * 1024
"""Characters that are kept of one text."""

_ROOM: Final = 1024
"""For what stands around it."""

JOBS: Final = '''
import glob, os
import bgjob

HUGE = "y" * 10_000_000


class Chatter:
    __doc__ = HUGE

    def all(self, context: bgjob.JobContext):
        context.progress(0.5, HUGE)
        context.logger.error(HUGE)
        context.logger.info("%s", HUGE)
        print(HUGE, flush=True)
        error = type(HUGE, (Exception,), {})(HUGE)
        error.add_note(HUGE)
        raise error from KeyError(HUGE)

    def forge(self):
        """Writes into its journal itself, past the caps of the writer."""
        for name in os.listdir("/proc/self/fd"):
            try:
                is_journal = os.readlink(f"/proc/self/fd/{name}").endswith(".journal")
            except OSError:
                continue
            if is_journal:
                for record in (
                    '"type":"log","level":"ERROR","at":1.0,"message":"%s"',
                    '"type":"progress","at":1.0,"fraction":0.5,"message":"%s"',
                    '"type":"outcome","outcome":"failed","error_type":"%s","error_message":"x","traceback":"y",'
                    '"may_retry":false,"delay":null,"exceeded":null',
                ):
                    text = '{"v":1,"pid":%d,' % os.getpid() + record % ("z" * 900_000) + "}\\n"
                    os.write(int(name), text.encode())
                os._exit(0)

    def result(self):
        return HUGE

    def retry(self):
        raise bgjob.Retry(HUGE)

    def failed(self, error):
        raise ValueError(HUGE)

    def retry_delay(self, attempt, error):
        raise ValueError(HUGE)
'''

SETTINGS: Final = """
"chatter.Chatter" = { max_retries = 1, retry_delay = 0.01, max_output = "64K" }
"unloadable.Class" = {}
[log]
console = "text"
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    modules = {"chatter": JOBS, "unloadable": 'raise RuntimeError("w" * 10_000_000)'}
    with daemon(tmp_path_factory.mktemp("huge"), SETTINGS, modules=modules) as running:
        with running.client() as client:
            for method in ("all", "forge", "result", "retry"):
                assert client.run_background_job("chatter.Chatter", method).wait(20)["status"] == "failed"
        eventually(lambda: sum("the failed hook: " in line for line in running.lines()) == 4)
        yield running


def test_no_column_of_any_table_has_more_than_is_kept_of_one_text(running: RunningDaemon) -> None:
    """CVE-2018-16864, CVE-2018-16865 journald: a field of megabytes in a record."""
    sizes = {
        (table, column): max(len(str(value)) for (value,) in rows)
        for table, columns in running.tables().items()
        for column in columns
        if (rows := running.query(f'SELECT "{column}" FROM {table}'))
    }
    assert sizes["job_attempts", "error_message"] >= MOST
    assert {place: size for place, size in sizes.items() if size > MOST + _ROOM} == {}


def test_no_line_of_the_log_has_more(running: RunningDaemon) -> None:
    for told in (running.log_file.read_text(), running.console()):
        lines = told.split("\n")
        assert max(map(len, lines)) >= MOST
        assert [(len(line), line[:90]) for line in lines if len(line) > 2 * MOST + _ROOM] == []


def test_files_and_answers_stay_small(running: RunningDaemon) -> None:
    outputs = list((running.directory / "state" / "output").iterdir())
    assert outputs
    assert max(output.stat().st_blocks * 512 for output in outputs) <= 3 * MOST  # max_output and its edges
    with running.client() as client:
        described = {one["name"]: one for one in client.classes()}
        assert len(described["chatter.Chatter"]["doc"]) == MOST
        assert len(described["unloadable.Class"]["unavailable"]) < 3000
        with pytest.raises(ClassUnavailableError) as refused:
            client.run_background_job("unloadable.Class", "run")
    assert len(str(refused.value)) < 3000


def test_a_name_of_megabytes_in_a_request_is_not_repeated_in_the_log(running: RunningDaemon) -> None:
    before = len(running.log_file.read_text())
    with running.client() as client:
        for call in (("n" * 500_000, "all"), ("chatter.Chatter", "n" * 500_000)):
            with pytest.raises(ValueError, match="is not a valid name"):
                client.run_background_job(*call)
    assert len(running.log_file.read_text()) - before < MOST

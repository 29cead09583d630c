"""Tests that may reach no daemon: by the plugin of pytest, and by the mixin of Django's test runners."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgjob import AsyncClient, Client, DaemonUnavailableError, run_background_job, testing
from bgjob.errors import BgjobError, NoDaemonInTestsError
from bgjob.testing import no_daemon

PROJECT = '''
"""The tests of an application that forget a stand-in, and of some that do not."""

import conftest
import pytest

import bgjob
from bgjob.errors import DaemonUnavailableError, NoDaemonInTestsError
from bgjob.testing import daemon_allowed, recorded


def submit():
    return bgjob.run_background_job("shop.Mail", "send")


with pytest.raises(NoDaemonInTestsError):
    submit()

assert conftest.was_refused


@pytest.fixture(scope="session")
def wider():
    with daemon_allowed(), pytest.raises(DaemonUnavailableError):
        submit()


@pytest.fixture(scope="session")
def jobs():
    with recorded() as jobs:
        yield jobs


def test_whoever_forgets_is_told(wider):
    with pytest.raises(NoDaemonInTestsError, match="Submit.*inline.*recorded"):
        submit()


@pytest.mark.bgjob_daemon
class TestMarked:
    @pytest.fixture
    def asked(self):
        with pytest.raises(DaemonUnavailableError):
            submit()

    def test_a_marked_one_reaches_the_daemon(self, asked):
        with pytest.raises(DaemonUnavailableError):
            submit()


def test_a_stand_in_answers(jobs):
    submit()
    assert len(jobs) == 1


@pytest.mark.bgjob_daemon
def test_a_marked_one_has_the_stand_in_as_before(jobs):
    submit()
    assert len(jobs) == 2


def test_it_answers_still(jobs):
    submit()
    assert len(jobs) == 3
'''

CONFTEST = """
import bgjob

try:
    bgjob.run_background_job("shop.Mail", "send")
except bgjob.NoDaemonInTestsError:
    was_refused = True
"""

UNRELATED = """
import sys

import pytest


def test_nothing_of_ours_is_there():
    assert not [name for name in sys.modules if name.partition(".")[0] == "bgjob"]


@pytest.mark.bgjob_daemon
def test_a_submit_goes_its_way():
    import bgjob

    try:
        bgjob.run_background_job("a.B", "run")
    except bgjob.DaemonUnavailableError:
        return
    raise AssertionError
"""


_NOT = ["-o", "bgjob_no_daemon=false"]
_ALONE = ["-p", "no:bgjob"]


@pytest.mark.parametrize(
    ("tests", "settings", "arguments", "passed"),
    [
        pytest.param(PROJECT, "bgjob_no_daemon = true", [], 5, id="by the configuration"),
        pytest.param(PROJECT, "", ["-p", "bgjob.testing.pytest_plugin"], 5, id="by -p"),
        pytest.param(PROJECT, "", [*_ALONE, "-p", "bgjob.testing.pytest_plugin"], 5, id="by -p alone"),
        pytest.param(UNRELATED, "", [], 2, id="by nobody"),
        pytest.param(UNRELATED, "bgjob_no_daemon = true", _NOT, 2, id="by the configuration, and not by -o"),
    ],
)
def test_under_pytest_tests_reach_no_daemon_where_somebody_says_so(
    tmp_path: Path, tests: str, settings: str, arguments: list[str], passed: int
) -> None:
    (tmp_path / "pytest.ini").write_text(f"[pytest]\naddopts = --strict-markers\n{settings}\n")
    (tmp_path / "test_application.py").write_text(tests)
    if tests is PROJECT:
        (tmp_path / "conftest.py").write_text(CONFTEST)
    others = [
        f"no:{name}" for name in ("xdist", "hypothesispytest", "timeout", "playwright", "cacheprovider")
    ]
    lean = [word for other in others for word in ("-p", other)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *lean, *arguments],
        cwd=tmp_path,
        env={"BGJOBD_SOCKET": str(tmp_path / "none.sock")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1].startswith(f"{passed} passed"), done.stdout + done.stderr


@pytest.fixture
def refused() -> Iterator[None]:
    no_daemon.refuse()
    yield
    no_daemon.refuse_no_more()


@pytest.mark.usefixtures("refused")
class TestRefused:
    def test_both_clients_and_whatever_they_ask_are_refused(self, tmp_path: Path) -> None:
        async def submit() -> None:
            async with AsyncClient(str(tmp_path / "s.sock")) as client:
                await client.run_background_job("a.B", "run")

        with Client(str(tmp_path / "s.sock")) as client:
            for ask in (client.stats, client.reload, lambda: client.wait(1), lambda: next(client.watch())):
                with pytest.raises(NoDaemonInTestsError):
                    ask()
        with pytest.raises(NoDaemonInTestsError):
            asyncio.run(submit())

    def test_stand_ins_answer_whether_they_came_before_or_after(self) -> None:
        with testing.recorded() as jobs:
            no_daemon.refuse()
            run_background_job("a.B", "run")
            no_daemon.refuse_no_more()
            run_background_job("a.B", "run")
        assert len(jobs) == 2

    def test_a_daemon_that_is_allowed_is_asked_and_not_afterwards(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BGJOBD_SOCKET", "/nowhere/s.sock")
        no_daemon.refuse()
        with testing.daemon_allowed(), testing.daemon_allowed(), pytest.raises(DaemonUnavailableError):
            run_background_job("a.B", "run")
        no_daemon.refuse_no_more()
        with pytest.raises(NoDaemonInTestsError):
            run_background_job("a.B", "run")


def test_the_error_is_the_same_in_another_process_and_not_hidden_by_what_does_without_a_daemon() -> None:
    error = NoDaemonInTestsError("org.bgjobd.Jobs.Submit")
    assert not isinstance(error, BgjobError | OSError)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


# Django: a runner as far as the mixin knows one


class Suite:
    was_set_up: tuple[Any, ...] = ()

    def process_setup(*args: Any) -> None:  # as Django has it
        Suite.was_set_up = args

    process_setup_args = ("own",)


class Runner:
    parallel_test_suite = Suite
    calls: list[str]

    def __init__(self) -> None:
        self.calls = []

    def setup_test_environment(self, **kwargs: Any) -> None:
        self.calls.append("set up")

    def teardown_test_environment(self, **kwargs: Any) -> None:
        self.calls.append("torn down")


class RefusingRunner(testing.DjangoRunnerMixin, Runner):
    pass


def test_a_runner_of_django_with_the_mixin_reaches_no_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BGJOBD_SOCKET", "/nowhere/s.sock")
    runner = RefusingRunner()
    runner.setup_test_environment()
    with pytest.raises(NoDaemonInTestsError):
        run_background_job("a.B", "run")
    runner.teardown_test_environment()
    with pytest.raises(DaemonUnavailableError):
        run_background_job("a.B", "run")
    assert runner.calls == ["set up", "torn down"]


def test_processes_that_the_runner_spawns_refuse_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = RefusingRunner()
    runner.setup_test_environment()
    suite = runner.parallel_test_suite()
    runner.teardown_test_environment()
    sent = pickle.loads(pickle.dumps((suite.process_setup.__func__, suite.process_setup_args)))
    set_up, args = sent
    set_up(*args)
    with pytest.raises(NoDaemonInTestsError):
        run_background_job("a.B", "run")
    no_daemon.refuse_no_more()
    assert Suite.was_set_up == ("own",)

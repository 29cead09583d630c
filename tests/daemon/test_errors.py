"""Errors through a real daemon: which are one, whichever jobs meet them, and what the socket and the command tell."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator

import pytest

from bgjob import Client, ErrorGroupNotFoundError
from bgjob.errors import InvalidParameterError
from tests.daemon import warm
from tests.daemon.running import RunningDaemon, daemon

SHOP = """
class MailDown(Exception):
    pass


def deliver(to):
    raise MailDown(f"no route to {to}")


class Mail:
    def send(self, to):
        deliver(to)


class Invoice:
    def post(self, to):
        try:
            {}["order"]
        except KeyError:
            deliver(to)

    def charge(self, word):
        error = ValueError("no money")
        error.error_group = word
        raise error

    def kill_itself(self):
        import os
        os.kill(os.getpid(), 11)
"""
APPROVED = '"shop.Mail" = {}\n"shop.Invoice" = {}\n'


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with daemon(tmp_path_factory.mktemp("errors"), APPROVED, modules={"shop": SHOP}) as running:
        yield running


@pytest.fixture(scope="module")
def met(running: RunningDaemon) -> dict[str, int]:
    """The jobs that have failed, by what they were."""
    calls = {
        "mail": ("shop.Mail", "send", {"to": "ann"}),
        "invoice": ("shop.Invoice", "post", {"to": "bob"}),
        "named": ("shop.Invoice", "charge", {"word": "card \x1b[31mdeclined\u202e"}),
        "killed": ("shop.Invoice", "kill_itself", {}),
    }
    with running.client() as client:
        jobs = {}
        for name, call in calls.items():
            job = client.run_background_job(*call, max_retries=0)
            job.wait(20)
            jobs[name] = job.id
    return jobs


@pytest.fixture
def client(running: RunningDaemon) -> Iterator[Client]:
    with running.client() as client:
        yield client


def test_one_broken_mail_server_is_one_error_although_two_classes_meet_it(
    client: Client, met: dict[str, int]
) -> None:
    killed, named, mail = client.errors().items
    assert (mail["error_type"], mail["place"], mail["line"]) == ("MailDown", "shop:deliver", "shop.py:7")
    assert (mail["message"], mail["attempts"], mail["failed"]) == ("no route to bob", 2, 2)
    assert (mail["first_job"], mail["last_job"], mail["is_new"]) == (met["mail"], met["invoice"], True)
    assert (named["is_named"], named["name"]) == (True, "card \x1b[31mdeclined\u202e")
    assert (killed["outcome"], killed["place"]) == ("signalled", None)
    read = client.error(mail["id"])
    assert read.error == mail
    assert read.classes == {"shop.Invoice": 1, "shop.Mail": 1}
    assert read.traceback is not None
    assert read.traceback.endswith("MailDown: no route to bob\n")


def test_jobs_and_attempts_lead_to_their_error_and_back(client: Client, met: dict[str, int]) -> None:
    attempts = {name: client.get(job_id).snapshot["attempts"] for name, job_id in met.items()}
    groups = {name: each[0]["error_group"] for name, each in attempts.items()}
    assert groups["mail"] == groups["invoice"]
    assert len(set(groups.values())) == 3
    listed = client.list(error=groups["mail"]).items
    assert [job["id"] for job in listed] == [met["invoice"], met["mail"]]


def test_errors_are_asked_for_by_class_and_time_and_an_error_that_there_is_not_is_refused(
    client: Client, met: dict[str, int]
) -> None:
    assert [error["error_type"] for error in client.errors(class_name="shop.Mail").items] == ["MailDown"]
    assert len(client.errors(new=True, since="2024-12-04T14:31:53Z").items) == 3
    page = client.errors(limit=2)
    assert len(client.errors(before=page.next).items) == 1
    with pytest.raises(ErrorGroupNotFoundError, match="there is no error 77"):
        client.error(77)
    with pytest.raises(InvalidParameterError, match="since"):
        client.errors(since="yesterday")
    with pytest.raises(InvalidParameterError, match="before"):
        client.errors(before="12")


def bgjob(running: RunningDaemon, *words: str) -> subprocess.CompletedProcess[str]:
    return warm.run([*words, "--socket", str(running.socket)], program="bgjob")


def test_the_command_lists_errors_and_tells_all_of_one(running: RunningDaemon, met: dict[str, int]) -> None:
    table = bgjob(running, "errors").stdout.splitlines()
    assert table[0].split() == ["ID", "ERROR", "WHERE", "FIRST", "LAST", "ATTEMPTS", "FAILED", "NOTE"]
    assert [line.split()[1] for line in table[1:]] == ["signalled", "card", "MailDown"]
    assert "new since the deploy" in table[3]
    told = bgjob(running, "errors", "1").stdout
    assert told.startswith("error 1  MailDown at shop.py:7 in deliver\n")
    assert f"jobs        {met['invoice']}, {met['mail']}\n" in told
    assert "shop.Invoice 1, shop.Mail 1" in told
    assert "MailDown: no route to bob" in told
    assert re.search(r"\nbefore      it began \d+ s after code [0-9a-f]{12} loaded(, host \S+)?\n", told)
    listed = bgjob(running, "list", "--error", "1", "--json").stdout
    assert [job["id"] for job in json.loads(listed)["jobs"]] == [met["invoice"], met["mail"]]
    assert "bgjob errors 1\n" in bgjob(running, "show", str(met["mail"])).stdout


def test_nothing_that_a_job_calls_its_error_moves_the_terminal(
    running: RunningDaemon, met: dict[str, int]
) -> None:
    for words in (("errors",), ("errors", "2"), ("errors", "--new"), ("show", str(met["named"]))):
        told = bgjob(running, *words).stdout
        assert "\x1b" not in told
        assert "\u202e" not in told
    assert "declined" in bgjob(running, "errors").stdout


def test_the_command_says_by_its_code_that_there_is_no_such_error(running: RunningDaemon) -> None:
    done = bgjob(running, "errors", "77")
    assert (done.returncode, done.stderr.startswith("bgjob: there is no error 77")) == (4, True)
    nothing = bgjob(running, "errors", "--class", "shop.Nothing")
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (0, "", "bgjob: no error matches\n")

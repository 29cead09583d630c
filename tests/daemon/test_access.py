"""Who may do what: names to numbers, callers to rights, then other users at a real daemon."""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from bgjob.errors import PermissionDeniedError
from bgjobd.api.access import RIGHTS, Access, Grants, Right
from bgjobd.api.peer import Caller
from bgjobd.config import sections
from tests.daemon.running import RunningDaemon, daemon
from tests.daemon.test_following import Stream
from tests.protocol import idl
from tests.support import eventually

NOBODY = 65534
NOT_ME = 1_000_001
GRANTED = (Right.SUBMIT, Right.MANAGE, Right.READ)
INTERFACE_FILE = Path(sections.__file__).parents[1] / "org.bgjobd.Jobs.varlink"


def access(**listed: tuple[str, ...]) -> Access:
    return Access.from_config(sections.Access(**listed))


def caller(uid: int, gid: int = NOT_ME, *groups: int) -> Caller:
    return Caller(1, uid, gid, frozenset(groups))


def may(given: Access, who: Caller) -> set[Right]:
    return {right for right in Right if given.why_refused(who, right) is None}


# Rights


def test_where_nothing_is_set_whoever_can_connect_may_do_all_that_can_be_granted() -> None:
    assert may(access(), caller(NOT_ME)) == set(GRANTED)


def test_what_is_the_daemons_own_users_is_granted_to_nobody() -> None:
    for given in (access(), access(submit=("1000",), manage=("1000",), read=("1000",))):
        reason = given.why_refused(caller(1000), Right.OWN)
        assert reason is not None
        assert "uid 1000 may not" in reason
        assert {given.why_refused(caller(uid), Right.OWN) for uid in (0, os.geteuid())} == {None}
    own = {name for name, right in RIGHTS.items() if right is Right.OWN}
    assert own == {"Prune", "PruneLogs", "HostLost", "HostAccept"}


def test_a_key_that_is_set_holds_for_its_right_alone() -> None:
    assert may(access(manage=("1000",)), caller(NOT_ME)) == {Right.SUBMIT, Right.READ}
    assert may(access(submit=("1000",), read=("1001",), manage=("1002",)), caller(1000)) == {Right.SUBMIT}


def test_an_empty_list_grants_nobody() -> None:
    assert may(access(submit=(), manage=(), read=()), caller(NOT_ME)) == set()


def test_root_and_the_daemons_own_user_may_do_everything() -> None:
    given = Access(own_uid=1234, members=access(submit=(), manage=(), read=()).members, unknown=())
    assert may(given, caller(0)) == may(given, caller(1234)) == set(Right)
    assert may(given, caller(1235)) == set()
    assert access().own_uid == os.geteuid()


def test_a_user_is_listed_by_number_or_by_name() -> None:
    nobody = pwd.getpwuid(NOBODY).pw_name
    for name in (str(NOBODY), nobody):
        assert may(access(submit=(name,), manage=(), read=()), caller(NOBODY)) == {Right.SUBMIT}


def test_a_group_is_the_callers_own_or_one_of_those_that_the_kernel_told() -> None:
    some = next(group for group in grp.getgrall() if group.gr_gid != 0)
    for name in (f"@{some.gr_gid}", f"@{some.gr_name}"):
        given = access(submit=(), manage=(), read=(name,))
        assert may(given, caller(NOT_ME, some.gr_gid)) == {Right.READ}
        assert may(given, caller(NOT_ME, NOT_ME, 1, some.gr_gid)) == {Right.READ}
        assert may(given, caller(NOT_ME, NOT_ME)) == set()


def test_users_and_groups_of_one_number_are_not_mixed_up() -> None:
    assert may(access(submit=("5000",), manage=(), read=("@5000",)), caller(5000)) == {Right.SUBMIT}
    assert may(access(submit=("5000",), manage=(), read=("@5000",)), caller(1, 5000)) == {Right.READ}


@pytest.mark.parametrize("uid", [2**31 - 1, 2**31, 4_000_000_000, 2**32 - 2, -1])
def test_a_large_uid_is_nobody_special(uid: int) -> None:
    given = access(submit=("1000", "nosuch-user"), manage=("@1000",), read=("@nosuch-group",))
    assert may(given, caller(uid)) == set()


@pytest.mark.parametrize(
    "name", ["nosuch-user", "@nosuch-group", "4294967295", "@4294967295", "99999999999", "9" * 5000, "٣"]
)
def test_a_name_that_the_machine_does_not_know_is_told_and_grants_nothing(name: str) -> None:
    given = access(submit=(name, "1000"), manage=(name,), read=("1000", "@1000"))
    assert given.unknown == (name,)
    assert may(given, caller(1000)) == {Right.SUBMIT, Right.READ}
    assert may(given, caller(2**32 - 1, 2**32 - 1)) == set()


def test_names_that_are_known_are_not_told() -> None:
    assert access(submit=("1000", "@1000", "root", "@root")).unknown == ()
    assert access().unknown == ()


@pytest.mark.parametrize("right", GRANTED)
def test_a_refusal_names_the_uid_and_the_key_to_change(right: Right) -> None:
    reason = access(submit=(), manage=(), read=()).why_refused(caller(4_000_000_000), right)
    assert reason is not None
    assert "4000000000" in reason
    assert f"[access] {right}" in reason


def test_every_method_of_the_interface_takes_a_right() -> None:
    interface = idl.parse(INTERFACE_FILE.read_text())
    assert interface.inputs.keys() <= RIGHTS.keys()
    assert set(RIGHTS.values()) == set(Right)


# Rights that are taken away while somebody is about them


async def hold(grants: Grants, who: Caller, right: Right, until: asyncio.Event) -> str:
    async with grants.holding(who, right):
        await until.wait()
    return "done"


def test_what_goes_on_with_a_right_ends_when_that_is_taken_away() -> None:
    async def scene() -> None:
        grants, until = Grants(), asyncio.Event()
        grants.change(access(read=("1000", "1001"), manage=("1000",)))
        holds = [
            asyncio.ensure_future(hold(grants, caller(uid), right, until))
            for uid, right in ((1000, Right.READ), (1001, Right.READ), (1000, Right.MANAGE), (0, Right.READ))
        ]
        await asyncio.sleep(0)
        grants.change(access(read=("1001",), manage=("1000",)))
        done, _ = await asyncio.wait(holds, return_when=asyncio.FIRST_COMPLETED)
        assert done == {holds[0]}
        with pytest.raises(PermissionDeniedError, match=r"uid 1000 may not read"):
            holds[0].result()
        until.set()
        assert await asyncio.gather(*holds[1:]) == ["done"] * 3
        assert not grants._held

    asyncio.run(scene())


def test_nobody_holds_a_right_that_it_does_not_have() -> None:
    async def scene() -> None:
        grants = Grants()
        with pytest.raises(PermissionDeniedError):
            grants.check(caller(1000), Right.READ)
        with pytest.raises(PermissionDeniedError):
            await hold(grants, caller(1000), Right.READ, asyncio.Event())
        grants.change(access())
        grants.check(caller(1000), Right.READ)

    asyncio.run(scene())


def test_a_timeout_within_is_no_denial() -> None:
    async def scene() -> None:
        grants = Grants()
        grants.change(access())
        with pytest.raises(TimeoutError):
            async with grants.holding(caller(1000), Right.READ), asyncio.timeout(0):
                await asyncio.Event().wait()

    asyncio.run(scene())


# Other users at a real daemon


LISTED = f"[access]\nsubmit = ['{NOBODY}', '@4711']\nmanage = ['nosuch-user']\nread = ['@4712']\n"
ASK = """
import os, sys
from bgjob import Client, PermissionDeniedError
uid, *groups = map(int, sys.argv[1:])
os.setgroups(groups)
os.setgid(1000001)
os.setuid(uid)
with Client("s.sock", timeout=20) as client:
    for name, call in (
        ("submit", lambda: client.run_background_job("probes.Probe", "echo")),
        ("submit_many", lambda: client.submit_many([])),
        ("cancel", lambda: client.cancel(10**6)),
        ("pause", client.pause),
        ("stats", client.stats),
        ("running", client.running),
        ("get", lambda: client.get(10**6)),
    ):
        try:
            call()
        except PermissionDeniedError as error:
            print(name, "refused:", error)
        except Exception as error:
            print(name, "may:", type(error).__name__)
        else:
            print(name, "may")
"""

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with daemon(tmp_path_factory.mktemp("access"), LISTED) as running:
        running.socket.chmod(0o666)
        running.directory.chmod(0o711)
        yield running


def told(running: RunningDaemon, uid: int, *groups: int) -> dict[str, str]:
    """What a process of this user and these supplementary groups hears, by method."""
    # The socket is found from the working directory: the way to it may be closed to others.
    ran = subprocess.run(
        [sys.executable, "-c", ASK, *map(str, (uid, *groups))],
        cwd=running.directory,
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    return dict(line.split(" ", 1) for line in ran.stdout.splitlines())


def allowed(answers: dict[str, str]) -> set[str]:
    return {name for name, answer in answers.items() if answer.startswith("may")}


@as_root
def test_a_listed_user_may_do_what_it_is_listed_for(running: RunningDaemon) -> None:
    answers = told(running, NOBODY)
    assert allowed(answers) == {"submit", "submit_many"}
    assert "uid 65534" in answers["cancel"]
    assert "[access] manage" in answers["cancel"]
    assert "[access] read" in answers["get"]


@as_root
def test_a_member_of_a_listed_group_may_do_what_the_group_is_listed_for(running: RunningDaemon) -> None:
    assert allowed(told(running, 1_000_002, 4711)) == {"submit", "submit_many"}
    assert allowed(told(running, 1_000_002, 1, 4712)) == {"stats", "running", "get"}


@as_root
@pytest.mark.parametrize("uid", [1_000_002, 4_000_000_000])
def test_a_user_that_is_not_listed_may_do_nothing(running: RunningDaemon, uid: int) -> None:
    assert allowed(told(running, uid)) == set()
    assert f"uid {uid}" in told(running, uid)["submit"]


@as_root
def test_root_may_do_everything(running: RunningDaemon) -> None:
    answers = told(running, 0)
    assert allowed(answers) == answers.keys()


@as_root
def test_a_name_that_the_machine_does_not_know_is_a_line_of_the_log(running: RunningDaemon) -> None:
    eventually(lambda: any("nosuch-user" in line for line in running.lines()))


@contextmanager
def somebody_else() -> Iterator[None]:
    """Meanwhile connections are made as another user: the kernel tells whom it saw then."""
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@as_root
def test_open_streams_end_when_a_reload_takes_the_right_to_read_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = f"[access]\nread = ['{NOBODY}']\n"
    with daemon(tmp_path, listed) as running, ExitStack() as stack:
        running.socket.chmod(0o666)
        tmp_path.chmod(0o711)
        monkeypatch.chdir(tmp_path)  # the way to it is closed to others
        running.socket = Path(running.socket.name)
        client = stack.enter_context(running.client())
        paths = {"path": str(tmp_path / "go"), "ledger": str(tmp_path / "ledger")}
        job = client.run_background_job("probes.Probe", "wait_for", paths)
        own = stack.enter_context(closing(Stream(running, "Watch")))
        with somebody_else():
            others = [
                stack.enter_context(closing(Stream(running, method, more=method != "Wait", **parameters)))
                for method, parameters in (
                    ("Watch", {}),
                    ("Watch", {"ids": [job.id]}),
                    ("Logs", {}),
                    ("Logs", {"id": job.id}),
                    ("Output", {"id": job.id}),
                    ("Wait", {"id": job.id}),
                )
            ]
        for begun in (own, *others[:4]):
            begun.next()
        running.config.write_text(running.config.read_text().replace(listed, "[access]\nread = []\n"))
        client.reload()
        for other in others:
            assert "[access] read" in other.denial()
        (tmp_path / "go").touch()
        while own.next().parameters["job"]["status"] != "completed":
            pass
        assert not [line for line in running.lines() if "bug" in line]

"""What membership of the socket's group gives, at root's daemon: the way in, and code as the user that jobs run as."""

from __future__ import annotations

import grp
import io
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.daemon.running import RunningDaemon, daemon
from tests.protocol.peers import PATIENCE, Peer, ours, pid_of
from tests.support import directory_for_all, eventually

TREE = Path(__file__).resolve().parents[2]
STRANGER = 1_000_001
VAULT = "class Vault:\n    def open(self, pin):\n        pass\n"
POLICY = '"vault.Vault" = { sensitive = ["pin"] }'
pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root's daemon gives its socket to a group")


@pytest.fixture(scope="module")
def group() -> grp.struct_group:
    """Some group of this machine, in the place of `bgjob`."""
    return next(group for group in grp.getgrall() if group.gr_gid != 0)


@pytest.fixture(scope="module")
def running(group: grp.struct_group) -> Iterator[RunningDaemon]:
    changes = f"from bgjobd import service; service.SOCKET_GROUP = {group.gr_name!r}"
    with (
        directory_for_all() as directory,
        daemon(directory, POLICY, modules={"vault": VAULT}, changes=changes) as running,
    ):
        yield running


def connect_as(running: RunningDaemon, groups: list[int]) -> Peer:
    sock = socket.socket(socket.AF_UNIX)
    with somebody(groups):
        sock.connect(str(running.socket))
    return Peer(sock, pid_of(running))


@contextmanager
def somebody(groups: list[int]) -> Iterator[None]:
    """Meanwhile this process is a stranger in these groups."""
    own = os.getgroups()
    os.setgroups(groups)
    os.setegid(STRANGER)
    os.seteuid(STRANGER)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(own)


def test_the_socket_is_its_groups_and_nobody_elses(running: RunningDaemon, group: grp.struct_group) -> None:
    """The Docker socket: whoever is in its group is root, and a socket that all can reach makes everybody that."""
    found = running.socket.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o660, 0, group.gr_gid)
    with pytest.raises(PermissionError):
        connect_as(running, [])
    with connect_as(running, [group.gr_gid]) as peer:
        assert peer.ask(ours("Stats")).error is None


def test_a_member_runs_approved_code_as_the_user_of_its_jobs_and_nothing_else(
    running: RunningDaemon, group: grp.struct_group
) -> None:
    """The Docker socket: what a member gets is what the documentation says that membership means."""
    with connect_as(running, [group.gr_gid]) as peer:
        ledger = str(running.directory / "ledger")
        names = {"class_name": "probes.Probe", "method_name": "note"}
        job = peer.ask(ours("Submit", **names, parameters={"ledger": ledger})).parameters["id"]
        ended = peer.ask(ours("Wait", id=job, timeout=PATIENCE)).parameters["job"]
        assert (ended["status"], ended["submitted_uid"]) == ("completed", STRANGER)
        assert Path(ledger).stat().st_uid == 0
        assert peer.ask(ours("Submit", class_name="os", method_name="system")).error is not None
        assert (
            peer.ask(ours("Prune", ids=[job], last_entry=10**6)).error == "org.bgjobd.Jobs.PermissionDenied"
        )


def test_a_member_cannot_guess_another_users_secret_by_its_idempotency_key(
    running: RunningDaemon, group: grp.struct_group
) -> None:
    """An answer that tells a right guess from a wrong one: a few thousand of them are enough for a PIN."""
    with running.client() as client:
        call = {"class_name": "vault.Vault", "method_name": "open"}
        job = client.run_background_job(**call, parameters={"pin": "4711"}, idempotency_key="door")
        again = client.run_background_job(**call, parameters={"pin": "4711"}, idempotency_key="door")
        assert again.id == job.id
    with connect_as(running, [group.gr_gid]) as peer:
        guesses = [
            peer.ask(ours("Submit", **call, parameters={"pin": pin}, options={"idempotency_key": "door"}))
            for pin in ("4710", "4711")
        ]
    wrong, right = ((guess.error, guess.parameters) for guess in guesses)
    assert right == wrong == ("org.bgjobd.Jobs.IdempotencyConflict", {"id": job.id})


def test_a_member_that_has_the_pipe_open_loses_it_with_the_right_to_submit(group: grp.struct_group) -> None:
    """No mode takes back what is open: a right was taken away, and what was opened with it went on to work."""
    changes = f"from bgjobd import service; service.SOCKET_GROUP = {group.gr_name!r}"
    request = b'{"class_name":"probes.Probe","method_name":"echo"}\n'
    with directory_for_all() as directory:
        pipe = directory / "jobs.fifo"
        with daemon(directory, changes=changes) as running:
            settings = running.config.read_text().replace("[daemon]", f'[daemon]\nfifo = "{pipe}"')
            running.config.write_text(settings)
            running.stop()
            running.start()
            with open_as(pipe, group.gr_gid) as writer, running.client() as client:
                writer.write(request)
                eventually(lambda: len(client.list()) == 1)
                running.config.write_text(f'{settings}\n[access]\nsubmit = ["root"]\n')
                client.reload()
                with pytest.raises(BrokenPipeError):
                    writer.write(request)
                with pytest.raises(PermissionError):
                    open_as(pipe, group.gr_gid)
                assert len(client.list()) == 1


def open_as(pipe: Path, gid: int) -> io.FileIO:
    """The pipe as a stranger who is in the group opens it."""
    with somebody([gid]):
        return io.FileIO(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK), "w")


@pytest.mark.parametrize("place", ["docs/service.md", "systemd/bgjobd.socket", "systemd/sysusers.conf"])
def test_what_membership_means_is_said_where_members_are_made(place: str) -> None:
    """The Docker socket: people were added to its group who would not have been given root's password."""
    said = " ".join((TREE / place).read_text().replace("#", " ").split())
    assert "can have every approved method run" in said

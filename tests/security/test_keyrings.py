"""Jobs and the kernel's keyrings: what whoever started the daemon keeps in a session's is not there for them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bgjobd.forkserver import keyring, libc
from tests.daemon.running import daemon
from tests.support import directory_for_all

SESSION = -3
KEYCTL = keyring._KEYCTL.get(os.uname().machine, 0)

GIVEN = f"""
from bgjobd.forkserver import keyring, libc
keyring.leave()
libc.syscall({KEYCTL - 2}, b"user", b"ticket", b"secret", 6, {SESSION})
"""
"""What a login does to the daemon: a session keyring that has a key (add_key(2))."""

SOURCE = f"""
import ctypes

class Reader:
    def read(self):
        libc = ctypes.CDLL(None)
        key = libc.syscall({KEYCTL}, 10, {SESSION}, b"user", b"ticket", 0)
        kept = ctypes.create_string_buffer(6)
        libc.syscall({KEYCTL}, 11, key, kept, 6)
        return kept.raw.decode()

class Stranger(Reader):
    pass
"""
AS = 'user = "nobody"' if os.geteuid() == 0 else ""
POLICY = f'"readers.Reader" = {{}}\n[approved."readers.Stranger"]\n{AS}'


def has_keyrings() -> bool:
    try:
        libc.syscall(KEYCTL, 0, SESSION, 0)
    except OSError:
        return False
    return KEYCTL > 0


def read_by(name: str, directory: Path) -> object:
    with (
        daemon(directory, POLICY, modules={"readers": SOURCE}, changes=GIVEN) as running,
        running.client() as c,
    ):
        return c.run_background_job(f"readers.{name}", "read").result(20)


@pytest.mark.skipif(not has_keyrings(), reason="this kernel, or container, has no keyrings")
@pytest.mark.parametrize("name", ["Reader", "Stranger"])
def test_a_job_finds_nothing_in_the_session_keyring_that_the_daemon_was_started_with(name: str) -> None:
    """docker/libcontainer 1.10: containers shared root's session keyring, and whoever has it may read its keys."""
    with directory_for_all() as directory:
        assert read_by(name, directory) == "\0" * 6

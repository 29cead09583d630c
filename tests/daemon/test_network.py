"""Tests of classes whose attempts have no network, or no TCP, with a real daemon."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bgjobd.config.loading import load
from bgjobd.forkserver import landlock, network
from bgjobd.supervisor import limits, networks
from tests.daemon.running import RunningDaemon, daemon
from tests.support import directory_for_all

SOURCE = """
import encodings.idna  # which another user cannot read later
import os
import socket
from pathlib import Path


class Networked:
    def look(self, address):
        try:
            socket.create_connection(tuple(address)).close()
            reached = "reached"
        except OSError as error:
            reached = type(error).__name__
        own = [line.partition(":")[0].strip() for line in Path("/proc/self/net/dev").read_text().splitlines()[2:]]
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(os.environ["BGJOBD_SOCKET"])
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return {"reached": reached, "interfaces": own, "uid": os.getuid(), "rights": int(status["CapEff"], 16)}


class Without(Networked):
    pass


class AsOther(Networked):
    pass


class WithoutTcp(Networked):
    pass


class Confined(Networked):
    pass
"""

CLASSES = """
"nets.Networked" = {}
"nets.Without" = { network = false }
"nets.WithoutTcp" = { network = "no-tcp" }
"nets.Confined" = { network = "no-tcp", writable = [] }
"""
OF_ROOT = '"nets.AsOther" = { network = false, user = "nobody" }'


@pytest.fixture(scope="module")
def running() -> Iterator[RunningDaemon]:
    if networks.lacks([network.NONE, network.NO_TCP]):
        pytest.skip("a network cannot be kept from attempts here")
    settings = CLASSES + (OF_ROOT if os.geteuid() == 0 else "")
    with (
        directory_for_all() as directory,  # one of them runs as another user
        daemon(directory, settings, modules={"nets": SOURCE}) as started,
    ):
        started.socket.chmod(0o666)
        yield started


@pytest.fixture
def address() -> Iterator[tuple[str, int]]:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()


def found(running: RunningDaemon, name: str, address: tuple[str, int]) -> dict[str, object]:
    with running.client() as client:
        return client.run_background_job(f"nets.{name}", "look", {"address": address}).result(20)


def test_who_may_use_the_network_does(running: RunningDaemon, address: tuple[str, int]) -> None:
    assert found(running, "Networked", address)["reached"] == "reached"


def test_a_class_without_a_network_has_loopback_alone_and_the_daemons_socket(
    running: RunningDaemon, address: tuple[str, int]
) -> None:
    told = found(running, "Without", address)
    assert (told["reached"], told["interfaces"]) == ("ConnectionRefusedError", ["lo"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's daemon runs jobs as others")
def test_it_may_have_a_user_of_its_own(running: RunningDaemon, address: tuple[str, int]) -> None:
    told = found(running, "AsOther", address)
    assert told == {"reached": "ConnectionRefusedError", "interfaces": ["lo"], "uid": 65534, "rights": 0}


@pytest.mark.parametrize("name", ["WithoutTcp", "Confined"])
def test_a_class_without_tcp_connects_to_nobody(
    running: RunningDaemon, address: tuple[str, int], name: str
) -> None:
    assert found(running, name, address)["reached"] == "PermissionError"


def test_a_policy_tells_what_its_jobs_do_without(running: RunningDaemon) -> None:
    with running.client() as client:
        told = {one["name"]: one["policy"]["network"] for one in client.classes() if one["policy"]}
    assert (told["nets.Networked"], told["nets.Without"], told["nets.WithoutTcp"]) == (
        None,
        "none",
        "no-tcp",
    )


def test_a_class_does_not_start_where_it_cannot_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bgjobd.toml"
    path.write_text(f"[approved]{CLASSES}")
    config = load(path, {}, is_root=False)
    monkeypatch.setattr(landlock, "version", lambda: 3)
    monkeypatch.setitem(networks._LACKS, network.NONE, lambda: "network = false cannot be had here: no")
    known, missing = limits.message(config)
    assert missing == {
        "nets.Without": "network = false cannot be had here: no",
        "nets.WithoutTcp": 'network = "no-tcp" cannot be had here: it takes Linux 6.7 or newer, with Landlock',
        "nets.Confined": 'network = "no-tcp" cannot be had here: it takes Linux 6.7 or newer, with Landlock',
    }
    assert known["nets.Networked"]["network"] is None


def test_why_it_cannot_be_had_says_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "sys", type("Sys", (), {"executable": "/bin/false"}))
    (why,) = networks.lacks([network.NONE, None]).values()
    assert "takes root with CAP_SYS_ADMIN, or user namespaces" in why
    assert "bgjobd units --install --network" in why


@pytest.mark.parametrize("value", ['"none"', "0", '"tcp"', "[]"])
def test_what_else_it_may_be_is_said(tmp_path: Path, value: str) -> None:
    path = tmp_path / "bgjobd.toml"
    path.write_text(f'[approved]\n"a.B" = {{ network = {value} }}')
    with pytest.raises(Exception, match='must be false, "no-tcp" or true'):
        load(path, {}, is_root=False)


def test_true_is_what_it_is_without_the_key(tmp_path: Path) -> None:
    path = tmp_path / "bgjobd.toml"
    path.write_text('[approved]\n"a.B" = { network = true }')
    assert load(path, {}, is_root=False).approved["a.B"].network is None

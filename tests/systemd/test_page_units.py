"""The units of a page behind a web server, as the documentation shows them; `page.py` has them in a container."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.page.behind import shown
from tests.systemd.test_units import allowed, directives, is_within, verified

UNITS = Path("etc/systemd/system")
MUSTS = {
    "bgjobd-web.socket": {
        "ListenStream": "/run/bgjobd-web.sock",
        "SocketUser": "www-data",
        "SocketMode": "0600",
        "RemoveOnStop": "yes",
    },
    "bgjobd-web.service": {
        "Requires": "bgjobd-web.socket",
        "StartLimitIntervalSec": "0",  # systemd closes the socket of a service that it gives up
        "Restart": "always",  # else whoever waits at the socket has it started again at once
        "RestartSec": "2s",
        "SyslogIdentifier": "bgjobd",
        "User": "bgjobd",
    },
}

# With any of these the page goes whenever the daemon fails, so that nothing tells of one that cannot start.
TIES = {"PartOf", "BindsTo", "StopPropagatedFrom"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine with nothing but these units."""
    (tmp_path / UNITS).mkdir(parents=True)
    for file, text in shown("ini").items():
        (tmp_path / file.relative_to("/")).write_text(text.replace("/srv/bgjobd/bin/bgjobd", "/bin/true"))
    return tmp_path


def test_each_unit_has_what_the_page_depends_on(root: Path) -> None:
    there = {path.name: directives(path) for path in (root / UNITS).iterdir()}
    assert {*there} == {*MUSTS}
    for unit, musts in MUSTS.items():
        assert {key: there[unit].get(key) for key in musts} == {key: [value] for key, value in musts.items()}


def test_a_page_outlives_the_daemon(root: Path) -> None:
    service = directives(root / UNITS / "bgjobd-web.service")
    assert TIES & {*service} == set()
    assert "bgjobd.service" not in service["Requires"]


def test_systemd_finds_no_fault_with_them(root: Path) -> None:
    assert verified(root / UNITS, root) == ""


# Tenths: 0.2 each for PrivateUsers= and IPAddressDeny=, the rest as with the daemon's.
def test_the_page_is_as_closed_as_it_can_be(root: Path) -> None:
    assert is_within(root, 6, "bgjobd-web.service")
    assert not is_within(root, 5, "bgjobd-web.service")


def test_the_page_may_do_what_threads_and_sockets_take_and_nothing_that_is_roots(root: Path) -> None:
    let_through = allowed(directives(root / UNITS / "bgjobd-web.service")["SystemCallFilter"])
    assert {"clone3", "accept4", "connect", "poll", "futex"} <= let_through
    assert not {"setuid", "mount", "setpriority", "ptrace", "bpf"} & let_through

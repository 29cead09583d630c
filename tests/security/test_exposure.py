"""What a daemon offers to whom when nobody has configured more: no network, no class, no token that another has."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgjob import Client
from bgjob.errors import NotApprovedError
from bgjobd.config import problems
from bgjobd.supervisor.page_process import settings_of
from tests.daemon.running import RunningDaemon, daemon, links_of
from tests.daemon.test_check import settings
from tests.support import eventually

DEMO = "bgjobd.demo.jobs.ExampleJob"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """A daemon whose configuration says where it lives, and that its page takes whatever port is free."""
    directory = tmp_path_factory.mktemp("bare")
    running = RunningDaemon(directory, web='bind = "127.0.0.1:0"')
    running.config.write_text(running.config.read_text().partition("[retry]")[0])
    try:
        running.start()
        yield running
    finally:
        if running.process is not None:
            running.stop()


@pytest.fixture
def client(bare: RunningDaemon) -> Iterator[Client]:
    with bare.client() as client:
        yield client


def listening(pids: list[int]) -> dict[int, list[str]]:
    """The addresses, in hexadecimal, at which each of the processes has a socket of the network."""
    places = {}
    for kind in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6", "packet"):
        for line in Path(f"/proc/self/net/{kind}").read_text().splitlines()[1:]:
            words = line.split()
            places[words[-1] if kind == "packet" else words[9]] = f"{kind} {words[1]}"
    return {pid: [places[inode] for inode in _sockets(pid) if inode in places] for pid in pids}


def _sockets(pid: int) -> list[str]:
    return [found[1] for link in links_of(pid).values() if (found := re.fullmatch(r"socket:\[(\d+)\]", link))]


def test_nothing_but_the_page_is_in_the_network_and_that_on_loopback_alone(bare: RunningDaemon) -> None:
    """CVE-2019-12105 (supervisord), CVE-2023-48022 (Ray): a control port that was open to whoever could reach it."""
    eventually(lambda: "the page is at" in bare.console())
    eventually(lambda: len(bare.children()) == 2)  # the fork server comes by itself, perhaps later
    assert bare.process is not None
    page, *others = sorted(bare.children(), key=lambda pid: "bgjobd.web" not in _command(pid))
    found = listening([bare.process.pid, page, *others])
    (place,) = found.pop(page)
    assert place.startswith("tcp 0100007F:")  # 127.0.0.1, as the kernel writes it
    assert len(found) == 2
    assert list(found.values()) == [[], []]


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode()


@pytest.mark.parametrize(
    "bind",
    [
        *("0.0.0.0:8377", "[::]:8377", "[::ffff:0.0.0.0]:8377", "0:8377", "*:8377", ":8377", "127.1:8377"),
        *("127.0.0.1.example.org:8377", "localhost.example.org:8377", "[fe80::1%lo]:8377", "192.0.2.1:8377"),
    ],
)
def test_no_other_address_is_taken_without_the_flag(tmp_path: Path, bind: str) -> None:
    """The same; a name counts as remote, whatever it leads to by now."""
    with pytest.raises(problems.ConfigError, match=r"web\.bind"):
        settings(tmp_path, f"[web]\nbind = {bind!r}\n")


def test_a_start_with_such_an_address_is_refused(tmp_path: Path) -> None:
    running = RunningDaemon(tmp_path, web='bind = "0.0.0.0:0"')
    assert running.spawn().wait(20) == 2
    assert "must be a loopback address unless allow_remote = true" in running.console()


def test_nobody_is_approved_until_somebody_approves_it(bare: RunningDaemon, client: Client) -> None:
    """CVE-2020-13927 and CVE-2020-11978 (airflow): an open API, and examples that ran what they were given."""
    assert client.classes() == []
    for name in (
        DEMO,
        "bgjobd.demo.show.run",
        "probes.Probe",
        "os.system",
        "subprocess.Popen",
        "bgjobd.main.main",
    ):
        with pytest.raises(NotApprovedError):
            client.run_background_job(name, "run", {"command": "touch /tmp/x"})
    assert bare.query("SELECT count(*) FROM background_jobs") == [(0,)]


def test_each_installation_has_a_token_of_its_own_that_nobody_guesses(tmp_path: Path) -> None:
    """CVE-2020-17526 (airflow), CVE-2023-27524 (superset): one secret key for everybody, from the documentation."""
    tokens = set()
    for number in range(20):
        place = tmp_path / str(number)
        (place / "state").mkdir(parents=True, mode=0o700)
        token = settings_of(settings(place))["token"]
        file = place / "state" / "web.token"
        assert file.read_text() == f"{token}\n"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert re.fullmatch(r"[A-Za-z0-9_-]{32}", token)  # 24 bytes: 192 bits
        tokens.add(token)
    assert len(tokens) == 20
    places = [{token[position] for token in tokens} for position in range(32)]
    assert min(map(len, places)) > 5  # no part of it is the same everywhere


def test_a_daemon_without_a_page_has_no_token_and_no_port(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        assert running.process is not None
        found = listening([running.process.pid, *eventually(running.children)])
        assert not any(found.values())
        assert not (tmp_path / "state" / "web.token").exists()

"""The acceptance of a page with units of its own, by hand and as root: `python -m tests.systemd.page [DEB]`.

Boots a Debian with nginx in a container, installs this tree there, or a package, and what docs/page-and-metrics.md
shows; then daemon, page and socket are restarted, killed and stopped. Takes systemd-container and debootstrap.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.page.behind import settings, shown
from tests.support import eventually
from tests.systemd import debian
from tests.systemd.nspawn.__main__ import booted
from tests.systemd.package import Machine

_NEEDED: Final = ("man-db", "nginx", "openssl", "curl")
_COMMANDS: Final = {"tree": "/srv/bgjobd/bin/bgjobd", "package": "/usr/bin/bgjobd"}
_NAME: Final = "ops.example.org"
_SOCKET: Final = "/run/bgjobd-web.sock"
_PLACES: Final = """
[daemon]
socket = "/run/bgjobd.sock"
state_dir = "/var/lib/bgjobd"
runtime_dir = "/run/bgjobd"
log_dir = "/var/log/bgjobd"
"""
_INSTALL: Final = {
    "tree": "/srv/bgjobd/bin/bgjobd units --install && systemd-sysusers"
    " && systemd-tmpfiles --create /etc/tmpfiles.d/bgjobd.conf",
    "package": "dpkg -i /srv/bgjobd.deb",
}
_CERTIFY: Final = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    f" -keyout /etc/nginx/ops.key -out /etc/nginx/ops.crt -subj /CN={_NAME} -addext subjectAltName=DNS:{_NAME}"
    " && echo ada:$(openssl passwd -apr1 lovelace) > /etc/nginx/ops.htpasswd"
)
_CURL: Final = f"curl -sS --cacert /etc/nginx/ops.crt --resolve {_NAME}:443:127.0.0.1 -w '\\n%{{http_code}}'"
_KILLS: Final = 8
"""More than systemd starts in ten seconds, where it is not told otherwise."""


def main() -> int:
    """Try it all; answers the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.systemd.page", description=__doc__)
    parser.add_argument(
        "--base", type=Path, help="keep the bare Debian here, and take it from here next time"
    )
    parser.add_argument("package", type=Path, nargs="?", help="instead of this tree")
    given = parser.parse_args()
    way = "package" if given.package else "tree"
    with tempfile.TemporaryDirectory(prefix="bgjobd-page-") as name:
        root = Path(name) / "root"
        debian.make_bare(root, given.base, _NEEDED)
        if given.package:
            (root / "srv/bgjobd.deb").write_bytes(given.package.read_bytes())
        else:
            debian.install_tree(root, Path(name))
        with booted(root) as leader:
            machine = Machine(leader)
            _install(machine, root, way)
            problems = [problem for step in STEPS for problem in step(machine)]
            for problem in problems:
                debian.say(f"PROBLEM: {problem}")
            debian.say("failed" if problems else "passed")
    return int(bool(problems))


def _install(machine: Machine, root: Path, way: str) -> None:
    machine.ask(_INSTALL[way])
    config = root / "etc/bgjobd/bgjobd.toml"
    config.write_text(_PLACES + settings())
    config.chmod(0o644)
    for file, text in (shown("ini") | shown("nginx")).items():
        (root / file.relative_to("/")).write_text(text.replace(_COMMANDS["tree"], _COMMANDS[way]))
    machine.ask(_CERTIFY)
    machine.ask("systemctl daemon-reload && systemctl enable bgjobd.socket bgjobd.service")
    machine.ask("systemctl restart bgjobd.socket bgjobd.service && systemctl reload nginx")
    machine.ask("systemctl enable --now bgjobd-web.socket")


# The steps; each tells what is not as it should be, a sentence each


def _what_systemd_makes_of_them(machine: Machine) -> Iterator[str]:
    if told := machine.ask("systemd-analyze verify --man=no bgjobd-web.socket bgjobd-web.service 2>&1"):
        yield f"systemd finds fault with the units: {told}"
    debian.say(machine.ask("systemd-analyze security --no-pager bgjobd-web.service").splitlines()[-1])


def _the_first_request_starts_the_page(machine: Machine) -> Iterator[str]:
    if told := _property(machine, "ActiveState") != "inactive":
        yield f"the page is {told} before anybody has asked"
    if machine.ask(f"stat -c '%A %U' {_SOCKET}") != "srw------- www-data":
        yield "the socket is not nginx's alone"
    yield from _not_well(machine)
    code, text = _asked(machine, "/jobs/now")
    if code != "200" or "Nothing needs you" not in text:
        yield f"the page says {code}: {text}"
    if (code := _asked(machine, "/jobs/now", who="")[0]) != "401":
        yield f"without a login nginx says {code}"
    for user, code in {"www-data": 0, "nobody": 7, "bgjobd": 7}.items():
        asked = f"runuser -u {user} -- curl -s --unix-socket {_SOCKET} http://localhost/jobs/healthz"
        if (found := machine.try_run(asked).returncode) != code:
            yield f"at the socket curl ends with {found} for {user}"


def _a_restart_comes_back(machine: Machine) -> Iterator[str]:
    page = _property(machine, "MainPID")
    machine.ask("systemctl restart bgjobd.service")
    yield from _not_well(machine)
    if _property(machine, "MainPID") != page:
        yield "a restart of the daemon has restarted the page"
    for unit in ("bgjobd-web.service", "bgjobd-web.socket"):
        page = _property(machine, "MainPID")
        machine.ask(f"systemctl restart {unit}")
        yield from _not_well(machine)
        if _property(machine, "MainPID") == page:
            yield f"a restart of {unit} has left the page as it was"


def _a_page_that_is_killed_again_and_again_comes_back(machine: Machine) -> Iterator[str]:
    inode = machine.ask(f"stat -c %i {_SOCKET}")
    with _asking(machine) as codes:
        for number in range(_KILLS):
            page = eventually(lambda: _maybe_pid(machine), within=60)
            if number % 2:  # else amid its start
                before = codes.total()
                eventually(lambda before=before: codes.total() > before, within=60)
            machine.ask(f"kill -KILL {page}")
            eventually(lambda page=page: _property(machine, "MainPID") != page, within=60)
        yield from _not_well(machine)
    debian.say(f"{_KILLS} kills: who asked was answered {dict(codes)}")
    if {*codes} - {"200", "502"} or codes["502"] > 2 * _KILLS:  # what each was just answering
        yield f"who asked was answered {dict(codes)}"
    if machine.ask(f"stat -c %i {_SOCKET}") != inode:
        yield "the socket is another"


def _what_is_said_while_the_daemon_is_stopped(machine: Machine) -> Iterator[str]:
    machine.ask("systemctl stop bgjobd.socket bgjobd.service")
    code, text = _asked(machine, "/jobs/now")
    if code != "503" or "The daemon does not answer" not in text:
        yield f"of a daemon that was stopped the page says {code}: {text}"
    yield from _not_well(machine, "503")
    machine.ask("systemctl start bgjobd.socket bgjobd.service")
    yield from _not_well(machine)


def _what_is_said_while_the_daemon_cannot_start(machine: Machine) -> Iterator[str]:
    with _drop_in(machine, "bgjobd.service", "[Service]\nExecStart=\nExecStart=/bin/false"):
        page = _property(machine, "MainPID")
        machine.try_run("systemctl restart bgjobd.service")
        eventually(lambda: int(_property(machine, "NRestarts", "bgjobd.service")) > 2, within=60)
        yield from _not_well(machine, "503")
        if _property(machine, "MainPID") != page:
            yield "a daemon that cannot start has taken the page along"
    machine.ask("systemctl restart bgjobd.service")
    yield from _not_well(machine)


def _a_socket_for_everybody_is_refused(machine: Machine) -> Iterator[str]:
    with _drop_in(machine, "bgjobd-web.socket", "[Socket]\nSocketMode=0666"):
        machine.ask("systemctl restart bgjobd-web.socket")
        if (code := _asked(machine, "/jobs/healthz", "-m 8")[0]) == "200":
            yield f"a page with a socket for everybody says {code}"
        told = _lines(machine, "-p err")
        if not any("everybody on this machine may use" in line for line in told):
            yield f"the journal has no error of that: {told}"
    machine.ask("systemctl restart bgjobd-web.socket")
    yield from _not_well(machine)


def _what_the_journal_has(machine: Machine) -> Iterator[str]:
    if not any(f"the page is at unix:{_SOCKET}" in line for line in _lines(machine, "-p info")):
        yield "the journal does not tell where the page is"
    if strange := [line for line in _lines(machine, "-p warning") if "everybody on this machine" not in line]:
        yield f"the page has told of trouble: {strange}"


def _nothing_is_left_of_it(machine: Machine) -> Iterator[str]:
    machine.ask("systemctl disable --now bgjobd-web.socket")
    machine.ask(f"rm {' '.join(map(str, shown('ini') | shown('nginx')))}")
    machine.ask("systemctl daemon-reload && systemctl reload nginx")
    if left := machine.ask("find / /run -xdev -name '*bgjobd-web*' -not -path '/proc/*' -not -path '/srv/*'"):
        yield f"files are left: {left}"
    if left := machine.ask(
        "systemctl list-units --all --no-legend 'bgjobd-web*'; pgrep -af '[b]gjobd web' || :"
    ):
        yield f"there is still {left}"
    if failed := machine.ask("systemctl --failed --no-legend"):
        yield f"units have failed: {failed}"


STEPS: Final[tuple[Callable[[Machine], Iterator[str]], ...]] = (
    _what_systemd_makes_of_them,
    _the_first_request_starts_the_page,
    _a_restart_comes_back,
    _a_page_that_is_killed_again_and_again_comes_back,
    _what_is_said_while_the_daemon_is_stopped,
    _what_is_said_while_the_daemon_cannot_start,
    _a_socket_for_everybody_is_refused,
    _what_the_journal_has,
    _nothing_is_left_of_it,
)


# How it is asked


def _asked(machine: Machine, path: str, options: str = "", who: str = "-u ada:lovelace") -> tuple[str, str]:
    """What nginx answers: the code, "000" for none, and the text."""
    told = machine.try_run(f"{_CURL} {options} {who} https://{_NAME}{path}").stdout
    text, _, code = told.rpartition("\n")
    return code, text


def _not_well(machine: Machine, code: str = "200") -> Iterator[str]:
    """Where the page does not come to say how the daemon is, 200 or 503."""
    try:
        eventually(lambda: _asked(machine, "/jobs/healthz")[0] == code, within=60)
    except AssertionError:
        yield f"the page does not come to say {code}"


@contextmanager
def _asking(machine: Machine) -> Iterator[Counter[str]]:
    """Others ask meanwhile; in the end, what they were answered, and how often."""
    codes, is_over = Counter[str](), threading.Event()

    def ask() -> None:
        while not is_over.wait(0.1):
            codes[_asked(machine, "/jobs/now")[0]] += 1

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield codes
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


@contextmanager
def _drop_in(machine: Machine, unit: str, text: str) -> Iterator[None]:
    directory = f"/etc/systemd/system/{unit}.d"
    machine.ask(
        f"mkdir {directory} && printf '{text}\\n' > {directory}/trial.conf && systemctl daemon-reload"
    )
    yield
    machine.ask(f"rm -r {directory} && systemctl daemon-reload")


def _property(machine: Machine, name: str, unit: str = "bgjobd-web.service") -> str:
    return machine.try_run(f"systemctl show -P {name} {unit}").stdout.strip()


def _maybe_pid(machine: Machine) -> str:
    pid = _property(machine, "MainPID")
    return "" if pid == "0" else pid


def _lines(machine: Machine, options: str) -> list[str]:
    """What the page itself said that is so grave."""
    told = machine.ask(f"journalctl -o json --no-pager -t bgjobd -u bgjobd-web.service {options}")
    return [json.loads(line)["MESSAGE"] for line in told.splitlines() if line.startswith("{")]


if __name__ == "__main__":
    sys.exit(main())

"""`bgjobd units`: writes the units with right paths, or shows them; starts and enables nothing."""

from __future__ import annotations

import difflib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Final

from bgjobd.commands.exit_codes import FAILED, OK, complain

HERE: Final = Path(__file__).parent
OLDEST: Final = 254
"""The first systemd with DelegateSubgroup= and RestartSteps=."""

_UNITS: Final = Path("/etc/systemd/system")
_DROP_INS: Final = _UNITS / "bgjobd.service.d"
_OF_SYSTEM: Final[Mapping[str, Path]] = {
    "bgjobd.service": _UNITS / "bgjobd.service",
    "bgjobd.socket": _UNITS / "bgjobd.socket",
    "bgjobd-stop.service": _UNITS / "bgjobd-stop.service",
    "bgjobd-failed.service": _UNITS / "bgjobd-failed.service",
    "sysusers.conf": Path("/etc/sysusers.d/bgjobd.conf"),
    "tmpfiles.conf": Path("/etc/tmpfiles.d/bgjobd.conf"),
    "logrotate.conf": Path("/etc/logrotate.d/bgjobd"),
}
_OF_PERSON: Final = ("bgjobd.service", "bgjobd.socket")

_HIDDEN: Final = {
    "/home": "ProtectHome=yes",
    "/root": "ProtectHome=yes",
    "/run/user": "ProtectHome=yes",
    "/tmp": "PrivateTmp=",
    "/var/tmp": "PrivateTmp=",
}
"""Directories that the service does not see, and what in the unit hides them."""

_NEXT: Final = """next:
    systemd-sysusers
    systemd-tmpfiles --create /etc/tmpfiles.d/bgjobd.conf
    (write /etc/bgjobd/bgjobd.toml, and try it: bgjobd check)
    systemctl daemon-reload
    systemctl enable --now bgjobd.socket bgjobd.service"""
_NEXT_OF_PERSON: Final = """next:
    systemctl --user daemon-reload
    systemctl --user enable --now bgjobd.socket bgjobd.service
    loginctl enable-linger    (where it shall run while you are not logged in)"""


class RefusedError(Exception):
    """Nothing was written; the message says why and what to do."""


@dataclass(frozen=True)
class Choice:
    """What to install: the drop-ins, whose units, below which directory, over files that differ or not."""

    is_strict: bool = False
    has_users: bool = False
    has_no_network: bool = False
    is_personal: bool = False
    root: Path | None = None
    may_replace: bool = False


def files(choice: Choice, python: str, config_home: Path) -> dict[Path, str]:
    """What belongs where: the text of each file by its path, below the root if there is one.

    Drop-ins of ours that are there are kept up to date, whether they are asked for or not.
    """
    sources = dict(_OF_SYSTEM)
    if choice.is_personal:
        sources = {f"user/{name}": config_home / "systemd" / "user" / name for name in _OF_PERSON}
    else:
        asked = {
            "strict.conf": choice.is_strict,
            "users.conf": choice.has_users,
            "network.conf": choice.has_no_network,
        }
        places = {name: _DROP_INS / name for name in asked}
        sources |= {
            name: place
            for name, place in places.items()
            if asked[name] or _below(choice.root, place).exists()
        }
    values = {"python": _as_word(python), "owner": "root" if "users.conf" in sources else "bgjobd"}
    return {
        _below(choice.root, place): Template((HERE / name).read_text(encoding="utf-8")).substitute(values)
        for name, place in sources.items()
    }


def install(wanted: Mapping[Path, str], may_replace: bool) -> Iterator[str]:
    """Write all files or none; says of each what was done. Raises RefusedError where one differs, and OSError."""
    found = {path: _try_text(path) for path in wanted}
    differing = {path: text for path, text in found.items() if text not in (None, wanted[path])}
    if differing and not may_replace:
        changes = "".join(_change(path, text or "", wanted[path]) for path, text in differing.items())
        raise RefusedError(
            f"nothing was written, as there are files that differ; keep what is yours in drop-ins "
            f"(systemctl edit bgjobd), then --force replaces them:\n{changes}".rstrip()
        )
    for path, text in wanted.items():
        if found[path] == text:
            yield f"is there   {path}"
            continue
        _write(path, text)
        yield f"{'replaced' if path in differing else 'wrote':<9}  {path}"


def run(choice: Choice, is_real: bool) -> int:
    """Install, or with `is_real` false print each file under its path; answers the exit code: 1 where refused."""
    wanted = files(choice, os.path.abspath(sys.executable), _config_home(os.environ))
    if not is_real:
        print("\n".join(f"# {path}\n\n{text}" for path, text in wanted.items()), end="")
        return OK
    try:
        if os.geteuid() != 0 and not choice.is_personal and choice.root is None:
            raise RefusedError("units of the system are root's to write; or --user, for a daemon of your own")
        for line in install(wanted, choice.may_replace):
            print(line)
    except (RefusedError, OSError) as error:
        return complain(str(error), FAILED)
    for doubt in doubts(choice, Path(sys.executable)):
        complain(doubt, OK)
    print(_NEXT_OF_PERSON if choice.is_personal else _NEXT)
    return OK


def doubts(choice: Choice, python: Path) -> Iterator[str]:
    """Why the service may not start here, a sentence each."""
    if choice.root is not None:
        return  # they are for another machine
    if (version := _systemd_version()) is None or version < OLDEST:
        yield f"this machine has {f'systemd {version}' if version else 'no systemd'}; the units take {OLDEST} or newer"
    if choice.is_personal:
        return
    link, target = python.absolute(), python.resolve()
    for needed in dict.fromkeys((link, target, HERE.parent.resolve())):
        if (hidden := _try_hidden(needed)) is not None:
            remedy = "install bgjobd elsewhere, such as in /srv/bgjobd"
            environment = link.parent.parent
            if needed == target and _try_hidden(link) is None and (environment / "pyvenv.cfg").exists():
                remedy = (
                    f"{link} leads there: make the environment anew with a Python outside of home directories, "
                    f"`/usr/bin/python3 -m venv --clear {environment}`, and install bgjobd again"
                )
            yield f"the service cannot see {needed} ({hidden}); {remedy}"
        elif (closed := _try_closed(needed)) is not None and not choice.has_users:
            yield f"the user bgjobd may not be able to read {needed}: {closed} is not open to others; chmod o+rX"


def _try_hidden(needed: Path) -> str | None:
    return next((by for directory, by in _HIDDEN.items() if needed.is_relative_to(directory)), None)


def _try_closed(needed: Path) -> Path | None:
    """The first on the way to it that others may not pass, or read where it is the last."""
    way = [*reversed(needed.parents), needed]
    for path in way:
        mask = 0o005 if path == needed else 0o001
        if path.stat().st_mode & mask != mask:
            return path
    return None


def _systemd_version() -> int | None:
    """None where there is no systemd to ask."""
    try:
        asked = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=False)
        return int(asked.stdout.split()[1])  # "systemd 257 (257.13-1)"
    except (OSError, ValueError, IndexError):
        return None


def _config_home(environ: Mapping[str, str]) -> Path:
    """$XDG_CONFIG_HOME, which counts only if it is absolute, or ~/.config."""
    given = Path(environ.get("XDG_CONFIG_HOME", ""))
    return given if given.is_absolute() else Path.home() / ".config"


def _below(root: Path | None, place: Path) -> Path:
    return place if root is None else root.absolute() / place.relative_to("/")


def _as_word(path: str) -> str:
    """The path as one word of ExecStart= (systemd.service(5): quotes, backslashes and % mean something there)."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"' if escaped != path or " " in path else path


def _try_text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _change(path: Path, found: str, wanted: str) -> str:
    told = difflib.unified_diff(
        found.splitlines(True), wanted.splitlines(True), str(path), "with --force", n=0
    )
    return "".join(told)


def _write(path: Path, text: str) -> None:
    """Whole or not at all, readable for everybody and root's to write whatever the umask; through no link of others."""
    umask = os.umask(0o022)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.new")
        new.unlink(missing_ok=True)
        with new.open("x", encoding="utf-8") as file:
            file.write(text)
        new.replace(path)
    finally:
        os.umask(umask)

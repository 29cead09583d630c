"""A Debian with the committed tree installed in it, as docs/service.md says, for a container or a virtual machine."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent
TREE = HERE.parents[1]
SUITE = "trixie"
PACKAGES = ("systemd", "systemd-sysv", "dbus", "libpam-systemd", "procps", "python3", "logrotate")
PYTHON = "/srv/bgjobd/bin/python"
COMMAND = f"#!{PYTHON}\nimport sys\n\nfrom bgjobd.main import main\n\nsys.exit(main())\n"
"""What pip makes of an entry point where it installs for an interpreter of its own."""
ACCEPTANCE = "/srv/acceptance"
"""Where the scripts are that try it, with `guest.py`."""

BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


def make(root: Path, base: Path | None, scripts: Path, more: Iterable[str] = ()) -> None:
    """Have it below `root`, with these packages more and a copy of these scripts.

    The bare Debian is kept in `base`, if that is given, and taken from there the next time.
    """
    make_bare(root, base, more)
    install_tree(root, root.parent)
    shutil.copytree(scripts, root / ACCEPTANCE[1:])
    shutil.copy(HERE / "guest.py", root / ACCEPTANCE[1:])


def make_bare(root: Path, base: Path | None, more: Iterable[str] = ()) -> None:
    """A Debian with these packages more, and nothing of ours; kept in `base` as `make` says."""
    say("a Debian")
    packages = (*PACKAGES, *more)
    if base is None:
        _debootstrap(root, packages)
        return
    if not (base / "usr/bin/python3").exists():
        _debootstrap(base, packages)
    call("cp", "-a", "--reflink=auto", str(base), str(root))


def _debootstrap(root: Path, packages: Iterable[str]) -> None:
    call("debootstrap", "--variant=minbase", f"--include={','.join(packages)}", SUITE, str(root), _mirror())


def _mirror() -> str:
    """Where this machine has its packages from."""
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    told = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
    return next(uri for uri in told if "security" not in uri)


def install_tree(root: Path, directory: Path) -> None:
    """The wheel of what is committed, with its dependencies, in an environment as docs/service.md makes it; what is
    made on the way is in `directory`.
    """
    say("this tree in it")
    source = directory / "source"
    source.mkdir()
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=TREE, stdout=subprocess.PIPE, check=True).stdout
    subprocess.run(["tar", "-x"], input=archive, cwd=source, check=True)
    call(sys.executable, "-c", BUILD, str(directory), cwd=source)
    [wheel] = directory.glob("*.whl")
    call(sys.executable, "-m", "venv", str(directory / "pip"))  # .venv has none
    place = Path(PYTHON).parents[1]
    call("chroot", str(root), "python3", "-m", "venv", "--without-pip", str(place))
    [site] = (root / place.relative_to("/") / "lib").glob("python3.*/site-packages")
    version = site.parent.name.removeprefix("python")
    pip = [str(directory / "pip/bin/pip"), "install", "-q", "--disable-pip-version-check"]
    for_it = ["--only-binary=:all:", "--python-version", version, "--target", str(site)]
    call(*pip, *for_it, str(wheel))
    command = root / place.relative_to("/") / "bin/bgjobd"
    command.write_text(COMMAND)
    command.chmod(0o755)


def call(*command: str, cwd: Path | None = None) -> None:
    """Have it done. Raises SystemExit with all that it said, where it is not."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", flush=True)

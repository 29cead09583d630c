"""The Debian package, of what is committed, on a Debian and for its Python: `./run deb [DIRECTORY]`.

It puts together what the package consists of, as files below staged/; debhelper packs it, and writes what is to be
done at an installation. Takes debhelper, po-debconf and, to look at what was made, lintian. Beside the wheel of this
tree are those of runtime.lock, held to their hashes; what is in `systemd/debian` is what Debian wants to be told.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from string import Template
from typing import Final
from zipfile import ZipFile

from bgjobd.systemd.install import Choice, files
from tests.packaging.dist import TREE, DistError, build, committed_at, unpack_committed
from tests.packaging.lock import DEVELOPMENT, PROJECT, read

PYTHON: Final = "/usr/bin/python3"
PLACE: Final = "usr/lib/bgjobd"
_UNITS: Final = "usr/lib/systemd/system"
_OF_DEBHELPER: Final = {
    "etc/sysusers.d/bgjobd.conf": "bgjobd.sysusers",
    "etc/tmpfiles.d/bgjobd.conf": "bgjobd.tmpfiles",
    "etc/logrotate.d/bgjobd": "bgjobd.logrotate",
}
"""Where `bgjobd units` has a file → the name under which debhelper takes it."""
_COMMANDS: Final = {"bgjobd": "bgjobd.main", "bgjob": "bgjob.command"}
_COMPLETIONS: Final = {
    "bash": "usr/share/bash-completion/completions/bgjob",
    "zsh": "usr/share/zsh/vendor-completions/_bgjob",
    "fish": "usr/share/fish/vendor_completions.d/bgjob.fish",
}
_DROP_INS: Final = ("strict.conf", "users.conf", "network.conf")
DRIVER: Final = "psycopg"
"""What is installed beside what is in runtime.lock."""
NEEDED: Final = ("dh", "po2debconf", "dpkg-deb")


def main() -> int:
    """Make it, have lintian look at it, tell where it is; answers the exit code."""
    parser = argparse.ArgumentParser(prog="./run deb", description=__doc__)
    parser.add_argument(
        "directory", type=Path, nargs="?", default=TREE / "dist", help="for the package (dist)"
    )
    parser.add_argument("--revision", default="1", help="what follows the version, from 1 on")
    given = parser.parse_args()
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        print(f"deb: it takes {', '.join(missing)}: apt-get install debhelper po-debconf", file=sys.stderr)
        return 69
    try:
        made = make(given.directory, given.revision)
    except DistError as error:
        print(f"deb: {error}", file=sys.stderr)
        return 1
    print(made)
    return _looked_at(made)


def make(target: Path, revision: str) -> Path:
    """The package, in `target`. Raises DistError."""
    epoch = committed_at(TREE)
    with tempfile.TemporaryDirectory(prefix="bgjobd-deb-") as name:
        work = Path(name) / "bgjobd"
        unpack_committed(TREE, work)
        staged = work / "staged"
        _stage_environment(work, staged / PLACE, epoch)
        _stage_commands(staged)
        shutil.copytree(work / "docs" / "man", work / "man")
        shutil.copytree(work / "systemd" / "debian", work / "debian")
        _stage_units(staged, work / "debian")
        _stage_rest(work, staged, epoch)
        for path, text in told(work, revision, epoch).items():
            (work / "debian" / path).write_text(text)
        call("debian/rules", "binary", cwd=work, epoch=epoch)
        [made] = work.parent.glob("*.deb")
        target.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(made, target))


def told(work: Path, revision: str, epoch: int) -> dict[str, str]:
    """What Debian is told of this version, by the names of its files: control, changelog, copyright."""
    version = PROJECT["project"]["version"]
    minor = int(call(PYTHON, "-c", "import sys; print(sys.version_info.minor)"))
    maintainer = (
        f"{os.environ.get('DEBFULLNAME', 'the bgjobd authors')} "
        f"<{os.environ.get('DEBEMAIL', 'bgjobd@bgjobd.invalid')}>"
    )
    when = format_datetime(datetime.fromtimestamp(epoch, UTC))
    licence = "".join(f" {line or '.'}\n" for line in (work / "LICENSE").read_text().splitlines())
    values = {
        "maintainer": maintainer,
        "python": f"3.{minor}",
        "next_python": f"3.{minor + 1}",
        "licence": licence,
    }
    return {
        name: Template((work / "systemd" / "debian" / name).read_text()).substitute(values)
        for name in ("control", "copyright")
    } | {
        "changelog": f"bgjobd ({version}-{revision}) unstable; urgency=medium\n\n"
        f"  * Version {version}: what is new is in changelog.gz.\n\n -- {maintainer}  {when}\n"
    }


def launcher(module: str) -> str:
    """A command that nothing in a caller's environment or home directory changes."""
    return f"#!/{PLACE}/bin/python -I\nimport sys\n\nfrom {module} import main\n\nsys.exit(main())\n"


def _stage_environment(work: Path, place: Path, epoch: int) -> None:
    """A virtual environment of Debian's Python: a link to that, three lines, and what wheels have in them."""
    version = call(PYTHON, "-c", "import platform; print(platform.python_version())").strip()
    site = place / "lib" / f"python{version.rpartition('.')[0]}" / "site-packages"
    site.mkdir(parents=True)
    (place / "bin").mkdir()
    for name in ("python", "python3"):
        (place / "bin" / name).symlink_to(PYTHON)
    (place / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {version}\n"
    )
    driver = read(DEVELOPMENT)[DRIVER]
    lock = work / "package.lock"
    hashes = " ".join(f"--hash={one}" for one in driver.hashes)
    lock.write_text(f"{(work / 'runtime.lock').read_text()}\n{DRIVER}=={driver.version} {hashes}\n")
    pip = [sys.executable, "-m", "pip", "--python", PYTHON, "install", "-q", "--disable-pip-version-check"]
    call(
        *pip,
        *("--no-compile", "--require-hashes", "--no-deps", "--only-binary=:all:", "--target", str(site)),
        *("-r", str(lock)),
    )
    for litter in ("bin", "share"):
        shutil.rmtree(site / litter, ignore_errors=True)
    build(work, work / "wheel", epoch)
    [wheel] = (work / "wheel").glob("*.whl")
    with ZipFile(wheel) as packed:
        packed.extractall(site, [name for name in packed.namelist() if ".data/" not in name])


def _stage_commands(staged: Path) -> None:
    (staged / "usr/bin").mkdir(parents=True)
    for name, module in _COMMANDS.items():
        program = staged / PLACE / "bin" / name
        program.write_text(launcher(module))
        program.chmod(0o755)
        (staged / "usr/bin" / name).symlink_to(f"../lib/bgjobd/bin/{name}")
    for shell, path in _COMPLETIONS.items():
        (staged / path).parent.mkdir(parents=True)
        (staged / path).write_text(call(sys.executable, "-m", "bgjob", "completion", shell))


def _stage_units(staged: Path, debian: Path) -> None:
    """Units go to where packages have theirs; what is done by debhelper is given to it."""
    for path, text in files(Choice(root=staged), f"/{PLACE}/bin/python", Path()).items():
        below = str(path.relative_to(staged))
        target = debian / _OF_DEBHELPER[below] if below in _OF_DEBHELPER else staged / _UNITS / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


def _stage_rest(work: Path, staged: Path, epoch: int) -> None:
    """The configuration, drop-ins that are for who wants them, and what all consists of."""
    (staged / "etc/bgjobd").mkdir(parents=True)
    shutil.copy(work / "systemd/debian/bgjobd.toml", staged / "etc/bgjobd")
    documents = staged / "usr/share/doc/bgjobd"
    (documents / "examples").mkdir(parents=True)
    for name in _DROP_INS:
        shutil.copy(work / "systemd" / name, documents / "examples")
    shutil.copytree(work / "docs/monitoring", documents / "examples/monitoring")
    bill = documents / "sbom.cdx.json"
    told = ("tests.packaging.sbom", str(bill), "--beside", DRIVER)
    call(sys.executable, "-m", *told, cwd=TREE, epoch=epoch)


def _looked_at(made: Path) -> int:
    """What lintian says of it, on stdout; 1 where that is an error."""
    if shutil.which("lintian") is None:
        print("deb: lintian is not installed, and has not looked at it", file=sys.stderr)
        return 0
    as_root = ["--allow-root"] if os.geteuid() == 0 else []
    return int(
        subprocess.run(["lintian", *as_root, "--fail-on=error", str(made)], check=False).returncode != 0
    )


def call(*command: str, cwd: Path | None = None, epoch: int | None = None) -> str:
    """What it prints. Raises DistError with all that it said, where it fails."""
    environ: Mapping[str, str] = os.environ | ({"SOURCE_DATE_EPOCH": str(epoch)} if epoch else {})
    done = subprocess.run(
        command, cwd=cwd, env=environ, umask=0o022, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise DistError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())

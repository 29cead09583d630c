"""The client works with nothing but the standard library: from client/ alone on the path, and as a wheel of its own."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from email import message_from_bytes
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

from tests.daemon.running import daemon
from tests.packaging.lock import PROJECT, TREE, read
from tests.packaging.test_wheel import CLIENT, built_from, copied, packaged, shipped_from, wheel_in

OWN = tomllib.loads((TREE / "client" / "pyproject.toml").read_text())


def test_the_client_is_imported_without_site_packages() -> None:
    path = str(TREE / "client")
    code = (
        f"import sys; sys.path.insert(0, {path!r}); import bgjob, bgjob.command; print(*sorted(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    )
    assert "bgjob.client" in done.stdout
    assert not {"asyncio", "pydantic", "rich"} & set(done.stdout.split())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = copied(tmp_path_factory.mktemp("tree"), "client")
    return wheel_in(built_from(tree / "client", tmp_path_factory.mktemp("built")))


def test_the_wheel_of_the_client_holds_the_client_and_its_licence(wheel: Path) -> None:
    packed = ZipFile(wheel)
    assert packaged(packed) == shipped_from(TREE, CLIENT)
    assert "bgjob/py.typed" in packed.namelist()
    [licence] = [name for name in packed.namelist() if name.endswith(".dist-info/licenses/LICENSE")]
    assert packed.read(licence) == (TREE / "LICENSE").read_bytes()


def test_the_wheel_of_the_client_needs_nothing(wheel: Path) -> None:
    packed = ZipFile(wheel)
    [metadata] = [name for name in packed.namelist() if name.endswith(".dist-info/METADATA")]
    told = message_from_bytes(packed.read(metadata))
    needs = told.get_all("Requires-Dist") or []
    assert needs
    assert [one for one in needs if "; extra == " not in one] == []


def test_both_distributions_say_the_same_of_the_client() -> None:
    ours, whole = OWN["project"], PROJECT["project"]
    for key in ("version", "requires-python", "license", "authors", "entry-points"):
        assert ours[key] == whole[key], key
    assert ours["scripts"].items() <= whole["scripts"].items()
    assert set(ours["optional-dependencies"]["command"]) <= set(whole["dependencies"])
    assert ours["optional-dependencies"]["mcp"] == whole["optional-dependencies"]["mcp"]
    ours, whole = OWN["tool"]["setuptools"]["packages"], PROJECT["tool"]["setuptools"]["packages"]
    assert ours == [name for name in whole if not name.startswith("bgjobd")]


@pytest.mark.parametrize(
    ("extra", "lock"), [("django", "django-6.0"), ("django", "django-6.1"), ("django-tasks", "django-5.2")]
)
def test_an_extra_brings_what_the_backend_is_tested_with(extra: str, lock: str) -> None:
    pinned = read(TREE / "tests" / "frameworks" / "locks" / f"{lock}.txt")
    for requirement in map(Requirement, OWN["project"]["optional-dependencies"][extra]):
        assert requirement.specifier.contains(pinned[requirement.name].version)


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment in which the client alone is installed."""
    place = tmp_path_factory.mktemp("alone")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    has_pip = find_spec("pip") is not None  # an environment that uv made has none
    pip = [sys.executable, "-m", "pip"] if has_pip else ["uv", "pip"]
    into = ["--python", str(place / "bin" / "python")]
    command = [*pip, *into, "install"] if has_pip else [*pip, "install", *into]
    subprocess.run([*command, "--quiet", "--no-index", wheel], check=True)
    return place / "bin"


def test_the_client_alone_submits_to_a_daemon(programs: Path, tmp_path: Path) -> None:
    submit = (
        "import bgjob; print(bgjob.run_background_job('probes.Probe', 'echo', {'value': 'é'}).result(20))"
    )
    with daemon(tmp_path) as running:
        environ = {"BGJOBD_SOCKET": str(running.socket)}
        for command in (
            ["python", "-c", submit],
            ["python", "-m", "bgjob", "run", "probes.Probe::echo", "-p", "value=é", "--wait"],
            ["bgjob", "run", "probes.Probe::echo", "-p", "value=é", "--wait"],
        ):
            done = said(programs, environ, *command)
            assert (done.returncode, done.stdout.strip(' \n"')) == (0, "é"), done.stderr
        told = ["--max-retries", "0", "--wait", "-p", "message=日本e\u0301 fails"]
        assert said(programs, environ, "bgjob", "run", "probes.Probe::fail", *told).returncode == 1
        listed = said(programs, environ, "bgjob", "list", "--status", "failed")
        assert (listed.returncode, listed.stderr) == (0, "")
        assert "日本e\u0301 fails" in listed.stdout


def test_what_the_command_does_not_have_it_names(programs: Path) -> None:
    done = said(programs, {}, "bgjob", "completion", "bash")
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr == "bgjob: completion needs shtab; pip install shtab brings it\n"


def said(
    programs: Path, environ: dict[str, str], program: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [programs / program, *arguments],
        env={"PYTHONUTF8": "1", **environ},
        capture_output=True,
        text=True,
        check=False,
    )

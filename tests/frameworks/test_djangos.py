"""Django's own tests of its tasks, against a daemon: with Django 6.0, with 6.1, and with the backport under 5.2."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.running import RunningDaemon, daemon
from tests.frameworks.environments import Environment, environment

_HERE = Path(__file__).parent
_APPROVED = '"tasks.tasks" = {}\n[queues]\nqueue_1 = {}'
_COUNTS = {
    "django-5.2": {"kept": 30, "waiting": 13},
    "django-6.0": {"kept": 30, "waiting": 13},
    "django-6.1": {"kept": 35, "waiting": 13},
}
_BACKENDS = {"django-5.2": "bgjob.django_tasks"}


pytestmark = pytest.mark.timeout(300)  # the first time it installs what it needs


@pytest.fixture(
    scope="module",
    params=["django-6.0", "django-5.2", pytest.param("django-6.1", marks=pytest.mark.long)],
)
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunningDaemon, Environment, str]]:
    """A daemon that runs Django's tasks of tests, the interpreter that has Django, and the module of the backend."""
    made = environment(request.param)
    backend = _BACKENDS.get(request.param, "bgjob.django")
    app = f"""
python = "{made.python}"
prepare = "django.setup"
env = {{ DJANGO_SETTINGS_MODULE = "djangos_settings", BACKEND_MODULE = "{backend}" }}
"""
    directory = tmp_path_factory.mktemp("django")
    for source in (made.tests / "tasks", _HERE / "djangos_settings.py"):
        (directory / source.name).symlink_to(source)
    with daemon(directory, _APPROVED, app, has_pydantic=True) as running:
        yield running, made, backend


@pytest.mark.parametrize("kind", ["kept", "waiting"])
def test_djangos_own_tests_pass(served: tuple[RunningDaemon, Environment, str], kind: str) -> None:
    running, made, backend = served
    with running.client() as client:
        client.pause("default") if kind == "kept" else client.resume("default")
    command = [made.python, _HERE / "djangos_tests.py", kind, made.tests, running.socket]
    client_code = _HERE.parents[1] / "client"
    done = subprocess.run(
        command,
        env={"PYTHONPATH": str(client_code), "BACKEND_MODULE": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    name = made.python.parents[1].name
    assert done.stdout.endswith(f"{_COUNTS[name][kind]} run, 0 failed, 0 skipped\n")


def test_the_backport_has_an_outbox_as_well() -> None:
    python = environment("django-5.2").python
    path = {"PYTHONPATH": f"{_HERE.parents[1] / 'client'}:{_HERE.parents[1]}"}
    command = [python, "-m", "unittest", "tests.frameworks.backport_tests"]
    done = subprocess.run(command, env=path, capture_output=True, text=True, check=False)
    assert "Ran 1 test" in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr

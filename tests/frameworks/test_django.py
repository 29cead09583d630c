"""A Django project with the backend, beside a daemon; what it tests stands in `shop_tests.py`."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.daemon.running import daemon
from tests.frameworks.environments import environment

_HERE = Path(__file__).parent
_PROJECT = _HERE / "project"
_APPROVED = '"shop.tasks" = { methods = ["plain_has_connection_at_first"] }\n[queues]\nmail = {}'


@pytest.mark.timeout(300)  # the first time it installs what it needs
def test_a_project_runs_its_tasks_in_the_background(tmp_path: Path) -> None:
    made = environment("django-6.0")
    environ = {"DJANGO_SETTINGS_MODULE": "shop_settings", "SHOP_STATE": str(tmp_path)}
    app = f"""
python = "{made.python}"
prepare = "shop_prepared.setup"
env = {{ {", ".join(f'{name} = "{value}"' for name, value in environ.items())} }}
"""
    for one in _PROJECT.iterdir():
        (tmp_path / one.name).symlink_to(one)
    with daemon(tmp_path, _APPROVED, app, has_pydantic=True) as running:
        path = f"{_HERE.parents[1] / 'client'}:{_PROJECT}:{_HERE}"
        done = subprocess.run(
            [made.python, "-m", "unittest", "shop_tests", "outbox_tests"],
            env={**environ, "PYTHONPATH": path, "BGJOBD_SOCKET": str(running.socket)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert re.search(r"Ran 49 tests", done.stderr)

"""When the schedules of a configuration occur, for tests that hold an application's own.

The daemon's command says it, in an environment of its own where that is: so a test and the daemon mean the same.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import datetime


def next_occurrences(
    config: str | os.PathLike[str], name: str, count: int = 1, *, after: datetime | None = None
) -> list[datetime]:
    """The next occurrences of the schedule `name` of a configuration's file, in UTC, behind an instant or now.

    `bgjobd` is called for it, from beside the interpreter or from `$PATH`; FileNotFoundError where it is not there.
    What is wrong with the configuration, or the name, is a ValueError. At most 1000; `after` is local time where it has
    no offset.
    """
    words = [_command(), "schedules", name, "--config", os.fspath(config), "--next", str(count), "--json"]
    if after is not None:
        words += ["--after", after.isoformat()]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ValueError(done.stderr.strip())
    (schedule,) = json.loads(done.stdout)["schedules"]
    return [datetime.fromisoformat(coming["at"]) for coming in schedule["next"]]


def _command() -> str:
    places = os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)
    found = shutil.which("bgjobd", path=os.pathsep.join(places))
    if found is None:
        raise FileNotFoundError(
            "the command bgjobd is needed, which knows what a schedule means, and is not in $PATH; "
            "install bgjobd in an environment of its own, and put its bin there"
        )
    return found

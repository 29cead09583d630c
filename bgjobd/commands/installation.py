"""Whether what is installed fits together: bgjobd contains the client, which may not be there a second time."""

from __future__ import annotations

import os
from importlib import metadata

from bgjobd.config.problems import ConfigError, Problem


def check() -> None:
    """Raises ConfigError where the distribution bgjob is installed here as well: both own the package bgjob."""
    for found in metadata.distributions(name="bgjob"):
        if (
            found.read_text("WHEEL") is not None
        ):  # else it is not installed: building leaves such things in a tree
            told = (
                f"bgjob {found.version} and bgjobd are both installed, each with the package bgjob; "
                "uninstall bgjob and install bgjobd again, which contains it"
            )
            raise ConfigError(Problem(os.path.abspath(str(found.locate_file(""))), "", told))

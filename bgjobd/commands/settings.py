"""The configuration that a command's arguments name."""

from __future__ import annotations

import argparse
import os

from bgjobd.config import loading
from bgjobd.config.sections import Config


def settings_of(given: argparse.Namespace) -> Config:
    """The settings that the arguments tell where to read. Raises ConfigError."""
    return loading.load(given.config, os.environ, is_root=os.geteuid() == 0)

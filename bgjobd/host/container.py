"""Whether this process runs in a container that ends with it; nothing here asks which engine made it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

_FILES: Final = ("run/.containerenv", ".dockerenv")
"""Files that podman and docker put into a container's root."""

_VARIABLES: Final = ("container", "KUBERNETES_SERVICE_HOST")
"""What engines that follow systemd's container interface set, and what Kubernetes does."""

_BY_SYSTEMD: Final = "run/systemd/system"
"""A directory that is there where systemd is pid 1 (sd_booted(3)); it goes on when the daemon ends."""


def is_around(environ: Mapping[str, str], root: Path = Path("/")) -> bool:
    """Whether there is a container, and no systemd that runs it."""
    is_one = any((root / name).exists() for name in _FILES) or any(map(environ.get, _VARIABLES))
    return is_one and not (root / _BY_SYSTEMD).is_dir()

"""The client works with nothing but the standard library: without site-packages, with client/ alone on the path."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CLIENT = Path(__file__).resolve().parents[2] / "client"


def test_the_client_is_imported_without_site_packages() -> None:
    code = f"import sys; sys.path.insert(0, {str(CLIENT)!r}); import bgjob, bgjob.command; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    )
    assert "bgjob.client" in done.stdout
    assert not {"asyncio", "pydantic", "rich"} & set(done.stdout.split())

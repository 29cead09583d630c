"""What `bgjobd units` doubts before it writes: that the service would see its Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgjobd.systemd import install
from bgjobd.systemd.install import Choice, doubts


def test_what_the_service_would_not_see_is_doubted(tmp_path: Path) -> None:
    (tmp_path / "python").touch(mode=0o700)  # below /tmp
    told = list(doubts(Choice(), tmp_path / "python"))
    assert any(f"cannot see {tmp_path}/python (PrivateTmp=)" in doubt for doubt in told)
    assert list(doubts(Choice(root=tmp_path), tmp_path / "python")) == []


def test_an_environment_of_a_python_that_the_service_would_not_see_is_to_be_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python, link = tmp_path / "root" / "python", tmp_path / "srv" / "bin" / "python3"
    for file in (python, link):
        file.parent.mkdir(parents=True)
    python.touch()
    link.symlink_to(python)
    monkeypatch.setattr(install, "_HIDDEN", {str(python.parent): "ProtectHome=yes"})
    (told,) = (doubt for doubt in doubts(Choice(), link) if "cannot see" in doubt)
    assert "--clear" not in told  # it is no environment, which alone may be emptied
    (tmp_path / "srv" / "pyvenv.cfg").touch()
    (told,) = (doubt for doubt in doubts(Choice(), link) if "cannot see" in doubt)
    assert told.startswith(f"the service cannot see {python} (ProtectHome=yes); {link} leads there")
    assert f"`/usr/bin/python3 -m venv --clear {tmp_path}/srv`" in told

"""Tests of what `bgjobd check` says of a container."""

from __future__ import annotations

from pathlib import Path

from bgjobd.commands.check_container import findings
from bgjobd.config.loading import load
from bgjobd.supervisor.limits import Machine

MACHINE = Machine(False, 1024, 0, 7, (), can_punch=True)


def told(root: Path, settings: str = "", environ: dict[str, str] | None = None) -> list[str]:
    file = root / "bgjobd.toml"
    file.write_text(f'[daemon]\nstate_dir = "{root}/state"\n{settings}')
    config = load(file, {}, is_root=False)
    return [one.told for one in findings(config, MACHINE, environ or {"container": "podman"}, root)]


def test_a_container_is_told_first_and_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "proc/sys/fs/inotify").mkdir(parents=True)
    (tmp_path / "proc/sys/fs/inotify/max_user_instances").write_text("128\n")
    first, *others = told(tmp_path)
    assert first.startswith("container: podman, PID ")
    assert first.endswith(", no cgroup, writable root")
    assert [one.partition(":")[0] for one in others] == ["container", "container", "inotify"]
    assert "is on no volume" in others[0]
    assert "the page is at 127.0.0.1:" in others[1]
    assert "max_user_instances = 128" in others[2]


def test_users_whom_it_leaves_out_are_told_of(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/uid_map").write_text("0 100000 65536\n")
    assert "uid 65534" in told(tmp_path, "[web]\nenabled = false")[-1]


def test_where_there_is_none_nothing_is_said(tmp_path: Path) -> None:
    assert told(tmp_path, environ={"HOME": "/root"}) == []

"""What a process takes away from itself by Landlock, and that it takes no more; each time in a child of its own."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bgjobd.forkserver import landlock, libc
from bgjobd.forkserver.sandbox import Ground, Limits, Sandbox, Shared, give_up_privileges
from tests.forkserver.forked import in_child

needs_landlock = pytest.mark.skipif(not landlock.has_file_rules(), reason="this kernel has no Landlock")
needs_signal_scope = pytest.mark.skipif(
    not landlock.has_signal_scope(), reason="this kernel's Landlock has no scopes"
)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")

STRANGER = 54321
READ_ONLY, WRITE = os.O_RDONLY, os.O_WRONLY | os.O_CREAT


def errno_of(act: Callable[[], Any]) -> int:
    """Why it failed; 0 where it did not."""
    try:
        act()
    except OSError as error:
        return error.errno or -1
    return 0


def opened(path: Path | str, flags: int) -> int:
    return errno_of(lambda: os.close(os.open(path, flags, 0o600)))


# Signals


def restricted(ruleset: int, act: Callable[[], Any]) -> Any:
    def within() -> Any:
        give_up_privileges()
        landlock.restrict_self(ruleset)
        return act()

    try:
        return in_child(within)
    finally:
        os.close(ruleset)


@needs_signal_scope
def test_under_the_signal_scope_nobody_outside_can_be_signalled() -> None:
    parent = os.getpid()
    told = restricted(landlock.signal_scope(), lambda: errno_of(lambda: os.kill(parent, 0)))
    assert told == errno.EPERM


@needs_signal_scope
def test_under_the_signal_scope_ones_own_children_and_group_can_be_signalled() -> None:
    def signal_child() -> int:
        os.setsid()
        child = os.fork()
        if child == 0:
            signal.pause()
        os.kill(child, signal.SIGKILL)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        os.killpg(0, signal.SIGUSR1)
        return ended

    assert restricted(landlock.signal_scope(), signal_child) == -signal.SIGKILL


@needs_signal_scope
def test_the_signal_scope_takes_nothing_else_away(tmp_path: Path) -> None:
    assert restricted(landlock.signal_scope(), lambda: opened(tmp_path / "file", WRITE)) == 0


@needs_signal_scope
def test_one_attempt_cannot_signal_another_under_the_same_ruleset() -> None:
    ruleset = landlock.signal_scope()
    held, holding = os.pipe()
    other = os.fork()
    if other == 0:
        os.close(holding)
        give_up_privileges()
        landlock.restrict_self(ruleset)
        os.read(held, 1)
        os._exit(0)
    try:
        assert restricted(ruleset, lambda: errno_of(lambda: os.kill(other, signal.SIGKILL))) == errno.EPERM
    finally:
        os.close(held)
        os.close(holding)
        _, status = os.waitpid(other, 0)
    assert status == 0


@needs_signal_scope
def test_rulesets_are_not_inherited_by_programs() -> None:
    ruleset = landlock.signal_scope()
    assert not os.get_inheritable(ruleset)
    os.close(ruleset)


# Files


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory to write to, one that is nobody's to read, and one beside it."""
    for name in ("writable", "secret", "secret/inner", "beside"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("text")
    return tmp_path


def ruled(tree: Path, act: Callable[[], Any]) -> Any:
    # Others make and remove.
    passing = [(path, landlock.READS) for path in landlock.around([str(tree / "secret")])]
    own = [(str(tree / "writable"), landlock.READS | landlock.WRITES)]
    return restricted(landlock.file_rules(own, passing), act)


@needs_landlock
@pytest.mark.parametrize(
    ("path", "flags", "expected"),
    [
        ("writable/file", READ_ONLY, 0),
        ("writable/file", os.O_WRONLY | os.O_TRUNC, 0),
        ("writable/new", WRITE, 0),
        ("beside/file", READ_ONLY, 0),
        ("beside/file", os.O_WRONLY, errno.EACCES),
        ("beside/new", WRITE, errno.EACCES),
        ("beside/../secret/file", READ_ONLY, errno.EACCES),
        ("secret/file", READ_ONLY, errno.EACCES),
        ("secret/inner/file", READ_ONLY, errno.EACCES),
        ("secret", READ_ONLY | os.O_DIRECTORY, errno.EACCES),
        ("/etc/passwd", READ_ONLY, 0),
        ("/proc/self/status", READ_ONLY, 0),
    ],
)
def test_only_what_is_granted_can_be_used(tree: Path, path: str, flags: int, expected: int) -> None:
    assert ruled(tree, lambda: opened(tree / path, flags)) == expected


@needs_landlock
def test_files_go_neither_out_of_nor_into_what_is_not_granted(tree: Path) -> None:
    def moves() -> list[int]:
        own = tree / "writable" / "file"
        return [
            errno_of(lambda: os.rename(own, tree / "beside" / "moved")),
            errno_of(lambda: os.link(tree / "secret" / "file", tree / "writable" / "linked")),
            errno_of(lambda: os.unlink(tree / "beside" / "file")),
            errno_of(lambda: os.rename(own, tree / "writable" / "renamed")),
        ]

    told = ruled(tree, moves)
    assert set(told[:3]) <= {errno.EACCES, errno.EXDEV}
    assert told[3] == 0


@needs_landlock
def test_a_link_to_what_is_not_granted_leads_nowhere(tree: Path) -> None:
    (tree / "writable" / "link").symlink_to(tree / "secret" / "file")
    assert ruled(tree, lambda: opened(tree / "writable" / "link", READ_ONLY)) == errno.EACCES


@needs_landlock
def test_what_was_open_before_stays_open(tree: Path) -> None:
    with open(tree / "secret" / "file", "r+b", buffering=0) as file:
        assert ruled(tree, lambda: file.write(b"more")) == 4


@needs_landlock
def test_a_single_file_can_be_granted(tree: Path) -> None:
    rules = [(str(tree / "secret" / "file"), landlock.READS | landlock.WRITES)]
    told = restricted(
        landlock.file_rules(rules),
        lambda: [opened(tree / "secret" / "file", os.O_RDWR), opened(tree / "beside" / "file", READ_ONLY)],
    )
    assert told == [0, errno.EACCES]


@needs_landlock
def test_a_path_that_is_not_there_raises_and_leaves_no_descriptor_open(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(FileNotFoundError):
        landlock.file_rules([(str(tmp_path), landlock.READS), (str(tmp_path / "gone"), landlock.READS)])
    assert os.listdir("/proc/self/fd") == before


@needs_landlock
def test_who_has_not_given_up_new_privileges_is_told() -> None:
    def restrict() -> None:
        os.setresuid(STRANGER, STRANGER, STRANGER)
        landlock.restrict_self(landlock.file_rules([]))

    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    assert in_child(restrict) == errno.EPERM


# Around


def below(directory: Path, excluded: Collection[str]) -> set[str]:
    """What is granted below the directory, by its names there."""
    paths = landlock.around([str(directory / name) for name in excluded])
    return {os.path.relpath(path, directory) for path in paths if Path(path).is_relative_to(directory)}


@pytest.fixture
def forest(tmp_path: Path) -> Path:
    for name in ("a/x", "a/y/deep", "b/z", "c"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a" / "file").touch()
    (tmp_path / "to_b").symlink_to("b")
    return tmp_path.resolve()


@pytest.mark.parametrize(
    ("excluded", "granted"),
    [
        (["a"], {"b", "c"}),
        (["a/x"], {"a/y", "a/file", "b", "c"}),
        (["a/x", "a"], {"b", "c"}),
        (["a/y/deep", "a"], {"b", "c"}),
        (["a/x", "b/z"], {"a/y", "a/file", "c"}),
        (["a/x", "a/y/deep"], {"a/file", "b", "c"}),
        (["a/gone"], {"a/x", "a/y", "a/file", "b", "c"}),
        (["gone/deeper"], {"a", "b", "c"}),
        (["a/file"], {"a/x", "a/y", "b", "c"}),
        (["to_b/z"], {"a", "c"}),
        (["to_b"], {"a", "c"}),
        (["a/x/../y"], {"a/x", "a/file", "b", "c"}),
    ],
)
def test_the_subtrees_around_what_is_excluded(forest: Path, excluded: list[str], granted: set[str]) -> None:
    assert below(forest, excluded) == granted


def test_a_name_that_another_begins_with_is_another(forest: Path) -> None:
    (forest / "a2").mkdir()
    assert below(forest, ["a"]) == {"a2", "b", "c"}


def test_without_exclusions_there_is_all_that_the_root_has() -> None:
    expected = {entry.path for entry in os.scandir("/") if not entry.is_symlink()}
    assert set(landlock.around([])) == expected


def test_where_all_is_excluded_nothing_is_left() -> None:
    assert list(landlock.around(["/"])) == []


@as_root
def test_what_cannot_be_listed_is_not_granted(forest: Path) -> None:
    (forest / "a").chmod(0o711)

    def granted() -> list[str]:
        for directory in (forest, *forest.parents):
            directory.stat()
        os.setresuid(STRANGER, STRANGER, STRANGER)
        return [path for path in landlock.around([str(forest / "a" / "x")]) if path.startswith(str(forest))]

    assert in_child(granted) == []


# Older kernels


@contextmanager
def asked_of(monkeypatch: pytest.MonkeyPatch, version: int) -> Iterator[list[tuple[int, ...]]]:
    """What a kernel of this version is asked for: handled rights, size and scopes; then the rights of each path."""
    asked: list[tuple[int, ...]] = []

    def syscall(number: int, *arguments: Any) -> int:
        match number:
            case landlock._CREATE_RULESET:
                attributes = arguments[0]._obj
                asked.append((attributes.handled_access_fs, arguments[1], attributes.scoped))
            case landlock._ADD_RULE:
                asked.append((arguments[2]._obj.allowed_access,))
        return os.open(os.devnull, os.O_RDONLY) if number == landlock._CREATE_RULESET else 0

    with monkeypatch.context() as patched:
        patched.setattr(landlock, "version", lambda: version)
        patched.setattr(libc, "syscall", syscall)
        yield asked


FIRST = 0x1FFF
"""All rights of the first version of Landlock."""


@pytest.mark.parametrize(
    ("version", "rights", "size", "scoped"),
    [
        (1, FIRST, 8, 0),
        (2, FIRST | 0x2000, 8, 0),
        (3, FIRST | 0x6000, 8, 0),
        (5, FIRST | 0x6000, 8, 0),
        (6, FIRST | 0x6000, 24, 2),
        (99, FIRST | 0x6000, 24, 2),
    ],
)
def test_a_kernel_is_asked_only_for_what_it_knows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: int, rights: int, size: int, scoped: int
) -> None:
    with asked_of(monkeypatch, version) as asked:
        os.close(landlock.file_rules([(str(tmp_path), landlock.READS | landlock.WRITES)]))
    assert asked == [(rights, size, scoped), (rights,)]


def test_a_file_is_granted_only_what_one_does_with_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with asked_of(monkeypatch, 3) as asked:
        os.close(landlock.file_rules([(str(tmp_path / "file"), landlock.READS | landlock.WRITES)]))
    assert asked[1] == (0x1 | 0x2 | 0x4 | 0x4000,)


@pytest.mark.parametrize(
    ("version", "files", "signals"), [(0, False, False), (1, True, False), (6, True, True)]
)
def test_what_a_kernel_has_goes_by_its_version(
    monkeypatch: pytest.MonkeyPatch, version: int, files: bool, signals: bool
) -> None:
    monkeypatch.setattr(landlock, "version", lambda: version)
    assert (landlock.has_file_rules(), landlock.has_signal_scope()) == (files, signals)


def test_a_kernel_without_landlock_has_version_0(monkeypatch: pytest.MonkeyPatch) -> None:
    def syscall(*_: Any) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(libc, "syscall", syscall)
    assert landlock.version() == 0


# As a class's attempts have it


def ground(directory: Path) -> Ground:
    for name in ("state", "spool", "work"):
        (directory / name).mkdir(exist_ok=True)
    work = str(directory / "work")
    unreadable = (str(directory / "state"), str(directory / "spool"))
    return Ground(work, os.open(work, os.O_RDONLY), unreadable, str(directory / "spool"), None)


@needs_landlock
def test_a_confined_attempt_writes_its_directory_and_what_its_class_lists(tree: Path) -> None:
    confined = Sandbox(Limits(writable=(str(tree / "writable"),)), ground(tree), Shared())
    (tree / "spool" / "1.1.stop").write_text("cancelled")
    (tree / "state" / "database").touch()

    def attempt() -> dict[str, int]:
        give_up_privileges()
        confined.make_directory("1.1")
        confined.enter("1.1")
        return {
            "own": opened("file", WRITE),
            "listed": opened(tree / "writable" / "new", WRITE),
            "beside": opened(tree / "beside" / "file", os.O_WRONLY),
            "another's": opened(tree / "work" / "new", WRITE),
            "device": opened("/dev/null", os.O_RDWR),
            "stop": opened(tree / "spool" / "1.1.stop", READ_ONLY),
            "spool": opened(tree / "spool", READ_ONLY),
            "state": opened(tree / "state" / "database", READ_ONLY),
        }

    denied = errno.EACCES
    assert in_child(attempt) == {
        "own": 0,
        "listed": 0,
        "beside": denied,
        "another's": denied,
        "device": 0,
        "stop": 0,
        "spool": denied,
        "state": denied,
    }


@needs_landlock
def test_what_goes_away_while_it_is_granted_keeps_no_attempt_from_running(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    around = landlock.around
    monkeypatch.setattr(landlock, "around", lambda excluded: [*around(excluded), str(tree / "gone")])
    confined = Sandbox(Limits(writable=()), ground(tree), Shared())

    def attempt() -> str:
        give_up_privileges()
        confined.make_directory("1.1")
        confined.enter("1.1")
        return "ran"

    assert in_child(attempt) == "ran"

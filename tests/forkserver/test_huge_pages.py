"""Which memory is made huge pages of, and that a kernel which cannot is no trouble."""

from __future__ import annotations

import errno
import os

import pytest

from bgjobd.forkserver import huge_pages, libc

MAPS = [
    ("55d0c2a00000-55d0c2c00000 r--p 00000000 fe:01 1234                       /usr/bin/python3.11", 2048),
    ("55d0c3001000-55d0c4001000 rw-p 00000000 00:00 0                          [heap]", 16_000),
    ("7f0000000000-7f0000800000 rw-p 00000000 00:00 0", 8192),
    ("7f0001001000-7f00013ff000 rw-p 00000000 00:00 0", 4000),  # no huge page fits in
    ("7f0001800000-7f0002000000 rw-p 00000000 00:00 0", 6500),  # a fifth is not used
    ("7f0002000000-7f0004000000 rw-s 00000000 00:00 0", 32_768),
    ("7f0005000000-7f0007000000 rw-p 00000000 fe:01 99                         /usr/lib/a b.so", 32_768),
    ("7f1000000000-7f1040000000 rw-p 00000000 00:00 0", 2048),  # 1 GiB, a page of every 512 used
    ("7ffc00000000-7ffc01000000 rw-p 00000000 00:00 0                          [stack]", 16_384),
]
"""What /proc/PID/smaps begins a mapping with, and how many KiB of it are in memory."""

SMAPS = "".join(
    f"{head}\nSize:   1 kB\nRss:   {resident} kB\nPss:   {resident} kB\nVmFlags: rd wr mr mw\n"
    for head, resident in MAPS
)


def test_large_mappings_of_its_own_that_are_in_use_are_taken_in_whole_huge_pages() -> None:
    assert list(huge_pages.large(SMAPS.splitlines(keepends=True))) == [
        (0x55D0C3200000, 0x55D0C4000000),
        (0x7F0000000000, 0x7F0000800000),
    ]


def test_a_kernel_that_cannot_do_it_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(begin: int, length: int, advice: int) -> None:
        asked.append((begin, length, advice))
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    memory = bytearray(b"x") * (64 * 1024 * 1024)
    monkeypatch.setattr(libc, "madvise", refuse)
    huge_pages.collapse()
    assert len(memory) > 0
    assert any(length >= 32 * 1024 * 1024 for _, length, _ in asked)

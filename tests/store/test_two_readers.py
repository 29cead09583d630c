"""Several readers in one process: each asks its own file."""

from __future__ import annotations

from pathlib import Path

from bgjob.words import Status
from bgjobd.store.reader import Reader
from tests.store.samples import NOW, Store, asked


def test_each_reader_answers_from_its_own_file(tmp_path: Path) -> None:
    stores = []
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        stores.append(Store(tmp_path / str(number)))
        stores[-1].submit(*[asked()] * number)
    readers = [Reader(store.state_dir) for store in stores]
    try:
        assert [reader.tally(NOW).jobs for reader in readers] == [{"pending": 1}, {"pending": 2}]
        assert [reader.tally(NOW).of_queue("default", Status.PENDING) for reader in readers] == [1, 2]
        assert [reader.job(2) is not None for reader in readers] == [False, True]
        assert readers[0].database_id() != readers[1].database_id()
    finally:
        for closing in (*readers, *stores):
            closing.close()

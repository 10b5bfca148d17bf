"""The spool on a real disk: order, limits, power cuts and other processes."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from miningmap.partner.live import spool as spooling
from miningmap.partner.live.spool import Spool
from miningmap.spool import ROW_OVERHEAD, NewRow, SpoolError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

LIMIT = 10**6
ALL = (10**6, 10**9)
FILL = """
import os, signal, sys
from pathlib import Path
from miningmap.spool import NewRow, Spool
spool = Spool(Path(sys.argv[1]), 10**6)
number = 0
while True:
    spool.add([NewRow(b"%d" % number, 1e12, str(number))])
    print(number, flush=True)
    number += 1
"""


def rows(numbers: Iterable[int], expires: float = 100.0) -> list[NewRow]:
    return [NewRow(b"%d" % number, expires, str(number)) for number in numbers]


def content(spool: Spool) -> list[int]:
    return [int(spooled.row) for spooled in spool.oldest(*ALL)]


def opened(folder: Path, max_bytes: int = LIMIT) -> Spool:
    return Spool(folder, max_bytes)


def test_rows_are_kept_in_order_over_a_restart(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "a" / "b")) as spool:
        assert spool.add(rows([3, 1])) == 0
        assert spool.add(rows([2])) == 0
    with closing(opened(tmp_path / "a" / "b")) as spool:
        assert (len(spool), content(spool)) == (3, [3, 1, 2])
        spool.remove(spool.oldest(2, 100))
        spool.add(rows([4]))
        assert (len(spool), content(spool)) == (2, [2, 4])


def test_a_batch_is_limited_by_rows_and_by_bytes_and_has_at_least_one(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as spool:
        assert spool.oldest(10, 10) == []
        spool.add(rows(range(100, 110)))
        assert len(spool.oldest(4, 1000)) == 4
        assert len(spool.oldest(10, 12)) == 3
        assert len(spool.oldest(10, 1)) == 1


def test_of_rows_with_one_key_the_latest_is_kept_in_its_place(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as spool:
        spool.add(rows([1, 2]))
        in_flight = spool.oldest(1, 100)
        spool.add([NewRow(b"10", 100.0, "1")])
        assert content(spool) == [2, 10]
        spool.remove(in_flight)
        assert content(spool) == [2, 10]


def test_a_full_spool_drops_the_oldest_rows(tmp_path: Path) -> None:
    limit = 10 * (2 + ROW_OVERHEAD)
    with closing(opened(tmp_path, limit)) as spool:
        assert spool.add(rows(range(10, 20))) == 0
        assert (spool.size, spool.has_room) == (limit, False)
        assert spool.add(rows([20])) == 1
        assert spool.add(rows(range(21, 23))) == 2
        assert content(spool) == list(range(13, 23))
        assert spool.size == limit
        spool.remove(spool.oldest(5, 1000))
        assert spool.has_room


def test_the_files_of_a_spool_are_little_larger_than_its_limit(tmp_path: Path) -> None:
    limit = 10**7
    with closing(opened(tmp_path, limit)) as spool:
        for first in range(0, 20_000, 500):
            spool.add([NewRow(b"x" * 2200, 100.0, str(first + n)) for n in range(500)])
            spool.remove(spool.oldest(100, limit))
        used = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert limit < used < 2 * limit


def test_rows_that_the_map_has_no_use_for_are_dropped(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as spool:
        spool.add([*rows([1, 2], expires=100), *rows([3], expires=101)])
        assert spool.expire(99.9) == 0
        assert spool.expire(100) == 2
        assert (len(spool), content(spool)) == (1, [3])


def test_refused_rows_are_moved_to_a_file_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(opened(tmp_path)) as spool:
        spool.add(rows(range(4)))
        file = spool.refused_file
        file.write_bytes(b'{"reason":"torn by a power c')
        first, _, third, _ = spool.oldest(*ALL)
        spool.refuse({first: "é", third: "no"})
        assert content(spool) == [1, 3]
        torn, *moved = file.read_text().splitlines()
        assert torn == '{"reason":"torn by a power c'
        assert [json.loads(line) for line in moved] == [
            {"reason": "é", "row": 0},
            {"reason": "no", "row": 2},
        ]
        monkeypatch.setattr(spooling, "MAX_REFUSED", 10)
        spool.refuse({spool.oldest(1, 9)[0]: "no"})
        assert len(file.read_text().splitlines()) == 1
        assert len((tmp_path / "refused.1.jsonl").read_text().splitlines()) == 3


def test_rows_that_were_added_survive_a_kill(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", FILL, tmp_path], stdout=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(20):
        said = int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()
    with closing(opened(tmp_path)) as spool:
        kept = content(spool)
    assert kept == list(range(len(kept)))
    assert len(kept) > said


def test_one_process_at_a_time_uses_a_spool(tmp_path: Path) -> None:
    with closing(opened(tmp_path)), pytest.raises(SpoolError, match="another process uses it"):
        opened(tmp_path)
    opened(tmp_path).close()


@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_a_log_that_was_torn_loses_no_more_than_its_end(tmp_path: Path, suffix: str) -> None:
    """A copy of the files of an open spool, as a power cut leaves them."""
    with closing(opened(tmp_path / "a")) as spool:
        spool.add(rows([1]))
        spool.add(rows([2]))
        (tmp_path / "b").mkdir()
        for file in (tmp_path / "a").iterdir():
            (tmp_path / "b" / file.name).write_bytes(file.read_bytes())
    log = tmp_path / "b" / f"spool.sqlite3{suffix}"
    if suffix:
        log.write_bytes(log.read_bytes()[:-100])
    with closing(opened(tmp_path / "b")) as spool:
        assert spool.set_aside is None
        assert content(spool) == ([1] if suffix else [1, 2])


@pytest.mark.parametrize("damage", [b"not a database" * 100, b"\xff" * 5000])
def test_a_damaged_spool_is_set_aside_and_a_new_one_used(tmp_path: Path, damage: bytes) -> None:
    with closing(opened(tmp_path)) as spool:
        spool.add(rows([1]))
    file = tmp_path / "spool.sqlite3"
    file.write_bytes(damage)
    for suffix in ("-wal", "-shm"):
        (tmp_path / f"spool.sqlite3{suffix}").unlink(missing_ok=True)
    with closing(opened(tmp_path)) as spool:
        assert spool.set_aside == "damaged-spool.sqlite3"
        assert (tmp_path / spool.set_aside).read_bytes() == damage
        spool.add(rows([2]))
        assert content(spool) == [2]
    with closing(opened(tmp_path)) as spool:
        assert spool.set_aside is None


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpoolError, match=rf"^spool {tmp_path}/file: File exists$"):
        opened(tmp_path / "file")
    with pytest.raises(SpoolError, match=r"^spool /proc/none: "):
        opened(tmp_path.joinpath("/proc/none"))

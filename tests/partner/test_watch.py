"""Live rows of each interval from a list that changes, with a clock that the tests set."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miningmap.live_rows import read as read_rows
from miningmap.partner.aggregate import Aggregate, Tally, fold
from miningmap.partner.database import CurrentDatabase, DatabaseError
from miningmap.partner.live.rows import Interval, last_interval, live_row
from miningmap.partner.live.snapshots import Snapshot, SnapshotError
from miningmap.partner.live.watch import ATTEMPTS, LiveAggregator, watch
from tests.cases import all_cases
from tests.partner.fixtures import ADDRESSES, write_database, write_iranian_database

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
TEXAS = ADDRESSES["texas"]
LIST = f"ip,hashrate\n{TEXAS},1e15\n10.0.0.1,2e15\n".encode()


class Wall:
    """A clock that advances only while somebody waits for it, for so many times."""

    def __init__(self, at: datetime, pauses: int, asleep: timedelta = timedelta()) -> None:
        self.at = at
        self._left = pauses
        self._asleep = asleep  # how much longer the first wait takes than it should

    def now(self) -> datetime:
        return self.at

    async def pause(self, seconds: float) -> None:
        if not self._left:
            raise asyncio.CancelledError
        self._left -= 1
        self.at += timedelta(seconds=seconds) + self._asleep
        self._asleep = timedelta()


class Listed:
    """A source that gives these lists one after the other; an error is raised."""

    def __init__(self, *lists: bytes | Snapshot | Exception) -> None:
        self._lists = iter(lists)

    def __str__(self) -> str:
        return "miners.csv"

    async def read(self) -> Snapshot:
        found = next(self._lists)
        if isinstance(found, Exception):
            raise found
        return found if isinstance(found, Snapshot) else Snapshot(found, 0)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return write_database(tmp_path / "city.mmdb")


async def rows_of(
    source: Listed, database: Path, *, least: int = 1, reads: int = 1
) -> tuple[list[dict[str, Any] | None], list[str]]:
    """Read a source so often; return the row of each time and what was said."""
    said: list[str] = []

    async def no_pause(_seconds: float) -> None:
        pass

    rows: list[dict[str, Any] | None] = []
    with closing(CurrentDatabase(database)) as opened:
        aggregator = LiveAggregator(
            source,
            opened.locate,
            "H/s",
            least=least,
            max_age_s=300,
            say=said.append,
            pause=no_pause,
        )
        for _ in range(reads):
            found = await aggregator.read()
            row = found and live_row(*found, last_interval(NOON, 60))
            rows.append(json.loads(row) if row else None)
    return rows, said


async def test_a_row_has_the_whole_hashrate_and_the_places_that_are_known(database: Path) -> None:
    rows, said = await rows_of(Listed(LIST), database)
    assert rows == [
        {
            "start": "2026-11-22T11:59:00Z",
            "end": "2026-11-22T12:00:00Z",
            "hold_s": 300,
            "hashrate": 3e15,
            "places": [{"code": "US-TX", "hashrate": 1e15}],
        }
    ]
    assert said == []


async def test_places_with_few_miners_are_merged_and_the_total_stays(database: Path) -> None:
    norway = f"{ADDRESSES['norway']},4e15\n".encode()
    (row, few), _ = await rows_of(Listed(LIST + norway, LIST), database, least=2, reads=2)
    assert row is not None
    assert few is not None
    assert row["places"] == [{"code": "OTHER", "hashrate": 5e15}]
    assert row["hashrate"] == 7e15
    assert few["places"] == []
    assert few["hashrate"] == 3e15


async def test_a_list_that_does_not_change_is_repeated_for_a_limited_time_and_said_once(
    database: Path,
) -> None:
    ages = [0, 60, 300, 301, 360, 0]
    source = Listed(*(Snapshot(LIST, age) for age in ages))
    rows, said = await rows_of(source, database, reads=len(ages))
    assert [row is not None for row in rows] == [True, True, True, False, False, True]
    assert said == [
        "miners.csv: has not changed for over 300 s; there are no rows until that is mended",
        "miners.csv: rows are written again",
    ]


async def test_a_half_written_list_is_read_again(database: Path) -> None:
    torn = LIST[: LIST.index(TEXAS.encode()) + 4]
    rows, said = await rows_of(Listed(torn, b"", LIST), database)
    assert rows[0] is not None
    assert rows[0]["hashrate"] == 3e15
    assert said == []


async def test_a_list_that_stays_invalid_is_named_by_line_once_and_has_no_row(
    database: Path,
) -> None:
    bad = LIST + f"{TEXAS}:3333,1\n{TEXAS},?\n".encode()
    gone = SnapshotError("unreadable", "miners.csv: No such file or directory")
    source = Listed(*[bad] * ATTEMPTS * 2, gone, gone, *[b"ip,hashrate\n"] * ATTEMPTS, LIST)
    rows, said = await rows_of(source, database, reads=6)
    assert [row is not None for row in rows] == [False] * 5 + [True]
    later = "; there are no rows until that is mended"
    assert said == [
        f"miners.csv: line 4: ip: not an IP address, and 1 more{later}",
        f"miners.csv: No such file or directory{later}",
        f"miners.csv: the list has no hashrate{later}",
        "miners.csv: rows are written again",
    ]


PIECES = [*ADDRESSES.values(), "ip", "hashrate", "place", ",", "\n", '"', "{", "}", ":", "1", "é"]


@given(
    content=st.lists(st.sampled_from(PIECES), max_size=30).map("".join),
    header=st.sampled_from(["", "ip,hashrate\n", '{"ip":"192.0.2.17","hashrate":1}\n']),
)
def test_no_address_is_in_a_row_or_in_what_is_said(
    tmp_path_factory: pytest.TempPathFactory, content: str, header: str
) -> None:
    database = tmp_path_factory.getbasetemp() / "city.mmdb"
    if not database.exists():
        write_database(database)
    raw = (header + content).encode()
    rows, said = asyncio.run(rows_of(Listed(*[raw] * ATTEMPTS), database))
    output = json.dumps(rows) + "\n".join(said)
    assert len(said) == (rows == [None])
    assert not any(address in output for address in ADDRESSES.values())


# --- intervals ------------------------------------------------------------------------------------


async def watched(wall: Wall, every_s: int, found: Sequence[bool] = ()) -> list[str]:
    """Watch until the clock has been waited for so often; return the ends of the rows."""
    written: list[str] = []
    usable = iter(found)

    async def read() -> tuple[Aggregate, dict[str, Tally]] | None:
        wall.at += timedelta(seconds=2)  # a list is not read in no time
        return (Aggregate({}, Tally(1.0, 1), {}), {}) if next(usable, True) else None

    def write(line: bytes) -> None:
        assert line.endswith(b"}\n")
        written.append(json.loads(line)["end"][11:16])

    with pytest.raises(asyncio.CancelledError):
        await watch(read, write, every_s, now=wall.now, pause=wall.pause)
    return written


async def test_each_interval_has_one_row_from_the_start_on() -> None:
    wall = Wall(NOON + timedelta(seconds=41), pauses=13)
    assert await watched(wall, 60) == ["12:00", "12:01", "12:02"]
    wall = Wall(NOON + timedelta(seconds=41), pauses=100)
    assert await watched(wall, 300) == ["12:00", "12:05", "12:10", "12:15"]


async def test_an_interval_without_a_list_has_no_row() -> None:
    wall = Wall(NOON, pauses=20)
    assert await watched(wall, 60, [True, False, True]) == ["12:00", "12:02", "12:03"]


async def test_intervals_that_the_machine_slept_through_have_no_row() -> None:
    wall = Wall(NOON, pauses=8, asleep=timedelta(hours=3))
    assert await watched(wall, 60) == ["12:00", "15:00", "15:01"]


codes = st.sampled_from(["US-TX", "US", "CN-SC", "KZ", "OTHER"])
hashrates = st.floats(0, 1e22, allow_subnormal=False)


@given(
    located=st.dictionaries(codes, hashrates),
    unlocated=hashrates,
    every_min=st.integers(1, 59),
    at=st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)),  # noqa: DTZ001 - made aware below
    least=st.integers(1, 2),
)
def test_every_row_is_one_that_the_intake_accepts(
    located: dict[str, float], unlocated: float, every_min: int, at: datetime, least: int
) -> None:
    places = {code: Tally(figure, 1, {code}) for code, figure in located.items()}
    found = Aggregate(places, Tally(unlocated + 1, 1, {0}), {})
    now = at.replace(tzinfo=UTC)
    row = live_row(found, fold(places, least), last_interval(now, every_min * 60))
    (report,) = read_rows([json.loads(row)], "pool", now)
    assert report.end <= now < report.end + timedelta(minutes=every_min)
    assert report.hashrate == pytest.approx(sum(located.values()) + unlocated + 1)


@all_cases(
    ("minute", "every_s", "interval"),
    [(0, 60, (59, 60)), (0.9, 60, (59, 60)), (7, 300, (60, 65)), (29, 1800, (30, 60))],
)
def test_an_interval_is_whole_and_over(
    minute: float, every_s: int, interval: tuple[int, int]
) -> None:
    start, end = (NOON + timedelta(minutes=m - 60) for m in interval)
    assert last_interval(NOON + timedelta(minutes=minute), every_s) == Interval(start, end)


# --- the database ---------------------------------------------------------------------------------


def country(database: CurrentDatabase) -> str | None:
    import ipaddress  # noqa: PLC0415

    found = database.locate(ipaddress.ip_address(TEXAS))
    return found and found.code


@pytest.mark.parametrize("in_place", [True, False])
def test_a_database_that_is_replaced_is_used_from_the_next_refresh_on(
    tmp_path: Path, database: Path, *, in_place: bool
) -> None:
    new = write_iranian_database(tmp_path / "new.mmdb")
    with closing(CurrentDatabase(database)) as current:
        assert (current.refresh(), country(current)) == (False, "US-TX")
        if in_place:
            database.write_bytes(new.read_bytes())
        else:
            new.replace(database)
        assert country(current) == "US-TX"
        assert (current.refresh(), country(current)) == (True, "IR-07")
        assert current.refresh() is False


def test_a_database_that_is_half_replaced_or_missing_leaves_the_last_one_in_use(
    database: Path,
) -> None:
    complete = database.read_bytes()
    with closing(CurrentDatabase(database)) as current:
        database.write_bytes(complete[: len(complete) // 2])
        for error in ("not a database in MaxMind's format", "No such file or directory"):
            with pytest.raises(DatabaseError, match=rf"^{database}: {error}$"):
                current.refresh()
            assert country(current) == "US-TX"
            database.unlink(missing_ok=True)
        write_iranian_database(database)
        assert (current.refresh(), country(current)) == (True, "IR-07")

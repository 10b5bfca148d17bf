"""Turn a pool's list of miners into a live row for each interval, until the process ends."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Final

from miningmap.inputs import ENCODING
from miningmap.partner.aggregate import aggregate, fold
from miningmap.partner.csv import TableError
from miningmap.partner.live.rows import last_interval, live_row, total_of
from miningmap.partner.live.snapshots import SETTLE_S, SnapshotError
from miningmap.partner.live.troubles import Trouble
from miningmap.times import utc_now

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from miningmap.partner.aggregate import Aggregate, Locate, Places
    from miningmap.partner.live.rows import Interval
    from miningmap.partner.live.snapshots import Snapshot, Source

    Pause = Callable[[float], Awaitable[None]]

ATTEMPTS: Final = 3
"""How often an invalid list is read, because it may be half-written."""
LONGEST_PAUSE_S: Final = 10.0
"""The wall clock is looked at this often, in seconds: it can be set, and the machine can sleep."""


class LiveAggregator:
    """Makes live rows of what a source says now; no address is in them, nor in what it says."""

    def __init__(
        self,
        source: Source,
        locate: Locate | None,
        unit: str,
        *,
        least: int,
        max_age_s: float,
        say: Callable[[str], None],
        pause: Pause = asyncio.sleep,
    ) -> None:
        """Make rows of a source.

        Args:
            source: of the list of miners.
            locate: returns an address's place, or ``None``.
            unit: of hashrates without a unit.
            least: places with fewer miners are merged.
            max_age_s: a list that has not changed for longer is not repeated.
            say: called with a line for people when rows cannot be made, and when they can again.
            pause: waits for a number of seconds.
        """
        self._source = source
        self._locate = locate
        self._unit = unit
        self._least = least
        self._max_age_s = max_age_s
        self._trouble = Trouble(say)
        self._pause = pause

    async def read(self) -> tuple[Aggregate, Places] | None:
        """Return all miners and the places that a row may name; ``None`` without a usable list."""
        try:
            found = await self._found()
        except SnapshotError as error:
            self._trouble.begins(error.kind, f"{error}; there are no rows until that is mended")
            return None
        self._trouble.is_over(f"{self._source}: rows are written again")
        return found, fold(found.located, self._least)

    async def _found(self) -> Aggregate:
        for attempt in range(1, ATTEMPTS + 1):
            snapshot = await self._source.read()
            self._check_age(snapshot)
            try:
                return await asyncio.to_thread(self._sum, snapshot.content)
            except TableError as error:
                if attempt == ATTEMPTS:
                    more = len(error.errors) - 1
                    text = f"{self._source}: {error}" + (f", and {more} more" if more else "")
                    raise SnapshotError("invalid", text) from None
            await self._pause(SETTLE_S)
        raise AssertionError  # the last attempt has returned or raised

    def _check_age(self, snapshot: Snapshot) -> None:
        if snapshot.age_s > self._max_age_s:
            raise SnapshotError(
                "stale", f"{self._source}: has not changed for over {self._max_age_s:g} s"
            )

    def _sum(self, content: bytes) -> Aggregate:
        """Sum a list by place.

        Raises:
            TableError: it is invalid, or has no hashrate, as a list that is just being written.
        """
        text = io.TextIOWrapper(io.BytesIO(content), encoding=ENCODING, newline="")
        found = aggregate(text, self._locate, self._unit)
        if not total_of(found):
            raise TableError(["the list has no hashrate"])
        return found


async def watch(
    read: Callable[[], Awaitable[tuple[Aggregate, Places] | None]],
    write: Callable[[bytes], None],
    every_s: int,
    *,
    now: Callable[[], datetime] = utc_now,
    pause: Pause = asyncio.sleep,
) -> None:
    """Write a row for the last whole interval at once, and for each further one when it is over.

    An interval that has passed without a list, as while the machine sleeps, has no row. Runs until
    it is cancelled.

    Args:
        read: returns all miners and the places that a row may name, or ``None``.
        write: takes a row as a line of JSON with its newline.
        every_s: the length of an interval, in seconds.
        now: the wall clock, UTC.
        pause: waits for a number of seconds.
    """
    written: Interval | None = None
    while True:
        interval = last_interval(now(), every_s)
        if interval != written:
            if found := await read():
                write(live_row(*found, interval) + b"\n")
            written = interval
        left_s = every_s - (now() - interval.end).total_seconds()
        await pause(min(max(left_s, 0), LONGEST_PAUSE_S))

"""Forward live rows to an intake: into the spool as they come, and out of it as they are accepted.

Nothing that is taken is lost when this process or the intake goes away: a row leaves the spool when
the intake has answered 200. A row that is sent twice changes nothing on the map.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import msgspec

from miningmap.inputs import decode_json
from miningmap.live_rows import read
from miningmap.partner.http import ContributeError
from miningmap.partner.live.pace import Pace
from miningmap.partner.live.troubles import Trouble
from miningmap.rows import MAX_BODY, InvalidRowsError
from miningmap.spool import NewRow, SpoolError
from miningmap.times import DAY_S, HOUR_S, utc_now

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence

    from miningmap.messages import Report
    from miningmap.partner.live.lines import Chunk
    from miningmap.partner.live.spool import Spool
    from miningmap.spool import SpooledRow

T = TypeVar("T")

MAX_ROWS: Final = 1000
"""The most rows of a request."""
MAX_ROW: Final = MAX_BODY - 2
"""The most bytes of a row, and of all rows of a request, each with a separator."""
FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 60.0
"""Between attempts while the intake is away, unless it asks for more: its minutes are live."""
SLOW_WAIT_S: Final = 300.0
"""Between attempts while somebody has to act, as after a revoked token."""
DISK_WAIT_S: Final = 5.0
"""Between attempts while the spool cannot be written or read, as on a full disk."""
LONGEST_WAIT_FOR_DISK_S: Final = 900.0
ATTEMPTS_AT_END: Final = 5
"""After the end of the input; what is not accepted then waits in the spool for the next start."""
LONGEST_WAIT_AT_END_S: Final = 900.0
KEPT_MINUTES_S: Final = 48 * HOUR_S
KEPT_HOURS_S: Final = 35 * DAY_S
"""How long a map keeps minutes and hours by default, in seconds."""

_ANY_POOL: Final = "pool"  # the token decides; no rule of a row depends on it
_TOKEN_REFUSED: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_REMEDY: Final = "; ask the operator of the map for a valid token"
_REASONS_SHOWN: Final = 3
_MAX_DOUBLINGS: Final = 20


class Post(Protocol):
    """Send rows (JSON objects) to an intake in one request."""

    async def __call__(self, rows: Sequence[bytes]) -> None:
        """Return when all are accepted.

        Raises:
            ContributeError: none is.
        """


@dataclass
class Counts:
    """What became of rows and lines.

    Attributes:
        accepted: rows that the intake accepted.
        skipped: lines that are not valid rows.
        refused: rows that the intake refused for good.
        dropped: rows that were dropped because the spool was full, or because they were too old.
    """

    accepted: int = 0
    skipped: int = 0
    refused: int = 0
    dropped: int = 0


class Forwarder:
    """Takes rows into a spool and sends them in order.

    Attributes:
        counts: of this run.
        failure: why the last attempt failed, if rows wait for the next start.
    """

    def __init__(
        self,
        spool: Spool,
        post: Post,
        say: Callable[[str], None],
        *,
        pause: Callable[[float], Coroutine[object, object, None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Forward through a spool.

        Args:
            spool: of rows; those of an earlier run are sent first.
            post: sends rows.
            say: called with a line for people.
            pause: waits for a number of seconds.
            clock: seconds that never go back.
        """
        self.counts = Counts()
        self.failure: str | None = None
        self._spool = spool
        self._post = post
        self._say = say
        self._pause = pause
        self._pace = Pace(clock)
        self._away = Trouble(say)
        self._loss = Trouble(say)
        self._disk = Trouble(say)
        self._failures = 0  # in a row
        self._max_rows = MAX_ROWS
        self._arrived = asyncio.Event()
        self._ended = asyncio.Event()
        self._may_take = asyncio.Event()

    async def run(self, lines: AsyncIterator[Chunk]) -> None:
        """Forward until the input has ended and the spool is empty, or the intake stays away.

        It may be cancelled at any time: what is not accepted stays in the spool.

        Raises:
            ExceptionGroup: of a ``SpoolError`` or an ``InputError``.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._take(lines))
            group.create_task(self._send())

    # --- into the spool ---------------------------------------------------------------------------

    async def _take(self, lines: AsyncIterator[Chunk]) -> None:
        number = 0
        async for chunk in lines:
            if rows := list(self._checked(chunk, number)):
                dropped = await self._on_disk(partial(self._spool.add, rows))
                self._lose(dropped, "full", "the spool is full")
            number += len(chunk)
            self._arrived.set()
            self._regulate()
            await self._may_take.wait()
        self._ended.set()
        self._arrived.set()

    def _checked(self, chunk: Chunk, before: int) -> Iterator[NewRow]:
        """Yield the valid rows of lines that come after so many others, and name the other ones."""
        for number, line in enumerate(chunk, start=before + 1):
            if line is not None and not line.strip():
                continue
            try:
                yield new_row(line)
            except ValueError as error:
                self.counts.skipped += 1
                self._say(f"line {number}: {error}; skipped")

    def _regulate(self) -> None:
        """Let the input wait while the intake is slower, but not while it is away.

        While it accepts rows, nothing has to be dropped. While it does not, the latest rows count
        more than the oldest ones.
        """
        if self._away.kind is not None or self._spool.has_room:
            self._may_take.set()
        else:
            self._may_take.clear()

    def _lose(self, dropped: int, kind: str, reason: str) -> None:
        if dropped:
            self.counts.dropped += dropped
            self._loss.begins(kind, f"{reason}: the oldest rows are dropped")

    async def _on_disk(self, use: Callable[[], T]) -> T:
        """Use the spool; while that fails, the input and the rows in the spool wait.

        Raises:
            SpoolError: it has failed for :data:`LONGEST_WAIT_FOR_DISK_S`.
        """
        waited_s = 0.0
        while True:
            try:
                result = use()
            except SpoolError as error:
                self._disk.begins("disk", f"{error}; rows wait until the spool can be used again")
                if waited_s >= LONGEST_WAIT_FOR_DISK_S:
                    raise
                waited_s += DISK_WAIT_S
                await self._pause(DISK_WAIT_S)
            else:
                self._disk.is_over("the spool can be used again")
                return result

    # --- out of the spool -------------------------------------------------------------------------

    async def _send(self) -> None:
        while True:
            self._arrived.clear()
            expired = await self._on_disk(lambda: self._spool.expire(time.time()))
            self._lose(expired, "old", "rows are older than the map keeps")
            self._regulate()
            if len(self._spool):
                await self._unless_ended(self._pace.wait_s())
                # Not before the wait, in which rows can be replaced or dropped.
                batch = await self._on_disk(lambda: self._spool.oldest(self._max_rows, MAX_ROW))
                if not await self._attempt(batch):
                    return
            elif self._ended.is_set():
                return
            else:
                await self._arrived.wait()

    async def _attempt(self, batch: Sequence[SpooledRow]) -> bool:
        """Send rows once, and return whether to go on."""
        try:
            await self._post([spooled.row for spooled in batch])
        except ContributeError as error:
            return await self._failed(batch, error)
        await self._on_disk(lambda: self._spool.remove(batch))
        self.counts.accepted += len(batch)
        self._max_rows = MAX_ROWS
        self._answered()
        return True

    def _answered(self) -> None:
        """Note that the intake has read rows."""
        self._failures = 0
        self.failure = None
        waiting = f"; {len(self._spool)} more wait" if len(self._spool) else ""
        self._away.is_over(f"the intake answers again{waiting}")
        self._loss.is_over(f"no more rows are dropped; {self.counts.dropped} were")

    async def _failed(self, batch: Sequence[SpooledRow], error: ContributeError) -> bool:
        if _is_about_rows(error):
            await self._refuse(batch, error)
            self._answered()
            return True
        self.failure = " ".join(str(error).split())  # a proxy may answer with a page
        self._failures += 1
        remedy = _REMEDY if error.status in _TOKEN_REFUSED else ""
        self._away.begins(
            str(error.status), f"{self.failure}{remedy}; rows wait in the spool and are tried again"
        )
        wait_s = SLOW_WAIT_S if error.retry_s is None else self._back_off_s(error)
        if self._ended.is_set() and (
            error.retry_s is None
            or wait_s > LONGEST_WAIT_AT_END_S
            or self._failures >= ATTEMPTS_AT_END
        ):
            return False
        self._regulate()
        await self._unless_ended(wait_s)
        return True

    async def _refuse(self, batch: Sequence[SpooledRow], error: ContributeError) -> None:
        """Move the rows aside that the intake named; if it named none, find them by halving."""
        refused: dict[SpooledRow, str] = {}
        for named in error.errors:
            if named.index in range(len(batch)):
                text = f"{named.field}: {named.error}" if named.field else named.error
                refused.setdefault(batch[named.index], text)
        if not refused and len(batch) > 1:
            self._max_rows = len(batch) // 2
            return
        refused = refused or {batch[0]: str(error)}
        await self._on_disk(partial(self._spool.refuse, refused))
        self.counts.refused += len(refused)
        reasons = sorted(set(refused.values()))
        more = [f"and {len(reasons) - _REASONS_SHOWN} more"] * (len(reasons) > _REASONS_SHOWN)
        noun = "row" if len(refused) == 1 else "rows"
        self._say(
            f"the intake refused {len(refused)} {noun}, now in {self._spool.refused_file}: "
            + "; ".join([*reasons[:_REASONS_SHOWN], *more])
        )

    def _back_off_s(self, error: ContributeError) -> float:
        """Return twice the last wait, with jitter, and at least what the intake asks for."""
        doublings = min(self._failures - 1, _MAX_DOUBLINGS)
        wait_s = min(math.ldexp(FIRST_WAIT_S, doublings), LONGEST_WAIT_S)
        # The jitter need not be hard to predict, so S311 does not apply.
        wait_s *= random.uniform(0.5, 1)  # noqa: S311
        if error.status is None or error.retry_s is None:  # nobody has asked for a wait
            return wait_s
        return max(wait_s, error.retry_s)

    async def _unless_ended(self, wait_s: float) -> None:
        """Wait, but start the last attempts when the input ends meanwhile."""
        if self._ended.is_set():
            await self._pause(wait_s)
            return
        await _first(self._pause(wait_s), self._ended.wait())
        if self._ended.is_set():
            self._failures = 0


async def _first(*waits: Coroutine[object, object, object]) -> None:
    """Wait for the first of these, and cancel the others."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


def new_row(line: bytes | None) -> NewRow:
    """Check a line by the rules of the intake, and return its row.

    Args:
        line: of JSON; ``None`` for one that is too long.

    Raises:
        ValueError: it is not a row that the intake accepts; the text says why.
    """
    if line is None or len(line) > MAX_ROW:
        raise ValueError(f"longer than {MAX_ROW} bytes")
    try:
        row = decode_json(line, object)
    except msgspec.ValidationError:
        raise ValueError("a number is out of range; expected finite numbers") from None
    except msgspec.DecodeError as error:
        raise ValueError(f"not JSON: {error}") from None
    try:
        (report,) = read([row], _ANY_POOL, utc_now())
    except InvalidRowsError as error:
        texts = (f"{e.field}: {e.error}" if e.field else e.error for e in error.errors)
        raise ValueError("; ".join(texts)) from None
    return _spooled(report, msgspec.json.encode(row))


def _spooled(report: Report, row: bytes) -> NewRow:
    end = report.end.timestamp()
    # Of rows with the same key the later one counts, as on the map. Two rows that end together, but
    # begin or hold differently, claim different minutes.
    key = f"{report.start.timestamp()}/{end}/{report.hold_s}"
    expires = end + (KEPT_MINUTES_S if report.length_s < HOUR_S else KEPT_HOURS_S)
    if report.length_s >= DAY_S:
        expires = math.inf  # days are kept for ever
    if expires <= time.time():
        hours = round((expires - end) / HOUR_S)
        raise ValueError(f"end: over {hours} h ago; the map has no use for it")
    return NewRow(row, expires, key)


def _is_about_rows(error: ContributeError) -> bool:
    """Return whether rows are wrong, and not the server, the token or the way to it.

    An intake that refuses rows names at least one of them. Another server, such as a proxy with a
    login, must not empty the spool. A body that is too large is divided, whoever says so.
    """
    if error.status == HTTPStatus.UNPROCESSABLE_ENTITY:
        return bool(error.errors)
    return error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE

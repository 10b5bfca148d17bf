"""A table of rows to an intake: checked here by the intake's own code, sent in as few requests."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Final, cast

import aiohttp

from miningmap.cbeci.contribution import MAX_BODY, Row, RowError
from miningmap.cbeci.contribution_rows import InvalidRowsError, Period, read
from miningmap.partner.csv import TableError, read_rows
from miningmap.partner.http import ContributeError, body_of, contribute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

ATTEMPTS: Final = 5
LONGEST_WAIT_S: Final = 900.0


class Table:
    """Rows that an intake can take, and where in their file each stands."""

    def __init__(self, file: Iterable[str], now: datetime) -> None:
        """Read and check.

        Args:
            file: CSV with CBECI's columns.
            now: no period may end later.

        Raises:
            TableError: it is no such table, or a row is wrong.
        """
        rows, self._lines = read_rows(file)
        try:
            self._periods = read(rows, now)
        except InvalidRowsError as error:
            raise TableError(self.located(error.errors, range(len(rows)))) from None
        self.rows = cast("list[Row]", rows)

    @property
    def periods(self) -> list[Period]:
        """What the rows are about."""
        return list(self._periods)

    def requests(self, max_body: int = MAX_BODY) -> list[list[int]]:
        """Which rows go together: all of a period, as many periods as fit into a body.

        A period that alone is larger goes alone, for the intake to say so.
        """
        by_period: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        for index, row in enumerate(self.rows):
            by_period[row["period_start_date"], row["period"]].append(index)
        empty = len(body_of([]))
        requests: list[list[int]] = []
        left = 0
        for indices in by_period.values():
            size = len(body_of(self.at(indices))) - empty + 1  # a comma between periods
            if size > left:
                requests.append([])
                left = max_body - empty
            requests[-1] += indices
            left -= size
        return requests

    def at(self, indices: Iterable[int]) -> list[Row]:
        """Some of the rows."""
        return [self.rows[index] for index in indices]

    def located(self, errors: Iterable[RowError], indices: Sequence[int]) -> list[str]:
        """Errors of a request's rows by the file's lines."""
        return [
            f"line {self._lines[indices[error.index]]}: "
            + (f"{error.field}: " if error.field else "")
            + error.error
            for error in errors
        ]


async def push(
    table: Table,
    url: str,
    token: str,
    *,
    sent: Callable[[int], None],
    waiting: Callable[[str], None],
) -> None:
    """Send all rows; one request after the other, each until it is taken.

    Args:
        table: the rows.
        url: the intake's.
        token: the partner's.
        sent: told how many rows were taken, after each request.
        waiting: told why and how long, before another attempt.

    Raises:
        TableError: the intake found rows wrong that are right here.
        ContributeError: the intake did not take them, for another reason or for too long.
    """
    async with aiohttp.ClientSession() as session:
        for indices in table.requests():
            try:
                await _insist(session, url, token, table.at(indices), waiting)
            except ContributeError as error:
                if error.errors:
                    raise TableError(table.located(error.errors, indices)) from None
                raise
            sent(len(indices))


async def _insist(
    session: aiohttp.ClientSession,
    url: str,
    token: str,
    rows: Sequence[Row],
    waiting: Callable[[str], None],
) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return await contribute(session, url, token, rows)
        except ContributeError as error:
            wait_s = error.retry_s
            if wait_s is None or wait_s > LONGEST_WAIT_S or attempt == ATTEMPTS:
                raise
            waiting(f"{error}; trying again in {wait_s:g} s")
        await asyncio.sleep(wait_s)
    raise AssertionError  # the last attempt has returned or raised

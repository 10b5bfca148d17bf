"""Push a table of rows to an intake: checked by the intake's own code, in as few requests."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Final, cast

from miningmap.cbeci.contribution_rows import Period, parse_start, read
from miningmap.partner.csv import TableError, read_rows
from miningmap.partner.http import ContributeError, body_of, contribute, intake_client
from miningmap.rows import MAX_BODY, InvalidRowsError, RowError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    import httpx

    from miningmap.cbeci.contribution import Row

ATTEMPTS: Final = 5
MAX_WAIT_S: Final = 900.0
"""A longer ``Retry-After`` ends the push."""


class Table:
    """Valid rows, and the line of the file that each is from."""

    def __init__(self, file: Iterable[str], now: datetime) -> None:
        """Read and check the rows.

        Args:
            file: CSV with CBECI's columns.
            now: no period may end after it.

        Raises:
            TableError: the file is not such a table, or a row is invalid.
        """
        rows, self._lines = read_rows(file)
        try:
            self._periods = read(rows, now)
        except InvalidRowsError as error:
            raise TableError(self.by_line(error.errors, range(len(rows)))) from None
        self.rows = cast("list[Row]", rows)

    @property
    def periods(self) -> list[Period]:
        """The periods of the rows."""
        return list(self._periods)

    def requests(self, max_body: int = MAX_BODY) -> list[list[int]]:
        """Divide the rows into requests: whole periods, as many as fit into a body.

        A period that is larger than a body has a request of its own, which the intake rejects.

        Returns:
            Indices of rows, for each request.
        """
        by_period: defaultdict[Period, list[int]] = defaultdict(list)
        for index, row in enumerate(self.rows):
            name = row["period"].lower()
            by_period[Period(parse_start(row["period_start_date"], name), name)].append(index)
        empty = len(body_of([]))
        requests: list[list[int]] = []
        left = 0
        for indices in by_period.values():
            size = len(body_of(self.at(indices))) - empty + 1  # 1: the comma between periods
            if size > left:
                requests.append([])
                left = max_body - empty
            requests[-1] += indices
            left -= size
        return requests

    def at(self, indices: Iterable[int]) -> list[Row]:
        """Return the rows with these indices."""
        return [self.rows[index] for index in indices]

    def by_line(self, errors: Iterable[RowError], indices: Sequence[int]) -> list[str]:
        """Format the errors of a request with the line of each row.

        Args:
            errors: as the intake reports them, by the position in the request.
            indices: of the rows in the request.
        """
        return [
            f"{self._line(error.index, indices)}: "
            + (f"{error.field}: " if error.field else "")
            + error.error
            for error in errors
        ]

    def _line(self, index: int, indices: Sequence[int]) -> str:
        if index in range(len(indices)):
            return f"line {self._lines[indices[index]]}"
        return f"row {index} of a request"  # the intake is another program: there is no such row


async def push(
    table: Table,
    url: str,
    token: str,
    *,
    accepted: Callable[[int], None],
    waiting: Callable[[str], None],
) -> None:
    """Send all rows, one request after the other, with retries.

    Args:
        table: the rows.
        url: of the intake, with :data:`miningmap.cbeci.contribution.PATH`.
        token: the partner's.
        accepted: called after each request with the number of its rows.
        waiting: called before each retry with the reason and the seconds to wait.

    Raises:
        TableError: the intake rejected rows that are valid by the rules of this installation.
        ContributeError: the intake did not accept the rows for another reason.
    """
    async with intake_client() as client:
        for indices in table.requests():
            try:
                await _send(client, url, token, table.at(indices), waiting)
            except ContributeError as error:
                if error.errors:
                    raise TableError(table.by_line(error.errors, indices)) from None
                raise
            accepted(len(indices))


async def _send(
    client: httpx.AsyncClient,
    url: str,
    token: str,
    rows: Sequence[Row],
    waiting: Callable[[str], None],
) -> None:
    """Send one request, and retry it as often as that can help."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return await contribute(client, url, token, rows)
        except ContributeError as error:
            wait_s = error.retry_s
            if wait_s is None or wait_s > MAX_WAIT_S or attempt == ATTEMPTS:
                raise
            waiting(f"{error}; trying again in {wait_s:g} s")
        await asyncio.sleep(wait_s)
    raise AssertionError  # the last attempt has returned or raised

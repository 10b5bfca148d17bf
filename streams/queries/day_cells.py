"""Cells of days alone, from more messages than fit into memory. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from miningmap.times import DAY_H, HOUR_MIN, HOUR_S, bucket
from streams.method.cells import Cell, MemoryCells, Rank, Series

if TYPE_CHECKING:
    from collections.abc import Iterable

    from miningmap.messages import Message
    from streams.method.windows import Tier

_FINAL: Final = Rank(*(math.inf,) * 5)
"""The rank of a bucket that no message can claim any more."""


class DayCells(MemoryCells):
    """The cells of days, from messages that come in the order of their starts.

    No message claims a bucket before its start. So what is before the start of the newest message
    cannot change any more: minutes become hours, and hours days, and only those are held. The days
    have the same digits as those of :class:`MemoryCells`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._from_hour = 0

    def add(self, message: Message) -> None:
        """Apply the claims of one message.

        Raises:
            ValueError: it starts before the hour of an earlier one.
        """
        hour = bucket(message.start, HOUR_S)
        if hour < self._from_hour:
            raise ValueError("messages must come in the order of their starts")
        if hour > self._from_hour:
            self._finish(hour)
            self._from_hour = hour
        super().add(message)

    def finish(self) -> None:
        """Make all of the rest days. It must be called after the last message."""
        hours = [hour for series in self._claims for hour in self._hours(series)]
        self._finish((max(hours, default=0) // DAY_H + 1) * DAY_H)

    def first(self, series: Series, tier: Tier) -> int | None:
        """Return the first day on which the series has a value."""
        if tier != "day":
            raise ValueError(f"only days are held, no {tier}s")
        return min(self._claims[series]["day"], default=None)

    def _hours(self, series: Series) -> set[int]:
        """Return the hours of a series that are not part of a day yet."""
        tiers = self._claims[series]
        return {*tiers["hour"], *(minute // HOUR_MIN for minute in tiers["minute"])}

    def _finish(self, end: int) -> None:
        """Make hours of the minutes before the hour ``end``, and days of what is before its day."""
        for series, tiers in self._claims.items():
            hours = self._hours(series)
            self._roll_up_all(series, "hour", {hour for hour in hours if hour < end})
            days = {hour // DAY_H for hour in hours}
            self._roll_up_all(series, "day", {day for day in days if day < end // DAY_H})
            _drop_before(tiers["minute"], end * HOUR_MIN)
            _drop_before(tiers["hour"], end // DAY_H * DAY_H)
        self._rolled_up.clear()

    def _roll_up_all(self, series: Series, tier: Tier, numbers: Iterable[int]) -> None:
        claims = self._claims[series][tier]
        claims.update(
            {n: (_FINAL, self._roll_up(series, tier, n)) for n in numbers if n not in claims}
        )


def _drop_before(claims: dict[int, tuple[Rank, Cell]], first: int) -> None:
    for number in [number for number in claims if number < first]:
        del claims[number]

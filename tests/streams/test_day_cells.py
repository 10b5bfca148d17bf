"""Days from messages in order: the same digits as from all messages in memory."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from miningmap.times import bucket
from streams.method.cells import MemoryCells, Series
from streams.method.windows import Span
from streams.queries.day_cells import DayCells
from tests.streams.fixtures import NOON, network, report

if TYPE_CHECKING:
    from miningmap.messages import Message

DAY = bucket(NOON, 86_400)
MIDNIGHT = NOON.replace(hour=0)
OWN = Series("a", "own")


def mixed() -> list[Message]:
    """Two days of minutes, hours, a day and four days, with gaps, holds and collisions."""
    third = 1e19 / 3
    minutes = [
        report("a", {"KZ": third + n}, start=MIDNIGHT + timedelta(minutes=13 * n), hold_s=600)
        for n in range(200)
    ]
    late = MIDNIGHT + timedelta(hours=23, minutes=59)
    held = report("a", {"RU": third}, start=late, end=late + timedelta(minutes=1), hold_s=7200)
    hours = [
        report("a", {"US": third + n}, start=at, end=at + timedelta(hours=1))
        for n in (3, 4, 30)
        for at in [MIDNIGHT + timedelta(hours=n)]
    ]
    start = MIDNIGHT - timedelta(days=1)
    rows = [
        report("b", {"CN": third * days}, start=start, end=start + timedelta(days=days))
        for days in (1, 4)
    ]
    return [*minutes, held, *hours, *rows, network(1e20 / 7, start=MIDNIGHT)]


def test_days_from_messages_in_order_have_the_same_digits() -> None:
    days, kept = DayCells(), MemoryCells()
    for message in mixed():
        kept.add(message)
    for message in sorted(mixed(), key=lambda message: message.start):
        days.add(message)
    days.finish()
    assert set(days.series()) == set(kept.series())
    for series in kept.series():
        assert days.first(series, "day") == kept.first(series, "day")
        for number in range(DAY - 3, DAY + 6):
            span = Span("day", range(number, number + 1))
            assert days.sum(series, span) == kept.sum(series, span)
    assert kept.sum(OWN, Span("day", range(DAY, DAY + 2))).minutes > 2000


def test_what_cannot_change_any_more_is_not_held() -> None:
    days = DayCells()
    for number in range(48):
        days.add(report(hashrate=1, start=MIDNIGHT + timedelta(hours=number)))
    held = days._claims[OWN]
    assert (len(held["minute"]), len(held["hour"]), len(held["day"])) == (1, 23, 1)


def test_messages_out_of_order_are_refused() -> None:
    cells = DayCells()
    cells.add(report(hashrate=1))
    cells.add(report(hashrate=1, start=NOON + timedelta(minutes=30)))
    with pytest.raises(ValueError, match="in the order of their starts"):
        cells.add(report(hashrate=1, start=NOON - timedelta(minutes=1)))
    with pytest.raises(ValueError, match="only days are held"):
        cells.first(OWN, "hour")

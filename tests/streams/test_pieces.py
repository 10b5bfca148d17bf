"""A batch is divided by its work for Redis, and its pieces are all of it."""

from __future__ import annotations

from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING

from miningmap.places import all_places, is_locatable, outermost
from streams.method.cells import claims_of
from streams.redis.pieces import pieces
from tests.streams.fixtures import NOON, network, report

if TYPE_CHECKING:
    from collections.abc import Iterable

    from miningmap.messages import Message
    from streams.method.cells import Claim
    from streams.redis.pieces import Piece

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MIDNIGHT = NOON.replace(hour=0)
CODES = [p.code for p in all_places() if is_locatable(p.code) and outermost(p.code) == p.code]


def places(number: int) -> dict[str, float]:
    return dict.fromkeys(CODES[:number], 1.0)


def batch(*messages: Message) -> list[tuple[Message, list[Claim]]]:
    return [(message, claims_of(message)) for message in messages]


def cells(divided: Iterable[Piece]) -> dict[tuple[int, str, float], list[int]]:
    """The buckets that the pieces claim, by message, tier and rank, in their order."""
    found: dict[tuple[int, str, float], list[int]] = {}
    for piece in divided:
        for number, (_, claims) in zip(piece.numbers, piece.claimed, strict=True):
            for claim in claims:
                key = number, claim.tier, claim.rank.first
                found.setdefault(key, []).extend(claim.buckets)
    return found


def undivided(
    claimed: list[tuple[Message, list[Claim]]],
) -> dict[tuple[int, str, float], list[int]]:
    return {
        (number, claim.tier, claim.rank.first): list(claim.buckets)
        for number, (_, claims) in enumerate(claimed)
        for claim in claims
    }


def test_little_work_is_one_piece_as_it_came() -> None:
    claimed = batch(*(report(f"pool{n}", places(3), hold_s=300) for n in range(20)), network(1e21))
    (piece,) = pieces(claimed)
    assert piece.numbers == list(range(21))
    assert piece.claimed == claimed


def test_nothing_is_no_piece() -> None:
    assert list(pieces([])) == []


def test_much_work_is_several_pieces_that_are_all_of_it() -> None:
    month = report("b", places(200), start=MIDNIGHT - 31 * DAY, end=MIDNIGHT)
    held = report("c", places(300), hold_s=7200)
    claimed = batch(report("a", places(3)), month, held, report("d", places(3)))
    divided = list(pieces(claimed))
    assert len(divided) > 2
    assert cells(divided) == undivided(claimed)
    # A message is in pieces that follow each other.
    numbers = [n for piece in divided for n in piece.numbers]
    assert [n for n, _ in groupby(numbers)] == [0, 1, 2, 3]


def test_the_messages_of_a_series_stay_together_and_in_their_order() -> None:
    minutes = [NOON + n * MINUTE for n in range(5)]
    claimed = batch(*(report(pool, places(40), start=at) for at in minutes for pool in "abcdefgh"))
    divided = list(pieces(claimed, most=2 * 41 * (60 + 24 + 5)))
    assert len(divided) == 4
    assert [n for piece in divided for n in piece.numbers] == [
        8 * minute + pool for pool in range(8) for minute in range(5)
    ]


def test_a_piece_is_no_more_work_than_asked_for() -> None:
    month = report("b", places(200), start=MIDNIGHT - 31 * DAY, end=MIDNIGHT)
    a_day = 201 * (24 + 24)  # its hours, and the sum of its hours
    for piece in pieces(batch(month), most=3 * a_day):
        ((_, claims),) = piece.claimed
        assert sum(len(claim.buckets) for claim in claims) <= 3 * 24


def test_what_is_summed_up_together_is_not_divided() -> None:
    divided = list(pieces(batch(report("b", places(2000), hold_s=7200)), most=1))
    hours = [
        {b // 60 for _, claims in piece.claimed for c in claims for b in c.buckets}
        for piece in divided
    ]
    assert all(len(hour) == 1 for hour in hours)
    assert len(divided) == 4  # the covered minute, and held ones in three hours


def test_days_are_divided_too() -> None:
    years = batch(report("b", places(100), start=MIDNIGHT - 366 * DAY, end=MIDNIGHT))
    divided = list(pieces(years, most=10_000))
    assert cells(divided) == undivided(years)
    assert len(divided) > 30

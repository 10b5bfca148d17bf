"""Divide a batch by the work that it is for Redis, so that no script keeps others waiting. Pure.

Redis runs one script at a time, and everybody else waits: the endpoint, the snapshots, the other
workers. A batch of 500 small messages is little work and one message of a month can be much, so a
batch is written in pieces of about equal work. A message that is too much for one piece is divided
by hours or days: its claims are on different cells, so it does not matter when each one is written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Final

from miningmap.sizes import values_in_bucket
from miningmap.times import DAY_H, DAY_MIN, HOUR_MIN
from streams.method.cells import series_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from miningmap.messages import Message
    from streams.method.cells import Claim, Series
    from streams.method.windows import Tier

PIECE_VALUES: Final = 100_000
"""The values that one piece should touch at most: some 10 ms of an idle Redis. They are counted as
in :mod:`miningmap.sizes`, with those that are read again for the sums of hours and days."""
_UNDIVIDED: Final[dict[Tier, int]] = {"minute": HOUR_MIN, "hour": DAY_H, "day": 32}
"""How many buckets are written at once, by tier: those that are summed up together."""


@dataclass
class Piece:
    """A part of a batch that is written at once.

    Attributes:
        claimed: messages, each with those of its claims that are in this piece.
        numbers: the position in the batch of each of these messages.
    """

    claimed: list[tuple[Message, list[Claim]]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)

    def add(self, number: int, message: Message, claim: Claim) -> None:
        """Add a claim of the message with this number, after all earlier ones of that message."""
        if not self.numbers or self.numbers[-1] != number:
            self.numbers.append(number)
            self.claimed.append((message, [claim]))
            return
        claims = self.claimed[-1][1]
        if _continues(claims[-1], claim):
            buckets = range(claims[-1].buckets.start, claim.buckets.stop)
            claims[-1] = claim._replace(buckets=buckets)
        else:
            claims.append(claim)


def pieces(
    claimed: Sequence[tuple[Message, Sequence[Claim]]], most: int = PIECE_VALUES
) -> Iterator[Piece]:
    """Divide a batch into pieces, one series after the other.

    The messages of a series stay together and in their order, so that hours and days are summed up
    once for all of them.

    Args:
        claimed: the messages of the batch, with their claims.
        most: the values of a piece. The minutes of one hour are not divided, because their sum is
            made from all of them, nor are the hours of one day.
    """
    piece, work = Piece(), _Work()
    for numbers in numbers_by_series(claimed).values():
        work.begin_series()
        for number in numbers:
            message, claims = claimed[number]
            values = values_in_bucket(message)
            for part in chain.from_iterable(map(_parts, claims)):
                work.add(part, values)
                if piece.numbers and work.values > most:
                    yield piece
                    piece, work = Piece(), _Work()
                    work.add(part, values)
                piece.add(number, message, part)
    if piece.numbers:
        yield piece


def numbers_by_series(
    claimed: Sequence[tuple[Message, Sequence[Claim]]],
) -> dict[Series, list[int]]:
    """Return the positions of the messages in a sequence, by series, in their order."""
    numbers: dict[Series, list[int]] = {}
    for number, (message, _) in enumerate(claimed):
        numbers.setdefault(series_of(message), []).append(number)
    return numbers


class _Work:
    """The values that a piece touches, each sum of an hour or a day counted once."""

    def __init__(self) -> None:
        self.values = 0
        self.begin_series()

    def begin_series(self) -> None:
        """Begin with another series, whose sums are other ones."""
        self._hours: set[int] = set()
        self._days: set[int] = set()

    def add(self, part: Claim, values: int) -> None:
        """Add a part of a claim with so many values in each bucket."""
        first = part.buckets.start
        cells = len(part.buckets)
        if part.tier == "minute" and first // HOUR_MIN not in self._hours:
            self._hours.add(first // HOUR_MIN)
            cells += HOUR_MIN
        if part.tier != "day":
            day = first // (DAY_MIN if part.tier == "minute" else DAY_H)
            if day not in self._days:
                self._days.add(day)
                cells += DAY_H
        self.values += cells * values


def _parts(claim: Claim) -> Iterable[Claim]:
    """Return the parts of a claim that are not divided."""
    size = _UNDIVIDED[claim.tier]
    first, stop = claim.buckets.start, claim.buckets.stop
    if first // size == (stop - 1) // size:  # nearly all claims of live messages
        return (claim,)
    limits = [first, *range((first // size + 1) * size, stop, size), stop]
    return [claim._replace(buckets=range(*part)) for part in pairwise(limits)]


def _continues(before: Claim, claim: Claim) -> bool:
    return (
        before.tier == claim.tier
        and before.buckets.stop == claim.buckets.start
        and before.rank == claim.rank
    )

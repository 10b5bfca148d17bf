"""A month in which nothing happens: 20 pools with the noise of real ones.

Nobody publishes a long series of what pools report, so the noise is made of what is known about
how these figures come about. Its sizes are assumptions; `docs/swings.md` compares them with the
two answers of pools that are known to be real.

* A figure counts shares over ten minutes. Servers set the difficulty so that a connection sends
  some 18 shares a minute, and a farm is behind a few connections: the error is that of a count.
* Machines come and go, for repairs, heat and the price of power: smooth noise over hours and days,
  smaller in a large pool, which is the sum of more farms. In America some switch off in the
  afternoon of some days.
* A farm leaves for minutes or hours: some percent of a pool, more of a small one. Farms of more
  than 8 % of their pool are no noise, but moves, so they stay.
* A server does not answer, or repeats its last answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import numpy as np

from launch.simulation.pools import BY_SLUG
from miningmap.messages import Located, Report
from miningmap.times import MINUTE_S
from streams.method.cells import Cell, Series
from streams.method.tables import Rows
from streams.method.windows import TIER_MINUTES, parse_window
from tests.stories.feeds import HASHES, merged
from tests.stories.scripted import BELIEFS
from tests.stories.story import Story

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.random import SeedSequence
    from numpy.typing import NDArray

    from miningmap.messages import Message
    from streams.method.comparison import Pair
    from streams.method.windows import Span

Values: TypeAlias = "NDArray[np.float64]"

START: Final = datetime(2026, 10, 1, tzinfo=UTC)
POLL: Final = timedelta(minutes=10)
_BEFORE: Final = timedelta(days=15)
_FIRST_MINUTE: Final = int((START - _BEFORE).timestamp()) // MINUTE_S
_HELD_POLLS: Final = 2
_POLLS_H: Final = 6
_POLLS_D: Final = 144

SIZES: Final = {  # in EH/s, after the shares of blocks in 2026
    "foundryusa": 250.0,
    "antpool": 180.0,
    "f2pool": 130.0,
    "viabtc": 90.0,
    "spiderpool": 85.0,
    "secpool": 50.0,
    "marapool": 48.0,
    "luxor": 30.0,
    "binancepool": 18.0,
    "braiinspool": 15.0,
    "ocean": 13.0,
    "sbicrypto": 12.0,
    "miningsquared": 5.0,
    "btccom": 4.0,
    "ultimuspool": 4.0,
    "whitepool": 3.0,
    "innopolistech": 3.0,
    "redrockpool": 2.5,
    "poolin": 2.0,
    "nicehash": 1.0,
}
WITH_ROWS: Final = ("foundryusa", "f2pool", "viabtc", "luxor", "braiinspool")
"""Pools that say where their machines are, as the partners of Cambridge's map did."""
_AMERICAN: Final = ("foundryusa", "marapool", "luxor", "ocean")


class Noise(NamedTuple):
    """How much a hashrate of some size varies; sizes are standard deviations as fractions of it."""

    days: float
    hours: float
    afternoon: float
    leaves: float
    shares: float


def noise_of(size: float, *, american: bool, louder: float = 1) -> Noise:
    """Return the noise of a pool, or of a place of it, of ``size`` EH/s; ``louder`` scales it."""
    small = max(1.0, (20 / size) ** 0.5)
    return Noise(
        days=0.02 * louder,
        hours=min(0.05, 0.008 * small) * louder,
        afternoon=(0.02 if american else 0.005) * louder,
        leaves=min(0.08, 0.03 * small) * louder,
        shares=(18 * 50 * size * 10) ** -0.5,  # 50 connections an EH/s
    )


class Hashrates(NamedTuple):
    """A hashrate at each poll: what it is, and what the count of shares says."""

    true: Values
    said: Values


def hashrates(size: float, noise: Noise, count: int, rng: np.random.Generator) -> Hashrates:
    """Return a hashrate of about ``size`` at each of ``count`` polls, in the unit of ``size``."""
    polls = np.arange(count)
    true = 1 + noise.days * _wander(count, 4 * _POLLS_D, rng)
    true += noise.hours * _wander(count, 3 * _POLLS_H, rng)
    daily = rng.uniform(0, 1, count // _POLLS_D + 1)[polls // _POLLS_D]
    hour = polls % _POLLS_D / _POLLS_H
    true -= noise.afternoon * daily * np.exp(-(((hour - 22) / 2) ** 2))
    for _ in range(rng.poisson(0.5 * count / _POLLS_D)):
        first, length = rng.integers(count), rng.lognormal(np.log(1.5 * _POLLS_H), 1)
        true[first : first + int(length) + 1] -= rng.uniform(0.005, noise.leaves)
    return Hashrates(size * true, size * true * (1 + noise.shares * rng.standard_normal(count)))


def _wander(count: int, memory: float, rng: np.random.Generator) -> Values:
    """Return noise of standard deviation 1 that forgets what it was after ``memory`` polls."""
    keep = np.exp(-1 / memory)
    steps = rng.standard_normal(count) * (1 - keep**2) ** 0.5
    values = [rng.standard_normal()]
    for step in steps[1:].tolist():
        values.append(keep * values[-1] + step)
    return np.array(values)


def _answered(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the polls that were answered, or -1, and with which poll's figure."""
    answer = np.arange(count)
    repeated = rng.random(count) < 0.02
    answer[repeated] = np.maximum(answer[repeated] - 1, 0)
    answer[rng.random(count) < 0.005] = -1
    for first in rng.integers(count, size=rng.poisson(2 * count / (30 * _POLLS_D))):
        answer[first : first + rng.integers(1, 2 * _POLLS_H)] = -1
    return answer


@dataclass(frozen=True)
class QuietPool:
    """A pool of the month.

    Attributes:
        slug: its slug.
        true: its hashrate (H/s) at each poll, which only this simulation knows.
        said: by place, its hashrate (H/s) at each poll; "" is what it does not locate.
        answers: by poll, the poll whose figure was the answer, or -1 if there was none.
    """

    slug: str
    true: Values
    said: Mapping[str, Values]
    answers: NDArray[np.int64]

    @property
    def source(self) -> str:
        return "partner" if self.slug in WITH_ROWS else "api"

    def true_delta(self, pair: Pair, at: datetime) -> float:
        """Return how much its true hashrate moved, by the windows of a pair as seen at a time."""
        short, long = (self._true_mean(parse_window(name, at).span) for name in pair)
        return short / long - 1

    def _true_mean(self, span: Span) -> float:
        minutes, length = TIER_MINUTES[span.tier], int(POLL.total_seconds()) // MINUTE_S
        first, last = (n * minutes - _FIRST_MINUTE for n in (span.buckets.start, span.buckets.stop))
        return float(np.mean(self.true[np.arange(first, last) // length]))

    def reports(self) -> Iterator[Report]:
        """Yield its reports, as a collector makes them of the answers."""
        said = {code: values.tolist() for code, values in self.said.items()}
        for n, answer in enumerate(self.answers.tolist()):
            if answer < 0:
                continue
            end = START - _BEFORE + (n + 1) * POLL
            found = {code: values[answer] for code, values in said.items()}
            yield Report(
                pool=self.slug,
                source=self.source,
                start=end - POLL,
                end=end,
                hold_s=_HELD_POLLS * int(POLL.total_seconds()),
                hashrate=sum(found.values()),
                places=tuple(Located(code, h, "measured") for code, h in found.items() if code),
                fetched_at=end,
                simulated=True,
            )


def _pool(slug: str, size: float, count: int, louder: float, seed: SeedSequence) -> QuietPool:
    rng = np.random.default_rng(seed)
    weights: Mapping[str, float] = BY_SLUG[slug].places if slug in WITH_ROWS else {"": 1.0}
    american = slug in _AMERICAN
    places = {
        code: hashrates(
            HASHES * size * weight,
            noise_of(size * weight, american=american, louder=louder),
            count,
            rng,
        )
        for code, weight in weights.items()
    }
    return QuietPool(
        slug,
        true=np.sum([place.true for place in places.values()], axis=0),
        said={code: place.said for code, place in places.items()},
        answers=_answered(count, rng),
    )


def pools(seed: int, days: int, louder: float) -> list[QuietPool]:
    """Return all pools, from the time before the month to its end."""
    count = int((_BEFORE + timedelta(days=days)) / POLL)
    seeds = np.random.SeedSequence(seed).spawn(len(SIZES))
    return [
        _pool(slug, size, count, louder, each)
        for (slug, size), each in zip(SIZES.items(), seeds, strict=True)
    ]


def quiet_month(seed: int, *, days: int = 30, louder: float = 1) -> Story:
    """Return a month in which no swing may be found.

    Args:
        seed: of the noise.
        days: its length.
        louder: scales the noise.
    """

    def messages() -> Iterator[Message]:
        return merged(pool.reports() for pool in pools(seed, days, louder))

    end = START + timedelta(days=days)
    return Story(f"a quiet month, number {seed}", messages, START, START, end, BELIEFS)


class QuietCells:
    """The cells of a month's reports, from running sums: many times faster than from messages."""

    def __init__(self, month: Iterable[QuietPool]) -> None:
        self._sums = {Series(pool.slug, pool.source): _RunningSums(pool) for pool in month}

    def series(self) -> Iterable[Series]:
        return self._sums.keys()

    def sum(self, series: Series, span: Span) -> Cell:
        minutes = TIER_MINUTES[span.tier]
        return self._sums[series].between(
            span.buckets.start * minutes - _FIRST_MINUTE,
            span.buckets.stop * minutes - _FIRST_MINUTE,
        )


class _RunningSums:
    """The sums over the minutes from the first one on, of one pool."""

    def __init__(self, pool: QuietPool) -> None:
        length = int(POLL.total_seconds()) // MINUTE_S
        polls = np.arange(len(pool.answers))
        newest = np.maximum.accumulate(np.where(pool.answers >= 0, polls, -1))
        has_value = np.repeat((newest >= 0) & (polls - newest <= _HELD_POLLS), length)
        figures = np.repeat(pool.answers[newest], length)
        self._minutes = _running(has_value.astype(float))
        self._places = {
            (code, "measured"): _running(np.where(has_value, values[figures], 0.0))
            for code, values in sorted(pool.said.items())
        }

    def between(self, start: int, stop: int) -> Cell:
        start, stop = (min(max(0, n), len(self._minutes) - 1) for n in (start, stop))
        places = {place: float(of[stop] - of[start]) for place, of in self._places.items()}
        minutes = round(self._minutes[stop] - self._minutes[start])
        total = sum(places.values())
        located = {place: value for place, value in places.items() if place[0]} if minutes else {}
        return Cell(minutes, total, Rows.of(located), simulated=minutes > 0)  # type: ignore[arg-type]


def _running(values: Values) -> Values:
    return np.concatenate([[0.0], np.cumsum(values)])

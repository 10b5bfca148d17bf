"""The simulated past as messages: what a collector that ran all that time would have published."""

from __future__ import annotations

import heapq
from datetime import datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from launch.simulation import chain, partner, responses
from launch.simulation.pools import MEASURED, UNATTRIBUTED
from miningmap.messages import Located, Message, Network, Report
from miningmap.times import DAY_S, HOUR_S, MINUTE_S, bucket, bucket_start
from miningmap.units import parse_hashrate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from launch.simulation.world import World

_MINUTE: Final = timedelta(minutes=1)
_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
# How long after an interval's end its message is there.
_FETCH: Final = timedelta(seconds=1)
_PARTNER_DELAY: Final = timedelta(minutes=1)

# As the live collector holds.
_NETWORK_HOLD_S: Final = 1800


class _Said(NamedTuple):
    """One pool's hashrate (H/s) in one answer, with what that answer locates."""

    pool: str
    hashrate: float
    places: tuple[Located, ...] = ()
    blocks: int | None = None


def history(world: World, until: datetime, days: int = 30, minutes_h: int = 3) -> Iterator[Message]:
    """All that was fetched up to ``until``, in the order in which it was.

    Args:
        world: the world.
        until: the end; nothing is fetched after it.
        days: how far back the hourly reports, and the partners' daily rows, reach.
        minutes_h: how many hours back the reports of single minutes reach.
    """
    by_hour = _polled(world, until, HOUR_S, days * _DAY)
    by_minute = _polled(world, until, MINUTE_S, minutes_h * _HOUR)
    by_day = _pushed(world, until, days)
    return heapq.merge(by_hour, by_minute, by_day, key=attrgetter("fetched_at"))


def _polled(world: World, until: datetime, every_s: int, reach: timedelta) -> Iterator[Message]:
    """The sources' answers at each whole hour or minute of the last ``reach``."""
    last = bucket(until - _FETCH, every_s)
    every = timedelta(seconds=every_s)
    for n in range(last - reach // every + 1, last + 1):
        end = bucket_start(n, every_s)
        for source in _SOURCES:
            if source.pool is None or world.is_up_over(source.pool, end - every, end):
                yield from _reports(world, source, end, every)
        for network in _NETWORKS:
            if every == _HOUR or bucket(end, MINUTE_S) % (network.poll // _MINUTE) == 0:
                yield _network(network, world, end, max(every, network.poll))


def _reports(world: World, source: _Source, end: datetime, length: timedelta) -> Iterator[Report]:
    for told in source.answer(world, end, length):
        yield Report(
            pool=told.pool,
            source=source.slug,
            start=end - length,
            end=end,
            hold_s=source.hold_s if length < _HOUR else 0,
            hashrate=told.hashrate,
            places=told.places,
            blocks=told.blocks,
            fetched_at=end + _FETCH,
            simulated=True,
        )


def _network(source: _Network, world: World, end: datetime, length: timedelta) -> Network:
    return Network(
        source=source.slug,
        start=end - length,
        end=end,
        hold_s=_NETWORK_HOLD_S if length < _HOUR else 0,
        hashrate=source.answer(world, end),
        fetched_at=end + _FETCH,
        simulated=True,
    )


def _pushed(world: World, until: datetime, days: int) -> Iterator[Message]:
    """The partners' rows, day by day, each as late as its partner is."""
    today = bucket(until, DAY_S)
    for arrival in range(today - days + 1, today + 1):
        fetched_at = bucket_start(arrival, DAY_S) + _PARTNER_DELAY
        if fetched_at > until:
            return
        for pool in MEASURED:
            day = arrival - (pool.measured_lag_d or 0)
            rows = partner.daily_rows(world, pool.slug, bucket_start(day, DAY_S).date())
            yield partner.report(pool.slug, rows, fetched_at)


def _foundry(world: World, end: datetime, length: timedelta) -> list[_Said]:
    told = responses.foundry(world, end, max(length, responses.FOUNDRY_SPAN))
    return _of_pool("foundryusa", parse_hashrate(told, "GH/s"))


def _antpool(world: World, end: datetime, length: timedelta) -> list[_Said]:
    told = responses.antpool(world, end, max(length, responses.ANTPOOL_SPAN))
    return _of_pool("antpool", parse_hashrate(told))


def _ocean(world: World, end: datetime, length: timedelta) -> list[_Said]:
    return _of_pool(
        "ocean", parse_hashrate(responses.ocean(world, end, max(length, responses.OCEAN_SPAN)))
    )


def _ckpool(world: World, end: datetime, length: timedelta) -> list[_Said]:
    """Each instance says what comes through it, so its place is estimated."""
    span = max(length, responses.CKPOOL_SPAN)
    places = tuple(
        Located(code, hashrate, "estimated")
        for host, code in responses.CKPOOL_HOSTS.items()
        if (hashrate := parse_hashrate(responses.ckpool(world, host, end, span))) is not None
    )
    return [_Said("solock", sum(place.hashrate for place in places), places)]


def _mempool(world: World, end: datetime, _length: timedelta) -> list[_Said]:
    """By the blocks of the last day, whatever the length: mempool counts no shorter time."""
    counts = chain.blocks_by_pool(world, end, _DAY)
    network = chain.estimated_network(world, end, _DAY)
    return [
        _Said(pool, found / counts.total() * network, blocks=found)
        for pool, found in sorted(counts.items())
        if pool != UNATTRIBUTED
    ]


def _plain(told: responses.Plain) -> _Source:
    def answer(world: World, end: datetime, length: timedelta) -> list[_Said]:
        span = max(length, told.span)
        return _of_pool(told.pool, float(responses.plain(world, told.pool, end, span)))

    return _Source(told.source, told.pool, told.hold_s, answer)


def _of_pool(pool: str, hashrate: float | None) -> list[_Said]:
    return [] if hashrate is None else [_Said(pool, hashrate)]


class _Source(NamedTuple):
    """A source, the pool whose outage silences it, and what it says, as the collector reads it."""

    slug: str
    pool: str | None
    hold_s: int
    answer: Callable[[World, datetime, timedelta], list[_Said]]


_SOURCES: Final = (
    _Source("foundry", "foundryusa", 600, _foundry),
    _Source("antpool", "antpool", 300, _antpool),
    _Source("ocean", "ocean", 300, _ocean),
    _Source("ckpool", "solock", 300, _ckpool),
    _Source("mempool", None, 600, _mempool),
    *map(_plain, responses.PLAIN),
)


class _Network(NamedTuple):
    """A source of the network's hashrate (H/s), how often it is asked, and what it says."""

    slug: str
    poll: timedelta
    answer: Callable[[World, datetime], float]


_NETWORKS: Final = (
    _Network("mempool", 5 * _MINUTE, lambda world, at: chain.estimated_network(world, at, _DAY)),
    _Network(
        "q_blockchain",
        _MINUTE,
        lambda world, at: parse_hashrate(responses.q_blockchain(world, at), "GH/s") or 0.0,
    ),
)

SOURCES: Final = (
    *(f"pools/{source.slug}" for source in _SOURCES),
    *(f"network/{source.slug}" for source in _NETWORKS),
)
"""The sources that tell of this world, live too: the collector need not ask any other."""

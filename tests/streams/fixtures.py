"""Shorthand functions that make messages, observations, pools of a cohort and events of swings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from miningmap.api.models import KindSplit
from miningmap.messages import Located, Network, Report
from miningmap.swings import PlaceSwing, PoolDelta, PoolPart, PoolSwing
from streams.method.cells import Cell
from streams.method.cohort import Cohort, Member
from streams.method.observations import Observation
from streams.method.tables import Rows
from streams.redis.generations import Generations, Range

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis.asyncio import Redis

    from miningmap.messages import Basis, Kind
    from streams.method.cells import Places
    from streams.redis.generations import Partition
    from streams.worker.messages import RawMessage
    from streams.worker.processor import Processor

T = TypeVar("T")

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def report(
    pool: str = "a",
    places: dict[str, float] | None = None,
    *,
    hashrate: float | None = None,
    source: str = "own",
    start: datetime = NOON,
    end: datetime | None = None,
    hold_s: int = 0,
    fetched_at: datetime | None = None,
    kind: Kind = "measured",
    basis: Basis = "reported",
) -> Report:
    """A report; by default, of the minute from noon on."""
    end = end or start + timedelta(minutes=1)
    located = places or {}
    return Report(
        pool=pool,
        source=source,
        start=start,
        end=end,
        hold_s=hold_s,
        hashrate=sum(located.values()) if hashrate is None else hashrate,
        places=tuple(Located(code, value, kind) for code, value in located.items()),
        fetched_at=fetched_at or end,
        simulated=False,
        basis=basis,
    )


async def at_once(piece: Callable[[], T], left: float) -> T:  # noqa: ARG001 - as a Worker
    """Compute a piece of an answer here and now."""
    return piece()


async def process(processor: Processor, batch: Sequence[RawMessage]) -> None:
    """Decode and write messages, those of a partition in the order of their offsets."""
    ranges: dict[Partition, Range] = {}
    for raw in batch:
        each = (raw.topic, raw.partition)
        first = ranges[each].first if each in ranges else raw.offset
        ranges[each] = Range(first, raw.offset + 1)
    await processor.write(await processor.decode(batch, ranges))


async def empty(redis: Redis) -> None:
    """Empty Redis, and let it have a generation that is whole."""
    await redis.flushdb()
    await Generations(redis).begin({})


def network(
    hashrate: float,
    *,
    source: str = "mempool",
    start: datetime = NOON,
    end: datetime | None = None,
    hold_s: int = 0,
) -> Network:
    """The network's hashrate; by default, in the minute from noon on."""
    end = end or start + timedelta(minutes=1)
    return Network(
        source=source,
        start=start,
        end=end,
        hold_s=hold_s,
        hashrate=hashrate,
        fetched_at=end,
        simulated=False,
    )


def places_of(kind: Kind = "measured", /, **hashrates: float) -> Places:
    """Places of one kind; ``CN_SC`` means CN-SC."""
    return {(code.replace("_", "-"), kind): hashrate for code, hashrate in hashrates.items()}


def cell(
    minutes: int = 1, kind: Kind = "measured", *, total: float = 0, basis: int = 0, **places: float
) -> Cell:
    """A sum over ``minutes`` of means; without a total it is that of the places."""
    sums = {place: h * minutes for place, h in places_of(kind, **places).items()}
    return Cell(minutes, (total or sum(places.values())) * minutes, Rows.of(sums), basis=basis)


def observed(
    window: Cell, profile: Cell | None = None, *, seen_before: bool = False
) -> Observation:
    """The observation of a source; by default, without a value over the profile days."""
    return Observation(window, profile or Cell(), seen_before)


def member(
    pool: str, places: Places | None = None, *, total: float = 0, **measured: float
) -> Member:
    """A pool of a cohort; without a total it is that of its places."""
    located = (places or {}) | places_of(**measured)
    total = total or sum(located.values())
    return Member(pool, "own", total, total, Rows.of(located))


def cohort(
    *members: Member, network: float | None = None, usual_network: float | None = None
) -> Cohort:
    """A cohort without excluded pools."""
    source = None if network is None else "mempool"
    by_pool = {each.pool: each for each in members}
    return Cohort(by_pool, {}, network, source, usual_network, simulated=False)


def place_swing(**fields: Any) -> PlaceSwing:
    """An event of a place that has started to fall."""
    defaults: dict[str, Any] = {
        "pair": "1h/24h",
        "place": "US",
        "state": "firing",
        "severity": 3,
        "started": NOON,
        "at": NOON,
        "short": 0.31,
        "long": 0.36,
        "delta": -0.05,
        "threshold": 0.01,
        "own": -0.048,
        "driver": "own",
        "pools": (PoolDelta("a", -0.05),),
        "kinds": KindSplit(1.0, 0.0, 0.0, 0.0),
        "simulated": False,
    }
    return PlaceSwing(**defaults | fields)


def pool_swing(**fields: Any) -> PoolSwing:
    """An event of a pool whose hashrate has started to fall."""
    defaults: dict[str, Any] = {
        "pair": "1h/24h",
        "pool": "a",
        "source": "own",
        "state": "firing",
        "severity": 25,
        "started": NOON,
        "at": NOON,
        "short": 1.4e20,
        "long": 2.4e20,
        "delta": -0.42,
        "threshold": 0.1,
        "places": (PoolPart("US-TX", "estimated", 0.3),),
        "simulated": False,
    }
    return PoolSwing(**defaults | fields)

"""Events of swings, and a store in which they were found minute by minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from miningmap.api.models import KindSplit
from miningmap.swings import (
    PlaceStatus,
    PlaceSwing,
    PoolDelta,
    PoolPart,
    PoolStatus,
    PoolSwing,
    Swing,
    SwingStatus,
    swing_id,
)
from miningmap.times import MINUTE_S, bucket
from streams.redis.swing_store import EvaluatedMinute

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.redis.swing_store import SwingStore

NOW = datetime(2026, 11, 22, 15, 0, 30, tzinfo=UTC)
EH = 1e18


def ago(**span: float) -> datetime:
    """Return a whole minute before :data:`NOW`."""
    return (NOW - timedelta(**span)).replace(second=0, microsecond=0)


def place_swing(place: str = "US", **changed: Any) -> PlaceSwing:
    """Return an event of a place, by default that it begins to fire two hours before NOW."""
    started = changed.get("started", ago(hours=2))
    swing = PlaceSwing(
        pair="1h/24h",
        place=place,
        state="firing",
        severity=5,
        started=started,
        at=started,
        short=0.30,
        long=0.36,
        delta=-0.06,
        threshold=0.01,
        own=-0.055,
        driver="own",
        pools=(PoolDelta("alpha", -0.05), PoolDelta("beta", -0.01)),
        kinds=KindSplit(60 * EH, 0.0, 0.0, 5 * EH),
        simulated=False,
    )
    return msgspec.structs.replace(swing, **changed)


def pool_swing(pool: str = "alpha", **changed: Any) -> PoolSwing:
    """Return an event of a pool, by default that it begins to fire two hours before NOW."""
    started = changed.get("started", ago(hours=2))
    swing = PoolSwing(
        pair="24h/7d",
        pool=pool,
        source=f"{pool}-api",
        state="firing",
        severity=25,
        started=started,
        at=started,
        short=60 * EH,
        long=100 * EH,
        delta=-0.4,
        threshold=0.1,
        places=(PoolPart("US-TX", "measured", 0.6),),
        simulated=True,
    )
    return msgspec.structs.replace(swing, **changed)


def over(swing: Swing, at: datetime, **changed: Any) -> Any:
    """Return the event that ends a swing; by default it resolves."""
    ended = {"state": "resolved", "delta": 0.004, "at": at} | changed
    return msgspec.structs.replace(swing, **ended)


LOST: dict[str, Any] = {
    "state": "lost",
    "short": None,
    "long": None,
    "delta": None,
    "threshold": None,
}


def lost(swing: Swing, at: datetime) -> Any:
    """Return the event by which a swing is lost."""
    if isinstance(swing, PoolSwing):
        return over(swing, at, **LOST, places=())
    return over(swing, at, **LOST, own=None, driver=None, pools=(), kinds=msgspec.UNSET)


def status_of(at: datetime, firing: Iterable[Swing]) -> SwingStatus:
    """Return a status in which a few places and pools are compared."""
    return SwingStatus(
        at,
        (
            PlaceStatus("1h/24h", "CN", 0.06),
            PlaceStatus("1h/24h", "US", -0.06),
            PlaceStatus("1h/24h", "US-TX", -0.05),
            PlaceStatus("24h/7d", "US", -0.002),
        ),
        (PoolStatus("1h/24h", "alpha", "alpha-api", -0.4),),
        tuple(firing),
    )


async def write_events(store: SwingStore, *events: Swing) -> SwingStatus:
    """Write events as their minutes are evaluated, and return the last status."""
    firing: dict[str, Swing] = {}
    status = status_of(ago(), ())
    for at in sorted({event.at for event in events} | {ago()}):
        of_minute = [event for event in events if event.at == at]
        for event in of_minute:
            firing.pop(swing_id(event), None)
            if event.state == "firing":
                firing[swing_id(event)] = event
        status = status_of(at, firing.values())
        minute = EvaluatedMinute(bucket(at, MINUTE_S), (), status, of_minute)
        assert await store.write(minute, await store.memory()) == []
    return status

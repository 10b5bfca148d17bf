"""Events of swings, as they are in Kafka."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from miningmap.swings import PlaceSwing, PoolSwing

if TYPE_CHECKING:
    from miningmap.swings import Swing

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)

Message = bytes


def place(code: str = "US-TX", *, minute: int = 0, **fields: Any) -> Message:
    """An event of a place that moves by itself; it is at ``minute`` minutes after noon."""
    own: dict[str, Any] = {"place": code, "own": -0.02, "driver": "own", "pools": ()}
    return _encoded(PlaceSwing, minute, own | fields)


def pool(slug: str = "foundryusa", *, minute: int = 0, **fields: Any) -> Message:
    own: dict[str, Any] = {"pool": slug, "source": "own", "places": ()}
    return _encoded(PoolSwing, minute, own | fields)


def _encoded(kind: type[Swing], minute: int, fields: dict[str, Any]) -> Message:
    common: dict[str, Any] = {"pair": "1h/24h", "state": "firing", "severity": 1, "started": NOON}
    common |= {"at": NOON + timedelta(minutes=minute), "delta": -0.02, "threshold": 0.01}
    common |= {"short": 0.1, "long": 0.12, "simulated": False}
    return msgspec.json.encode(kind(**(common | fields)))

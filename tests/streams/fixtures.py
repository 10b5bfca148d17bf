"""Shorthand functions that make messages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from miningmap.messages import Located, Network, Report

if TYPE_CHECKING:
    from miningmap.messages import Kind

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
    )


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

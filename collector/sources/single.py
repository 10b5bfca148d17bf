"""Helpers for the common source: one response with one hashrate."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from collector.sources import decoding
from collector.sources.base import NetworkReading, Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from collector.sources.decoding import Figure
    from collector.sources.envelope import Envelope

T = TypeVar("T")


def single_pool(
    pool: str,
    shape: type[T],
    figure: Callable[[T], Figure | None],
    *,
    envelope: Envelope | None = None,
    unit: str | Callable[[T], str] = "H/s",
    observed_at: Callable[[T], datetime | None] | None = None,
) -> Callable[[Sequence[bytes]], list[Reading]]:
    """Return the ``parse`` of a source of one pool, whose one response has the pool's hashrate.

    Args:
        pool: the pool's slug.
        shape: the type of the response, or of the data in its envelope.
        figure: gets the hashrate from it; ``None`` if the response has none.
        envelope: what the data is wrapped in, if anything.
        unit: of a figure that is a bare number, or a function that gets the unit.
        observed_at: gets the response's own time, if it has one.
    """

    def parse(bodies: Sequence[bytes]) -> list[Reading]:
        data = (envelope or decoding).decode(bodies[0], shape)
        hashrate = decoding.hashrate(figure(data), unit(data) if callable(unit) else unit)
        return pool_reading(pool, hashrate, observed_at(data) if observed_at else None)

    return parse


def network_figure(
    shape: type[T], figure: Callable[[T], Figure | None], *, unit: str = "H/s"
) -> Callable[[Sequence[bytes]], list[NetworkReading]]:
    """Return the ``parse`` of a source whose one response has the network's hashrate.

    Args:
        shape: the type of the response.
        figure: gets the hashrate from it; ``None`` if the response has none.
        unit: of the figure.
    """

    def parse(bodies: Sequence[bytes]) -> list[NetworkReading]:
        value = figure(decoding.decode(bodies[0], shape))
        return network_reading(decoding.hashrate(value, unit))

    return parse


def pool_reading(
    pool: str, hashrate: float | None, observed_at: datetime | None = None
) -> list[Reading]:
    """Return the one reading of a pool; none if its hashrate (H/s) is unknown."""
    return [] if hashrate is None else [Reading(pool, hashrate, observed_at=observed_at)]


def network_reading(
    hashrate: float | None, observed_at: datetime | None = None
) -> list[NetworkReading]:
    """Return the one reading of the network; none if its hashrate (H/s) is unknown.

    The network never has a hashrate of 0: sources give it while their own node is down.
    """
    return [NetworkReading(hashrate, observed_at)] if hashrate else []

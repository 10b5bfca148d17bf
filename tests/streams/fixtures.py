"""Shorthand functions that make messages, observations and pools of a cohort."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from miningmap.messages import Located, Network, Report
from streams.method.cells import Cell
from streams.method.cohort import Cohort, Member
from streams.method.observations import Observation

if TYPE_CHECKING:
    from miningmap.messages import Basis, Kind
    from streams.method.cells import Places

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
    return Cell(minutes, (total or sum(places.values())) * minutes, sums, basis=basis)


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
    return Member(pool, "own", total, total, located)


def cohort(
    *members: Member, network: float | None = None, usual_network: float | None = None
) -> Cohort:
    """A cohort without excluded pools."""
    source = None if network is None else "mempool"
    by_pool = {each.pool: each for each in members}
    return Cohort(by_pool, {}, network, source, usual_network, simulated=False)

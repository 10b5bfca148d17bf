"""The events of the simulated world, at times relative to the start of the run.

An event before the start is in the history; a later one happens live.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Curtailment:
    """The miners of ``pools`` at ``place`` switch off for a while.

    Attributes:
        place: the exact code; a country's does not include its subdivisions.
        pools: slugs.
        start: when the first miners switch off, from the start of the run.
        end: when all have returned.
        depth: the part that is off in between, 0..1.
        ramp: how long it takes to switch off, and to return.
    """

    place: str
    pools: frozenset[str]
    start: timedelta
    end: timedelta
    depth: float
    ramp: timedelta

    def left(self, since: timedelta) -> float:
        """Return the part that still mines at a time after the start of the run, 0..1."""
        rising = (since - self.start) / self.ramp
        falling = (self.end - since) / self.ramp
        return 1 - self.depth * min(1.0, max(0.0, min(rising, falling)))


@dataclass(frozen=True)
class Outage:
    """Over ``[start, end)`` the pool mines nothing and its API responds with 503."""

    pool: str
    start: timedelta
    end: timedelta


@dataclass(frozen=True)
class Scenario:
    """A named set of events."""

    name: str
    curtailments: tuple[Curtailment, ...] = ()
    outages: tuple[Outage, ...] = ()


_AMERICAN: Final = frozenset({"foundryusa", "luxor", "marapool"})

SCENARIOS: Final[Mapping[str, Scenario]] = {
    scenario.name: scenario
    for scenario in (
        Scenario("calm"),
        Scenario(
            "texas",
            # It starts more than an hour before the history ends, so that the window 1h is within
            # it and a swing is in progress from the start.
            curtailments=(
                Curtailment(
                    "US-TX",
                    _AMERICAN,
                    start=timedelta(minutes=-80),
                    end=timedelta(hours=6),
                    depth=0.9,
                    ramp=timedelta(minutes=15),
                ),
            ),
            outages=(
                Outage("ocean", start=timedelta(hours=-50), end=timedelta(hours=-44)),
                # Longer than a report is held (5 minutes), so that the pool visibly disappears and
                # returns a few minutes later. On a slow machine, too, the demo has shown all pools
                # before.
                Outage("solock", start=timedelta(minutes=2), end=timedelta(minutes=10)),
            ),
        ),
        Scenario(
            "storm",
            # It is over, but the window 1h still shows it: a swing of the United States is in
            # progress at the start, and resolves some minutes later.
            curtailments=tuple(
                Curtailment(
                    state,
                    _AMERICAN,
                    start=timedelta(minutes=-95),
                    end=timedelta(minutes=-65),
                    depth=0.8,
                    ramp=timedelta(minutes=2),
                )
                for state in ("US-TX", "US-GA", "US-NY", "US-KY", "US-ND")
            ),
        ),
    )
}

DEFAULT: Final = "texas"

"""What happens in the simulated world, at times told from where the run begins.

An event before the beginning lies in the history; one after it happens live.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Curtailment:
    """Miners at ``place`` switch off for a while, as far as they mine for ``pools``.

    Attributes:
        place: the exact code; subdivisions of a country are not meant by it.
        pools: slugs.
        start: when the first switch off, from the run's beginning.
        end: when all are back.
        depth: the part that is off in between, 0..1.
        ramp: how long going and coming back take.
    """

    place: str
    pools: frozenset[str]
    start: timedelta
    end: timedelta
    depth: float
    ramp: timedelta

    def left(self, since: timedelta) -> float:
        """The part that still mines ``since`` the run's beginning, 0..1."""
        rising = (since - self.start) / self.ramp
        falling = (self.end - since) / self.ramp
        return 1 - self.depth * min(1.0, max(0.0, min(rising, falling)))


@dataclass(frozen=True)
class Outage:
    """A pool goes dark over ``[start, end)``: it mines nothing and its API answers 503."""

    pool: str
    start: timedelta
    end: timedelta


@dataclass(frozen=True)
class Scenario:
    """A named set of events."""

    name: str
    curtailments: tuple[Curtailment, ...] = ()
    outages: tuple[Outage, ...] = ()


SCENARIOS: Final[Mapping[str, Scenario]] = {
    scenario.name: scenario
    for scenario in (
        Scenario("calm"),
        Scenario(
            "texas",
            # Long enough ago for the window 1h to lie in it, so that a swing is under way when the
            # history ends.
            curtailments=(
                Curtailment(
                    "US-TX",
                    frozenset({"foundryusa", "luxor", "marapool"}),
                    start=timedelta(minutes=-80),
                    end=timedelta(hours=6),
                    depth=0.9,
                    ramp=timedelta(minutes=15),
                ),
            ),
            outages=(
                Outage("ocean", start=timedelta(hours=-50), end=timedelta(hours=-44)),
                # Longer than a report is held (5 minutes), so that the pool is seen to go and, a
                # few minutes later, to come back.
                Outage("solock", start=timedelta(seconds=30), end=timedelta(minutes=9)),
            ),
        ),
    )
}

DEFAULT: Final = "texas"

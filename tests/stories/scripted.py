"""Stories of a few hours in the simulated world, in each of which one thing happens."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from launch.simulation import World, beliefs
from launch.simulation.pools import BY_SLUG, POOLS
from launch.simulation.scenarios import Curtailment, Scenario
from tests.stories.feeds import HASHES, HOUR, MINUTE, UNLOCATED, Feed, merged, network
from tests.stories.story import Expected, Story

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from miningmap.messages import Message
    from tests.stories.story import Found, Json

CAUSE: Final = datetime(2026, 11, 22, 12, tzinfo=UTC)
"""When it happens: at noon, so that the long window of a day has hours of two days."""
DAY: Final = timedelta(days=1)

# A week of noise before the first minute that is evaluated, each hour of it with a day before it.
_BEFORE: Final = 9 * DAY
_SEED: Final = 7
_SMALLEST: Final = 0.001
_CAST: Final = [pool for pool in POOLS if pool.share > _SMALLEST and pool.slug != "unknown"]
_NETWORK_EHS: Final = 950.0

BELIEFS: Final[Json] = {
    **beliefs("viabtc"),
    "network": [
        {
            "id": "network/assumed",
            "source": "made up for this story",
            "series": [
                {
                    "from": "2020-01-01",
                    "weights": {"US": 37, "RU": 17, "CN": 12, "PY": 5, "CA": 3, "OTHER": 26},
                }
            ],
        }
    ],
}


def _located(world: World, pool: str, at: datetime) -> dict[str, float]:
    return {code: h / HASHES for code, h in world.located(pool, at).items()}


def _total(world: World, pool: str, at: datetime) -> dict[str, float]:
    return {UNLOCATED: world.hashrate(pool, at) / HASHES}


def cast(scenario: Scenario) -> dict[str, Feed]:
    """Return a feed of each larger pool: live rows where it has a partner, else its total."""
    world = World(_SEED, CAUSE, scenario)
    return {
        pool.slug: Feed(pool.slug, "partner", partial(_located, world, pool.slug))
        if pool.measured_lag_d
        else Feed(pool.slug, "api", partial(_total, world, pool.slug))
        for pool in _CAST
    }


CALM: Final = Scenario("calm")


def scaled(feed: Feed, factor: Callable[[datetime], float]) -> Feed:
    """Return a feed whose hashrates are multiplied by a factor of the time."""

    def says(at: datetime) -> Mapping[str, float]:
        return {code: hashrate * factor(at) for code, hashrate in feed.says(at).items()}

    return replace(feed, says=says)


def silent(feed: Feed, start: datetime, end: datetime) -> Feed:
    """Return a feed that does not answer in a range of time."""
    return replace(feed, silent=((start, end),))


def story(
    name: str,
    feeds: Iterable[Feed],
    *,
    hours: float,
    must: Sequence[Expected] = (),
    may: Callable[[Found], bool] = lambda _: False,
) -> Story:
    """Return a story that is evaluated from half an hour before its cause until hours after it."""
    start, end = CAUSE - HOUR / 2, CAUSE + hours * HOUR
    listed = list(feeds)

    def messages() -> Iterator[Message]:
        first, fine = CAUSE - _BEFORE, CAUSE - 2 * HOUR
        reports = [feed.reports(first, fine, end) for feed in listed]
        return merged([*reports, network(_NETWORK_EHS, fine, end)])

    return Story(name, messages, CAUSE, start, end, BELIEFS, tuple(must), may)


# --- what happens ---------------------------------------------------------------------------------


def goes_dark() -> Story:
    """The largest pool does not answer for two hours."""
    feeds = cast(CALM)
    feeds["foundryusa"] = silent(feeds["foundryusa"], CAUSE, CAUSE + 2 * HOUR)
    return story("a pool goes dark and returns", feeds.values(), hours=3)


def falls_and_goes_dark() -> Story:
    """A pool loses two fifths of its hashrate, and an hour later it does not answer any more."""
    feeds = cast(CALM)
    fallen = scaled(feeds["braiinspool"], lambda at: 1 - 0.4 * ramp(at, CAUSE, 20 * MINUTE))
    feeds["braiinspool"] = silent(fallen, CAUSE + HOUR, CAUSE + 9 * HOUR)
    return story(
        "a pool falls, then goes dark",
        feeds.values(),
        hours=2.75,
        must=[Expected("braiinspool", -1, severity=25, end="lost", within=45 * MINUTE)],
    )


def ramp(at: datetime, start: datetime, length: timedelta) -> float:
    """Return 0 before ``start``, 1 from ``length`` after it on, and what is between in between."""
    return min(1.0, max(0.0, (at - start) / length))


def partner_joins() -> Story:
    """A pool whose places nobody knew begins to send rows, of quite other places than assumed."""
    feeds = cast(CALM)
    whole = feeds["spiderpool"].says

    def rows(at: datetime) -> Mapping[str, float]:
        total = math.fsum(whole(at).values())
        return {"ET": 0.7 * total, "NO": 0.2 * total, "OM": 0.1 * total}

    joining = Feed("spiderpool", "partner", rows, since=CAUSE)
    # The rows count in both windows of `1h/24h` after 12 hours.
    return story("a partner joins with another geography", [*feeds.values(), joining], hours=13)


def texas_curtails() -> Story:
    """Miners of all pools switch off 30 % of their machines in Texas for three hours."""
    pools = frozenset(pool.slug for pool in _CAST if "US-TX" in pool.places)
    curtailment = Curtailment("US-TX", pools, timedelta(0), 3 * HOUR, 0.3, 10 * MINUTE)
    feeds = cast(Scenario("texas", curtailments=(curtailment,)))
    texan = {slug for slug in pools if BY_SLUG[slug].places["US-TX"] > 0.25}

    def may(found: Found) -> bool:
        return found.driver == "others" or found.subject in texan

    return story(
        "Texas curtails by 30 % for three hours",
        feeds.values(),
        hours=4,
        must=[
            Expected("US-TX", -1, "own", severity=3, end="resolved", within=45 * MINUTE),
            Expected("US", -1, "own", severity=1, end="resolved", within=75 * MINUTE),
        ],
        may=may,
    )


def handed_over() -> Story:
    """A pool's API fails for 15 minutes; a count of blocks, a third higher, is there all along."""
    feeds = cast(CALM)
    feeds["antpool"] = silent(feeds["antpool"], CAUSE, CAUSE + 15 * MINUTE)
    mined = scaled(feeds["antpool"], lambda _: 1.33)
    blocks = replace(mined, source="mempool", basis="mined", silent=())
    return story("an API hands over to a count of blocks", [*feeds.values(), blocks], hours=1.5)


STORIES: Final = (
    goes_dark,
    falls_and_goes_dark,
    partner_joins,
    texas_curtails,
    handed_over,
)

"""Stories after real events, with the figures that were published about them.

``replays.csv`` has the figures and where each was read. Outlets differ, because they quote noisy
estimates of different minutes: so a replay follows one outlet, and only signs and sizes are tested.
A time without an hour counts as noon; between two figures the hashrate moves in a straight line,
and before the first and after the last one it is constant. What is not published is assumed here,
and says so.
"""

from __future__ import annotations

import csv
import tomllib
from bisect import bisect_right
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from launch.simulation.noise import noise
from tests.servers import ROOT
from tests.stories.feeds import UNLOCATED, Feed, merged, network
from tests.stories.story import Expected, Story

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from miningmap.messages import Message
    from tests.stories.story import Found, Json

DAY: Final = timedelta(days=1)
BOTH: Final = ("1h/24h", "24h/7d")
NORTH_AMERICA: Final = ("US", "CA", "MX")

# The hashrate of a pool wanders by this much in some hours, whatever happens.
_WANDER: Final = (0.01, 2 * 3600)
_POLL: Final = timedelta(minutes=5)
_BEFORE: Final = 16 * DAY  # a week of noise, each hour of it with a week before it

# Percent of the blocks of 2026, as shares of what pools without published figures mine.
OTHERS: Final = {"f2pool": 0.16, "viabtc": 0.096, "spiderpool": 0.083, "secpool": 0.05}


class Figure(NamedTuple):
    """One published figure."""

    event: str
    time: str
    subject: str
    level_ehs: str
    change: str
    unit: str
    source: str

    @property
    def at(self) -> datetime:
        day, _, hour = self.time.partition("T")
        return datetime.fromisoformat(f"{day}T{hour or '12:00Z'}")


def figures() -> list[Figure]:
    with Path(__file__).with_name("replays.csv").open() as lines:
        return [Figure(*row) for row in list(csv.reader(lines))[1:]]


class Levels(list[tuple[datetime, float]]):
    """Hashrates (EH/s) at some times, and on straight lines in between."""

    def at(self, at: datetime) -> float:
        n = bisect_right(self, (at, float("inf")))
        if n in {0, len(self)}:
            return self[min(n, len(self) - 1)][1]
        (before, low), (after, high) = self[n - 1], self[n]
        return low + (high - low) * ((at - before) / (after - before))


def path(
    event: str, subject: str, outlet: str, assumed: float = 0, *, over: timedelta = DAY
) -> Levels:
    """Return what an outlet says of a pool in an event.

    Args:
        event: as in the file.
        subject: a pool, or ``network``.
        outlet: a part of the address of its figures.
        assumed: the level before (EH/s), where only a change was published.
        over: in what time that change came about.
    """
    points: list[tuple[datetime, float]] = []
    for figure in figures():
        if (figure.event, figure.subject) != (event, subject) or outlet not in figure.source:
            continue
        if figure.level_ehs:
            points.append((figure.at, float(figure.level_ehs)))
        else:
            before = points[-1][1] if points else assumed
            change = float(figure.change)
            after = before * (1 + change / 100) if figure.unit == "%" else before + change
            points += [(figure.at - over, before), (figure.at, after)]
    assert points, (event, subject, outlet)
    return Levels(sorted(points))


# --- what is believed -----------------------------------------------------------------------------


def believed(*pools: str) -> Json:
    """Return the shipped beliefs: the network's by Hashrate Index, and those of some pools.

    For events before its first quarter, that quarter is assumed to hold.
    """
    shipped = ROOT / "beliefs"
    document = tomllib.loads((shipped / "network" / "10-hashrate-index.toml").read_text())
    document["network"][0]["series"][0]["from"] = "2020-01-01"
    for pool in pools:
        found = tomllib.loads((shipped / "pools" / f"{pool}.toml").read_text())
        document.setdefault("pools", []).extend(found["pools"])
    return _dated(document)


def _dated(document: Json) -> Json:
    """Return a document whose dates are text, as in JSON."""
    for kind in ("network", "pools"):
        for row in document.get(kind, ()):
            for name in ("published", "checked"):
                row.pop(name, None)
            for entry in row["series"]:
                for name in ("published", "checked"):
                    entry.pop(name, None)
                for name in ("from", "until"):
                    if name in entry:
                        entry[name] = str(entry[name])
    return document


def same_everywhere(pools: Iterable[str], weights: Mapping[str, float]) -> Json:
    """Return beliefs by which every pool has its machines at the same places."""
    return {
        "pools": [
            {
                "id": f"pools/{pool}",
                "pool": pool,
                "kind": "declared",
                "source": "assumed for this story",
                "series": [{"from": "2020-01-01", "weights": dict(weights)}],
            }
            for pool in pools
        ]
    }


# --- feeds ----------------------------------------------------------------------------------------


def wandering(pool: str, hashrate: Callable[[datetime], float], at: datetime) -> float:
    size, grid_s = _WANDER
    return hashrate(at) * (1 + size * noise(11, pool, at.timestamp(), grid_s))


def total(pool: str, hashrate: Callable[[datetime], float]) -> Feed:
    """Return a feed that says how much a pool mines, and not where."""
    said = partial(wandering, pool, hashrate)
    return Feed(pool, "api", lambda at: {UNLOCATED: said(at)}, _POLL)


def replay(
    name: str,
    feeds: Sequence[Feed],
    paths: Sequence[Levels],
    beliefs: Json,
    *,
    must: Sequence[Expected],
    may: Callable[[Found], bool],
    whole: float,
    after: timedelta = DAY,
) -> Story:
    """Return a story from half a day before the first published figure to a day after the last."""
    cause = min(points[0][0] for points in paths)
    start, end = cause - DAY / 2, max(points[-1][0] for points in paths) + after

    def messages() -> Iterator[Message]:
        fine = start - timedelta(hours=2)
        reports = [feed.reports(cause - _BEFORE, fine, end) for feed in feeds]
        return merged([*reports, network(whole, fine, end)])

    return Story(name, messages, cause, start, end, beliefs, tuple(must), may)


# --- winter storms --------------------------------------------------------------------------------


def storm(
    name: str, moved: Mapping[str, Levels], whole: float, severity: Mapping[str, int]
) -> Story:
    """Return the story of a storm in North America.

    Args:
        name: of the story.
        moved: the published hashrates of pools.
        whole: the network's hashrate before, in EH/s.
        severity: the least severities of the swings of pools.
    """
    feeds = [total(pool, points.at) for pool, points in moved.items()]
    feeds += [
        total(pool, partial(_constant, share * whole))
        for pool, share in OTHERS.items()
        if pool not in moved
    ]

    def may(found: Found) -> bool:
        if not found.is_place:
            return found.subject in moved  # a recovery, or its second pair
        return found.driver == "others" or found.subject.split("-")[0] in NORTH_AMERICA

    return replay(
        name,
        feeds,
        list(moved.values()),
        believed("foundryusa"),
        must=[
            *(Expected(pool, -1, pairs=BOTH, severity=s) for pool, s in severity.items()),
            Expected("US", -1, "own", pairs=BOTH, severity=1),
        ],
        may=may,
        whole=whole,
    )


def _constant(hashrate: float, _: datetime) -> float:
    return hashrate


def _part(share: float, whole: Levels, at: datetime) -> float:
    return share * whole.at(at)


def fern_2026() -> Story:
    """The figures of TheMinerMag for Foundry and Luxor; AntPool's are from Decrypt."""
    event = "fern-2026-01"
    moved = {
        "foundryusa": path(event, "foundryusa", "yellow.com"),
        "luxor": path(event, "luxor", "yellow.com"),
        "antpool": path(event, "antpool", "cryptocnews"),
    }
    severity = {"foundryusa": 25, "luxor": 25, "antpool": 10}
    return storm("Fern, January 2026 (TheMinerMag)", moved, 1024, severity)


def fern_2026_decrypt() -> Story:
    """The figures of Decrypt, on MiningPoolStats."""
    event = "fern-2026-01"
    pools = ("foundryusa", "luxor", "antpool")
    moved = {pool: path(event, pool, "cryptocnews") for pool in pools}
    severity = {"foundryusa": 25, "luxor": 25, "antpool": 10}
    return storm("Fern, January 2026 (Decrypt)", moved, 1024, severity)


def texas_2024() -> Story:
    """The figures of TheMinerMag. AntPool lost 30 EH/s from Sunday to Tuesday: of 130, assumed."""
    event = "texas-2024-01"
    moved = {
        "foundryusa": path(event, "foundryusa", "theminermag"),
        "antpool": path(event, "antpool", "theminermag", 130, over=2 * DAY),
    }
    severity = {"foundryusa": 25, "antpool": 10}
    return storm("Texas, January 2024 (TheMinerMag)", moved, 570, severity)


def elliott_2022() -> Story:
    """Foundry's figures of two outlets: 70 EH/s, then half of them in a day, then 45.5."""
    event = "elliott-2022-12"
    first = path(event, "foundryusa", "altcoinparadise")
    half = path(event, "foundryusa", "coindesk", first[0][1])
    foundry = Levels([*half, first[-1]])
    moved = {"foundryusa": foundry}
    return storm("Elliott, December 2022", moved, 256, {"foundryusa": 25})


# --- Xinjiang, April 2021 -------------------------------------------------------------------------

# Shares of the network in EH/s of 169.4; only the changes of the first four are published.
_IN_2021: Final = {
    "antpool": 30.0,
    "poolin": 24.0,
    "btccom": 20.0,
    "binancepool": 18.0,
    "f2pool": 30.0,
    "viabtc": 14.0,
    "huobipool": 10.0,
}
_FELL: Final = ("antpool", "btccom", "poolin", "binancepool")
# China's part is that of Cambridge's map of that month (46 %), the rest is assumed.
_PLACES_2021: Final = {
    "CN-XJ": 0.35,
    "CN-SC": 0.06,
    "CN-NM": 0.05,
    "US": 0.17,
    "KZ": 0.08,
    "RU": 0.07,
    "IR": 0.05,
    "MY": 0.05,
    "CA": 0.03,
    "OTHER": 0.09,
}


def _moves_2021() -> dict[str, Levels]:
    event = "xinjiang-2021-04"
    return {pool: path(event, pool, "cryptochaperone", _IN_2021[pool]) for pool in _FELL}


def xinjiang_2021_alike() -> Story:
    """Four pools fall; by all that is known, each pool's machines are at the same places."""
    moves = _moves_2021()
    feeds = [
        total(pool, moves[pool].at if pool in moves else partial(_constant, hashrate))
        for pool, hashrate in _IN_2021.items()
    ]
    return replay(
        "Xinjiang, April 2021: all pools alike",
        feeds,
        list(moves.values()),
        same_everywhere(_IN_2021, _PLACES_2021),
        must=[Expected(pool, -1, pairs=BOTH) for pool in _FELL],
        may=lambda found: found.subject in _FELL,
        whole=169.4,
    )


def xinjiang_2021_rows() -> Story:
    """The same falls; rows of the pools say that they are in Xinjiang alone."""
    moves = _moves_2021()

    def rows(pool: str, at: datetime) -> Mapping[str, float]:
        before = _IN_2021[pool]
        lost = before - moves[pool].at(at) if pool in moves else 0.0
        said = {code: before * part for code, part in _PLACES_2021.items()}
        said["CN-XJ"] -= lost
        return {
            code: wandering(f"{pool} {code}", partial(_constant, hashrate), at)
            for code, hashrate in said.items()
        }

    feeds = [Feed(pool, "partner", partial(rows, pool), _POLL) for pool in _IN_2021]
    return replay(
        "Xinjiang, April 2021: rows of places",
        feeds,
        list(moves.values()),
        {},
        must=[
            *(Expected(pool, -1, pairs=BOTH) for pool in _FELL),
            Expected("CN-XJ", -1, "own", pairs=BOTH, severity=5),
            Expected("CN", -1, "own", pairs=BOTH, severity=5),
        ],
        may=lambda found: (
            found.driver == "others" or found.subject in _FELL or found.subject.startswith("CN")
        ),
        whole=169.4,
        after=2 * DAY,
    )


# --- what named no place --------------------------------------------------------------------------


def _nowhere(name: str, fall: Levels, beliefs: Json) -> Story:
    """Return the story of a network that falls, and nobody can say where: all pools fall alike.

    The share of a place of which more is known than of others falls, because what nobody located is
    the same in both windows. It is not the driver, so nobody is told of it.
    """
    before = fall[0][1]
    in_2026 = {"foundryusa": 0.28, "antpool": 0.19, **OTHERS}
    feeds = [total(pool, partial(_part, share, fall)) for pool, share in in_2026.items()]
    return replay(
        name,
        feeds,
        [fall],
        beliefs,
        must=(),
        may=lambda found: found.driver != "own",
        whole=before,
        after=3 * DAY,
    )


def xinjiang_2025() -> Story:
    """A claim about Xinjiang in December 2025, which nobody confirmed."""
    fall = path("xinjiang-2025-12", "network", "weixuanerp")
    return _nowhere("Xinjiang, December 2025: unconfirmed", fall, believed())


def xinjiang_2025_foundry() -> Story:
    """The same, with what is believed of Foundry."""
    fall = path("xinjiang-2025-12", "network", "weixuanerp")
    name = "Xinjiang, December 2025: unconfirmed, with Foundry's states"
    return _nowhere(name, fall, believed("foundryusa"))


def iran_2026() -> Story:
    """An internet shutdown in Iran: outlets claimed that up to 5 % of the network might be lost."""
    fall = path("iran-2026-01", "network", "fxleaders", 1050)
    return _nowhere("Iran, January 2026: a claim of 5 %", fall, believed("foundryusa"))


STORIES: Final = (
    fern_2026,
    fern_2026_decrypt,
    texas_2024,
    elliott_2022,
    xinjiang_2021_alike,
    xinjiang_2021_rows,
    xinjiang_2025,
    xinjiang_2025_foundry,
    iran_2026,
)

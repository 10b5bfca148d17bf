"""A second implementation of the method by brute force, to compare ``streams`` with.

Written from method.md alone: minute by minute, without tiers, roll-ups or stored sums, in exact
fractions. It is slow, meant to be obviously right, and shares no code with ``streams`` but the
messages. Numbers in brackets are the sections of method.md; where the text is ambiguous, a comment
states the interpretation.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from miningmap.messages import KINDS, Message, Network

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
HOUR_MIN, DAY_MIN = 60, 24 * 60
ROUNDING = Fraction(1, 10**12)  # adr/0003: a smaller part of the total counts as 0

Place: TypeAlias = tuple[str, str]
"""Code and kind."""
Hashrates: TypeAlias = dict[Place, Fraction]


class Rule(NamedTuple):
    """A relabelling; ``applies_to`` is pool slugs or ``"*"`` (6)."""

    id: str
    place: str
    applies_to: Sequence[str]


class Retention(NamedTuple):
    """How long minutes (in hours) and hours (in days) are kept, each by the clock (3)."""

    minutes_h: int
    hours_d: int


@dataclass(frozen=True)
class World:
    """All messages that were ever sent, and the beliefs."""

    messages: Sequence[Message]
    priors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    default_prior: Mapping[str, float] | None = None  # adr/0005: for pools without their own
    rules: Sequence[Rule] = ()
    retention: Retention | None = None
    """By the clock of each message's ``fetched_at``; ``None`` keeps everything for ever."""


class Window(NamedTuple):
    """The minutes of a window and of its profile days, and the tier that the window reads."""

    tier: str
    minutes: range
    profile: range


class Mean(NamedTuple):
    """The mean of a source: minutes with a value, total, and every named place."""

    minutes: int
    total: Fraction
    places: Hashrates


# --- windows (4) ----------------------------------------------------------------------------------


def window_of(name: str, as_of: datetime) -> Window:
    """The window ``name`` at the time ``as_of``."""
    minute = (as_of - EPOCH) // MINUTE
    hour, today = minute - minute % HOUR_MIN, minute - minute % DAY_MIN
    hours = {"24h": 24, "7d": 168, "30d": 720}
    if name == "now":
        return Window("minute", range(minute, minute + 1), _days_before(today))
    if name == "1h":
        return Window("minute", range(minute - 60, minute), _days_before(today))
    if name in hours:
        covered = range(hour - hours[name] * HOUR_MIN, hour)
        return Window("hour", covered, _days_before(today))
    return _calendar_window(name, hour, today)


def _calendar_window(name: str, hour: int, today: int) -> Window:
    year_month, day, hour_of_day = name[:7], name[8:10] or "01", name[11:] or "00"
    at = datetime.fromisoformat(f"{year_month}-{day}T{hour_of_day}:00+00:00")
    start = (at - EPOCH) // MINUTE
    if "T" in name:
        covered = range(start, start + HOUR_MIN)
        return Window("hour", covered, _days_before(start - start % DAY_MIN))
    if name != year_month:
        # adr/0005: the day of as_of covers its whole hours so far.
        covered = range(start, max(start, min(start + DAY_MIN, hour)))
        return Window("hour", covered, _days_before(start))
    following = (at + timedelta(days=32)).replace(day=1)
    # "Its own days" (5) are those that the window covers: nothing after as_of is part of an answer.
    covered = range(start, max(start, min((following - EPOCH) // MINUTE, today)))
    return Window("day", covered, covered)


def _days_before(day: int) -> range:
    return range(day - 30 * DAY_MIN, day)


# --- claims on a minute (2 and 3) -----------------------------------------------------------------


class Claim(NamedTuple):
    """A message's claim: of two claims of a tier on one minute, the larger rank wins."""

    tier: str
    minutes: Sequence[int]
    rank: tuple[Any, ...]


class Source:
    """One source of one pool, or of the network, and which message counts in which minute."""

    def __init__(self) -> None:
        self._claims: list[tuple[Claim, Message]] = []

    def add(self, message: Message, retention: Retention | None) -> None:
        """Add the claims of a message."""
        self._claims += [(claim, message) for claim in claims(message, retention)]

    def values(self, tier: str) -> dict[int, int]:
        """Minute -> the number of the claim that counts, as a tier sees it.

        The minute tier sees short reports only; in the others an hour that is claimed directly
        wins over its minutes, and a day that is claimed directly over its hours. So what is written
        later wins: the tiers from below, and in each the claims by rank.
        """
        sees = {"minute": ["minute"], "hour": ["minute", "hour"], "day": ["minute", "hour", "day"]}
        seen: dict[int, int] = {}
        for claimed in sees[tier]:
            of_tier = [n for n, (claim, _) in enumerate(self._claims) if claim.tier == claimed]
            for n in sorted(of_tier, key=lambda n: self._claims[n][0].rank):
                seen |= dict.fromkeys(self._claims[n][0].minutes, n)
        return seen

    def mean(self, tier: str, minutes: range) -> Mean:
        """The mean over the minutes with a value (4); a place that a message leaves out is 0."""
        won = Counter(n for m, n in self.values(tier).items() if m in minutes)
        total, places = Fraction(0), dict[Place, Fraction]()
        for number, times in won.items():
            message = self._claims[number][1]
            total += times * Fraction(message.hashrate)
            for place in () if isinstance(message, Network) else message.places:
                before = places.get((place.code, place.kind), Fraction(0))
                places[place.code, place.kind] = before + times * Fraction(place.hashrate)
        count = won.total()
        return Mean(count, total / (count or 1), {k: h / count for k, h in places.items()})

    def seen_before(self, tier: str, minute: int) -> bool:
        """Whether the source has a value before that minute, in that tier."""
        return min(self.values(tier), default=minute) < minute


def claims(message: Message, retention: Retention | None) -> list[Claim]:
    """All claims of a message within the ``retention``; without one, everything is kept."""
    length = message.end - message.start
    decisive = (message.end, message.fetched_at, message.hashrate)
    covered = touched(message.start, message.end)
    minutes_from, hours_from = _kept_from(message.fetched_at, retention)
    if length < HOUR:
        after = touched(message.end, message.end + timedelta(seconds=message.hold_s))
        held = [m for m in after if m > covered[-1]]
        made = [
            Claim("minute", [m for m in covered if m >= minutes_from], (1, *decisive)),
            Claim("minute", [m for m in held if m >= minutes_from], (0, *decisive)),
        ]
    else:
        # The shorter report wins. Only past the hours' retention are days claimed directly, and
        # only those that are covered whole.
        old = [m for m in covered if m < hours_from and _covers_day_of(message, m)]
        made = [
            Claim("hour", [m for m in covered if m >= hours_from], (-length, *decisive)),
            Claim("day", old, (-length, *decisive)),
        ]
    return [claim for claim in made if claim.minutes]


def _kept_from(now: datetime, retention: Retention | None) -> tuple[int, int]:
    """The first minute of which minutes, and of which hours, are kept.

    The hour in which minutes expire, and the day in which hours expire, are kept complete, so that
    roll-ups are never made from a part.
    """
    if retention is None:
        return 0, 0
    minutes_from = (now - timedelta(hours=retention.minutes_h) - EPOCH) // MINUTE
    hours_from = (now - timedelta(days=retention.hours_d) - EPOCH) // MINUTE
    return minutes_from - minutes_from % HOUR_MIN, hours_from - hours_from % DAY_MIN


def touched(start: datetime, end: datetime) -> range:
    """The minutes that ``[start, end)`` touches."""
    # Up to the first whole minute at or after the end: -(-a // b) rounds up.
    return range((start - EPOCH) // MINUTE, -((EPOCH - end) // MINUTE))


def _covers_day_of(message: Message, minute: int) -> bool:
    midnight = EPOCH + (minute - minute % DAY_MIN) * MINUTE
    return message.start <= midnight and midnight + timedelta(days=1) <= message.end


# --- eligible sources (4) -------------------------------------------------------------------------


def sources_of(world: World) -> tuple[dict[str, dict[str, Source]], dict[str, Source]]:
    """Every source of every pool, and every source of the network's hashrate, by name."""
    pools: dict[str, dict[str, Source]] = {}
    network: dict[str, Source] = {}
    for message in world.messages:
        sources = network if isinstance(message, Network) else pools.setdefault(message.pool, {})
        sources.setdefault(message.source, Source()).add(message, world.retention)
    return pools, network


def eligible(mean: Mean, window: Window) -> bool:
    """``C / N >= 0.5``; in a window without minutes no source is eligible."""
    n = len(window.minutes)
    return n > 0 and Fraction(mean.minutes, n) >= Fraction(1, 2)


def best_kind(mean: Mean) -> int:
    """The rank of the best kind among its places; a place with 0 counts too."""
    return min((KINDS.index(kind) for _, kind in mean.places), default=len(KINDS))


def network_of(network: Mapping[str, Source], window: Window) -> tuple[str, Fraction] | None:
    """The source that counts for the network's hashrate, and its mean."""
    means = {name: s.mean(window.tier, window.minutes) for name, s in network.items()}
    # adr/0005: a network hashrate of 0 counts as unknown.
    fit = [n for n, mean in means.items() if eligible(mean, window) and mean.total > 0]
    if not fit:
        return None
    name = min(fit, key=lambda n: (-means[n].minutes, n))
    return name, means[name].total


# --- where its hashrate is (5 and 6) --------------------------------------------------------------


def profile_of(sources: Mapping[str, Source], window: Window) -> dict[str, Fraction]:
    """The pool's measured places over the profile days.

    "Covered" minutes and time are those with a value, held ones included: a day cell is the roll-up
    of its minute cells, "covered or held" (3). A source whose measured places are all 0 has
    no proportions, and is skipped.
    """
    found = []
    for name, source in sources.items():
        mean = source.mean("day", window.profile)
        measured = {code: h for (code, kind), h in mean.places.items() if kind == "measured"}
        if sum(measured.values()) > 0:
            found.append((-mean.minutes, name, measured))
    return min(found)[2] if found else {}


def locate(mean: Mean, profile: Mapping[str, Fraction], prior: Mapping[str, float]) -> Hashrates:
    """The named places, and the remainder by profile, else by prior, else unlocated."""
    remainder = mean.total - sum(mean.places.values())
    kind = "estimated" if profile else "prior"
    weights = profile or {code: Fraction(w) for code, w in prior.items()}
    places = dict(mean.places)
    if remainder >= ROUNDING * mean.total and remainder > 0:
        for code, weight in weights.items():
            # A place of weight 0 gets nothing, and is not listed because of it (7).
            if weight > 0:
                more = remainder * weight / sum(weights.values())
                places[code, kind] = places.get((code, kind), Fraction(0)) + more
    return places


def relabel(places: Hashrates, emptied: str) -> Hashrates:
    """One rule, on one pool's located means."""
    inside = emptied[:3]  # "CN-"
    others = sum(h for (q, _), h in places.items() if q.startswith(inside) and q != emptied)
    moved = sum(h for (q, _), h in places.items() if q == emptied)
    if others == 0:
        return places
    return {
        (q, kind): h * (1 + Fraction(moved) / others) if q.startswith(inside) else h
        for (q, kind), h in places.items()
        if q != emptied
    }


class Pool(NamedTuple):
    """A pool of the cohort: its representative source, its total and its located means."""

    source: str
    total: Fraction
    places: Hashrates


def pool_of(name: str, sources: Mapping[str, Source], window: Window, world: World) -> Pool | str:
    """The pool as it counts, or why it does not: ``thin``, ``stale``, or ``""`` if unknown."""
    means = {s: source.mean(window.tier, window.minutes) for s, source in sources.items()}
    fit = [s for s, mean in means.items() if eligible(mean, window)]
    if not fit:
        start = window.minutes.start
        before = any(source.seen_before(window.tier, start) for source in sources.values())
        thin = any(mean.minutes for mean in means.values())
        return "thin" if thin else "stale" if before else ""
    chosen = min(fit, key=lambda s: (best_kind(means[s]), -means[s].minutes, s))
    prior = world.priors.get(name, world.default_prior) or {}
    places = locate(means[chosen], profile_of(sources, window), prior)
    # In the order in which the rules are listed; the method has only one rule.
    for rule in world.rules:
        if rule.applies_to == "*" or name in rule.applies_to:
            places = relabel(places, rule.place)
    return Pool(chosen, means[chosen].total, places)


# --- shares (7), bounds and sensitivity (8) -------------------------------------------------------


def hashrate_at(pools: Iterable[Pool], country: str | None) -> dict[str, dict[str, Fraction]]:
    """``h`` by place and kind: countries, or the subdivisions of one; each place that is named.

    A subdivision that is named with 0 names its country too.
    """
    result: dict[str, dict[str, Fraction]] = {}
    for pool in pools:
        for (code, kind), h in pool.places.items():
            if country is not None and not code.startswith(f"{country}-"):
                continue
            at = code if country is not None else code.split("-")[0]
            kinds = result.setdefault(at, dict.fromkeys(KINDS, Fraction(0)))
            kinds[kind] += h
    return result


def shares_of(pools: Sequence[Pool], country: str | None) -> dict[str, tuple[Fraction, Fraction]]:
    """``share`` and ``share_of_country``, of places; empty if nothing is located there."""
    h = {code: sum(kinds.values()) for code, kinds in hashrate_at(pools, country).items()}
    whole = sum(h.values())
    if not whole:
        return {}
    if country is None:
        return {code: (Fraction(x, whole), Fraction(1)) for code, x in h.items()}
    of_country, _ = shares_of(pools, None)[country]
    return {code: (Fraction(x, whole) * of_country, Fraction(x, whole)) for code, x in h.items()}


def sensitivity_of(
    pools: Sequence[Pool], country: str | None, code: str
) -> tuple[Fraction, Fraction] | None:
    """The least and the largest share with one pool left out, where that still locates something.

    "Still lists that country's subdivisions" means hashrate above 0 there: 0 of 0 is no share.
    """
    if len(pools) < 2:  # null: there is no pool to leave out
        return None
    left = [shares_of([*pools[:n], *pools[n + 1 :]], country) for n in range(len(pools))]
    seen = [shares[code][0] if code in shares else Fraction(0) for shares in left if shares]
    return (min(seen), max(seen)) if seen else None


def answer(
    world: World,
    window_name: str,
    as_of: datetime,
    country: str | None = None,
    adjust: str = "published",
) -> dict[str, Any]:
    """The computed fields of an answer, in the shape of ``/api/v1/shares``.

    Args:
        world: messages and beliefs.
        window_name: ``now``, ``1h``, ``24h``, ``7d``, ``30d``, a month, a day or an hour.
        as_of: the time of the query.
        country: the country whose subdivisions are listed; if ``None``, countries are.
        adjust: ``published`` for the rules, ``none`` for none.
    """
    if adjust == "none":
        world = replace(world, rules=())
    window = window_of(window_name, as_of)
    sources, network_sources = sources_of(world)
    judged = {name: pool_of(name, sources[name], window, world) for name in sorted(sources)}
    cohort = {name: pool for name, pool in judged.items() if isinstance(pool, Pool)}
    pools = list(cohort.values())
    network = network_of(network_sources, window)
    h = network[1] if network else None
    total = sum((p.total for p in pools), Fraction(0))
    by_kind = {
        kind: sum((x for p in pools for (_, k), x in p.places.items() if k == kind), Fraction(0))
        for kind in KINDS
    }
    measured = by_kind["measured"] / h if h else None
    return {
        "network": {"source": network[0], "hashrate": network[1]} if network else None,
        "coverage": total / h if h else None,
        "located": sum(by_kind.values()) / total if total else None,
        "measured_coverage": measured,
        "cohort": [{"pool": name, "source": pool.source} for name, pool in cohort.items()],
        "excluded": [
            {"pool": name, "reason": why}
            for name, why in judged.items()
            if isinstance(why, str) and why
        ],
        "shares": _rows(pools, country, h, measured),
    }


def _rows(
    pools: Sequence[Pool], country: str | None, h: Fraction | None, measured: Fraction | None
) -> list[dict[str, Any]]:
    at = hashrate_at(pools, country)
    rows: list[dict[str, Any]] = []
    for code, (share, inside) in shares_of(pools, country).items():
        low = high = None
        if h is not None and measured is not None:
            low = min(Fraction(1), at[code]["measured"] / h)
            high = min(Fraction(1), low + max(Fraction(0), 1 - measured))
        row = {
            "code": code,
            "share": share,
            "hashrate": sum(at[code].values()),
            "network_hashrate": None if h is None else share * h,
            "low": low,
            "high": high,
            "sensitivity": sensitivity_of(pools, country, code),
            "kinds": at[code],
        }
        rows.append(row if country is None else {**row, "share_of_country": inside})
    return sorted(rows, key=lambda row: (-row["share"], row["code"]))

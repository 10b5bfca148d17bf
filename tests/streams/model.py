"""A second implementation of the method by brute force, to compare ``streams`` with.

Written from method.md alone: minute by minute, without tiers, roll-ups or stored sums, in exact
fractions. It is slow, meant to be obviously right, and shares no code with ``streams`` but the
messages. Numbers in brackets are the sections of method.md; where the text is ambiguous, a comment
states the interpretation.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from miningmap.messages import BASES, KINDS, Message, Network

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
HOUR_MIN, DAY_MIN = 60, 24 * 60
ROUNDING = Fraction(1, 10**12)  # adr/0003: a smaller part of the whole counts as 0
SAME = Fraction(1, 10**9)  # 7: numbers that differ by a smaller part count as equal in orderings
EVIDENCE = ("measured", "declared", "estimated")

Place: TypeAlias = tuple[str, str]
"""Code and kind."""
Hashrates: TypeAlias = dict[Place, Fraction]


class Retention(NamedTuple):
    """How long minutes (in hours) and hours (in days) are kept, each by the clock (3)."""

    minutes_h: int
    hours_d: int


@dataclass(frozen=True)
class World:
    """All messages that were ever sent, and the beliefs."""

    messages: Sequence[Message]
    beliefs: Mapping[str, Any] = field(default_factory=dict)
    """One document, in the form of section 5.0."""
    retention: Retention | None = None
    """By the clock of each message's ``fetched_at``; ``None`` keeps everything for ever."""


class Window(NamedTuple):
    """The minutes of a window and of its profile days, and the tier that the window reads."""

    tier: str
    minutes: range
    profile: range


class Mean(NamedTuple):
    """The mean of a source: minutes with a value, total, every named place, and the worst basis."""

    minutes: int
    total: Fraction
    places: Hashrates
    basis: int


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
        covered = range(start, start + HOUR_MIN if start + HOUR_MIN <= hour else start)
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
        wins over its minutes. So what is written later wins: the tiers from below, and in each the
        claims by rank. A day that is claimed past its hours' retention is seen in the day tier.
        """
        sees = {"minute": ["minute"], "hour": ["minute", "hour"], "day": ["minute", "hour"]}
        seen: dict[int, int] = {}
        for claimed in sees[tier]:
            for n in self._by_rank(claimed):
                seen |= dict.fromkeys(self._claims[n][0].minutes, n)
        if tier == "day":
            for n in self._by_rank("day"):
                claim = self._claims[n][0]
                days = {m // DAY_MIN for m in claim.minutes}
                won = {day for day in days if self._outranks_hours(claim, day)}
                seen |= {m: n for m in claim.minutes if m // DAY_MIN in won}
        return seen

    def _by_rank(self, tier: str) -> list[int]:
        of_tier = [n for n, (claim, _) in enumerate(self._claims) if claim.tier == tier]
        return sorted(of_tier, key=lambda n: self._claims[n][0].rank)

    def _outranks_hours(self, late: Claim, day: int) -> bool:
        """Whether a claim on a day outranks all that was claimed of its hours directly, if any was.

        Otherwise they stay, and the claim is ignored (it outranks none of 24) or too late.
        """
        hours = [claim for claim, _ in self._claims if claim.tier == "hour"]
        direct: dict[int, tuple[Any, ...]] = {}
        for claim in sorted(hours, key=lambda claim: claim.rank):
            minutes = (m for m in claim.minutes if m // DAY_MIN == day)
            direct |= dict.fromkeys(minutes, claim.rank)
        return all(late.rank > rank for rank in direct.values())

    def mean(self, tier: str, minutes: range) -> Mean:
        """The mean over the minutes with a value (4); a place that a message leaves out is 0."""
        won = Counter(n for m, n in self.values(tier).items() if m in minutes)
        total, places, basis = Fraction(0), dict[Place, Fraction](), 0
        for number, times in won.items():
            message = self._claims[number][1]
            total += times * Fraction(message.hashrate)
            if isinstance(message, Network):
                continue
            basis = max(basis, BASES.index(message.basis))
            for place in message.places:
                before = places.get((place.code, place.kind), Fraction(0))
                places[place.code, place.kind] = before + times * Fraction(place.hashrate)
        count = won.total()
        means = {place: h / count for place, h in places.items()}
        return Mean(count, total / (count or 1), means, basis)

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


# --- beliefs (5.0) --------------------------------------------------------------------------------


class Distribution(NamedTuple):
    """A distribution in force: weights that add up to 1."""

    id: str
    weights: dict[str, Fraction]


def day_of(window: Window) -> int:
    """The day of the last minute that the window covers."""
    return (window.minutes.stop - 1) // DAY_MIN


def _day(text: str) -> int:
    return (date.fromisoformat(text) - EPOCH.date()).days


def in_force(documents: Iterable[Mapping[str, Any]], day: int) -> list[Distribution]:
    """The distributions that count on a day, in the order of the documents."""
    found = []
    for document in documents:
        begun = [entry for entry in document["series"] if _day(entry["from"]) <= day]
        if not begun:
            continue
        entry = max(begun, key=lambda entry: _day(entry["from"]))
        if "until" not in entry or day < _day(entry["until"]):
            weights = {code: Fraction(w) for code, w in entry["weights"].items()}
            found.append(Distribution(document["id"], _normal(weights)))
    return found


def _normal(weights: Mapping[str, Fraction]) -> dict[str, Fraction]:
    whole = sum(weights.values())
    return {code: weight / whole for code, weight in weights.items()}


def of_pool(world: World, pool: str, kind: str, day: int) -> Distribution | None:
    """The first distribution of a kind in force for a pool."""
    documents = world.beliefs.get("pools", ())
    own = [d for d in documents if (d["pool"], d["kind"]) == (pool, kind)]
    return next(iter(in_force(own, day)), None)


class Floor(NamedTuple):
    """A claim in force: ``e`` is what it has beside its contents (5.1)."""

    id: str
    place: str
    e: Fraction
    pools: tuple[str, ...] | None


def floors(world: World, day: int) -> list[Floor]:
    """The claims in force."""
    claims = {c["id"]: c for c in world.beliefs.get("claims", ())}
    alive = {i: c for i, c in claims.items() if _day(c["from"]) <= day < _day(c["until"])}

    def container(claim: Mapping[str, Any]) -> str | None:
        within: str | None = claim.get("within")
        return within if within is None or within in alive else container(claims[within])

    def of_contents(claim: Mapping[str, Any]) -> Fraction:
        inside = [c for c in alive.values() if container(c) == claim["id"]]
        return sum((max(Fraction(c["at_least"]), of_contents(c)) for c in inside), Fraction(0))

    def pools(claim: Mapping[str, Any]) -> tuple[str, ...] | None:
        return tuple(sorted(set(claim["pools"]))) if "pools" in claim else None

    return [
        Floor(i, c["place"], max(Fraction(0), Fraction(c["at_least"]) - of_contents(c)), pools(c))
        for i, c in alive.items()
    ]


# --- eligible sources and parts (4) ---------------------------------------------------------------


def sources_of(world: World) -> tuple[dict[str, dict[str, Source]], dict[str, Source]]:
    """Every source of every pool, and every source of the network's hashrate, by name."""
    pools: dict[str, dict[str, Source]] = {}
    network: dict[str, Source] = {}
    for message in world.messages:
        sources = network if isinstance(message, Network) else pools.setdefault(message.pool, {})
        sources.setdefault(message.source, Source()).add(message, world.retention)
    return pools, network


def eligible(mean: Mean, window: Window) -> bool:
    """``C / N >= 0.5``."""
    return Fraction(mean.minutes, len(window.minutes)) >= Fraction(1, 2)


def best_kind(mean: Mean) -> int:
    """The rank of the best kind among its places with hashrate."""
    kinds = (KINDS.index(kind) for (_, kind), h in mean.places.items() if h > 0)
    return min(kinds, default=len(KINDS))


def network_of(network: Mapping[str, Source], window: Window) -> tuple[str, Fraction] | None:
    """The source that counts for the network's hashrate, and its mean."""
    means = {name: s.mean(window.tier, window.minutes) for name, s in network.items()}
    # adr/0005: a network hashrate of 0 counts as unknown.
    fit = [n for n, mean in means.items() if eligible(mean, window) and mean.total > 0]
    if not fit:
        return None
    name = min(fit, key=lambda n: (-means[n].minutes, n))
    return name, means[name].total


def usual_network(network: Mapping[str, Source], window: Window) -> Fraction | None:
    """The network's mean over the profile days, by the source with most minutes there (5.1)."""
    means = {name: s.mean("day", window.profile) for name, s in network.items()}
    fit = [n for n, mean in means.items() if mean.total > 0]  # adr/0005, here too
    name = min(fit, key=lambda n: (-means[n].minutes, n), default=None)
    return None if name is None else means[name].total


def representative(sources: Mapping[str, Source], window: Window) -> str | None:
    """The source that represents a pool."""
    means = {s: source.mean(window.tier, window.minutes) for s, source in sources.items()}
    fit = [s for s, mean in means.items() if eligible(mean, window)]

    def order(s: str) -> tuple[int, int, int, str]:
        return best_kind(means[s]), means[s].basis, -means[s].minutes, s

    return min(fit, key=order, default=None)


def why_excluded(sources: Mapping[str, Source], window: Window) -> str | None:
    """``thin``, ``stale``, or nothing if its first value is still to come."""
    if any(s.mean(window.tier, window.minutes).minutes for s in sources.values()):
        return "thin"
    start = window.minutes.start
    before = any(source.seen_before(window.tier, start) for source in sources.values())
    return "stale" if before else None


def profile_of(sources: Mapping[str, Source], window: Window) -> dict[Place, Fraction]:
    """The pool's measured places over the profile days (5.1, step 1).

    "Covered" minutes and time are those with a value, held ones included: a day cell is the roll-up
    of its minute cells, "covered or held" (3). A source whose measured places are all 0 has
    no proportions, and is skipped.
    """
    found = []
    for name, source in sources.items():
        mean = source.mean("day", window.profile)
        measured = {place: h for place, h in mean.places.items() if place[1] == "measured"}
        held = sum(measured.values())
        if held > 0 and held >= mean.total / 5 * (1 - SAME):
            found.append((-mean.minutes, name, measured))
    return min(found, key=lambda each: each[:2])[2] if found else {}


@dataclass
class Pool:
    """A pool of the cohort.

    Attributes:
        name: of the pool.
        source: the source that represents it.
        reported: its mean total as reported.
        total: the same without its parts.
        places: where it is, as far as that is known by now.
        rest: what has no place yet.
        profile: its measured places over the profile days.
        growth: its total over the profile days by the one in the window (5.1, spreading).
        parts: the pools of the cohort that are part of it, and theirs.
    """

    name: str
    source: str
    reported: Fraction
    total: Fraction
    places: Hashrates
    rest: Fraction
    profile: dict[str, Fraction]
    growth: Fraction
    parts: set[str] = field(default_factory=set)

    def put(self, code: str, kind: str, hashrate: Fraction) -> None:
        """Locate hashrate; a place that gets nothing is not listed because of it (7)."""
        if hashrate > 0:
            before = self.places.get((code, kind), Fraction(0))
            self.places[code, kind] = before + hashrate


def cohort_of(
    sources: Mapping[str, Mapping[str, Source]], window: Window, world: World
) -> dict[str, Pool]:
    """The pools that count, with what their reports locate (4, 6)."""
    chosen = {p: s for p in sorted(sources) if (s := representative(sources[p], window))}
    means = {p: sources[p][s].mean(window.tier, window.minutes) for p, s in chosen.items()}
    of_parts: dict[str, Fraction] = defaultdict(Fraction)
    parts: dict[str, set[str]] = defaultdict(set)
    for pool in chosen:
        wholes = list(_wholes(pool, world.beliefs.get("part_of", {}), chosen))
        for whole in wholes:
            parts[whole].add(pool)
        if wholes:
            of_parts[wholes[0]] += means[pool].total
    cohort = {}
    for pool, source in chosen.items():
        located = sum(means[pool].places.values(), Fraction(0))
        total = max(means[pool].total - of_parts[pool], located)
        rest = total - located
        usual = sources[pool][source].mean("day", window.profile).total
        cohort[pool] = Pool(
            name=pool,
            source=source,
            reported=means[pool].total,
            total=total,
            places=ruled(means[pool].places, pool, world),
            rest=rest if rest >= ROUNDING * total else Fraction(0),
            profile=by_code(ruled(profile_of(sources[pool], window), pool, world)),
            growth=usual / means[pool].total if usual and means[pool].total else Fraction(1),
            parts=parts[pool],
        )
    return cohort


def _wholes(pool: str, part_of: Mapping[str, str], cohort: Iterable[str]) -> Iterable[str]:
    """The pools of the cohort that contain a pool, the nearest first."""
    whole = part_of.get(pool)
    while whole is not None:
        if whole in cohort:
            yield whole
        whole = part_of.get(whole)


# --- relabelling (6) ------------------------------------------------------------------------------


def ruled(places: Hashrates, pool: str, world: World) -> Hashrates:
    """The places of one pool after all rules, in the order of their ids."""
    for rule in sorted(world.beliefs.get("rules", ()), key=lambda rule: str(rule["id"])):
        if rule["applies_to"] == "*" or pool in rule["applies_to"]:
            places = relabel(places, rule["place"])
    return dict(places)


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


# --- locating the rest (5.1) ----------------------------------------------------------------------


def country_of(code: str) -> str:
    """``CN`` of ``CN-SC``; a country's own code and ``OTHER`` are their own."""
    return code.partition("-")[0]


def by_code(
    places: Hashrates, kinds: Sequence[str] = KINDS, scale: Fraction = Fraction(1)
) -> dict[str, Fraction]:
    """The hashrate at each place, of some kinds."""
    found: dict[str, Fraction] = defaultdict(Fraction)
    for (code, kind), h in places.items():
        if kind in kinds:
            found[code] += h * scale
    return dict(found)


def added(tables: Iterable[Mapping[str, Fraction]]) -> dict[str, Fraction]:
    """The sum of tables."""
    found: dict[str, Fraction] = defaultdict(Fraction)
    for table in tables:
        for code, h in table.items():
            found[code] += h
    return dict(found)


def spreading(
    weights: Mapping[str, Fraction], whole: Fraction, located: Mapping[str, Fraction]
) -> dict[str, Fraction]:
    """``r`` (5.1), of 1: how what is not located is spread.

    A code "has a weight" if it is listed, with 0 too: then somebody says that nothing is there. Of
    the subdivisions in proportion to whose weights something counts, those with 0 get nothing; if
    all have 0, there is no proportion, and the country has no such weights.
    """
    counts: dict[str, Fraction] = defaultdict(Fraction)

    def count_inside(country: str, h: Fraction) -> bool:
        inside = {q: w for q, w in weights.items() if country_of(q) == country != q and w > 0}
        for q, w in inside.items():
            counts[q] += h * w / sum(inside.values())
        return bool(inside)

    for code, h in located.items():
        if code in weights:
            counts[code] += h
        elif country_of(code) in weights:
            counts[country_of(code)] += h
        elif code != country_of(code) or not count_inside(code, h):
            counts["OTHER"] += h
    for country in {country_of(q) for q in weights} & weights.keys():
        over = counts[country] - weights[country] * whole
        if over > 0:
            count_inside(country, over)
    lacking = {code: w * whole - counts[code] for code, w in weights.items()}
    r = {code: h if h >= ROUNDING * whole else Fraction(0) for code, h in lacking.items()}
    return _normal(r) if any(r.values()) else dict(weights)


def spread_pool(
    cohort: Mapping[str, Pool], pool: Pool, weights: Mapping[str, Fraction], kind: str
) -> Fraction:
    """Steps 1, 2 and 4: spread all that is left of a pool. Returns how much that was."""
    rest = pool.rest
    if rest:
        inside = [pool, *(cohort[part] for part in pool.parts)]
        located = added(by_code(each.places) for each in inside)
        for code, r in spreading(weights, pool.reported, located).items():
            pool.put(code, kind, rest * r)
        pool.rest = Fraction(0)
    return rest


class Placing(NamedTuple):
    """What happened to the rests: what each belief placed, and what would be under each prior."""

    beliefs: dict[str, tuple[str, Fraction]]
    before_5: dict[str, Fraction]
    rest: Fraction
    under: list[dict[str, Fraction]]


class Placed(dict[str, tuple[str, Fraction]]):
    """What each belief placed, with its kind."""

    def note(self, id_: str, kind: str, h: Fraction) -> None:
        """Add what a belief placed; one that places nothing is left out (7)."""
        if h:
            self[id_] = (kind, self.get(id_, (kind, Fraction(0)))[1] + h)


def locate(
    cohort: Mapping[str, Pool],
    world: World,
    day: int,
    prior: str,
    network: tuple[Fraction | None, Fraction | None],
) -> Placing:
    """Section 5.1, on the pools of the cohort. ``network``: ``H``, and over the profile days."""
    placed = Placed()
    # "Which come before their whole in 1, 2 and 4": what is part of it is located before it.
    order = sorted(cohort.values(), key=lambda pool: len(pool.parts))
    for pool in order:
        if pool.profile:
            spread_pool(cohort, pool, _normal(pool.profile), "estimated")
        elif own := of_pool(world, pool.name, "declared", day):
            placed.note(own.id, "declared", spread_pool(cohort, pool, own.weights, "declared"))
    evidence = {name: dict(pool.places) for name, pool in cohort.items()}
    claims = floors(world, day)
    named = sorted({claim.pools for claim in claims if claim.pools is not None})
    for group in (*named, None):
        ours = [claim for claim in claims if claim.pools == group]
        for id_, h in place_claims(ours, group, cohort, evidence, network).items():
            placed.note(id_, "declared", h)
    for pool in order:
        if own := of_pool(world, pool.name, "prior", day):
            placed.note(own.id, "prior", spread_pool(cohort, pool, own.weights, "prior"))
    return spread_network(cohort, in_force(world.beliefs.get("network", ()), day), prior, placed)


def spread_network(
    cohort: Mapping[str, Pool], priors: Sequence[Distribution], prior: str, placed: Placed
) -> Placing:
    """Step 5: one ``r`` for all pools, each as large as over the profile days."""
    whole = sum((pool.total * pool.growth for pool in cohort.values()), Fraction(0))
    usual = added(by_code(pool.places, scale=pool.growth) for pool in cohort.values())
    ratios = {each.id: spreading(each.weights, whole, usual) for each in priors}
    chosen = next(iter(ratios), None) if prior == "default" else prior
    before = added(by_code(pool.places) for pool in cohort.values())
    rest = sum((pool.rest for pool in cohort.values()), Fraction(0))
    if chosen in ratios:
        for pool in cohort.values():
            for code, r in ratios[chosen].items():
                pool.put(code, "prior", pool.rest * r)
        placed.note(chosen, "prior", rest)
    return Placing(placed, before, rest, list(ratios.values()))


def place_claims(
    claims: Sequence[Floor],
    group: tuple[str, ...] | None,
    cohort: Mapping[str, Pool],
    evidence: Mapping[str, Hashrates],
    network: tuple[Fraction | None, Fraction | None],
) -> dict[str, Fraction]:
    """Step 3, for the claims with one set of pools. Returns what each claim placed."""
    pools = [pool for name, pool in cohort.items() if group is None or name in group]
    counted = EVIDENCE if group is not None else ("measured", "estimated")
    a_at = added(by_code(evidence[pool.name], counted) for pool in pools)
    total = sum((pool.total for pool in cohort.values()), Fraction(0))
    h = network[0] or network[1]
    seen = min(Fraction(1), total / h) if h else Fraction(0)
    amounts = {c.id: c.e if group is not None else c.e * seen for c in claims}
    f_at = added({claim.place: amounts[claim.id]} for claim in claims)
    wants = {
        c.id: wanted(c.place, f_at, a_at) * amounts[c.id] / f_at[c.place] if f_at[c.place] else 0
        for c in claims
    }
    smallest = ROUNDING * sum((pool.total for pool in pools), Fraction(0))
    wants = {id_: want if want >= smallest else Fraction(0) for id_, want in wants.items()}
    all_wants = sum(wants.values(), Fraction(0))
    rests = sum((pool.rest for pool in pools), Fraction(0))
    if not all_wants or not rests:
        return {}
    part = min(Fraction(1), rests / all_wants)
    for pool in pools:
        for claim in claims:
            pool.put(claim.place, "declared", wants[claim.id] * part * pool.rest / rests)
    for pool in pools:
        left = pool.rest - all_wants * part * pool.rest / rests
        pool.rest = left if left >= ROUNDING * pool.total else Fraction(0)
    return {id_: want * part for id_, want in wants.items()}


def wanted(place: str, f: Mapping[str, Fraction], a: Mapping[str, Fraction]) -> Fraction:
    """What the claims at one place add together: the two formulas of 5.1."""

    def at(table: Mapping[str, Fraction], code: str) -> Fraction:
        return table.get(code, Fraction(0))

    def over(x: Fraction) -> Fraction:
        return max(Fraction(0), x)

    c = country_of(place)
    inside = {q for q in (*f, *a) if country_of(q) == c and q not in {c, f"{c}-OTHER"}}
    d = sum((over(at(f, q) - at(a, q)) for q in inside), Fraction(0))
    s = sum((over(at(a, q) - at(f, q)) for q in inside), Fraction(0))
    a0 = at(a, c) + at(a, f"{c}-OTHER")
    if place == c:
        return over(at(f, c) - s - over(a0 - d))
    return over(at(f, place) - at(a, place)) * over(d - a0) / d if d else Fraction(0)


# --- shares (7) -----------------------------------------------------------------------------------


def hashrate_at(pools: Iterable[Pool], country: str | None) -> dict[str, dict[str, Fraction]]:
    """``h`` by place and kind: countries, or the subdivisions of one; each place that is named.

    A subdivision that is named with 0 names its country too.
    """
    result: dict[str, dict[str, Fraction]] = {}
    for pool in pools:
        for (code, kind), h in pool.places.items():
            if country is not None and not code.startswith(f"{country}-"):
                continue
            at = code if country is not None else country_of(code)
            kinds = result.setdefault(at, dict.fromkeys(KINDS, Fraction(0)))
            kinds[kind] += h
    return result


def in_all(pools: Iterable[Pool], kinds: Sequence[str]) -> Fraction:
    """What is located of some kinds, wherever."""
    tables = [by_code(pool.places, kinds) for pool in pools]
    return sum((sum(table.values(), Fraction(0)) for table in tables), Fraction(0))


def shares_in(
    located: Mapping[str, Fraction], country: str | None
) -> dict[str, tuple[Fraction, Fraction]]:
    """``share`` and ``share_of_country``, of places; empty if nothing is located there."""
    whole = sum(located.values())
    inside = {q: h for q, h in located.items() if country and q.startswith(f"{country}-")}
    if country is None:
        inside = added({country_of(code): h} for code, h in located.items())
    listed = sum(inside.values())
    if not whole or not listed:
        return {}
    if country is None:
        return {code: (h / whole, Fraction(1)) for code, h in inside.items()}
    of_world = sum((h for q, h in located.items() if country_of(q) == country), Fraction(0)) / whole
    return {code: (h / listed * of_world, h / listed) for code, h in inside.items()}


def answer(
    world: World,
    window_name: str,
    as_of: datetime,
    country: str | None = None,
    adjust: str = "published",
    prior: str = "default",
) -> dict[str, Any]:
    """The computed fields of an answer, in the shape of ``/api/v1/shares``.

    Args:
        world: messages and beliefs.
        window_name: ``now``, ``1h``, ``24h``, ``7d``, ``30d``, a month, a day or an hour.
        as_of: the time of the query.
        country: the country whose subdivisions are listed; if ``None``, countries are.
        adjust: ``published`` for the rules, ``none`` for none.
        prior: ``default``, ``none`` or the id of a network prior.
    """
    if adjust == "none":
        world = replace(world, beliefs={**world.beliefs, "rules": []})
    window = window_of(window_name, as_of)
    if not window.minutes:
        nulls = ("network", "coverage", "located", "measured_coverage", "declared_coverage")
        empty: dict[str, Any] = {"beliefs": [], "cohort": [], "excluded": [], "shares": []}
        return {**dict.fromkeys((*nulls, "evidence")), **empty}
    sources, network_sources = sources_of(world)
    cohort = cohort_of(sources, window, world)
    network = network_of(network_sources, window)
    h = network[1] if network else None
    usual = usual_network(network_sources, window)
    placing = locate(cohort, world, day_of(window), prior, (h, usual))
    pools = list(cohort.values())
    total = sum((p.total for p in pools), Fraction(0))
    located, seen = in_all(pools, KINDS), in_all(pools, EVIDENCE)
    measured, stated = in_all(pools, ["measured"]), in_all(pools, ["measured", "declared"])
    excluded = {p: why_excluded(s, window) for p, s in sorted(sources.items()) if p not in cohort}
    rows = [
        _row(code, country, pools, h, placing if prior == "default" else None)
        for code in shares_in(added(by_code(p.places) for p in pools), country)
    ]
    beliefs = [{"id": i, "kind": kind, "hashrate": x} for i, (kind, x) in placing.beliefs.items()]
    return {
        "network": {"source": network[0], "hashrate": network[1]} if network else None,
        "coverage": total / h if h else None,
        "located": located / total if total else None,
        "measured_coverage": measured / h if h else None,
        "declared_coverage": stated / h if h else None,
        "evidence": seen / located if located else None,
        "beliefs": ordered(beliefs, "hashrate", "id"),
        "cohort": [{"pool": pool.name, "source": pool.source} for pool in pools],
        "excluded": [{"pool": p, "reason": why} for p, why in excluded.items() if why],
        "shares": ordered(rows, "share", "code"),
    }


def ordered(rows: Iterable[dict[str, Any]], figure: str, name: str) -> list[dict[str, Any]]:
    """Rows by figure descending, then by name; what differs by too little counts as equal."""
    result: list[dict[str, Any]] = []
    left = sorted(rows, key=lambda row: (-row[figure], row[name]))
    while left:
        same = [row for row in left if row[figure] >= left[0][figure] * (1 - SAME)]
        result += sorted(same, key=lambda row: str(row[name]))
        left = left[len(same) :]
    return result


def _row(
    code: str,
    country: str | None,
    pools: Sequence[Pool],
    h: Fraction | None,
    placing: Placing | None,
) -> dict[str, Any]:
    located = [by_code(pool.places) for pool in pools]
    share, inside = shares_in(added(located), country)[code]
    kinds = hashrate_at(pools, country)[code]
    evidence = sum(kinds[kind] for kind in EVIDENCE)
    known = evidence / sum(kinds.values()) if sum(kinds.values()) else None
    low, high = bounds(code, country, pools, h, ["measured"])
    declared_low, declared_high = bounds(code, country, pools, h, ["measured", "declared"])
    certain = known is not None and known >= Fraction(1, 2) * (1 - SAME)
    row = {
        "code": code,
        "share": share,
        "hashrate": evidence,
        "network_hashrate": None if h is None else share * h,
        "evidence": known,
        "low": low,
        "high": high,
        "declared_low": declared_low,
        "declared_high": declared_high,
        "sensitivity": leave_one_out(code, country, located) if certain else None,
        "belief": belief(code, country, placing) if placing else None,
        "kinds": kinds,
    }
    return row if country is None else {**row, "share_of_country": inside}


# --- how sure (8) ---------------------------------------------------------------------------------


def bounds(
    code: str,
    country: str | None,
    pools: Sequence[Pool],
    h: Fraction | None,
    kinds: Sequence[str],
) -> tuple[Fraction | None, Fraction | None]:
    """``low`` and ``high``, on hashrate of these kinds alone."""
    if h is None:
        return None, None
    h = max(h, sum((pool.total for pool in pools), Fraction(0)))
    m = added(by_code(pool.places, kinds) for pool in pools)
    here = sum(x for q, x in m.items() if q == code or (country is None and country_of(q) == code))
    low = Fraction(here) / h
    high = low + 1 - sum(m.values()) / h
    if country is not None:
        finer = {country, f"{country}-OTHER"} - {code}
        high += sum(m.get(q, Fraction(0)) for q in finer) / h
    return min(Fraction(1), low), min(Fraction(1), high)


def leave_one_out(
    code: str, country: str | None, located: Sequence[Mapping[str, Fraction]]
) -> tuple[Fraction, Fraction] | None:
    """``sensitivity``: the range with one pool left out, where that still locates something.

    "Still lists that country's subdivisions" means hashrate above 0 there: 0 of 0 is no share.
    """
    if len(located) < 2:  # null: there is no pool to leave out
        return None
    without = [added((*located[:n], *located[n + 1 :])) for n in range(len(located))]
    return _range(code, [shares for one in without if (shares := shares_in(one, country))])


def belief(code: str, country: str | None, placing: Placing) -> tuple[Fraction, Fraction] | None:
    """The range over every network prior in force."""
    if len(placing.under) < 2:
        return None
    tables = [
        added([placing.before_5, {code: placing.rest * r for code, r in ratios.items()}])
        for ratios in placing.under
    ]
    return _range(code, [shares_in(table, country) for table in tables])


def _range(
    code: str, tables: Sequence[Mapping[str, tuple[Fraction, Fraction]]]
) -> tuple[Fraction, Fraction] | None:
    seen = [shares[code][0] if code in shares else Fraction(0) for shares in tables]
    return (min(seen), max(seen)) if seen else None

"""Comparisons of two windows over the same pools, by the same sources (method.md 9). Pure.

A share moves when hashrate moves, but also when a pool stops reporting or changes its source. Here
only pools count that one source covers in both windows, so what differs is hashrate.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import msgspec

from miningmap.messages import BASES, KINDS
from miningmap.places import OTHER, OTHER_SUFFIX, country_of
from streams.method.beliefs import BeliefsInForce, Ratio
from streams.method.cohort import SAME, Cohort, is_eligible, members_of, representative_source
from streams.method.observations import Observation
from streams.method.placing import REMAINDER_TOLERANCE, missing, place
from streams.method.relabelling import relabelled
from streams.method.shares import HashrateByKind, in_order
from streams.method.windows import parse_window

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from miningmap.messages import Kind
    from streams.method.beliefs import Beliefs, Hashrate, Rule, Weights
    from streams.method.cells import PlaceKind, Places
    from streams.method.observations import ObservedPools, SumReader
    from streams.method.placing import PlacedPool
    from streams.method.windows import Window

MAX_DIFFERENCE: Final[Ratio] = 0.1
"""A pool takes part if the part of it that its reports place differs by at most this between the
windows: a feed of places that stops or begins is no move of hashrate."""

MAX_DELTA: Final[Ratio] = 1e300
"""The largest delta of a pool: a pool that had next to nothing can have one that is not finite,
which JSON cannot write."""

_MINED: Final = BASES.index("mined")


class Pair(NamedTuple):
    """Two windows that are compared, by their names."""

    short: str
    long: str

    @property
    def name(self) -> str:
        """The name of the pair, such as ``1h/24h``."""
        return f"{self.short}/{self.long}"


PAIRS: Final = (Pair("1h", "24h"), Pair("24h", "7d"))


class Subject(NamedTuple):
    """What can swing: a place, or a pool as one source reports it. The order is that of events."""

    pair: str
    is_pool: bool
    name: str
    """The code of the place or the slug of the pool."""
    source: str = ""
    """Of a pool."""


WORLD: Final = ""
"""The level of countries; every other level is that of a country's subdivisions, by its code."""


def level_of(code: str) -> str:
    """Return the level at which a place is compared."""
    country = country_of(code)
    return WORLD if code == country else country


class Deltas(msgspec.Struct, frozen=True):
    """The deltas of one comparison; those that are missing are undefined.

    Attributes:
        places: by level, then by place.
        pools: by pool, then by the source that was compared.
    """

    places: dict[str, dict[str, Ratio]] = {}
    pools: dict[str, dict[str, Ratio]] = {}

    def of(self, subject: Subject) -> Ratio | None:
        """Return the delta of a subject; ``None`` if it is undefined.

        A place that no pool has any more has 0, as long as its level is compared.
        """
        if subject.is_pool:
            return self.pools.get(subject.name, {}).get(subject.source)
        level = self.places.get(level_of(subject.name))
        return None if level is None else level.get(subject.name, 0.0)

    def subjects(self, pair: Pair) -> Iterator[tuple[Subject, Ratio]]:
        """Yield all that is compared, and its delta."""
        for level in self.places.values():
            for code, delta in level.items():
                yield Subject(pair.name, is_pool=False, name=code), delta
        for pool, sources in self.pools.items():
            for source, delta in sources.items():
                yield Subject(pair.name, is_pool=True, name=pool, source=source), delta


HourDeltas: TypeAlias = dict[str, Deltas]
"""The deltas at the start of one hour, by the name of the pair; some pairs can be missing."""


# --- what moved -----------------------------------------------------------------------------------


class Contribution(NamedTuple):
    """What one pool adds to the delta of a place."""

    pool: str
    delta: Ratio


@dataclass(frozen=True)
class PlaceMove:
    """The share of one place in both windows, and who moved it.

    Attributes:
        short: its share in the short window.
        long: its share in the long window.
        own: what the difference would be, had only the hashrate at this place changed.
        with_rest: what it would be, had the hashrate that nobody located moved with its pools.
        contributions: of every pool that takes part, the largest first; they add up to the delta.
        kinds: the hashrate at the place in the short window.
    """

    short: Ratio
    long: Ratio
    own: Ratio
    with_rest: Ratio
    contributions: Sequence[Contribution]
    kinds: HashrateByKind


@dataclass(frozen=True)
class Side:
    """What the pools of a level locate in one window. Hashrates are means, in H/s.

    Attributes:
        tables: by pool, the hashrate at each place of the level.
        country: what they locate in the country of the level, known by subdivision or not; for the
            level of countries all that they locate.
        located: all that they locate.
    """

    tables: Mapping[str, Places]
    country: Hashrate
    located: Hashrate

    @cached_property
    def places(self) -> Mapping[str, Hashrate]:
        """The hashrate at each place of the level, of all pools and kinds."""
        sums: defaultdict[str, Hashrate] = defaultdict(float)
        for places in self.tables.values():
            for (code, _), hashrate in places.items():
                sums[code] += hashrate
        return sums

    @cached_property
    def listed(self) -> Hashrate:
        """The hashrate at all places of the level."""
        return sum(self.places.values())

    def share(self, hashrate: Hashrate) -> Ratio:
        """Return the share that a hashrate at a place of the level amounts to."""
        return hashrate / self.listed * (self.country / self.located)

    def share_of(self, code: str) -> Ratio:
        """Return the share of a place; 0 if no pool has it."""
        return self.share(self.places.get(code, 0.0))

    def kinds_at(self, code: str) -> HashrateByKind:
        """Return the hashrate at a place by kind."""
        tables = self.tables.values()
        sums = (sum(table.get((code, kind), 0.0) for table in tables) for kind in KINDS)
        return HashrateByKind(*sums)

    def share_by(self, pool: str, code: str) -> Ratio:
        """Return what a pool contributes to the share of a place."""
        table = self.tables[pool]
        return self.share(sum(h for (listed, _), h in table.items() if listed == code))


class Rest(NamedTuple):
    """What nobody located of the pools of a level, in both windows. Hashrates are means, in H/s.

    Attributes:
        short: how much it is in the short window.
        long: how much it is in the long window; the sides of a level have this one in both windows.
        ratios: the part of it that the network's prior places in each country.
    """

    short: Hashrate
    long: Hashrate
    ratios: Mapping[str, Ratio]


NO_REST: Final = Rest(0.0, 0.0, {})


@dataclass(frozen=True)
class Level:
    """All countries, or all subdivisions of one country, in both windows, over the same pools."""

    short: Side
    long: Side
    simulated: bool
    """Whether any value of these pools is simulated."""
    rest: Rest = NO_REST
    """Of countries only: subdivisions are compared by what reports list."""

    @property
    def is_compared(self) -> bool:
        """Whether both windows have hashrate there; otherwise no delta is defined."""
        return self.short.listed > 0 and self.long.listed > 0

    @cached_property
    def deltas(self) -> dict[str, Ratio]:
        """The difference of the shares of each place that has hashrate in one of the windows."""
        codes = {
            c: None for side in (self.short, self.long) for c, h in side.places.items() if h > 0
        }
        return {
            code: self.short.share_of(code) - self.long.share_of(code)
            for code in codes
            if code != OTHER and not code.endswith(OTHER_SUFFIX)
        }

    def move(self, code: str) -> PlaceMove:
        """Return how a place moved, and why."""
        short, long = self.short, self.long
        contributions = [
            Contribution(pool, short.share_by(pool, code) - long.share_by(pool, code))
            for pool in short.tables
        ]
        return PlaceMove(
            short=short.share_of(code),
            long=long.share_of(code),
            own=self.own(code),
            with_rest=self.with_rest(code),
            contributions=in_order(contributions, lambda c: abs(c.delta), lambda c: c.pool),
            kinds=short.kinds_at(code),
        )

    def own(self, code: str) -> Ratio:
        """Return what the delta would be, had only the hashrate at this place changed."""
        now = self.short.share_of(code) * self.short.located
        before = self.long.share_of(code) * self.long.located
        # Nothing else can be located, which rounding must not turn into less than nothing.
        elsewhere = max(0.0, self.long.located - before)
        share = now / (now + elsewhere) if now > 0 else 0.0
        return share - before / self.long.located

    def with_rest(self, code: str) -> Ratio:
        """Return what the delta would be, had what nobody located moved with its pools."""
        change = self.rest.short - self.rest.long
        ratios = self.rest.ratios
        located = self.short.located + change * sum(ratios.values())
        if not ratios or located <= 0:
            return self.short.share_of(code) - self.long.share_of(code)
        at_place = self.short.places.get(code, 0.0) + change * ratios.get(code, 0.0)
        return at_place / located - self.long.share_of(code)


class Part(NamedTuple):
    """The part of a pool at a place, by how it is known."""

    code: str
    kind: Kind
    part: Ratio


@dataclass(frozen=True)
class PoolMove:
    """The mean hashrate of a pool in both windows (H/s), by one source."""

    source: str
    short: Hashrate
    long: Hashrate
    placed: PlacedPool
    """The pool in the long window, without what the network's prior places."""
    simulated: bool

    @property
    def delta(self) -> Ratio:
        """How much of the hashrate of the long window was added or lost."""
        return min(self.short / self.long - 1, MAX_DELTA)

    def places(self) -> Sequence[Part]:
        """Return where the pool is thought to be, the largest part first."""
        parts = [
            Part(code, kind, hashrate / self.long)
            for (code, kind), hashrate in self.placed.places.items()
            if hashrate > 0
        ]
        return in_order(parts, lambda part: part.part, lambda part: f"{part.code} {part.kind}")


@dataclass(frozen=True)
class Comparison:
    """One pair of windows compared at one time.

    Attributes:
        pair: its windows.
        levels: those at which both windows have hashrate.
        pools: by slug, those with hashrate in the long window.
    """

    pair: Pair
    levels: Mapping[str, Level]
    pools: Mapping[str, PoolMove]

    @cached_property
    def deltas(self) -> Deltas:
        """The delta of everything that is compared."""
        return Deltas(
            {name: level.deltas for name, level in self.levels.items()},
            {pool: {move.source: move.delta} for pool, move in self.pools.items()},
        )

    def at(self, code: str) -> Level:
        """Return the level of a place whose delta is defined."""
        return self.levels[level_of(code)]


# --- comparing ------------------------------------------------------------------------------------


class Comparisons:
    """Compares windows over a set of cells.

    What two comparisons in a row share, such as the long window of an hour, is computed once.
    """

    def __init__(self, cells: SumReader, beliefs: Beliefs) -> None:
        self._cells = cells
        self._beliefs = beliefs
        self._in_force: tuple[int | None, BeliefsInForce] = (None, BeliefsInForce())
        self._observed: dict[str, tuple[Window, ObservedPools]] = {}
        self._long: dict[Pair, tuple[Window, Mapping[str, str], Mapping[str, PlacedPool]]] = {}
        self._last: dict[Pair, tuple[Window, Window, Comparison]] = {}

    def at(self, at: datetime, pair: Pair) -> Comparison:
        """Return the comparison of a pair of windows as seen at a time."""
        short, long = parse_window(pair.short, at), parse_window(pair.long, at)
        last = self._last.get(pair)
        if last is None or last[:2] != (short, long):
            last = short, long, self._compare(pair, short, long)
            self._last[pair] = last
        return last[2]

    def _compare(self, pair: Pair, short: Window, long: Window) -> Comparison:
        beliefs = self._beliefs_of(long)
        chosen = self._sources(short, long)
        before = self._placed_long(pair, long, chosen, beliefs)
        now = self._placed(short, chosen, beliefs)
        compared = {slug: _Compared(now[slug], before[slug]) for slug in chosen}
        taking_part = {slug: pool for slug, pool in compared.items() if pool.takes_part}
        countries = _countries(taking_part, beliefs)
        levels = {WORLD: countries} | _subdivisions(taking_part, self._beliefs.rules)
        return Comparison(
            pair,
            {name: level for name, level in levels.items() if level.is_compared},
            {slug: pool.move() for slug, pool in compared.items() if pool.has_any},
        )

    def _beliefs_of(self, long: Window) -> BeliefsInForce:
        """Return the beliefs that place hashrate in both windows, without claims."""
        day = long.day
        if day is not None and self._in_force[0] != day:
            self._in_force = day, replace(self._beliefs.on(day), claims=())
        return self._in_force[1]

    def _sources(self, short: Window, long: Window) -> dict[str, str]:
        """Return the source that represents each pool that can be compared.

        Counts of blocks cannot: an average of a day's luck in finding blocks is no move.
        """
        chosen = {}
        now, before = self._observe(short), self._observe(long)
        for pool, sources in sorted(before.items()):
            usable = {
                source: observation
                for source, observation in sources.items()
                if _is_usable(observation, long) and _is_usable(now[pool][source], short)
            }
            source = representative_source(usable, long.span.minutes)
            if source is not None:
                chosen[pool] = source
        return chosen

    def _observe(self, window: Window) -> ObservedPools:
        known = self._observed.get(window.name)
        if known is None or known[0] != window:
            known = window, self._read(window)
            self._observed[window.name] = known
        return known[1]

    def _read(self, window: Window) -> ObservedPools:
        pools: ObservedPools = {}
        for series in self._cells.series():
            if series.pool is not None:
                pools.setdefault(series.pool, {})[series.source] = Observation(
                    window_sum=self._cells.sum(series, window.span),
                    profile_sum=self._cells.sum(series, window.profile),
                    seen_before=False,  # only a list of excluded pools needs it
                )
        return pools

    def _placed_long(
        self, pair: Pair, long: Window, chosen: Mapping[str, str], beliefs: BeliefsInForce
    ) -> Mapping[str, PlacedPool]:
        known = self._long.get(pair)
        if known is None or known[:2] != (long, chosen):
            known = long, chosen, self._placed(long, chosen, beliefs)
            self._long[pair] = known
        return known[2]

    def _placed(
        self, window: Window, chosen: Mapping[str, str], beliefs: BeliefsInForce
    ) -> dict[str, PlacedPool]:
        """Return the pools with what their reports, profiles and own distributions locate."""
        members = members_of(self._observe(window), chosen, self._beliefs)
        cohort = Cohort(members, {}, None, None, None, simulated=False)
        # The network's prior is applied to both windows alike, by _network_prior.
        without_network = replace(beliefs, network=())
        placement = place(cohort, without_network, self._beliefs.rules, prior=None)
        return {pool.member.pool: pool for pool in placement.pools}


def _is_usable(observation: Observation, window: Window) -> bool:
    cell = observation.window_sum
    return is_eligible(cell, window.span.minutes) and cell.basis != _MINED


class _Compared(NamedTuple):
    """One pool in both windows, as far as all but the network's prior places it."""

    now: PlacedPool
    before: PlacedPool

    @property
    def takes_part(self) -> bool:
        """Whether its reports place a similar part of it in both windows."""
        return _similar(*(_ratio(p.member.located.total, p.member.reported_total) for p in self))

    @property
    def has_any(self) -> bool:
        """Whether it had hashrate beside that of its parts, rounding errors aside."""
        member = self.before.member
        return member.total > REMAINDER_TOLERANCE * member.reported_total

    @property
    def simulated(self) -> bool:
        """Whether any of its values is simulated."""
        return any(pool.member.simulated for pool in self)

    def move(self) -> PoolMove:
        """Return how its hashrate moved."""
        member = self.before.member
        return PoolMove(
            member.source, self.now.member.total, member.total, self.before, self.simulated
        )


def _ratio(part: Hashrate, whole: Hashrate) -> Ratio | None:
    return part / whole if whole > 0 else None


def _similar(now: Ratio | None, before: Ratio | None) -> bool:
    """Return whether two parts differ little; a part of nothing differs from none."""
    return now is None or before is None or abs(now - before) <= MAX_DIFFERENCE + SAME


def _level(short: Side, long: Side, pools: Iterable[_Compared], rest: Rest = NO_REST) -> Level:
    return Level(short, long, any(pool.simulated for pool in pools), rest)


# --- countries ------------------------------------------------------------------------------------


def _countries(pools: Mapping[str, _Compared], beliefs: BeliefsInForce) -> Level:
    ratios = _network_prior({slug: pool.before for slug, pool in pools.items()}, beliefs)
    # The remainders of the long window are placed in both: what nobody located does not swing.
    prior: dict[str, Places] = {
        slug: {(code, "prior"): pool.before.remainder * ratio for code, ratio in ratios.items()}
        for slug, pool in pools.items()
        if pool.before.remainder > 0
    }
    short, long = (
        _by_country({slug: [pool[i].places, prior.get(slug, {})] for slug, pool in pools.items()})
        for i in range(2)
    )
    return _level(short, long, pools.values(), _rest(pools.values(), ratios))


def _rest(pools: Collection[_Compared], ratios: Weights) -> Rest:
    """Return what nobody located in both windows, and where the network's prior places it."""
    by_country: defaultdict[str, Ratio] = defaultdict(float)
    for code, ratio in ratios.items():
        by_country[country_of(code)] += ratio
    return Rest(
        sum(pool.now.remainder for pool in pools),
        sum(pool.before.remainder for pool in pools),
        by_country,
    )


def _network_prior(pools: Mapping[str, PlacedPool], beliefs: BeliefsInForce) -> Weights:
    """Return where the network's prior places remainders, as parts of them; empty without one."""
    if not beliefs.network:
        return {}
    located: defaultdict[str, Hashrate] = defaultdict(float)
    for pool in pools.values():
        for (code, _), hashrate in pool.places.items():
            located[code] += hashrate
    whole = sum(pool.member.total for pool in pools.values())
    return missing(beliefs.network[0].weights, whole, located)


def _by_country(tables: Mapping[str, Iterable[Places]]) -> Side:
    folded: dict[str, Places] = {}
    for slug, of_pool in tables.items():
        sums: defaultdict[PlaceKind, Hashrate] = defaultdict(float)
        for places in of_pool:
            for (code, kind), hashrate in places.items():
                sums[country_of(code), kind] += hashrate
        folded[slug] = sums
    located = sum(sum(places.values()) for places in folded.values())
    return Side(folded, located, located)


# --- subdivisions ---------------------------------------------------------------------------------


def _subdivisions(pools: Mapping[str, _Compared], rules: Sequence[Rule]) -> dict[str, Level]:
    """Return the levels of subdivisions, by country.

    They are of what reports list alone: a pool's total does not tell which of its states fell.
    """
    now, before = (
        {slug: _Reported(relabelled(p[i].member.places, slug, rules)) for slug, p in pools.items()}
        for i in range(2)
    )
    levels = {}
    for country in sorted({country for reported in before.values() for country in reported.inside}):
        slugs = [
            slug
            for slug in pools
            if _similar(now[slug].finer(country), before[slug].finer(country))
        ]
        short, long = (
            _side_of(country, {slug: side[slug] for slug in slugs}) for side in (now, before)
        )
        levels[country] = _level(short, long, [pools[slug] for slug in slugs])
    return levels


class _Reported:
    """What one pool reports, by country: in H/s, and what of it is given by subdivision."""

    def __init__(self, places: Places) -> None:
        self.located = sum(places.values())
        self.countries: defaultdict[str, Hashrate] = defaultdict(float)
        self.inside: defaultdict[str, Places] = defaultdict(dict)
        for (code, kind), hashrate in places.items():
            country = country_of(code)
            self.countries[country] += hashrate
            if code != country:
                self.inside[country][code, kind] = hashrate

    def finer(self, country: str) -> Ratio | None:
        """Return the part of a country that is given by subdivision; ``None`` without any."""
        inside = self.inside.get(country, {})
        return _ratio(sum(inside.values()), self.countries.get(country, 0.0))


def _side_of(country: str, pools: Mapping[str, _Reported]) -> Side:
    return Side(
        {slug: reported.inside.get(country, {}) for slug, reported in pools.items()},
        sum(reported.countries.get(country, 0.0) for reported in pools.values()),
        sum(reported.located for reported in pools.values()),
    )

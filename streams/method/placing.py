"""Placing: where the hashrate is that no report locates (method.md 5). Pure.

Everything here is about one window. The steps of section 5.1 come one after the other, each for all
pools, and each takes from what the steps before it left of a pool: its remainder.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from miningmap.places import OTHER, country_of
from streams.method.beliefs import normalised
from streams.method.relabelling import relabelled

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from miningmap.messages import Kind
    from streams.method.beliefs import (
        Amount,
        BeliefsInForce,
        ClaimGroup,
        Distribution,
        Hashrate,
        Ratio,
        Rule,
        Weights,
    )
    from streams.method.cells import Places
    from streams.method.cohort import Cohort, Member

ByCode: TypeAlias = "Mapping[str, Hashrate]"
"""Hashrate by the code of a place, kinds added up."""

REMAINDER_TOLERANCE: Final[Ratio] = 1e-12
"""Remainders below this fraction of the total are floating-point error and count as zero."""


class Placed(NamedTuple):
    """What one belief placed, in H/s."""

    kind: Kind
    hashrate: Hashrate


@dataclass
class PlacedPool:
    """A pool of the cohort, as far as it is placed. Hashrates are means, in H/s.

    Attributes:
        member: what its source reports.
        places: where it is, by place and kind.
        remainder: the part of its total that has no place yet.
    """

    member: Member
    places: Places
    remainder: Hashrate

    def place(self, ratios: Weights, kind: Kind, hashrate: Hashrate) -> None:
        """Add a hashrate at places, in these ratios; the remainder is left as it is."""
        places = self.places
        for code, ratio in ratios.items():
            # Skip 0: a place with 0 H/s means that a report measured none there.
            if (there := ratio * hashrate) > 0:
                place = code, kind
                places[place] = places.get(place, 0.0) + there


@dataclass(frozen=True)
class Placement:
    """The cohort with its hashrate located.

    Attributes:
        cohort: the pools and what their reports locate.
        pools: in alphabetical order of their slugs.
        beliefs: what each belief placed, by its id.
        before_network_prior: the hashrate by place that steps 0 to 4 located.
        remainder: the hashrate that they did not.
        network_ratios: for each network prior in force, how it spreads the remainder.
    """

    cohort: Cohort
    pools: Sequence[PlacedPool]
    beliefs: Mapping[str, Placed]
    before_network_prior: ByCode
    remainder: Hashrate
    network_ratios: Mapping[str, Weights]


def place(
    cohort: Cohort, beliefs: BeliefsInForce, rules: Sequence[Rule], prior: str | None
) -> Placement:
    """Return the cohort with its hashrate located.

    Args:
        cohort: the pools and what their reports locate.
        beliefs: those in force on the day of the window.
        rules: the relabellings to apply.
        prior: the id of the network prior for what nothing else locates; ``None`` for none.
    """
    pools = {slug: _start(member, rules) for slug, member in cohort.members.items()}
    placed = _Placed()
    # Parts come before the pools that contain them.
    order = sorted(pools.values(), key=lambda pool: len(pool.member.parts))
    for pool in order:
        slug = pool.member.pool
        if pool.remainder <= 0:
            continue
        if pool.member.profile:
            weights = _profile(_Identity(pool.member.profile), slug, tuple(rules))
            _spread(pools, pool, weights, "estimated")
        elif own := beliefs.declared.get(slug):
            placed.add(own.id, "declared", _spread(pools, pool, _Nested(own.weights), "declared"))
    evidence = {slug: dict(pool.places) for slug, pool in pools.items()}
    for group in beliefs.claims:
        _place_claims(group, cohort, pools, evidence, placed)
    for pool in order:
        if own := beliefs.priors.get(pool.member.pool):
            placed.add(own.id, "prior", _spread(pools, pool, _Nested(own.weights), "prior"))
    before = _sum_by_code(pools.values())
    remainder = sum(pool.remainder for pool in pools.values())
    ratios = _network_ratios(pools.values(), beliefs.network, remainder)
    if prior in ratios:
        for pool in (pool for pool in order if pool.remainder > 0):
            pool.place(ratios[prior], "prior", pool.remainder)
            pool.remainder = 0.0
        placed.add(prior, "prior", remainder)
    return Placement(cohort, list(pools.values()), placed.by_id, before, remainder, ratios)


class _Placed:
    """What each belief placed; each of them places once."""

    def __init__(self) -> None:
        self.by_id: dict[str, Placed] = {}

    def add(self, id_: str, kind: Kind, hashrate: Hashrate) -> None:
        if hashrate > 0:
            self.by_id[id_] = Placed(kind, hashrate)


def _start(member: Member, rules: Iterable[Rule]) -> PlacedPool:
    remainder = _more(member.total - sum(member.places.values()), member.total)
    return PlacedPool(member, dict(relabelled(member.places, member.pool, rules)), remainder)


def _sum_by_code(pools: Iterable[PlacedPool]) -> dict[str, Hashrate]:
    sums: defaultdict[str, Hashrate] = defaultdict(float)
    for pool in pools:
        if not sums:
            sums.update({code: hashrate for (code, _), hashrate in pool.places.items()})
            if len(sums) == len(pool.places):
                continue
            sums.clear()  # some places are of several kinds
        for (code, _), hashrate in pool.places.items():
            sums[code] += hashrate
    return sums


# --- distributions --------------------------------------------------------------------------------


def _spread(
    pools: Mapping[str, PlacedPool], pool: PlacedPool, weights: _Nested, kind: Kind
) -> Hashrate:
    """Place all of a pool's remainder by a distribution of the whole pool; return how much it was.

    What is already located, at the pool and at its parts, counts towards the whole.
    """
    remainder = pool.remainder
    if remainder > 0:
        whole = pool.member.reported_total
        members = [pool, *(pools[part] for part in pool.member.parts)]
        pool.place(_missing(weights, whole, _sum_by_code(members)), kind, remainder)
        pool.remainder = 0.0
    return remainder


def _network_ratios(
    pools: Iterable[PlacedPool], priors: Iterable[Distribution], remainder: Hashrate
) -> dict[str, Weights]:
    """Return how each network prior spreads the remainders: one distribution for all pools.

    Each pool counts as large as it usually is, because a published distribution tells what the
    network looked like over weeks, not at this minute.
    """
    if remainder <= 0:  # then they are ratios of nothing
        return {prior.id: prior.weights for prior in priors}
    whole = 0.0
    located: defaultdict[str, Hashrate] = defaultdict(float)
    for pool in pools:
        growth = pool.member.growth
        whole += pool.member.total * growth
        for (code, _), hashrate in pool.places.items():
            located[code] += hashrate * growth
    return {prior.id: missing(prior.weights, whole, located) for prior in priors}


def missing(weights: Weights, whole: Hashrate, located: ByCode) -> Weights:
    """Return the distribution of what a distribution of the whole says of the part not located.

    Args:
        weights: the fraction of the whole at each place.
        whole: the hashrate that they describe, in H/s.
        located: what is located of it, in H/s.
    """
    return _missing(_Nested(weights), whole, located)


class _Nested:
    """Weights, and which of their places are inside others.

    Attributes:
        weights: the fraction of the whole at each place.
        subdivisions: the subdivisions that have a weight, with their ratios, by country.
    """

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.subdivisions = _subdivisions(weights)


class _Identity(NamedTuple):
    """Places that are the same only if they are the same object, so that they can be a key."""

    places: Places

    def __hash__(self) -> int:
        return id(self.places)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and other.places is self.places


@lru_cache(maxsize=1024)  # the hours of a day have the same profiles
def _profile(profile: _Identity, pool: str, rules: Sequence[Rule]) -> _Nested:
    """Return a profile as a distribution."""
    places = relabelled(profile.places, pool, rules)
    return _Nested(normalised({code: hashrate for (code, _), hashrate in places.items()}))


def _missing(nested: _Nested, whole: Hashrate, located: ByCode) -> Weights:
    counted, weights, error = _counted(nested, whole, located), nested.weights, _error(whole)
    lacking = {
        code: lack if (lack := weight * whole - counted.get(code, 0.0)) > error else 0.0
        for code, weight in weights.items()
    }
    return normalised(lacking) if any(lacking.values()) else weights


def _more(hashrate: Hashrate, whole: Hashrate) -> Hashrate:
    """Return a difference of hashrates; 0 if it is negative or floating-point error of a whole."""
    return hashrate if hashrate > _error(whole) else 0.0


def _error(whole: Hashrate) -> Hashrate:
    return REMAINDER_TOLERANCE * whole


def _counted(nested: _Nested, whole: Hashrate, located: ByCode) -> Mapping[str, Hashrate]:
    """Return how much of what is located counts towards each weight, in H/s."""
    weights, subdivisions = nested.weights, nested.subdivisions
    counted: defaultdict[str, Hashrate] = defaultdict(float)
    is_simple = located.keys() <= weights.keys()
    if is_simple:
        counted.update(located)
    for code, hashrate in () if is_simple else located.items():
        country = country_of(code)
        if code in weights:
            counted[code] += hashrate
        elif country in weights:
            counted[country] += hashrate
        elif code == country and country in subdivisions:
            _count_at(counted, subdivisions[country], hashrate)
        elif OTHER in weights:
            counted[OTHER] += hashrate
    for country, inner in subdivisions.items():
        if country in weights and counted[country] > weights[country] * whole:
            _count_at(counted, inner, counted[country] - weights[country] * whole)
    return counted


def _subdivisions(weights: Weights) -> dict[str, Weights]:
    """Return the subdivisions that have a weight, with their ratios, by country."""
    found: defaultdict[str, dict[str, Ratio]] = defaultdict(dict)
    for code, weight in weights.items():
        if country_of(code) != code and weight > 0:
            found[country_of(code)][code] = weight
    return {country: normalised(inner) for country, inner in found.items()}


def _count_at(counted: dict[str, Hashrate], ratios: Weights, hashrate: Hashrate) -> None:
    for code, ratio in ratios.items():
        counted[code] += hashrate * ratio


# --- claims ---------------------------------------------------------------------------------------


def _place_claims(
    group: ClaimGroup,
    cohort: Cohort,
    pools: Mapping[str, PlacedPool],
    evidence: Mapping[str, Places],
    placed: _Placed,
) -> None:
    """Place what the claims of one group add to what is known of the pools that they name."""
    slugs = pools.keys() if group.pools is None else group.pools & pools.keys()
    remainder = sum(pools[slug].remainder for slug in slugs)
    if remainder <= 0:
        return
    amounts = group.amounts
    if group.pools is None:
        ratio = _seen_ratio(cohort)
        amounts = [a._replace(hashrate=a.hashrate * ratio) for a in amounts]
    known = _evidence_at([evidence[slug] for slug in slugs], declared=group.pools is not None)
    whole = sum(pools[slug].member.total for slug in slugs)
    wanted = {claim: _more(h, whole) for claim, h in _wanted(amounts, known).items()}
    total = sum(wanted.values())
    if total <= 0:
        return
    taken_ratio = min(1.0, remainder / total)
    for claim, hashrate in wanted.items():
        placed.add(claim.id, "declared", hashrate * taken_ratio)
    for slug in slugs:
        pool = pools[slug]
        part = pool.remainder / remainder * taken_ratio
        for claim, hashrate in wanted.items():
            pool.place({claim.place: part}, "declared", hashrate)
        pool.remainder = _more(pool.remainder - total * part, pool.member.total)


def _seen_ratio(cohort: Cohort) -> Ratio:
    """Return the part of the network that the cohort is, for claims about machines at any pool."""
    network = cohort.usual_network if cohort.network is None else cohort.network
    total = sum(member.total for member in cohort.members.values())
    return min(1.0, total / network) if network else 0.0


def _evidence_at(places: Iterable[Places], *, declared: bool) -> Mapping[str, Hashrate]:
    """Return what is located by evidence at exactly each place.

    Args:
        places: of the pools concerned.
        declared: whether to count what a pool declares. For claims that name no pools it is not
            counted: the sites that a pool declares as its own are other machines.
    """
    sums: defaultdict[str, Hashrate] = defaultdict(float)
    for pool in places:
        for (code, kind), hashrate in pool.items():
            if kind in {"measured", "estimated"} or (declared and kind == "declared"):
                sums[code] += hashrate
    return sums


def _wanted(amounts: Sequence[Amount], known: Mapping[str, Hashrate]) -> dict[Amount, Hashrate]:
    """Return what each claim adds: only what nothing located can already be (method.md 5.1)."""
    claimed: defaultdict[str, Hashrate] = defaultdict(float)
    for amount in amounts:
        claimed[amount.place] += amount.hashrate
    at_place: dict[str, Hashrate] = {}
    for country in {country_of(place) for place in claimed}:
        at_place |= _wanted_in(country, claimed, known)
    return {
        amount: at_place[amount.place] * amount.hashrate / claimed[amount.place]
        for amount in amounts
        if claimed[amount.place] > 0
    }


def _wanted_in(
    country: str, claimed: Mapping[str, Hashrate], known: Mapping[str, Hashrate]
) -> dict[str, Hashrate]:
    inside = {
        code
        for code in (*claimed, *known)
        if country_of(code) == country and code not in {country, f"{country}-{OTHER}"}
    }
    more = {code: max(0.0, claimed.get(code, 0.0) - known.get(code, 0.0)) for code in inside}
    lacking = sum(more.values())
    surplus = sum(max(0.0, known.get(code, 0.0) - claimed.get(code, 0.0)) for code in inside)
    anywhere = known.get(country, 0.0) + known.get(f"{country}-{OTHER}", 0.0)
    ratio = max(0.0, lacking - anywhere) / lacking if lacking > 0 else 0.0
    wanted = {code: hashrate * ratio for code, hashrate in more.items()}
    left_anywhere = max(0.0, anywhere - lacking)
    wanted[country] = max(0.0, claimed.get(country, 0.0) - surplus - left_anywhere)
    return wanted

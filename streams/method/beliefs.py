"""Beliefs: what interprets messages without being one (method.md 5.0 and 6). Pure.

Days are numbered from the Unix epoch, in UTC. Weights add up to 1 here, whatever their scale was.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from streams.method.annotations import Annotation

Hashrate: TypeAlias = float
"""H/s, the mean over the window."""

Ratio: TypeAlias = float
"""A fraction, 0 to 1. Only a coverage can exceed 1: if pools report more than the network has."""

Weights: TypeAlias = "Mapping[str, Ratio]"
"""A distribution: the fraction of the whole (a pool, or the network) at each place."""


class Rule(NamedTuple):
    """A relabelling: hashrate at ``place`` belongs to the country's other subdivisions.

    ``applies_to``: the slugs of the pools that the rule applies to, or ``None`` for all pools.
    """

    id: str
    place: str
    applies_to: frozenset[str] | None


class Entry(NamedTuple):
    """The weights of a distribution from the day ``start`` on, until the day before ``until``."""

    start: int
    weights: Weights
    until: int | None = None


class Distribution(NamedTuple):
    """A distribution with its id, as it is on one day."""

    id: str
    weights: Weights


@dataclass(frozen=True)
class Document:
    """A dated distribution: of the network (``pool`` is ``None``) or of a pool."""

    id: str
    series: Sequence[Entry]
    pool: str | None = None
    declared: bool = False
    """Whether the pool itself says so; otherwise the distribution is assumed."""

    def on(self, day: int) -> Distribution | None:
        """Return the distribution in force on a day; ``None`` before the first and after the end.

        An entry without an end counts until the next begins.
        """
        begun = [entry for entry in self.series if entry.start <= day]
        latest = max(begun, key=lambda entry: entry.start, default=None)
        if latest is None or (latest.until is not None and latest.until <= day):
            return None
        return Distribution(self.id, latest.weights)


@dataclass(frozen=True)
class Claim:
    """A floor: by its source, at least ``at_least`` (H/s) operates at a place.

    Attributes:
        id: of the claim.
        place: where.
        at_least: how much, in H/s.
        start: the first day on which it counts.
        until: the day from which on it does not.
        pools: the pools that the machines are known to mine at; ``None`` if nothing is known.
        within: the id of the claim that contains this one, if any.
    """

    id: str
    place: str
    at_least: Hashrate
    start: int
    until: int
    pools: frozenset[str] | None = None
    within: str | None = None


class Amount(NamedTuple):
    """What a claim in force has beside the claims that it contains (H/s)."""

    id: str
    place: str
    hashrate: Hashrate


@dataclass(frozen=True)
class ClaimGroup:
    """The claims in force that are known to mine at the same pools; ``None``: at any pool."""

    pools: frozenset[str] | None
    amounts: Sequence[Amount]


@dataclass(frozen=True)
class BeliefsInForce:
    """The beliefs that count on one day.

    Attributes:
        network: the priors of the network; the first is the default.
        declared: the declared distribution of each pool that has one.
        priors: the own prior of each pool that has one.
        claims: the claims by groups, in the order in which they are placed.
    """

    network: Sequence[Distribution] = ()
    declared: Mapping[str, Distribution] = field(default_factory=dict)
    priors: Mapping[str, Distribution] = field(default_factory=dict)
    claims: Sequence[ClaimGroup] = ()


@dataclass(frozen=True)
class Beliefs:
    """All beliefs of one installation, of all days.

    Attributes:
        network: distributions of the network; of those in force the first is the default prior.
        pools: distributions of pools; of those in force the first of its kind counts for a pool.
        claims: floors.
        part_of: the whole of each pool that is part of another one.
        rules: the relabellings, in the order in which they are applied.
        annotations: calendars to show on swings; no figure depends on them.
    """

    network: Sequence[Document] = ()
    pools: Sequence[Document] = ()
    claims: Sequence[Claim] = ()
    part_of: Mapping[str, str] = field(default_factory=dict)
    rules: Sequence[Rule] = ()
    annotations: Sequence[Annotation] = ()

    def on(self, day: int) -> BeliefsInForce:
        """Return the beliefs that count on a day."""
        return BeliefsInForce(
            network=[found for document in self.network if (found := document.on(day))],
            declared=self._of_pools(day, declared=True),
            priors=self._of_pools(day, declared=False),
            claims=_groups(self.claims, day),
        )

    def _of_pools(self, day: int, *, declared: bool) -> dict[str, Distribution]:
        found: dict[str, Distribution] = {}
        for document in self.pools:
            if document.declared is declared and document.pool is not None:
                distribution = document.on(day)
                if distribution is not None:
                    found.setdefault(document.pool, distribution)
        return found

    def wholes_of(self, pool: str) -> Iterable[str]:
        """Return the pools that contain a pool, the nearest first."""
        while pool in self.part_of:
            pool = self.part_of[pool]
            yield pool


def normalised(weights: Mapping[str, float]) -> Weights:
    """Return the weights divided by their sum, which must be more than 0."""
    total = sum(weights.values())
    return {code: weight / total for code, weight in weights.items()}


def contents_on(claims: Iterable[Claim], day: int) -> dict[str, list[Claim]]:
    """Return the claims in force on a day by their ids, each as what it contains directly.

    A claim within one that is not in force is within the next one around it that is.
    """
    known = {claim.id: claim for claim in claims}
    contents: dict[str, list[Claim]] = {
        claim.id: [] for claim in known.values() if claim.start <= day < claim.until
    }
    for id_ in contents:
        container = known[id_].within
        while container is not None and container not in contents:
            container = known[container].within
        if container is not None:
            contents[container].append(known[id_])
    return contents


def contained(id_: str, contents: Mapping[str, Sequence[Claim]]) -> Hashrate:
    """Return what a claim contains: each content by its own figure, or by its contents' if more."""
    return sum(max(c.at_least, contained(c.id, contents)) for c in contents[id_])


def _groups(claims: Sequence[Claim], day: int) -> list[ClaimGroup]:
    """Return the claims in force by the pools that they name; those that name none come last."""
    contents = contents_on(claims, day)
    groups: defaultdict[frozenset[str] | None, list[Amount]] = defaultdict(list)
    for claim in claims:
        if claim.id in contents:
            amount = max(0.0, claim.at_least - contained(claim.id, contents))
            groups[claim.pools].append(Amount(claim.id, claim.place, amount))
    order = sorted(groups, key=lambda pools: (pools is None, sorted(pools or ())))
    return [ClaimGroup(pools, groups[pools]) for pools in order]

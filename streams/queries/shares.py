"""Answers of ``/api/v1/shares``, from the observations of a window. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from msgspec import structs

from miningmap.api.models import (
    Answer,
    CohortPool,
    ExcludedPool,
    KindSplit,
    NetworkHashrate,
    PlacedByBelief,
    ShareRow,
    SubdivisionRow,
)
from miningmap.places import flags_of, name_of
from streams.method.beliefs import BeliefsInForce
from streams.method.cohort import Earlier, cohort_of
from streams.method.observations import observe
from streams.method.placing import place
from streams.method.shares import Shares, in_order
from streams.queries.parameters import DEFAULT_PRIOR, NO_PRIOR, ParameterError, quoted

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from miningmap.api.models import Adjust
    from streams.method.beliefs import Beliefs, Ratio
    from streams.method.cohort import Cohort
    from streams.method.observations import CellReader, Observations
    from streams.method.shares import Share
    from streams.method.windows import Window
    from streams.queries.parameters import SharesQuery

STATED: Final = "stated coverage"
"""The source of a network's hashrate that follows from a stated coverage. It is no slug."""


def shares_of(
    window: Window,
    observed: Observations,
    beliefs: Beliefs,
    *,
    adjust: Adjust = "published",
    prior: str = DEFAULT_PRIOR,
    coverage: Ratio | None = None,
    earlier: Earlier | None = None,
) -> Shares:
    """Return the shares in a window.

    Args:
        window: the period over which hashrates are averaged.
        observed: the observations of all sources in it.
        beliefs: all beliefs; those in force on the day of the window's last minute are used.
        adjust: whether to apply the rules.
        prior: the network prior: ``default``, ``none`` or an id.
        coverage: the part of the network that the cohort is, above 0; used only if no source has
            the network's hashrate.
        earlier: a cohort that was made before, by the same beliefs.
    """
    day = window.day
    in_force = BeliefsInForce() if day is None else beliefs.on(day)
    cohort = cohort_of(observed, window.span.minutes, beliefs, earlier or Earlier({}, {}))
    if coverage is not None:
        cohort = _with_coverage(cohort, coverage)
    if prior == DEFAULT_PRIOR:
        chosen = in_force.network[0].id if in_force.network else None
    else:
        chosen = None if prior == NO_PRIOR else prior
    rules = beliefs.rules if adjust == "published" else ()
    placement = place(cohort, in_force, rules, chosen, keep=earlier is not None)
    return Shares(placement, compare_beliefs=prior == DEFAULT_PRIOR)


def _with_coverage(cohort: Cohort, coverage: Ratio) -> Cohort:
    """Return the cohort in a network of which it is this part, unless the network is known."""
    total = sum(member.total for member in cohort.members.values())
    if cohort.network is not None or total <= 0:
        return cohort
    return replace(cohort, network=total / coverage, network_source=STATED)


def check_prior(prior: str, beliefs: Beliefs) -> None:
    """Check that a query's network prior is one of the beliefs.

    Raises:
        ParameterError: it is not.
    """
    known = [DEFAULT_PRIOR, NO_PRIOR, *(document.id for document in beliefs.network)]
    if prior not in known:
        raise ParameterError(
            "prior", f"unknown network prior {quoted(prior)}; expected one of: {', '.join(known)}"
        )


def answer_from(
    cells: CellReader, query: SharesQuery, beliefs: Beliefs, coverage: Ratio | None = None
) -> Answer:
    """Return the answer to a query from cells that were read.

    Args:
        cells: reads them.
        query: the question.
        beliefs: all beliefs.
        coverage: as for :func:`shares_of`; the source of the network's hashrate is then
            :data:`STATED`.
    """
    observed = observe(cells, query.window)
    shares = shares_of(
        query.window,
        observed,
        beliefs,
        adjust=query.adjust,
        prior=query.prior,
        coverage=coverage,
    )
    return answer(query, shares, [rule.id for rule in beliefs.rules])


def answer(query: SharesQuery, shares: Shares, rules: Sequence[str]) -> Answer:
    """Return the answer to a query from the shares in its window.

    Args:
        query: the question.
        shares: the shares in the window of the query.
        rules: the ids of the configured rules; listed unless the query excludes rules.
    """
    cohort = shares.placement.cohort
    network = None
    if cohort.network is not None and cohort.network_source is not None:
        network = NetworkHashrate(cohort.network, cohort.network_source)
    return Answer(
        window=query.window.name,
        level=query.level,
        country=query.country,
        as_of=query.as_of,
        adjust=query.adjust,
        prior=query.prior,
        rules=applied(rules, query.adjust),
        simulated=cohort.simulated,
        network=network,
        coverage=shares.coverage,
        located=shares.located,
        measured_coverage=shares.measured_coverage,
        declared_coverage=shares.declared_coverage,
        evidence=shares.evidence,
        beliefs=placed_by_beliefs(shares),
        cohort=tuple(CohortPool(c.pool, c.source) for c in cohort.members.values()),
        excluded=tuple(ExcludedPool(pool, reason) for pool, reason in cohort.excluded.items()),
        shares=tuple(_row(share, cohort.network) for share in rows_of(shares, query.country)),
    )


def inside(whole: Answer, query: SharesQuery, shares: Shares) -> Answer:
    """Return the answer about the subdivisions of a country.

    Args:
        whole: the answer about countries; what is the same in both is taken from it.
        query: the question.
        shares: the shares in the window of both.
    """
    rows = rows_of(shares, query.country)
    return structs.replace(
        whole,
        level=query.level,
        country=query.country,
        shares=tuple(_row(share, shares.network) for share in rows),
    )


def rows_of(
    shares: Shares, country: str | None, only: Collection[str] | None = None
) -> list[Share]:
    """Return the shares of countries or, with a country, of its subdivisions.

    Args:
        shares: of a window.
        country: the country, or ``None``.
        only: the places that are wanted; by default all.
    """
    return shares.countries(only) if country is None else shares.subdivisions(country, only)


def applied(rules: Sequence[str], adjust: Adjust) -> tuple[str, ...]:
    """Return the ids of the configured rules that a query applies."""
    return tuple(rules) if adjust == "published" else ()


def placed_by_beliefs(shares: Shares) -> tuple[PlacedByBelief, ...]:
    """Return what each belief placed, the largest first, then by id."""
    placed = [
        PlacedByBelief(id_, placed.kind, placed.hashrate)
        for id_, placed in shares.placement.beliefs.items()
    ]
    return tuple(in_order(placed, lambda b: b.hashrate, lambda b: b.id))


def figures(share: Share, network: float | None) -> dict[str, Any]:
    """Return the figures of a place as the API has them, by the names of its fields."""
    return {
        "share": share.share,
        "low": share.low,
        "high": share.high,
        "declared_low": share.declared_low,
        "declared_high": share.declared_high,
        "sensitivity": share.sensitivity,
        "belief": share.belief,
        "hashrate": share.kinds.evidence,
        "network_hashrate": None if network is None else share.share * network,
        "evidence": share.evidence,
        "kinds": KindSplit(*share.kinds),
    }


def _row(share: Share, network: float | None) -> ShareRow:
    fields = figures(share, network) | {
        "code": share.code,
        "name": name_of(share.code),
        "flags": flags_of(share.code),
    }
    if share.share_of_country is None:
        return ShareRow(**fields)
    return SubdivisionRow(share_of_country=share.share_of_country, **fields)

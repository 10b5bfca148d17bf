"""Answers of ``/api/v1/shares``, from the observations of a window. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from miningmap.api.models import (
    Answer,
    CohortPool,
    ExcludedPool,
    KindSplit,
    NetworkHashrate,
    ShareRow,
    SubdivisionRow,
)
from miningmap.places import flags_of, name_of
from streams.method import placing, shares
from streams.method.observations import observe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from streams.method.cells import Cell
    from streams.method.observations import CellReader, Observation
    from streams.method.placing import Beliefs, Cohort
    from streams.method.shares import Share
    from streams.queries.parameters import SharesQuery


def cohort_for(
    query: SharesQuery,
    pools: Mapping[str, Mapping[str, Observation]],
    network: Mapping[str, Cell],
    beliefs: Beliefs,
) -> Cohort:
    """Return the cohort in the window of a query, with or without rules as ``adjust`` says."""
    applied = beliefs if query.adjust == "published" else beliefs.without_rules()
    return placing.cohort_of(pools, network, query.window.span.minutes, applied)


def answer_from(cells: CellReader, query: SharesQuery, beliefs: Beliefs) -> Answer:
    """Return the answer to a query from cells that were read."""
    cohort = cohort_for(query, *observe(cells, query.window), beliefs)
    return answer(query, cohort, (rule.id for rule in beliefs.rules))


def answer(query: SharesQuery, cohort: Cohort, rules: Iterable[str]) -> Answer:
    """Return the answer to a query from its cohort.

    Args:
        query: the question.
        cohort: the cohort in the window of the query.
        rules: the ids of the configured rules; listed unless the query excludes rules.
    """
    rows = (
        shares.subdivision_shares(cohort, query.country)
        if query.country is not None
        else shares.country_shares(cohort)
    )
    network = None
    if cohort.network is not None and cohort.network_source is not None:
        network = NetworkHashrate(cohort.network, cohort.network_source)
    return Answer(
        window=query.window.name,
        level=query.level,
        country=query.country,
        as_of=query.as_of,
        adjust=query.adjust,
        rules=tuple(rules) if query.adjust == "published" else (),
        simulated=cohort.simulated,
        network=network,
        coverage=shares.coverage(cohort),
        located=shares.located(cohort),
        measured_coverage=shares.measured_coverage(cohort),
        cohort=tuple(CohortPool(m.pool, m.source) for m in cohort.members),
        excluded=tuple(ExcludedPool(pool, reason) for pool, reason in cohort.excluded.items()),
        shares=tuple(_row(share, cohort.network) for share in rows),
    )


def _row(share: Share, network: float | None) -> ShareRow:
    common = {
        "code": share.code,
        "name": name_of(share.code),
        "share": share.share,
        "low": share.low,
        "high": share.high,
        "sensitivity": share.sensitivity,
        "hashrate": sum(share.kinds),
        "network_hashrate": None if network is None else share.share * network,
        "kinds": KindSplit(*share.kinds),
        "flags": flags_of(share.code),
    }
    if share.share_of_country is None:
        return msgspec.convert(common, ShareRow)
    common["share_of_country"] = share.share_of_country
    return msgspec.convert(common, SubdivisionRow)

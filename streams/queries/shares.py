"""Answers: how one of ``/api/v1/shares`` is made. Pure."""

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
from streams.method import shares

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from streams.method.cells import Cell
    from streams.method.shares import Beliefs, Cohort, Observed, Share
    from streams.queries.parameters import SharesQuery


def cohort_for(
    question: SharesQuery,
    pools: Mapping[str, Mapping[str, Observed]],
    network: Mapping[str, Cell],
    beliefs: Beliefs,
) -> Cohort:
    """Who counts for a question, located under its ``adjust``."""
    held = beliefs if question.adjust == "published" else beliefs.without_rules()
    return shares.cohort_of(pools, network, question.window.span.minutes, held)


def answer(question: SharesQuery, cohort: Cohort, rules: Iterable[str]) -> Answer:
    """The answer to a question from its cohort; ``rules`` are the ids of those applied."""
    lines = (
        shares.subdivision_shares(cohort, question.country)
        if question.country is not None
        else shares.country_shares(cohort)
    )
    network = None
    if cohort.network is not None and cohort.network_source is not None:
        network = NetworkHashrate(cohort.network, cohort.network_source)
    return Answer(
        window=question.window.name,
        level=question.level,
        country=question.country,
        as_of=question.as_of,
        adjust=question.adjust,
        rules=tuple(rules) if question.adjust == "published" else (),
        simulated=cohort.simulated,
        network=network,
        coverage=shares.coverage(cohort),
        located=shares.located(cohort),
        measured_coverage=shares.measured_coverage(cohort),
        cohort=tuple(CohortPool(m.pool, m.source) for m in cohort.members),
        excluded=tuple(ExcludedPool(*item) for item in cohort.excluded.items()),
        shares=tuple(_row(line, cohort.network) for line in lines),
    )


def _row(line: Share, network: float | None) -> ShareRow:
    common = {
        "code": line.code,
        "name": name_of(line.code),
        "share": line.share,
        "low": line.low,
        "high": line.high,
        "sensitivity": line.sensitivity,
        "hashrate": sum(line.kinds),
        "network_hashrate": None if network is None else line.share * network,
        "kinds": KindSplit(*line.kinds),
        "flags": flags_of(line.code),
    }
    if line.share_of_country is None:
        return msgspec.convert(common, ShareRow)
    common["share_of_country"] = line.share_of_country
    return msgspec.convert(common, SubdivisionRow)

"""The metric of when beliefs end: one series a belief that ends, and never more than a few."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry

from endpoint.routes.belief_metrics import MOST, BeliefCollector
from streams.beliefs import BeliefsDocument
from tests.beliefs.documents import claim

NAME = "miningmap_belief_until_timestamp_seconds"
NOW = datetime(2026, 11, 28, 23, 59, tzinfo=UTC)


def collected(claims: list[dict[str, Any]]) -> dict[str, float]:
    registry = CollectorRegistry()
    documents = msgspec.convert({"claims": claims}, BeliefsDocument)
    registry.register(BeliefCollector(documents, lambda: NOW))
    [family] = registry.collect()
    assert family.name == NAME
    return {sample.labels["belief"]: sample.value for sample in family.samples}


def test_a_belief_ends_with_the_day_before_its_until_in_utc() -> None:
    expected = {"claims/a": datetime(2026, 12, 30, tzinfo=UTC).timestamp()}
    assert collected([claim("claims/a", until="2026-12-30")]) == expected


def test_a_belief_that_has_ended_has_no_series() -> None:
    assert collected([claim("claims/a", until="2026-11-28")]) == {}


def test_only_the_beliefs_that_end_soonest_have_series() -> None:
    later = [claim(f"claims/later-{n}", until="2028-01-01") for n in range(MOST)]
    found = collected([*later, claim("claims/sooner", until="2027-01-01")])
    assert len(found) == MOST
    assert "claims/sooner" in found

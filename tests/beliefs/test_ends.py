"""When beliefs cease to count."""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec

from streams.beliefs import BeliefsDocument
from streams.beliefs.ends import ends_on
from tests.beliefs.documents import claim, network

DAY = date(2026, 11, 28)


def document(**parts: Any) -> BeliefsDocument:
    return msgspec.convert(parts, BeliefsDocument, strict=False)


def series(*entries: tuple[str, str | None]) -> dict[str, Any]:
    """A distribution of the network with an entry for each (from, until)."""
    listed = [
        {"from": start, "weights": {"US": 1}} | ({} if until is None else {"until": until})
        for start, until in entries
    ]
    return network() | {"series": listed}


def test_a_claim_ends_on_the_day_from_which_on_it_does_not_count() -> None:
    beliefs = document(claims=[claim("claims/a", start="2026-01-01", until="2026-12-30")])
    assert ends_on(beliefs, DAY) == {"claims/a": date(2026, 12, 30)}


def test_what_does_not_count_on_the_day_has_no_end_to_wait_for() -> None:
    claims = [
        claim("claims/over", start="2025-01-01", until="2026-11-28"),
        claim("claims/later", start="2026-11-29", until="2027-01-01"),
    ]
    assert ends_on(document(claims=claims), DAY) == {}


def test_a_distribution_without_an_end_is_left_out() -> None:
    assert ends_on(document(network=[series(("2026-07-01", None))]), DAY) == {}


def test_an_entry_that_another_follows_is_not_the_end_of_a_distribution() -> None:
    followed = series(("2026-07-01", "2026-12-01"), ("2026-12-01", "2027-03-01"))
    assert ends_on(document(network=[followed]), DAY) == {"network/n": date(2027, 3, 1)}


def test_an_entry_that_none_follows_in_time_is_the_end() -> None:
    gap = series(("2026-07-01", "2026-12-01"), ("2026-12-02", None))
    assert ends_on(document(network=[gap]), DAY) == {"network/n": date(2026, 12, 1)}


def test_a_distribution_of_a_pool_that_another_one_replaces_is_left_out() -> None:
    ending = series(("2026-07-01", "2026-12-01")) | {"pool": "foundryusa", "kind": "prior"}
    pools = [ending | {"id": "pools/first"}, ending | {"id": "pools/second"}]
    assert ends_on(document(pools=pools), DAY) == {"pools/first": date(2026, 12, 1)}


def test_the_soonest_come_first() -> None:
    claims = [
        claim("claims/c", until="2027-02-01"),
        claim("claims/b", until="2027-01-01"),
        claim("claims/a", until="2027-01-01"),
    ]
    assert list(ends_on(document(claims=claims), DAY)) == ["claims/a", "claims/b", "claims/c"]

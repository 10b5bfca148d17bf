"""The tables of docs/scaling.md are what the measured costs say."""

from __future__ import annotations

from tools import marked, scaling


def test_the_document_has_the_tables_that_follow_from_the_costs() -> None:
    assert marked.read(scaling.DOCUMENT, scaling.COSTS) == scaling.costs()
    assert marked.read(scaling.DOCUMENT, scaling.SIZES) == scaling.sized()


def test_what_follows_is_in_proportion_to_the_load() -> None:
    large, double = (
        {size.what: size.result for size in scaling.sizes(load)}
        for load in (scaling.LARGE, scaling.Load(2_000_000, 200_000))
    )
    for what in ("CPU of all workers", "memory of all", "a snapshot by one process"):
        once, twice = (float(r[what].split()[0].replace(",", "")) for r in (large, double))
        assert abs(twice - 2 * once) <= 0.011 * once

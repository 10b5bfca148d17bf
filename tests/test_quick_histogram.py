"""The histogram for figures that come by the thousand counts as the library's own does."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from miningmap.metrics import QuickHistogram

if TYPE_CHECKING:
    from collections.abc import Sequence

BOUNDS = (1, 2.5, 86_400)
NAME, DOCUMENTATION = "ages_seconds", "Ages."


def expected(figures: Sequence[float]) -> bytes:
    registry = CollectorRegistry()
    histogram = Histogram(NAME, DOCUMENTATION, buckets=BOUNDS, registry=registry)
    for figure in figures:
        histogram.observe(figure)
    return generate_latest(registry)


@given(st.lists(st.sampled_from([0, 0.5, *BOUNDS, 3, 1e6])), st.lists(st.just(2.0)))
def test_a_scrape_is_the_same_as_of_the_library(first: list[float], more: list[float]) -> None:
    registry = CollectorRegistry()
    histogram = QuickHistogram(NAME, DOCUMENTATION, BOUNDS, registry)
    histogram.observe_all(first)
    histogram.observe_all(more)
    lines = generate_latest(registry).splitlines()
    wanted = [line for line in expected([*first, *more]).splitlines() if b"_created" not in line]
    assert lines == wanted
    assert registry.get_sample_value(f"{NAME}_sum") == math.fsum([*first, *more])

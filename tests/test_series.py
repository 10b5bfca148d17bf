"""Series are shown as the library would show them, and take far fewer steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Summary, disable_created_metrics

from miningmap.http.metrics import OPENMETRICS, TEXT, Format
from miningmap.series import Counters, Gauges, Summaries

if TYPE_CHECKING:
    from collections.abc import Sequence

LABELS = ("source", "reason")
ABOUT = 'Polls that gave no "figure" \\ none.'
FIGURES = st.dictionaries(
    st.tuples(*[st.text(max_size=5)] * len(LABELS)),
    st.lists(st.floats(min_value=0), min_size=1, max_size=3),
    max_size=5,
)
FORMATS = pytest.mark.parametrize("format_", [TEXT, OPENMETRICS], ids=["text", "openmetrics"])

disable_created_metrics()  # type: ignore[no-untyped-call]


@FORMATS
@given(figures=FIGURES)
def test_series_are_written_as_the_library_writes_them(
    format_: Format, figures: dict[tuple[str, str], Sequence[float]]
) -> None:
    library = CollectorRegistry()
    counter = Counter("failures", ABOUT, LABELS, registry=library)
    gauge = Gauge("up", ABOUT, LABELS, registry=library)
    summary = Summary("duration_seconds", ABOUT, LABELS, registry=library)
    counters, gauges = Counters("failures", ABOUT, LABELS), Gauges("up", ABOUT, LABELS)
    summaries = Summaries("duration_seconds", ABOUT, LABELS)
    for labels, numbers in figures.items():
        for number in numbers:
            counter.labels(*labels).inc(number)
            counters.add(labels, number)
            gauge.labels(*labels).set(number)
            gauges.set(labels, number)
            summary.labels(*labels).observe(number)
            summaries.observe(labels, number)
    all_series = [counters, gauges, summaries]
    assert format_.encode_all(CollectorRegistry(), all_series) == format_.encode(library)
    registry = CollectorRegistry()
    for series in all_series:
        registry.register(series)
    assert format_.encode(registry) == format_.encode(library)


def test_a_series_that_is_removed_is_gone_and_begins_anew() -> None:
    counters = Counters("requests", "Requests.", ["source"])
    counters.add(("ocean",), 2)
    counters.remove(("ocean",))
    counters.remove(("never seen",))
    assert counters.lines() == ""
    counters.add(("ocean",))
    assert counters.lines() == 'requests_total{source="ocean"} 1.0\n'


def test_each_label_needs_a_value() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Counters("failures", "Failures.", LABELS).add(("ocean",))

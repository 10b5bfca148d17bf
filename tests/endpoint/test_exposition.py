"""Text that is made once is as the library writes it, and can be continued any number of times."""

from __future__ import annotations

import gzip
import zlib

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

from endpoint.http.exposition import Exposition, gauges_text
from endpoint.routes.metrics import collectors_of
from miningmap.metrics import PoolSeries

NAMES = ("window", "country", "pool")
SAMPLES = st.lists(st.tuples(*[st.text(max_size=5)] * len(NAMES), st.floats()), max_size=5)


class Gauges(Collector):
    def __init__(self, *families: GaugeMetricFamily) -> None:
        self.families = families

    def collect(self) -> tuple[GaugeMetricFamily, ...]:
        return self.families


@given(SAMPLES, st.floats())
def test_gauges_are_written_as_the_library_writes_them(
    samples: list[tuple[str, str, str, float]], number: float
) -> None:
    labelled = GaugeMetricFamily("miningmap_share_ratio", "A place's share; 0 to 1.", labels=NAMES)
    for *labels, value in samples:
        labelled.add_metric(labels, value)
    alone = GaugeMetricFamily("miningmap_snapshot_timestamp_seconds", "When.", number)
    registry = CollectorRegistry()
    registry.register(Gauges(labelled, alone))
    text = gauges_text([labelled, alone])
    assert text == generate_latest(registry)
    openmetrics: bytes = generate_openmetrics(registry)  # type: ignore[no-untyped-call]
    assert text + b"# EOF\n" == openmetrics


def test_all_figures_are_gauges_without_characters_to_escape_in_their_descriptions() -> None:
    for collector in collectors_of({}, None, PoolSeries()):
        for family in collector.collect():
            assert family.type == "gauge"
            assert {'"', "\\", "\n"}.isdisjoint(family.documentation)


@given(st.binary(max_size=200_000), st.lists(st.binary(max_size=500), max_size=3))
@settings(max_examples=30)
def test_each_response_is_the_text_and_what_follows_it(text: bytes, further: list[bytes]) -> None:
    exposition = Exposition(text)
    for more in further:
        assert exposition.followed_by(more) == text + more
        zipped = exposition.zipped_followed_by(more)
        assert gzip.decompress(zipped) == text + more
        # One member: some clients read no further.
        reader = zlib.decompressobj(wbits=31)
        assert reader.decompress(zipped) == text + more
        assert reader.eof
        assert reader.unused_data == b""

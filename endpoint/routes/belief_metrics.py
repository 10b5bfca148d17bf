"""When beliefs cease to count, as a Prometheus metric."""

from __future__ import annotations

from datetime import UTC, datetime, time
from itertools import islice
from typing import TYPE_CHECKING, Final

from prometheus_client.registry import Collector

from endpoint.http.exposition import gauge
from streams.beliefs.ends import ends_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client import Metric

    from streams.beliefs import BeliefsDocument

MOST: Final = 100
"""Beliefs that have a series: those that end soonest. A folder of beliefs can have thousands."""


class BeliefCollector(Collector):
    """Collects when the beliefs that count today end, at each scrape.

    Args:
        documents: what is believed.
        now: the clock, UTC.
    """

    def __init__(self, documents: BeliefsDocument, now: Callable[[], datetime]) -> None:
        self._documents = documents
        self._now = now

    def collect(self) -> Iterable[Metric]:
        """Yield the family; a belief without an end has no sample."""
        ends = ends_on(self._documents, self._now().date())
        yield gauge(
            "miningmap_belief_until_timestamp_seconds",
            "When a belief that counts today ceases to count, because nothing follows it; Unix "
            f"time. Only the {MOST} beliefs that end soonest, and none without an end.",
            ("belief",),
            (
                ((belief,), datetime.combine(day, time(), UTC).timestamp())
                for belief, day in islice(ends.items(), MOST)
            ),
        )

"""What thousands of sources cost: counted, not timed, so that the machine does not matter."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from collector.polling.plausibility import Plausibility
from collector.polling.poller import Poller
from miningmap.http.metrics import OPENMETRICS, TEXT, Format

if TYPE_CHECKING:
    from types import FrameType

    from tests.collector.conftest import Pools

FEW, MANY = 2, 12
# pool_up, requests, the count and sum of their durations, and the state of the host.
SERIES = 5
# All of them to write its figure.
CALLS_PER_LINE = 4


async def poll(pools: Pools, sources: range) -> None:
    """Poll so many sources, each of a host and a pool of its own, for the first time."""
    pools.answer(b'{"toy": "3 PH/s"}')
    async with pools.fetcher() as fetcher:
        for number in sources:
            source = replace(
                pools.source(f"https://pool{number}.example/stats"), slug=f"toy{number}"
            )
            poller = Poller(
                source,
                fetcher=fetcher,
                put=lambda _messages: None,
                plausibility=Plausibility(),
                metrics=pools.metrics,
                settings=pools.settings(),
            )
            await poller.poll()


def text(pools: Pools, format_: Format) -> bytes:
    return format_.encode_all(pools.metrics.registry, pools.metrics.series)


def calls(pools: Pools, format_: Format) -> int:
    """Return how many functions a scrape calls, those in C included."""
    counted: Counter[str] = Counter()

    def count(_frame: FrameType, event: str, _arg: object) -> None:
        counted[event] += 1

    text(pools, format_)  # what is made once
    sys.setprofile(count)
    try:
        text(pools, format_)
    finally:
        sys.setprofile(None)
    return counted["call"] + counted["c_call"]


@pytest.mark.parametrize("format_", [TEXT, OPENMETRICS], ids=["text", "openmetrics"])
async def test_a_source_takes_few_series_and_a_series_few_calls(
    pools: Pools, format_: Format
) -> None:
    await poll(pools, range(FEW))
    lines, called = len(text(pools, format_).splitlines()), calls(pools, format_)
    await poll(pools, range(FEW, MANY))
    more = len(text(pools, format_).splitlines()) - lines
    assert more == (MANY - FEW) * SERIES
    assert calls(pools, format_) - called <= more * CALLS_PER_LINE

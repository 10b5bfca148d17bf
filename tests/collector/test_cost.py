"""What thousands of sources cost: counted, not timed, so that the machine does not matter."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from collector.polling.plausibility import Plausibility
from collector.polling.poller import Poller
from collector.service import long_lived
from miningmap.http.metrics import OPENMETRICS, TEXT, Format
from tests.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from collector.http.fetcher import Fetcher
    from tests.collector.conftest import Pools

FEW, MANY = 2, 12
# pool_up, requests, the count and sum of their durations, and the state of the host.
SERIES = 5
# All of them to write its figure.
CALLS_PER_LINE = 4
# Of this project's own functions, without those of aiohttp and asyncio.
CALLS_PER_POLL = 150
ANSWER = b'{"toy": "3 PH/s"}'
PACKAGES = tuple(str(ROOT / package) for package in ("collector", "miningmap"))


def poller_of(pools: Pools, fetcher: Fetcher, number: int) -> Poller:
    """Return the poller of a source that has a host of its own."""
    source = pools.source(f"https://pool{number}.example/stats")
    return Poller(
        replace(source, slug=f"toy{number}"),
        fetcher=fetcher,
        put=lambda _messages: None,
        plausibility=Plausibility(),
        metrics=pools.metrics,
        settings=pools.settings(),
    )


async def poll(pools: Pools, sources: range) -> None:
    """Poll so many sources for the first time."""
    pools.answer(ANSWER)
    async with pools.fetcher() as fetcher:
        for number in sources:
            await poller_of(pools, fetcher, number).poll()


def text(pools: Pools, format_: Format) -> bytes:
    return format_.encode_all(pools.metrics.registry, pools.metrics.series)


@contextmanager
def calls(only: Callable[[FrameType], bool]) -> Iterator[Counter[str]]:
    """Count the calls of functions in the block, those in C apart (``c_call``).

    Args:
        only: which callers or, of functions in Python, functions count.
    """
    counted: Counter[str] = Counter()

    def count(frame: FrameType, event: str, _arg: object) -> None:
        if only(frame):
            counted[event] += 1

    sys.setprofile(count)
    try:
        yield counted
    finally:
        sys.setprofile(None)


def calls_of_scrape(pools: Pools, format_: Format) -> int:
    text(pools, format_)  # what is made once
    with calls(lambda _: True) as counted:
        text(pools, format_)
    return counted["call"] + counted["c_call"]


def is_own(frame: FrameType) -> bool:
    """Whether a function is of this project, and not of aiohttp or asyncio."""
    return frame.f_code.co_filename.startswith(PACKAGES)


@pytest.mark.parametrize("format_", [TEXT, OPENMETRICS], ids=["text", "openmetrics"])
async def test_a_source_takes_few_series_and_a_series_few_calls(
    pools: Pools, format_: Format
) -> None:
    await poll(pools, range(FEW))
    lines, called = len(text(pools, format_).splitlines()), calls_of_scrape(pools, format_)
    await poll(pools, range(FEW, MANY))
    more = len(text(pools, format_).splitlines()) - lines
    assert more == (MANY - FEW) * SERIES
    assert calls_of_scrape(pools, format_) - called <= more * CALLS_PER_LINE


async def test_a_poll_takes_few_calls(pools: Pools) -> None:
    pools.answer(ANSWER)
    async with pools.fetcher() as fetcher:
        poller = poller_of(pools, fetcher, 0)
        await poller.poll()
        took = []
        for _ in range(3):
            with calls(is_own) as counted:
                await poller.poll()
            took.append(counted["call"])
    # Of a response that arrives in several parts each continues the functions that wait for it.
    assert min(took) <= CALLS_PER_POLL


def test_what_lives_long_is_left_out_of_garbage_collections() -> None:
    before = gc.get_freeze_count()
    with long_lived():
        assert gc.get_freeze_count() > before
        # What is tracked from now on, which a full collection looks at.
        assert len(gc.get_objects()) < 10_000
    assert gc.get_freeze_count() == 0

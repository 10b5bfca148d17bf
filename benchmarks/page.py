"""The page in a real browser: what it loads, when it is usable, what a step in time costs."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from itertools import takewhile
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from aiohttp.test_utils import TestServer
from msgspec import structs
from playwright.async_api import async_playwright

from benchmarks.fixtures import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    Pool,
    begins,
    network,
    pools,
    print_table,
    redis_on_one_core,
    report,
    whole,
    write,
)
from endpoint.service import application
from miningmap.settings import Endpoint, Retention
from miningmap.times import add_months
from streams.beliefs import BeliefOptions, load
from streams.queries.snapshot import take_snapshot
from streams.redis.store import Store
from tests.browser import ARGUMENTS, chromium

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime, timedelta

    from playwright.async_api import Browser, CDPSession, Page

    from miningmap.messages import Message, Report

POOLS: Final = 20
LOCATING: Final = 5
PLACES: Final = 90  # a third of them countries
MONTHS: Final = 29
RUNS: Final = 5
SLOWDOWN: Final = 4
BELIEFS: Final = load(BeliefOptions())

_random: Final = random.Random(4)  # noqa: S311 - not a secret: the same figures in every run

CATEGORIES: Final = ["devtools.timeline", "toplevel", "cc"]
LEAST_STEP_MS: Final = 1  # a timer that takes less has not changed the time
POLLING_MS: Final = 200  # waiting by frames would make frames

AT_STEP: Final = "(n) => Number(document.getElementById('slider').value) >= n"
USABLE: Final = "() => document.getElementById('rows').children.length > 0"
# Notes the time at which the first figures are in the page and painted.
NOTED: Final = """
  new MutationObserver((_, observer) => {
    if (!document.getElementById("rows")?.children.length) return;
    observer.disconnect();
    requestAnimationFrame(() => setTimeout(() => { window.usable = performance.now(); }));
  }).observe(document, { childList: true, subtree: true });
"""
STEP: Final = """async (n) => {
  const slider = document.getElementById("slider");
  slider.value = String(n);
  const start = performance.now();
  slider.dispatchEvent(new Event("input"));
  await new Promise(requestAnimationFrame);
  await new Promise((done) => {
    const channel = new MessageChannel();
    channel.port1.onmessage = done;
    channel.port2.postMessage(0);
  });
  return performance.now() - start;
}"""


async def main() -> None:
    async with redis_on_one_core() as redis:
        store = Store(redis, Retention())
        await write(store, _messages(*_pools()), Retention())
        await store.snapshots.write(await take_snapshot(store.cells, BELIEFS, NOW))
        app = application(store, BELIEFS, Endpoint())
        async with TestServer(app) as server, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
            base = str(server.make_url("/"))
            sizes = await _sizes(browser, base)
            print_table("First load, kB as transferred", ("what", "kB"), [*sizes.items()])
            usable = [await _usable_ms(browser, base) for _ in range(RUNS)]
            steps = await _step_ms(browser, f"{base}?step=month")
            frames, tasks = await _playing_ms(browser, f"{base}?step=month")
            rows = [
                (f"usable, CPU {SLOWDOWN} times slower", median(usable), max(usable)),
                (f"a step through {MONTHS} months, until it is painted", median(steps), max(steps)),
                (
                    "playing: a step and its frame, CPU of the main thread",
                    median(frames),
                    max(frames),
                ),
                ("playing: a task of the main thread, CPU", median(tasks), max(tasks)),
            ]
            print_table("Times, ms", ("what", "median", "max"), rows)
            await browser.close()


def _pools() -> tuple[list[Pool], list[Pool]]:
    """Make pools that all have miners at the same places; most of them say nothing of these."""
    places = pools(1, PLACES)[0].codes
    made = [Pool(f"pool{n:03}", places) for n in range(POOLS)]
    return made[:LOCATING], made[LOCATING:]


def _messages(some: Sequence[Pool], silent: Sequence[Pool]) -> Iterator[Message]:
    """Months by month, the last 30 days by the hour, and the last two hours by the minute."""
    first = NOW.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    spans: list[tuple[datetime, timedelta]] = []
    for n in range(MONTHS, 0, -1):
        start = add_months(first, -n)
        spans.append((start, add_months(start, 1) - start))
    hour = whole(NOW, HOUR)
    spans += [(at, HOUR) for at in begins(hour - 30 * DAY, hour, HOUR)]
    spans += [(at, MINUTE) for at in begins(whole(NOW, MINUTE) - 2 * HOUR, NOW, MINUTE)]
    for start, length in spans:
        yield network(start, length)
        moves = {code: _random.lognormvariate(0, 1.5) for code in some[0].codes}
        yield from (_moved(report(pool, start, length), moves) for pool in some)
        # Most pools say nothing of places, so most of the map is assumed, and hatched.
        yield from (structs.replace(report(pool, start, length), places=()) for pool in silent)


def _moved(message: Report, moves: dict[str, float]) -> Report:
    """Multiply the places' hashrates: most places on the map then change colour in each period."""
    places = tuple(
        structs.replace(place, hashrate=place.hashrate * moves[place.code])
        for place in message.places
    )
    total = sum(place.hashrate for place in places) / 0.9
    return structs.replace(message, places=places, hashrate=total)


async def _open(browser: Browser) -> tuple[Page, CDPSession]:
    page = await (await browser.new_context()).new_page()
    session = await page.context.new_cdp_session(page)
    await session.send("Network.enable")
    return page, session


async def _sizes(browser: Browser, base: str) -> dict[str, float]:
    """Return the transferred kB of a first load, by kind of file and in all."""
    page, session = await _open(browser)
    paths: dict[str, str] = {}
    sizes: defaultdict[str, float] = defaultdict(float)
    session.on(
        "Network.requestWillBeSent", lambda e: paths.update({e["requestId"]: e["request"]["url"]})
    )
    session.on(
        "Network.loadingFinished",
        lambda e: _add(
            sizes, paths[e["requestId"]].removeprefix(base), e["encodedDataLength"] / 1000
        ),
    )
    await page.goto(base)
    await page.wait_for_function(USABLE)
    await page.wait_for_function("() => document.getElementById('slider').max > 1")
    await page.context.close()
    sizes["in all"] = sum(sizes.values())
    return dict(sizes)


def _add(sizes: defaultdict[str, float], path: str, size: float) -> None:
    name = path.partition("?")[0]
    sizes["answers of the API" if name.startswith("api/") else name or "index.html"] += size


async def _usable_ms(browser: Browser, base: str) -> float:
    """Return when the figures are there, in ms after the navigation began."""
    page, session = await _open(browser)
    await session.send("Emulation.setCPUThrottlingRate", {"rate": SLOWDOWN})
    await page.add_init_script(NOTED)
    await page.goto(base)
    await page.wait_for_function("() => window.usable")
    usable: float = await page.evaluate("() => window.usable")
    await page.context.close()
    return usable


async def _step_ms(browser: Browser, address: str) -> list[float]:
    """Return what each step of the slider costs until it is painted, in ms."""
    page, _ = await _open(browser)
    await page.goto(address)
    await page.wait_for_function(f"() => document.getElementById('slider').max >= {MONTHS}")
    steps = [await page.evaluate(STEP, n) for n in range(MONTHS)]
    await page.context.close()
    return steps


async def _playing_ms(browser: Browser, address: str) -> tuple[list[float], list[float]]:
    """Play, and return what Chromium's tracing says of it.

    Returns:
        The CPU time in ms of each step together with the frame that shows it, and of each task of
        the page's main thread that takes over a millisecond. The time of the CPU, and not of the
        clock, so that other processes do not count.
    """
    page, _ = await _open(browser)
    await page.goto(address)
    await page.wait_for_function(f"() => document.getElementById('slider').max >= {MONTHS}")
    await page.wait_for_function("() => document.getElementById('map').chart")
    session = await browser.new_browser_cdp_session()
    events: list[dict[str, Any]] = []
    ended = asyncio.Event()
    session.on("Tracing.dataCollected", lambda e: events.extend(e["value"]))
    session.on("Tracing.tracingComplete", lambda _: ended.set())
    await page.locator("#play").click()
    await page.wait_for_function(AT_STEP, arg=2, polling=POLLING_MS)
    await session.send(
        "Tracing.start",
        {"traceConfig": {"includedCategories": CATEGORIES}, "transferMode": "ReportEvents"},
    )
    await page.wait_for_function(AT_STEP, arg=MONTHS - 1, polling=POLLING_MS)
    await session.send("Tracing.end")
    await ended.wait()
    await page.context.close()
    return _frames_and_tasks(events)


def _frames_and_tasks(events: Sequence[dict[str, Any]]) -> tuple[list[float], list[float]]:
    spans = sorted((e for e in events if e["ph"] == "X" and "tdur" in e), key=lambda e: e["ts"])
    thread = Counter((e["pid"], e["tid"]) for e in spans if e["name"] == "TimerFire").most_common(1)
    main = [e for e in spans if (e["pid"], e["tid"]) == thread[0][0]]
    frames: list[float] = []
    step = 0.0
    for n, event in enumerate(main):
        if event["name"] == "TimerFire":
            step = max(step, event["tdur"] / 1000)
        elif event["name"] == "ProxyMain::BeginMainFrame" and step > LEAST_STEP_MS:
            end = event["ts"] + event["dur"]
            inside = takewhile(lambda e: e["ts"] < end, main[n:])  # noqa: B023 - used at once
            # ECharts only asks for a frame of animation if it has something to draw.
            if any(e["name"] == "FireAnimationFrame" for e in inside):
                frames.append(step + event["tdur"] / 1000)
                step = 0.0
    tasks = (e["tdur"] / 1000 for e in main if e["name"].endswith("RunTask"))
    return frames, [ms for ms in tasks if ms > 1]


if __name__ == "__main__":
    asyncio.run(main())

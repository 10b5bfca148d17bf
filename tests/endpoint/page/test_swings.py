"""Swings on the page: the feed, the chart's marks, and what the stream adds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from miningmap.swings import PoolDelta, PoolPart
from tests.endpoint.swings import EH, ago, lost, over, place_swing, pool_swing, write_events

if TYPE_CHECKING:
    from playwright.async_api import Route

    from streams.redis.store import Store
    from tests.endpoint.page.conftest import Open, Tab

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("snapshots")]

FELL = place_swing(started=ago(hours=3), severity=1, delta=-0.02, simulated=True)
FELL_MORE = place_swing(started=ago(hours=3), at=ago(hours=2, minutes=40), simulated=True)
FALLS = pool_swing(
    "beta",
    started=ago(hours=1),
    pair="1h/24h",
    short=29 * EH,
    long=50 * EH,
    delta=-0.42,
    places=(PoolPart("US", "prior", 0.5), PoolPart("US-TX", "declared", 0.3)),
)
OTHERS = place_swing("CN", started=ago(hours=3), delta=0.02, own=0.001, driver="others")


async def feed(tab: Tab) -> list[str]:
    """Return the text of each swing in the feed, in order."""
    await tab.until("document.querySelector('#swings li')")
    return await tab.page.locator("#swings > li").all_inner_texts()


async def feed_is_empty(tab: Tab) -> None:
    await tab.until("document.getElementById('swings-state').innerText.includes('no swing')")


async def marks(tab: Tab) -> list[tuple[int, int]]:
    """Return the first and the last bucket of each swing that the chart marks."""
    await tab.until("document.getElementById('chart').chart?.getOption().series?.length > 2")
    found: list[list[int]] = await tab.page.evaluate(
        "document.getElementById('chart').chart.getOption().series"
        ".filter((one) => one?.id === 'swings').flatMap(({markArea, markLine}) =>"
        " [...markArea.data.map(([a, b]) => [a.xAxis, b.xAxis]),"
        "  ...markLine.data.map(({xAxis}) => [xAxis, xAxis])])"
    )
    return [(first, last) for first, last in found]


async def test_without_a_swing_a_sentence_says_so(tab: Tab) -> None:
    await tab.go("?window=24h")
    await feed_is_empty(tab)
    assert not await tab.page.locator("#swings-now").is_visible()


async def test_the_swing_of_a_place_says_what_happened_and_why(tab: Tab, store: Store) -> None:
    await write_events(store.swings, FELL, FELL_MORE)
    await tab.go("?window=24h")
    (text,) = await feed(tab)
    for fact in (
        "United States",
        "▼ -6 points",
        "under way",
        "30% over 1 hour, against 36% over 24 hours",
        "Since Nov 22, 2026, 12:00 PM UTC (3 hr. ago)",
        "Severity 5: at least 5 percentage points",
        "This place itself changed: that alone would have been -5.5 points",
        "alpha -5",
        "beta -1",
        "simulated",
    ):
        assert fact in text, fact
    await tab.page.locator("#swings summary").click()
    (text,) = await feed(tab)
    assert "12:00 PM UTC: Severity 1: at least 1 percentage point (-2 points)" in text
    assert "12:20 PM UTC: Severity 5" in text


async def test_the_swing_of_a_pool_says_where_the_pool_is_thought_to_be(
    tab: Tab, store: Store
) -> None:
    await write_events(store.swings, FALLS)
    await tab.go("?window=24h")
    (text,) = await feed(tab)
    for fact in (
        "▼ -42%",
        "29 EH/s over 1 hour, against 50 EH/s over 24 hours",
        "beta-api",
        "United States 50% assumed",
        "Texas 30% declared",
        "Severity 25: at least 25%",
    ):
        assert fact in text, fact


async def test_swings_that_others_caused_are_less_than_own_ones(tab: Tab, store: Store) -> None:
    await write_events(store.swings, FELL, OTHERS, FELL_MORE)
    await tab.go("?window=24h&place=CN")
    own, others = await feed(tab)
    assert "Mostly because other places changed" in others
    assert "This place itself changed" in own
    kinds = await tab.page.locator("#swings > li").evaluate_all("all => all.map(n => n.className)")
    assert kinds == ["swing own", "swing others"]
    assert await tab.text("#swings-now") == "1 swing is under way"


async def test_a_muted_swing_says_so_and_names_its_calendar(open_tab: Open, store: Store) -> None:
    muted = place_swing(annotations=("annotations/ercot-4cp",), muted=True)
    await write_events(store.swings, muted)
    belief = {
        "id": "annotations/ercot-4cp",
        "kind": "annotation",
        "subject": "ERCOT's four peaks",
        "text": "Large loads save money by switching off.",
        "calendar": "June to September, 15 to 19 h",
        "source": "https://www.ercot.com/4cp",
        "publisher": "ERCOT",
    }
    async with open_tab() as tab:
        await tab.page.route(
            "**/api/v1/beliefs?on=2026-11-22",
            lambda route: route.fulfill(json={"beliefs": [belief]}),
        )
        await tab.go("?window=24h")
        await tab.until("document.getElementById('swings').innerText.includes('four peaks')")
        (text,) = await feed(tab)
        assert "muted" in text
        assert "Large loads save money by switching off. June to September, 15 to 19 h" in text
        link = tab.page.locator("#swings a", has_text="ERCOT")
        assert await link.get_attribute("href") == "https://www.ercot.com/4cp"
        assert not await tab.page.locator("#swings-now").is_visible()


async def test_swings_that_are_over_keep_the_figures_that_they_had(tab: Tab, store: Store) -> None:
    begun = place_swing("CN", started=ago(hours=8))
    await write_events(
        store.swings, begun, lost(begun, ago(hours=7)), FELL_MORE, over(FELL_MORE, ago(minutes=50))
    )
    await tab.go("?window=24h")
    resolved, gone = await feed(tab)
    assert "-6 points" in resolved
    assert "over" in resolved
    assert "12:00 PM UTC to Nov 22, 2026, 2:10 PM UTC" in resolved
    assert "-6 points" in gone
    assert "lost: nothing to compare" in gone


async def test_the_newest_swings_are_shown_and_the_rest_on_request(tab: Tab, store: Store) -> None:
    await write_events(store.swings, *(place_swing(started=ago(hours=n)) for n in range(1, 10)))
    await tab.go("?window=24h")
    assert len(await feed(tab)) == 6
    await tab.page.locator("#swings-all").click()
    assert len(await feed(tab)) == 9
    await tab.page.locator("#swings-all").click()
    assert len(await feed(tab)) == 6


async def test_choosing_a_swing_chooses_its_place_everywhere(tab: Tab, store: Store) -> None:
    await write_events(store.swings, FALLS)
    await tab.go("?window=24h")
    await feed(tab)
    await tab.page.locator("#swings button", has_text="Texas").click()
    await tab.until("document.querySelector('#rows tr.chosen')?.dataset.code === 'US-TX'")
    query = await tab.query()
    assert query == {"window": "24h", "map": "US", "place": "US-TX", "step": "hour"}
    assert "Texas" in await tab.text("#detail")


async def test_the_chart_marks_the_swings_of_the_chosen_place(tab: Tab, store: Store) -> None:
    long = place_swing(started=ago(hours=20))
    brief = place_swing(started=ago(minutes=130))
    await write_events(
        store.swings,
        *(long, over(long, ago(hours=17)), brief, over(brief, ago(minutes=125)), OTHERS),
    )
    await tab.go("?window=24h&step=hour&place=US&chart=lines")
    await feed(tab)
    await tab.until("document.getElementById('chart').chart?.getOption().xAxis?.length")
    # The buckets are the last 48 hours; one swing is within a single hour.
    last = await tab.page.evaluate(
        "document.getElementById('chart').chart.getOption().xAxis[0].data.length - 1"
    )
    assert await marks(tab) == [(last - 20, last - 17), (last - 3, last - 3)]
    label = await tab.page.locator("#chart").get_attribute("aria-label")
    assert label
    assert "Swings: -6 points, From" in label
    await tab.page.locator("#chart-data summary").click()
    row = tab.page.locator("#chart-table tbody tr").nth(17)
    assert "-6 points" in await row.inner_text()
    await tab.page.locator("#rows button[data-place=CN]").click()
    await tab.until("document.getElementById('chart-title').innerText.includes('China')")
    assert await marks(tab) == [(last - 3, last)]


async def test_a_swing_is_in_the_feed_when_the_stream_sends_it(tab: Tab, store: Store) -> None:
    await tab.go("?window=24h")
    await feed_is_empty(tab)
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url))
    await write_events(store.swings, FELL, OTHERS)
    await tab.until("document.querySelectorAll('#swings > li').length === 2")
    await write_events(store.swings, FELL)  # it may come twice
    await write_events(store.swings, FELL_MORE)
    await tab.until("document.getElementById('swings').innerText.includes('Severity 5')")
    assert len(await feed(tab)) == 2
    assert "United States" in await tab.text("#swing-said")
    await write_events(store.swings, over(FELL_MORE, ago(hours=1)))
    await tab.until("document.querySelector('#swings .state.resolved')")
    assert not [url for url in asked if "/api/v1/swings" in url]


async def test_what_happened_while_the_stream_was_away_is_read(
    open_tab: Open, store: Store
) -> None:
    async with open_tab(errors_allowed=True) as tab:
        refused = True

        async def answer(route: Route) -> None:
            await (route.fulfill(status=503) if refused else route.continue_())

        await tab.page.route("**/api/v1/stream*", answer)
        await tab.go("?window=24h")
        await feed_is_empty(tab)
        await write_events(store.swings, FELL)
        refused = False
        assert len(await feed(tab)) == 1


async def test_a_swing_of_a_hostile_pool_is_only_text(open_tab: Open, store: Store) -> None:
    hostile = "<img src=x onerror=window.broken=1>" + "w" * 200
    await write_events(store.swings, place_swing(pools=(PoolDelta(hostile, -0.06),)))
    async with open_tab(viewport={"width": 360, "height": 740}) as tab:
        await tab.go("?window=24h")
        assert hostile in (await feed(tab))[0]
        assert await tab.page.evaluate("window.broken") is None
        assert await tab.page.evaluate("document.documentElement.scrollWidth") <= 360


async def test_the_swings_are_offered_as_csv(tab: Tab, store: Store) -> None:
    await write_events(store.swings, FALLS)
    await tab.go("?window=24h")
    link = await tab.page.locator("#swings-csv").get_attribute("href")
    answer = await tab.page.request.get(f"{tab.base}/{link}")
    assert "beta-api" in await answer.text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_in_swings(
    open_tab: Open, axe: str, store: Store, scheme: Any
) -> None:
    muted = place_swing("DE", muted=True, annotations=("annotations/a",))
    gone = lost(place_swing("CA"), ago(hours=1))
    await write_events(store.swings, FELL, FELL_MORE, FALLS, OTHERS, muted, gone)
    async with open_tab(color_scheme=scheme, bypass_csp=True, locale="zh-CN") as tab:
        await tab.go("?window=24h&place=US&step=hour")
        await feed(tab)
        await tab.page.add_script_tag(content=axe)
        found = await tab.page.evaluate("axe.run(document)")
        assert [(v["id"], [n["html"] for n in v["nodes"]][:3]) for v in found["violations"]] == []

"""The page in a real browser, over the API of a real Redis."""

from __future__ import annotations

import csv
import io
import json
import re
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from endpoint.service import application
from miningmap.cbeci.monthly_tables import reports
from miningmap.settings import Endpoint
from streams.method.cells import claims_of
from streams.queries.snapshot import take_snapshot
from tests.endpoint.conftest import BELIEFS, EH, FRESH_S, NOW, report
from tests.endpoint.test_cbeci import PROVINCES, STATES, TABLE, write_messages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from aiohttp.test_utils import TestClient
    from playwright.async_api import Route

    from streams.redis.store import Store
    from tests.endpoint.page.conftest import Open, Tab

    Client = TestClient[web.Request, web.Application]
    ServeAt = Callable[[int], AbstractAsyncContextManager[None]]

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("snapshots")]

HOSTILE = ["<img src=x onerror=window.broken=1>", "\u202eevil\u202d", "w" * 200]
VIEWS = ["", "?place=US&chart=lines", "?map=CN&by=evidence", "?embed=1", "?lang=zh&place=CN"]


async def api(client: Client, path: str) -> Any:
    async with client.get(f"/api/v1/{path}") as answer:
        assert answer.status == 200, await answer.text()
        # JavaScript has floats only, so both sides are compared as such.
        return json.loads(await answer.text(), parse_int=float)


@pytest.fixture
def serve_at(store: Store) -> ServeAt:
    """A function that serves the store at a port again, as a service that is started anew."""

    @asynccontextmanager
    async def serve(port: int) -> AsyncIterator[None]:
        app = application(store, BELIEFS, Endpoint(fresh_s=FRESH_S), now=lambda: NOW)
        async with TestServer(app, port=port):
            yield

    return serve


@pytest.fixture
async def months(store: Store) -> None:
    """Two months of Cambridge's tables, with provinces and states."""
    tables = {"world": TABLE.encode(), "cn": PROVINCES.encode(), "us": STATES.encode()}
    await write_messages(store, reports(tables, fetched_at=NOW))


# --- the map and its twins -----------------------------------------------------------------------


async def test_the_map_shows_the_numbers_of_the_api(tab: Tab, client: Client) -> None:
    await tab.go("?window=24h")
    expected = {row["code"]: row for row in (await api(client, "shares?window=24h"))["shares"]}
    shown = await tab.map_rows()
    assert shown == {code: row for code, row in expected.items() if code in shown}
    assert {"US", "CN", "CA", "DE"} <= shown.keys()
    # What has no shape on the map stands beside it.
    beside = await tab.page.locator("#beside [data-place]").evaluate_all(
        "nodes => nodes.map((node) => node.dataset.place)"
    )
    assert shown.keys() | set(beside) == expected.keys()


async def test_the_table_has_a_row_for_each_place_in_the_order_of_the_api(
    tab: Tab, client: Client
) -> None:
    await tab.go("?window=24h")
    codes = await tab.page.locator("#rows tr").evaluate_all(
        "rows => rows.map((row) => row.dataset.code)"
    )
    assert codes == [row["code"] for row in (await api(client, "shares?window=24h"))["shares"]]


async def test_the_first_view_is_the_window_with_most_evidence(tab: Tab) -> None:
    await tab.go()
    # 30 days have no cohort here; in 7 days alpha's measured places count.
    assert await tab.page.locator("#windows input:checked").get_attribute("value") == "7d"
    assert await tab.page.locator("#rows tr").count() > 0


async def test_what_is_mostly_assumed_is_hatched_and_nothing_else(tab: Tab) -> None:
    await tab.go("?window=24h")
    hatched = await tab.page.evaluate(
        "document.getElementById('map').chart.getOption().series[0].data"
        ".filter(({hatched}) => hatched).map(({name}) => name)"
    )
    rows = await tab.map_rows()
    assert set(hatched) == {
        code for code, row in rows.items() if row["evidence"] is None or row["evidence"] < 0.5
    }
    assert hatched


async def test_a_country_with_a_map_of_its_own_opens_it(tab: Tab, client: Client) -> None:
    await tab.go("?window=24h")
    await tab.page.locator("#rows [data-place=CN]").click()
    await tab.page.locator("#detail .enter").click()
    await tab.until("document.querySelector('#rows [data-place^=\"CN-\"]')")
    answer = await api(client, "shares?window=24h&level=subdivision&country=CN")
    expected = {row["code"]: row for row in answer["shares"]}
    assert await tab.map_rows() == expected
    assert (await tab.query())["map"] == "CN"


async def test_a_place_is_chosen_everywhere_and_in_the_address(tab: Tab) -> None:
    await tab.go("?window=24h&chart=lines")
    await tab.page.locator("#rows [data-place=US]").click()
    assert (await tab.query())["place"] == "US"
    assert "United States" in await tab.text("#detail")
    assert await tab.page.locator("#rows tr.chosen").get_attribute("data-code") == "US"
    selected = await tab.page.evaluate(
        "document.getElementById('map').chart.getOption().series[0].data"
        ".filter(({selected}) => selected).map(({name}) => name)"
    )
    assert selected == ["US"]
    assert "United States" in await tab.text("#chart-title")
    await tab.page.go_back()
    await tab.until("!new URLSearchParams(location.search).has('place')")
    assert await tab.page.locator("#rows tr.chosen").count() == 0


async def chosen_on_the_map(tab: Tab) -> set[str]:
    """Return the places that the map marks as chosen."""
    codes = await tab.page.evaluate(
        "Object.entries(document.getElementById('map').chart.getOption().series[0].selectedMap)"
        ".filter(([, selected]) => selected).map(([code]) => code)"
    )
    return set(codes)


async def test_the_map_marks_the_chosen_place_and_no_earlier_one(tab: Tab) -> None:
    await tab.go("?window=24h")
    for code in ("US", "CN"):
        await tab.page.locator(f"#rows [data-place={code}]").click()
        await tab.until(f"document.querySelector('#rows tr.chosen')?.dataset.code === '{code}'")
        assert await chosen_on_the_map(tab) == {code}
        assert await tab.page.locator('#map path[stroke-width="3"]').count() == 1


async def chart_lines(tab: Tab) -> set[str]:
    """Return the places that the chart has lines of."""
    await tab.until("document.getElementById('chart').chart?.getOption().series?.length > 2")
    ids = await tab.page.evaluate(
        "document.getElementById('chart').chart.getOption().series"
        ".flatMap((one) => one?.id ?? [])"  # ECharts leaves gaps where it removed some
    )
    return {code for code in ids if code.isupper()}


async def test_several_places_can_be_compared(open_tab: Open, tab: Tab) -> None:
    await tab.go("?window=24h&chart=lines")
    assert await chart_lines(tab) == {"US", "CN", "CA", "DE"}
    await tab.page.locator("#rows [data-place=US]").click()
    await tab.page.locator("#rows [data-compare=CN]").check()  # a finger and a keyboard can do it
    assert (await tab.query())["compare"] == "CN"
    assert await chart_lines(tab) == {"US", "CN"}
    assert await chosen_on_the_map(tab) == {"US", "CN"}
    await tab.page.locator("#rows [data-place=DE]").click(modifiers=["Control"])
    assert await chart_lines(tab) == {"US", "CN", "DE"}
    assert "United States" in await tab.text("#detail")
    async with open_tab() as other:
        await other.go(f"?{tab.page.url.partition('?')[2]}")
        assert await chart_lines(other) == {"US", "CN", "DE"}
    # Another one of them becomes the chosen place, and the others stay.
    await tab.page.locator("#rows [data-place=CN]").click()
    query = await tab.query()
    assert (query["place"], query["compare"]) == ("CN", "US,DE")
    await tab.page.locator("#rows [data-compare=CN]").uncheck()
    query = await tab.query()
    assert (query["place"], query["compare"]) == ("US", "DE")
    await tab.page.locator("#compare-none").click()
    assert "compare" not in await tab.query()
    assert await chart_lines(tab) == {"US", "CN", "CA", "DE"}


async def test_a_click_on_the_map_with_a_key_compares(tab: Tab) -> None:
    await tab.go("?window=24h&place=US")
    await tab.page.mouse.click(*await point_of(tab, "CN"))
    assert (await tab.query())["place"] == "CN"
    await tab.page.keyboard.down("Shift")
    await tab.page.mouse.click(*await point_of(tab, "CA"))
    await tab.page.keyboard.up("Shift")
    query = await tab.query()
    assert (query["place"], query["compare"]) == ("CN", "CA")


async def test_a_link_restores_a_view(open_tab: Open, tab: Tab) -> None:
    await tab.go("?window=24h")
    await tab.page.locator("#measures input[value=evidence]").check()
    await tab.page.locator("#adjusts input[value=none]").check()
    await tab.page.locator("#prior").select_option("none")
    await tab.page.locator("#steps input[value=hour]").check()
    await tab.page.locator("#charts input[value=lines]").check()
    await tab.page.locator("#rows [data-place=US]").click()
    address = tab.page.url
    async with open_tab() as other:
        await other.go(f"?{address.partition('?')[2]}")
        for group, value in (
            ("windows", "24h"),
            ("measures", "evidence"),
            ("adjusts", "none"),
            ("steps", "hour"),
            ("charts", "lines"),
        ):
            checked = other.page.locator(f"#{group} input:checked")
            assert await checked.get_attribute("value") == value, group
        assert await other.page.locator("#prior").input_value() == "none"
        assert "United States" in await other.text("#detail")
        assert await other.map_rows() == await tab.map_rows()


async def point_of(tab: Tab, code: str) -> tuple[float, float]:
    """The middle of a place on the map, in the tab's own pixels, once nothing moves the map."""
    x, y = await tab.page.evaluate(
        "async (code) => { const node = document.getElementById('map');"
        " const point = () => { node.scrollIntoView({block: 'center'});"
        " const at = node.chart.convertToPixel({seriesIndex: 0}, code);"
        " const box = node.getBoundingClientRect(); return [box.x + at[0], box.y + at[1]]; };"
        " let last = point();"
        " for (let frames = 0; frames < 10; frames++) {"
        " await new Promise(requestAnimationFrame); const next = point();"
        " if (String(next) !== String(last)) frames = 0; last = next; }"
        " return last; }",
        code,
    )
    return x, y


@pytest.mark.parametrize("by", ["mouse", "finger"])
async def test_pointing_at_a_place_says_what_is_known_of_it(open_tab: Open, by: str) -> None:
    async with open_tab(
        has_touch=by == "finger", viewport={"width": 390 if by == "finger" else 1000, "height": 800}
    ) as tab:
        await tab.go("?window=24h")
        x, y = await point_of(tab, "US")
        if by == "finger":
            await tab.page.touchscreen.tap(x, y)
        else:
            await tab.page.mouse.move(x, y)
        tooltip = tab.page.locator("#map .tooltip")
        await tooltip.get_by_text("beta").wait_for()  # a pool, which is read when it is asked for
        text = await tooltip.inner_text()
        share = await tab.text("#largest [data-place=US] b")
        assert "United States" in text
        assert share in text
        for fact in ("Possible range", "If the cited sources are right", "Evidence", "Pools"):
            assert fact in text, fact
        assert "assumed" in text or "measured" in text or "inferred" in text
        assert "newest report" in text
        if by == "finger":  # on a telephone it does not cover the place that it is about
            box = await tooltip.bounding_box()
            assert box
            assert box["y"] > y
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 390


async def test_small_places_can_be_brought_near(tab: Tab) -> None:
    await tab.go("?window=24h&place=DE")
    near = (await point_of(tab, "FR"), await point_of(tab, "PL"))
    for _ in range(3):
        await tab.page.locator("#zoom-in").click()
    apart = (await point_of(tab, "FR"), await point_of(tab, "PL"))
    assert apart[1][0] - apart[0][0] > 4 * (near[1][0] - near[0][0])
    box = await tab.page.locator("#map").bounding_box()
    assert box
    x, y = await point_of(tab, "DE")  # the chosen place is in the middle
    assert abs(x - box["x"] - box["width"] / 2) < 5
    box = await tab.page.locator("#map").bounding_box()
    assert box
    assert abs(y - box["y"] - box["height"] / 2) < 5
    await tab.page.locator("#zoom-all").click()
    assert await point_of(tab, "FR") == pytest.approx(near[0])


async def test_hatching_is_as_fine_on_a_map_that_is_near(tab: Tab) -> None:
    await tab.go("?window=24h&place=DE")
    for times in (1, 2, 4):
        scales = await tab.page.locator("#map pattern").evaluate_all(
            "all => all.map((node) => new DOMMatrix(getComputedStyle(node).transform).a"
            " || Number(/scale\\(([0-9.]+)/.exec(node.getAttribute('patternTransform'))?.[1] ?? 1))"
        )
        assert scales
        assert set(scales) == {1 / times}
        await tab.page.locator("#zoom-in").click()


@pytest.mark.parametrize(
    ("query", "view"),
    [
        ("?at=9999-99&window=24h", {"chosen": "", "map": "world"}),
        ("?at=2021-02-31&window=24h", {"chosen": "", "map": "world"}),
        ("?map=CN&place=US&window=24h", {"chosen": "", "map": "CN"}),
        ("?place=CN-SC&window=24h", {"chosen": "CN-SC", "map": "CN"}),
    ],
)
async def test_a_link_that_contradicts_itself_shows_what_it_can(
    tab: Tab, query: str, view: dict[str, str]
) -> None:
    await tab.go(query)
    assert await tab.page.locator("#maps input:checked").get_attribute("value") == view["map"]
    assert (await tab.text("#detail-body")).endswith("table.") == (view["chosen"] == "")
    assert await tab.text("#live") == "Live"


async def test_the_csv_that_is_offered_has_what_is_shown(tab: Tab, client: Client) -> None:
    await tab.go("?window=24h&map=CN&adjust=none")
    link = await tab.page.locator("#csv").get_attribute("href")
    async with client.get(f"/{link}") as answer:
        table = list(csv.DictReader(io.StringIO(await answer.text())))
    shown = await tab.map_rows()
    assert {row["code"]: float(row["share"]) for row in table if row["code"] in shown} == {
        code: row["share"] for code, row in shown.items()
    }
    assert "CN-ZJ" in shown  # without the correction


# --- time ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("months")
async def test_the_slider_shows_the_month_that_it_names(tab: Tab, client: Client) -> None:
    await tab.go("?step=month")
    await tab.until("document.getElementById('slider').max > 1")
    slider = tab.page.locator("#slider")
    await slider.evaluate("(node) => { node.value = 0; node.dispatchEvent(new Event('input')); }")
    assert (await tab.query())["at"] == "2021-06"
    assert await slider.get_attribute("aria-valuetext") == "June 2021"
    await tab.until("document.querySelector('#rows tr').dataset.code === 'CN'")
    expected = await api(client, "shares?window=2021-06")
    shown = await tab.map_rows()
    for row in expected["shares"]:
        if row["code"] in shown:
            assert shown[row["code"]]["share"] == row["share"]
    await slider.press("ArrowRight")
    assert (await tab.query())["at"] == "2021-07"
    await tab.page.locator("#go-live").click()
    assert "at" not in await tab.query()


@pytest.mark.usefixtures("months")
async def test_playing_walks_through_the_months_and_ends_at_the_last(tab: Tab) -> None:
    await tab.go("?step=month")
    await tab.until("document.getElementById('slider').max > 1")
    await tab.page.locator("#play").click()
    await tab.until("new URLSearchParams(location.search).get('at') === '2021-06'")
    await tab.until("new URLSearchParams(location.search).get('at') === '2021-07'")
    await tab.until("new URLSearchParams(location.search).get('at') === '2026-11'")
    await tab.until("document.getElementById('play').textContent.includes('Play')")


@pytest.mark.usefixtures("months")
async def test_while_it_plays_nothing_is_read_and_what_it_stops_at_is_shown(
    tab: Tab, client: Client
) -> None:
    await tab.go("?step=month&place=US")
    await tab.until("document.getElementById('slider').max > 1")
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url))
    await tab.page.locator("#play").click()
    await tab.until("document.getElementById('shown-time').textContent === 'July 2021'")
    assert not [url for url in asked if "window=2021-06" in url]
    await tab.page.locator("#play").click()
    answer = await api(client, "shares?window=2021-07")
    await tab.page.wait_for_function(
        "(share) => document.getElementById('map').chart.getOption().series[0].data"
        ".find(({name}) => name === 'CN').row?.share === share",
        arg=next(row["share"] for row in answer["shares"] if row["code"] == "CN"),
    )
    assert [url for url in asked if "shares?window=2021-07" in url]


@pytest.mark.usefixtures("months")
async def test_the_chart_has_the_shares_of_the_history(tab: Tab, client: Client) -> None:
    await tab.go("?step=month&chart=lines&place=US")
    await tab.until("document.getElementById('chart').chart.getOption().series?.length > 2")
    lines = await tab.page.evaluate(
        "Object.fromEntries(document.getElementById('chart').chart.getOption().series"
        ".map(({id, data}) => [id, data]))"
    )
    history = await api(client, "history?code=*&step=month&from=2019-09")
    series = {one["code"]: one["points"] for one in history["series"]}
    first = next(n for n, point in enumerate(series["US"]) if point["pools"])
    for code in ("US", "CN"):
        expected = [
            (point["share"] or 0) if point["pools"] else None for point in series[code][first:]
        ]
        assert lines[code] == expected
    assert {"band-possible", "band-declared", "band-belief", "coverage"} <= lines.keys()


async def click_chart(tab: Tab, n: int, share: float) -> None:
    """Click on the chart at a bucket and a share."""
    x, y = await tab.page.evaluate(
        "([n, share]) => { const node = document.getElementById('chart');"
        " node.scrollIntoView({block: 'center'});"
        " const at = node.chart.convertToPixel({xAxisIndex: 0, yAxisIndex: 0}, [n, share]);"
        " const box = node.getBoundingClientRect(); return [box.x + at[0], box.y + at[1]]; }",
        [n, share],
    )
    await tab.page.mouse.click(x, y)


@pytest.mark.usefixtures("months")
async def test_a_click_on_the_chart_chooses_a_time_or_a_place_but_not_both(tab: Tab) -> None:
    await tab.go("?window=24h&step=month&chart=lines")
    await tab.until("document.getElementById('chart').chart.getOption().series?.length > 2")
    us = await tab.page.evaluate(
        "document.getElementById('chart').chart.getOption().series"
        ".find(({id}) => id === 'US').data[1]"
    )
    await click_chart(tab, 1, us)
    assert {"place": "US"}.items() <= (await tab.query()).items()
    assert "at" not in await tab.query()
    await tab.page.go_back()
    await tab.until("!new URLSearchParams(location.search).has('place')")
    # Between the lines, and on the areas of the stacked chart, it is the time that is meant.
    await click_chart(tab, 1, us - 0.1)
    assert (await tab.query())["at"] == "2021-07"
    assert "place" not in await tab.query()
    await tab.page.go_back()
    await tab.until("!new URLSearchParams(location.search).has('at')")
    await tab.page.locator("#charts input[value=stacked]").check()
    await click_chart(tab, 0, 0.2)
    assert (await tab.query())["at"] == "2021-06"
    assert "place" not in await tab.query()


@pytest.mark.usefixtures("months")
async def test_another_choice_ends_the_playing(tab: Tab) -> None:
    await tab.go("?step=month")
    await tab.until("document.getElementById('slider').max > 1")
    await tab.page.locator("#play").click()
    await tab.until("new URLSearchParams(location.search).has('at')")
    await tab.page.locator("#windows input[value='24h']").check()
    await tab.until("document.getElementById('play').textContent.includes('Play')")
    assert "at" not in await tab.query()


async def test_a_page_that_stays_open_reads_the_history_again(tab: Tab, store: Store) -> None:
    await tab.go("?window=1h")
    await tab.until("document.getElementById('chart').chart.getOption().series?.length > 2")
    await tab.page.clock.set_system_time(NOW + timedelta(minutes=10))
    async with tab.page.expect_request("**/api/v1/history?*"):
        await store.snapshots.write(
            await take_snapshot(store.cells, BELIEFS, NOW + timedelta(minutes=10))
        )


async def test_new_figures_leave_the_focus_where_it_is(tab: Tab, store: Store) -> None:
    await tab.go("?window=1h&place=CN")
    await tab.page.locator("#detail .clear").focus()
    before = await tab.text("#largest [data-place=US]")
    newer = report("beta", NOW - timedelta(minutes=59), NOW, 900 * EH, hold_s=300)
    message = msgspec.structs.replace(newer, fetched_at=NOW + timedelta(seconds=1))
    await store.writer.write([(message, claims_of(message))])
    await store.snapshots.write(
        await take_snapshot(store.cells, BELIEFS, NOW + timedelta(seconds=5))
    )
    await tab.page.wait_for_function(
        "(before) => document.querySelector('#largest [data-place=US]').innerText !== before",
        arg=before,
    )
    assert await tab.page.evaluate("document.activeElement.className") == "clear"
    # What is chosen is said once, not with every event.
    assert await tab.page.locator("#detail-body[aria-live]").count() == 0
    assert "China" in await tab.text("#said")


async def test_a_pushed_report_is_on_the_page_within_two_seconds(tab: Tab, store: Store) -> None:
    await tab.go("?window=1h")
    before = (await tab.map_rows())["US"]["share"]
    newer = report("beta", NOW - timedelta(minutes=59), NOW, 900 * EH, hold_s=300)
    message = msgspec.structs.replace(newer, fetched_at=NOW + timedelta(seconds=1))
    await store.writer.write([(message, claims_of(message))])
    await store.snapshots.write(
        await take_snapshot(store.cells, BELIEFS, NOW + timedelta(seconds=5))
    )
    await tab.page.wait_for_function(
        "(before) => document.getElementById('map').chart.getOption().series[0].data"
        ".find(({name}) => name === 'US').row.share !== before",
        arg=before,
        timeout=2000,
    )


async def test_the_age_of_the_newest_report_is_said(tab: Tab) -> None:
    await tab.go("?window=1h")
    await tab.until("/newest report/.test(document.getElementById('age').textContent)")


# --- how sure ------------------------------------------------------------------------------------


async def test_the_headline_says_what_is_seen_and_how_it_is_known(tab: Tab) -> None:
    await tab.go("?window=24h")
    headline = await tab.text("#headline")
    assert re.match(r"We see .*% of the network in 2 pools\.|We see 2 pools\.", headline), headline
    assert "assumed" in headline or "no place" in headline


async def test_simulated_figures_are_impossible_to_miss(tab: Tab) -> None:
    await tab.go("?window=24h")
    assert await tab.page.locator("#simulated").is_visible()
    assert "made up" in await tab.text("#simulated")


async def test_the_switches_ask_for_other_figures(tab: Tab) -> None:
    await tab.go("?window=24h&map=CN")
    assert "CN-ZJ" not in await tab.map_rows()
    await tab.page.locator("#adjusts input[value=none]").check()
    await tab.until("document.querySelector('#rows [data-place=\"CN-ZJ\"]')")
    assert "CN-ZJ" in await tab.map_rows()


async def test_a_pool_with_a_hostile_name_is_only_text(open_tab: Open, client: Client) -> None:
    document = await api(client, "pools")
    for pool, name in zip(document["pools"], HOSTILE, strict=False):
        pool["name"] = name

    async def answer(route: Route) -> None:
        await route.fulfill(json=document)

    async with open_tab(viewport={"width": 360, "height": 740}) as tab:
        await tab.page.route("**/api/v1/pools", answer)
        await tab.go("?window=24h")
        await tab.until("document.getElementById('pool-rows').children.length > 1")
        assert HOSTILE[0] in await tab.text("#pools")
        assert await tab.page.evaluate("window.broken") is None
        assert await tab.page.locator("#pools img").count() == 0
        assert await tab.page.evaluate("document.documentElement.scrollWidth") <= 360


# --- a service that is not there -----------------------------------------------------------------


async def test_without_a_figure_the_page_says_what_it_waits_for(open_tab: Open) -> None:
    async def nothing(route: Route) -> None:
        answer = await route.fetch()
        document = await answer.json()
        await route.fulfill(json={**document, "shares": [], "cohort": [], "beliefs": []})

    async with open_tab() as tab:
        await tab.page.route("**/api/v1/shares?*", nothing)
        await tab.page.route("**/api/v1/stream*", lambda _: None)  # it is never answered
        await tab.page.goto(tab.base)
        await tab.page.locator("#waiting li", has_text="alpha").wait_for()


async def test_a_period_without_figures_waits_for_nothing(tab: Tab) -> None:
    await tab.page.goto(f"{tab.base}/?at=2031-01")
    await tab.until("document.getElementById('headline').textContent.startsWith('Nothing counts')")
    await tab.until("document.getElementById('pool-rows').children.length > 0")
    assert not await tab.page.locator("#waiting").is_visible()


async def test_a_service_that_goes_away_and_comes_back(
    open_tab: Open, client: Client, serve_at: ServeAt
) -> None:
    async with open_tab(errors_allowed=True) as tab:
        await tab.go("?window=24h")
        port = client.port
        assert port
        await client.close()
        # A request in progress is still told that the service is being stopped.
        await tab.page.locator("#problem", has_text="does not respond").wait_for()
        assert await tab.page.locator("#rows tr").count() > 0  # the last figures stay
        async with serve_at(port):
            await tab.page.locator("#problem").wait_for(state="hidden")
            await tab.page.locator("#windows input[value='1h']").check()
            await tab.until("new URLSearchParams(location.search).get('window') === '1h'")
            await tab.until("document.getElementById('rows').children.length > 0")
            assert not await tab.page.locator("#problem").is_visible()


async def test_the_first_window_is_chosen_again_if_it_could_not_be(open_tab: Open) -> None:
    async with open_tab(errors_allowed=True) as tab:
        failures = 1

        async def answer(route: Route) -> None:
            nonlocal failures
            if failures:
                failures -= 1
                await route.fulfill(status=503, json={"detail": "busy"})
            else:
                document = await (await route.fetch()).json()
                await route.fulfill(json=document | {"coverage": 1, "evidence": 1})

        await tab.page.route("**/api/v1/shares?window=1h", answer)
        await tab.go()
        await tab.until("document.querySelector('#windows input:checked')?.value === '1h'")
        await tab.page.locator("#problem").wait_for(state="hidden")


async def test_a_stream_that_is_refused_is_asked_for_again(open_tab: Open) -> None:
    async with open_tab(errors_allowed=True) as tab:
        refused = True

        async def answer(route: Route) -> None:
            # A browser gives a stream up for good if the answer is no stream, as a proxy's 503.
            await (route.fulfill(status=503) if refused else route.continue_())

        await tab.page.route("**/api/v1/stream*", answer)
        await tab.go("?window=24h")
        await tab.page.locator("#problem").wait_for()
        refused = False
        await tab.page.locator("#problem").wait_for(state="hidden")


# --- taking it along -----------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["map", "chart"])
async def test_pictures_say_where_they_are_from(tab: Tab, tmp_path: Path, what: str) -> None:
    await tab.go("?window=24h&step=hour")
    await tab.until("document.getElementById('chart').chart.getOption().series?.length > 2")
    async with tab.page.expect_download() as waiting:
        await tab.page.locator(f"#{what}-svg").click()
    await (await waiting.value).save_as(tmp_path / "picture.svg")
    picture = (tmp_path / "picture.svg").read_text()
    assert "SIMULATED DATA" in picture
    assert "CC BY 4.0" in picture
    assert "2026" in picture
    async with tab.page.expect_download() as waiting:
        await tab.page.locator(f"#{what}-png").click()
    await (await waiting.value).save_as(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


async def test_the_call_that_is_offered_answers_with_what_is_shown(
    tab: Tab, client: Client
) -> None:
    await tab.go("?window=24h&map=US")
    call = await tab.text("#take-api")
    path = re.search(r"/api/v1/([^\"]+)", call)
    assert path
    rows = {row["code"]: row for row in (await api(client, path[1]))["shares"]}
    assert rows == {**rows, **await tab.map_rows()}


async def test_only_the_embedded_view_can_be_framed(open_tab: Open) -> None:
    async with open_tab(errors_allowed=True) as tab:

        async def framing(request: web.Request) -> web.Response:
            source = f"{tab.base}/?window=24h&{request.query_string}"
            body = f'<iframe width="720" height="560" src="{source}"></iframe>'
            return web.Response(text=body, content_type="text/html")

        app = web.Application()
        app.router.add_get("/", framing)
        async with TestServer(app) as other:
            await tab.page.goto(str(other.make_url("/?embed=1")))
            frame = tab.page.frame_locator("iframe")
            await frame.locator("#headline").wait_for()
            assert await frame.locator("#full-page").is_visible()
            assert not await frame.locator("#pools").is_visible()
            assert not any("frame-ancestors" in error for error in tab.errors)
            await tab.page.goto(str(other.make_url("/")))
            assert any("frame-ancestors" in error for error in tab.errors)
        tab.foreign.clear()  # the other site itself


# --- for everybody -------------------------------------------------------------------------------


async def test_a_keyboard_alone_reaches_and_chooses(tab: Tab) -> None:
    await tab.go("?window=24h")
    keyboard = tab.page.keyboard
    await keyboard.press("Tab")
    assert await tab.page.evaluate("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(40):
        await keyboard.press("Tab")
        focus = await tab.page.evaluate(
            "document.activeElement.closest('[id]')?.id ?? document.activeElement.tagName"
        )
        reached.add(focus)
    assert {"language", "largest", "windows", "measures", "maps", "prior", "play"} <= reached
    await tab.page.locator("#rows [data-place=US]").focus()
    await keyboard.press("Enter")
    assert (await tab.query())["place"] == "US"
    # Focus stays where it was, although the rows were written anew.
    assert await tab.page.evaluate("document.activeElement.dataset.place") == "US"


@pytest.mark.usefixtures("months")
async def test_a_button_that_goes_away_leaves_the_focus_near(tab: Tab) -> None:
    await tab.go("?window=24h&place=CN")
    await tab.page.locator("#zoom-in").press("Enter")
    await tab.page.locator("#zoom-all").press("Enter")
    assert await tab.page.evaluate("document.activeElement.id") == "zoom-in"
    await tab.page.locator("#detail .clear").press("Enter")
    await tab.until("!document.querySelector('#detail .clear')")
    assert await tab.page.evaluate("document.activeElement.id") == "detail"
    await tab.until("document.getElementById('slider').max > 1")
    await tab.page.locator("#slider").press("ArrowLeft")
    await tab.page.locator("#go-live").press("Enter")
    assert await tab.page.evaluate("document.activeElement.id") == "slider"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
async def test_axe_finds_nothing(open_tab: Open, axe: str, view: str, scheme: Any) -> None:
    async with open_tab(color_scheme=scheme, bypass_csp=True) as tab:
        await tab.go(f"{view}&window=24h" if view else "?window=24h")
        await tab.page.add_script_tag(content=axe)
        found = await tab.page.evaluate(
            "axe.run(document, {runOnly: ['wcag2a','wcag2aa','wcag21a','wcag21aa','wcag22aa',"
            "'best-practice']})"
        )
        assert [(v["id"], [n["html"] for n in v["nodes"]][:3]) for v in found["violations"]] == []
        assert len(found["passes"]) > 15


# 320 pixels are what a window of 1280 has when it is enlarged to 400 %.
@pytest.mark.parametrize("width", [320, 360, 640, 768, 1280, 2560])
async def test_nothing_overflows(open_tab: Open, screenshots: Path, width: int) -> None:
    async with open_tab(viewport={"width": width, "height": 740}) as tab:
        await tab.go("?window=24h&place=US")
        assert await tab.page.evaluate("document.documentElement.scrollWidth") <= width
        share = await tab.page.locator("#largest b").first.bounding_box()
        assert share
        assert share["y"] + share["height"] <= 740  # the first share is on the first screen
        await tab.page.screenshot(path=screenshots / f"page-{width}.png", full_page=True)


async def test_on_a_telephone_the_map_comes_before_the_choices(open_tab: Open) -> None:
    async with open_tab(viewport={"width": 390, "height": 844}) as tab:
        await tab.go("?window=24h")
        map_box = await tab.page.locator("#map").bounding_box()
        assert map_box
        assert map_box["y"] + map_box["height"] <= 844  # on the first screen
        assert not await tab.page.locator("#windows").is_visible()
        await tab.page.locator("#choices-box summary").click()
        await tab.page.locator("#windows input[value='1h']").check()
        assert (await tab.query())["window"] == "1h"
        await tab.page.set_viewport_size({"width": 1280, "height": 900})
        await tab.page.locator("#windows").wait_for()


async def test_a_dark_page_is_printed_on_white(open_tab: Open) -> None:
    async with open_tab(color_scheme="dark") as tab:
        await tab.go("?window=24h&place=US")
        fills = "[...document.querySelectorAll('#map path')].map((n) => n.getAttribute('fill'))"
        on_screen = await tab.page.evaluate(fills)
        await tab.page.emulate_media(media="print", color_scheme="dark")
        assert await tab.page.evaluate("getComputedStyle(document.body).backgroundColor") == (
            "rgb(255, 255, 255)"
        )
        assert "#eceae4" not in on_screen
        await tab.until(f"{fills}.includes('#eceae4')")  # land in the colours of a light page


async def test_both_languages_have_every_word(open_tab: Open) -> None:
    texts = {}
    for locale in ("en-US", "zh-CN"):
        async with open_tab(locale=locale) as tab:
            await tab.go("?window=24h&place=CN")
            texts[locale] = await tab.page.locator("[data-word]").evaluate_all(
                "nodes => nodes.map((node) => node.textContent)"
            )
            assert all(texts[locale])
            names = await tab.text("#detail")
            assert ("中国" if locale == "zh-CN" else "China") in names
    same = [en for en, zh in zip(*texts.values(), strict=True) if en == zh]
    assert set(same) <= {"API", "Python", "The API"}


async def test_the_language_can_be_changed_and_the_view_stays(tab: Tab) -> None:
    await tab.go("?window=24h&place=CN")
    await tab.page.locator("#language").click()
    await tab.until("document.documentElement.lang === 'zh-Hans'")
    await tab.until("document.getElementById('detail').textContent.includes('中国')")
    assert (await tab.query())["place"] == "CN"


async def test_the_first_load_is_small(tab: Tab) -> None:
    sizes: list[int] = []
    session = await tab.page.context.new_cdp_session(tab.page)
    await session.send("Network.enable")
    session.on("Network.loadingFinished", lambda e: sizes.append(e["encodedDataLength"]))
    await tab.go("?window=24h")
    assert 100_000 < sum(sizes) < 500_000


async def test_reduced_motion_moves_nothing(open_tab: Open) -> None:
    async with open_tab(reduced_motion="reduce") as tab:
        await tab.go("?window=24h")
        moving = await tab.page.evaluate("document.getAnimations().length")
        assert moving == 0


async def test_search_engines_find_a_description_of_the_data(tab: Tab) -> None:
    await tab.go("?window=24h")
    text = await tab.page.locator('script[type="application/ld+json"]').text_content()
    assert json.loads(text or "")["@type"] == "Dataset"

"""The main states of the page, each written as a picture to look at (``SCREENSHOTS=folder``)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.endpoint.conftest import NOW
from tests.endpoint.swings import ago, lost, over, place_swing, pool_swing, write_events

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.async_api import Route

    from streams.redis.store import Store
    from tests.endpoint.page.conftest import Open, Tab

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("snapshots", "swings")]

DESK: Final[dict[str, Any]] = {"viewport": {"width": 1280, "height": 900}}
PHONE: Final[dict[str, Any]] = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "has_touch": True,
}
HALF: Final[dict[str, Any]] = {"viewport": {"width": 640, "height": 450}, "device_scale_factor": 2}
# By name: the view, the options of the browser, and what is in the picture (by default the screen).
STATES: Final[dict[str, tuple[str, dict[str, Any], str | None]]] = {
    "map": ("", DESK, None),
    "map-evidence": ("&by=evidence", DESK, None),
    "compare": ("&place=US&compare=CN,DE&chart=lines", DESK, "#history"),
    "china": ("&map=CN&place=CN-SC", DESK, None),
    "states": ("&map=US&place=US-TX", DESK, None),
    "chart-bands": ("&place=US&chart=lines&step=hour", DESK, "#history"),
    "chart-stacked": ("&step=day", DESK, "#history"),
    "swings": ("&place=US&step=hour", DESK, "#swings-section"),
    "swings-dark-chinese": (
        "&step=hour&lang=zh",
        DESK | {"color_scheme": "dark"},
        "#swings-section",
    ),
    "swings-phone": ("", PHONE, "#swings-section"),
    "why": ("&place=US", DESK, "#detail"),
    "pools": ("", DESK, "#pools"),
    "dark": ("&place=CN", DESK | {"color_scheme": "dark"}, None),
    "chinese": ("&place=CN&lang=zh", DESK, None),
    "phone": ("", PHONE, None),
    "phone-chosen": ("&place=US", PHONE, "#view"),
    "embed": ("&embed=1", {"viewport": {"width": 720, "height": 640}}, None),
    "zoom-200": ("&place=US", HALF, None),
    "take-along": ("&place=US", DESK, "#take-section"),
}


@pytest.fixture
async def swings(store: Store) -> None:
    """One swing of each sort."""
    fell = place_swing("CN", started=ago(hours=15))
    gone = place_swing("US-TX", started=ago(hours=25))
    await write_events(
        store.swings,
        *(gone, lost(gone, ago(hours=24)), fell, over(fell, ago(hours=12))),
        place_swing(started=ago(hours=12), muted=True, annotations=("annotations/ercot-4cp",)),
        place_swing("CN", started=ago(hours=4), delta=0.04, own=0.001, driver="others"),
        place_swing(started=ago(hours=3), severity=1, delta=-0.02, simulated=True),
        place_swing(started=ago(hours=3), at=ago(hours=2), simulated=True),
        pool_swing("beta", started=ago(hours=1)),
    )


async def settle(tab: Tab) -> None:
    """Wait until all is there that a picture shows."""
    await tab.until("document.getElementById('chart').chart?.getOption().series?.length > 2")
    await tab.until("document.querySelector('#swings > li')")
    await tab.until("document.getElementById('pool-rows').children.length > 0")


async def keep(tab: Tab, path: Path, part: str | None = None) -> None:
    """Write a picture of a part of the page, or of what is on the screen."""
    what = tab.page if part is None else tab.page.locator(part)
    assert len(await what.screenshot(path=path)) > 5_000


@pytest.mark.parametrize("name", STATES)
async def test_a_state_can_be_seen(open_tab: Open, screenshots: Path, name: str) -> None:
    view, options, part = STATES[name]
    async with open_tab(**options) as tab:
        await tab.go(f"?window=24h{view}")
        await settle(tab)
        await keep(tab, screenshots / f"state-{name}.png", part)


async def test_figures_that_are_old_can_be_seen(open_tab: Open, screenshots: Path) -> None:
    async with open_tab(**DESK) as tab:
        await tab.go("?window=24h")
        await tab.page.clock.set_system_time(NOW + timedelta(hours=3))
        await tab.until("document.getElementById('problem').innerText.includes('old')")
        assert "3 hr. ago" in await tab.text("#problem")
        await keep(tab, screenshots / "state-stale.png")


async def test_that_nothing_counts_can_be_seen(open_tab: Open, screenshots: Path) -> None:
    async def nothing(route: Route) -> None:
        document = await (await route.fetch()).json()
        await route.fulfill(json={**document, "shares": [], "cohort": [], "beliefs": []})

    async with open_tab(errors_allowed=True, **DESK) as tab:
        await tab.page.route("**/api/v1/shares?*", nothing)
        await tab.page.route("**/api/v1/stream*", lambda route: route.abort())
        await tab.page.goto(tab.base)
        await tab.page.locator("#waiting li", has_text="alpha").wait_for()
        await keep(tab, screenshots / "state-empty.png")


async def test_a_dark_page_is_printed_on_white(open_tab: Open, screenshots: Path) -> None:
    async with open_tab(color_scheme="dark", **DESK) as tab:
        await tab.go("?window=24h&place=US")
        await settle(tab)
        await tab.page.emulate_media(media="print", color_scheme="dark")
        await tab.page.screenshot(path=screenshots / "state-print.png", full_page=True)

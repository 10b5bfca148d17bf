"""A real browser on the page, which every test leaves without an error and a foreign request."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

from tests.browser import ARGUMENTS, chromium
from tests.conftest import missing
from tests.endpoint.conftest import NOW

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from aiohttp import web
    from aiohttp.test_utils import TestClient

    Client = TestClient[web.Request, web.Application]
    Open = Callable[..., AbstractAsyncContextManager["Tab"]]

ROOT: Final = Path(__file__).parents[3]
SOURCES: Final = ROOT / "endpoint/page"
CI: Final = os.environ.get("CI", "")
TIMEOUT_MS: Final = 15_000


@dataclass
class Tab:
    """One open page, and what went wrong in it."""

    page: Page
    base: str
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    async def go(self, query: str = "") -> None:
        """Open a view and wait until its figures are there."""
        await self.page.goto(f"{self.base}/{query}")
        await self.page.wait_for_function(
            "() => document.getElementById('map').chart?.getOption().series?.[0]?.data.length > 0"
            " && document.getElementById('rows').children.length > 0"
        )

    async def map_rows(self) -> dict[str, dict[str, Any]]:
        """Return the rows that the map shows, by code, as they are in the chart."""
        text = await self.page.evaluate(
            "JSON.stringify(Object.fromEntries("
            "document.getElementById('map').chart.getOption().series[0].data"
            ".filter(({row}) => row).map(({name, row}) => [name, row])))"
        )
        rows: dict[str, dict[str, Any]] = json.loads(text, parse_int=float)
        return rows

    async def query(self) -> dict[str, str]:
        """Return the parameters in the address bar."""
        found: dict[str, str] = await self.page.evaluate(
            "Object.fromEntries(new URLSearchParams(location.search))"
        )
        return found

    async def text(self, selector: str) -> str:
        return (await self.page.locator(selector).inner_text()).strip()

    async def until(self, expression: str) -> None:
        """Wait until a condition in the page is true."""
        # A function, because the page's policy forbids to evaluate text.
        await self.page.wait_for_function(f"() => {expression}")


@pytest.fixture
def _function_scoped_runner(_module_scoped_runner: asyncio.Runner) -> asyncio.Runner:
    """The event loop of each test and its fixtures: that of the module, as the browser's.

    pytest-asyncio lets a test choose its loop, but not the fixtures of the folders above it.
    """
    return _module_scoped_runner


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests of a file: to start it takes longer than most of them."""
    path = chromium()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest.fixture
def open_tab(browser: Browser, client: Client) -> Open:
    """A function that opens a tab on the served page; options are those of a browser's context."""

    @asynccontextmanager
    async def open_one(*, errors_allowed: bool = False, **options: Any) -> AsyncIterator[Tab]:
        base = str(client.make_url("/")).rstrip("/")
        context = await browser.new_context(
            locale=options.pop("locale", "en-US"), timezone_id="Asia/Shanghai", **options
        )
        context.set_default_timeout(TIMEOUT_MS)
        page = await context.new_page()
        await page.clock.set_system_time(NOW)
        tab = Tab(page, base)
        page.on("pageerror", lambda error: tab.errors.append(str(error)))
        page.on("console", lambda message: _note(tab, message))
        page.on("request", lambda request: _note_foreign(tab, request.url))
        yield tab
        # An answer that a test was about to change is no longer of interest.
        await page.unroute_all(behavior="ignoreErrors")
        await context.close()
        assert tab.foreign == []
        assert errors_allowed or tab.errors == []

    return open_one


def _note_foreign(tab: Tab, url: str) -> None:
    if not url.startswith((tab.base, "blob:")):
        tab.foreign.append(url)


def _note(tab: Tab, message: ConsoleMessage) -> None:
    if message.type in {"error", "warning"}:
        tab.errors.append(message.text)


@pytest.fixture
async def tab(open_tab: Open) -> AsyncIterator[Tab]:
    async with open_tab(viewport={"width": 1280, "height": 900}) as tab:
        yield tab


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core, which finds what people with a disability would stumble over."""
    script = SOURCES / "node_modules/axe-core/axe.min.js"
    if not script.exists():
        done = subprocess.run(
            [ROOT / "tools/page.sh", "install"], capture_output=True, text=True, check=False
        )
        if done.returncode or not script.exists():
            raise missing(f"axe-core is not installed: {done.stderr.strip()}", CI)
    return script.read_text()


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    """The folder for screenshots: one to look at, if the environment names it."""
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder

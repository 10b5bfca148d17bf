"""The page's files are all served, load nothing from elsewhere, and expose no other files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from yarl import URL

from endpoint.routes import page
from tests.servers import ROOT

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.test_utils import TestClient

    Client = TestClient[web.Request, web.Application]

pytestmark = pytest.mark.integration

FILES = list(page.routes())
SOURCES = ROOT / "endpoint/page/src"
PAGES = {"/": "page/main.js", "/docs": "page/docs.js"}
"""The script of each page."""
NAMED = {"http://www.w3.org", "https://schema.org", "https://creativecommons.org"}
"""Hosts of a namespace, a vocabulary and a licence, from which no browser loads anything."""


async def text_of(client: Client, path: str) -> str:
    async with client.get(path) as answer:
        assert answer.status == 200, path
        return await answer.text()


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_is_html_under_a_policy_without_inline_code(client: Client, path: str) -> None:
    async with client.get(path) as answer:
        assert answer.content_type == "text/html"
        policy = dict(
            part.strip().split(" ", 1)
            for part in answer.headers["Content-Security-Policy"].split(";")
        )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_contains_nothing_that_its_policy_forbids(client: Client, path: str) -> None:
    page = await text_of(client, path)
    assert re.search(r"<style|\sstyle=|\son\w+=|javascript:", page) is None
    scripts = re.findall(r"<script[^>]*>", page)
    # A block of data is not run, so the policy does not concern it.
    assert all("src=" in tag or tag == '<script type="application/ld+json">' for tag in scripts)


async def test_no_file_names_another_host(client: Client) -> None:
    for path in {*FILES} - {"/method", "/page/notices.txt"}:  # which link to what they cite
        hosts = re.findall(r"(?:https?:)?//[\w.-]+\.\w+", await text_of(client, path))
        assert set(hosts) <= NAMED, path


@pytest.mark.parametrize(("path", "script"), PAGES.items())
async def test_all_files_of_a_page_are_served(client: Client, path: str, script: str) -> None:
    page = await text_of(client, path)
    links = re.findall(r'(?:src|href)="([^"#]+)"', page)
    assert {"page/style.css", script} <= {*links}
    code = await text_of(client, f"/{script}")
    imports = [f"page/{name}" for name in re.findall(r'from "\./([^"]+)"', code)]
    for link in (*links, *imports):
        await text_of(client, f"/{link}")


@pytest.mark.parametrize(("name", "scripts"), [("index", "*.ts"), ("docs", "*.js")])
def test_the_elements_that_the_scripts_use_are_in_the_page(name: str, scripts: str) -> None:
    page = (SOURCES / f"{name}.html").read_text()
    code = "".join(script.read_text() for script in SOURCES.glob(scripts))
    ids = set(re.findall(r'byId\("([\w-]+)"', code))
    assert ids
    assert ids <= set(re.findall(r'\sid="([\w-]+)"', page))


@pytest.mark.parametrize("scripts", ["*.ts", "*.js"])
def test_the_scripts_write_text_and_no_html(scripts: str) -> None:
    code = "".join(script.read_text() for script in SOURCES.glob(scripts))
    assert "textContent" in code
    forbidden = r"\.innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\("
    assert re.search(forbidden, code) is None


async def test_the_method_is_served_and_its_own_links_lead_somewhere(client: Client) -> None:
    method = await text_of(client, "/method")
    anchors = set(re.findall(r'\sid="([^"]+)"', method))
    assert {"1-words", "7-shares-and-coverage", "8-uncertainty", "glossary"} <= anchors
    assert set(re.findall(r'href="#([^"]+)"', method)) <= anchors
    words = (SOURCES / "words.ts").read_text()
    (listed,) = re.findall(r"readingAt: \[(.*?)\]", words, re.DOTALL)
    assert set(re.findall(r'"([^"]+)"', listed)) <= anchors


async def test_no_path_exposes_other_files(client: Client) -> None:
    for path in (
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/static/..%2f..%2f..%2fetc/passwd",
        "/assets/%2e%2e/%2e%2e/pyproject.toml",
        "/page/%2e%2e/service.py",
        "/page/..%2fservice.py",
        "/page//etc/passwd",
        "/page/",
        "/page",
    ):
        url = URL(f"{str(client.make_url('/')).rstrip('/')}{path}", encoded=True)
        async with client.session.get(url) as answer:
            assert answer.status == 404, path
            assert answer.content_type == "application/problem+json", path

"""One request to an intake over real HTTP, and the meaning of each response."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from miningmap import live_rows
from miningmap.cbeci.contribution import PATH, Row
from miningmap.partner.http import (
    ContributeError,
    body_of,
    contribute,
    intake_client,
    send_reports,
)
from miningmap.rows import MAX_BODY, RowError
from miningmap.times import utc_now

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from miningmap.live_rows import LiveRow

TOKEN = "a-partners-token"
ROW: Row = {
    "period_start_date": "2020-01-01",
    "period": "weekly",
    "country": "China",
    "province": None,
    "average_hashrate": 5230.7,
    "unit": "ph/s",
}
LIVE: LiveRow = {
    "start": "2026-11-22T14:59:00Z",
    "end": "2026-11-22T15:00:00Z",
    "hashrate": 2.3e20,
    "places": [{"code": "US-TX", "hashrate": 1e20}],
}


async def sent(
    body: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> tuple[str | None, Any]:
    """Send a row to an intake with this response; return the received token and document."""
    arrived: list[tuple[str | None, Any]] = []

    async def handle(request: web.Request) -> web.Response:
        arrived.append((request.headers.get("Authorization"), await request.json()))
        if isinstance(body, str):
            return web.Response(text=body, status=status, headers=headers)
        return web.json_response(body, status=status, headers=headers)

    app = web.Application()
    app.router.add_post(PATH, handle)
    async with TestServer(app) as server, intake_client() as client:
        await contribute(client, str(server.make_url(PATH)), TOKEN, [ROW])
    (found,) = arrived
    return found


async def rejection(
    body: object, status: int, headers: Mapping[str, str] | None = None
) -> ContributeError:
    with pytest.raises(ContributeError) as caught:
        await sent(body, status, headers)
    assert TOKEN not in str(caught.value)
    return caught.value


async def test_the_rows_are_sent_with_the_token() -> None:
    assert await sent({"data": [], "status": "success"}) == (f"Bearer {TOKEN}", {"data": [ROW]})


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, {"error": "Invalid bearer token"}),
        (422, {"error": "date should be in format"}),
        (200, {"status": "fail", "error": "insert"}),  # CBECI reports failures like this
        (200, {"error": "Missing key: unit"}),
        (404, "<html>nothing here</html>"),
    ],
)
async def test_a_rejection_has_the_intakes_error_and_is_final(status: int, body: object) -> None:
    error = await rejection(body, status)
    reason = body if isinstance(body, str) else body["error"]  # type: ignore[index]
    assert f"answered {status}: {reason}" in str(error)
    assert error.retry_s is None


async def test_errors_of_rows_are_separate() -> None:
    errors = [{"index": 3, "field": "unit", "error": "no unit"}]
    error = await rejection({"error": "no unit", "errors": errors}, 422)
    assert error.errors == (RowError(3, "unit", "no unit"),)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("header", "wait_s"), [("7", 7), ("1.5", 1.5), ("0", 0)])
async def test_retries_wait_for_the_seconds_of_retry_after(
    status: int, header: str, wait_s: float
) -> None:
    assert (await rejection({"error": "later"}, status, {"Retry-After": header})).retry_s == wait_s


async def test_retries_wait_until_the_date_of_retry_after() -> None:
    at = utc_now() + timedelta(minutes=10)
    headers = {"Retry-After": format_datetime(at, usegmt=True)}
    assert (await rejection("busy", 503, headers)).retry_s == pytest.approx(600, abs=60)


@pytest.mark.parametrize("header", [None, "", "Wed, 21 Oct 2020 07:28:00 GMT", "-1", "\u0667"])
async def test_without_a_valid_retry_after_retries_wait_30_s(header: str | None) -> None:
    headers = None if header is None else {"Retry-After": header}
    assert (await rejection("<html>", 502, headers)).retry_s == 30


async def test_a_response_without_a_text_is_named_by_its_status() -> None:
    assert str(await rejection("", 429)).endswith("answered 429: Too Many Requests")
    assert str(await rejection(" \n", 599)).endswith("answered 599: without a text")


@pytest.mark.parametrize("body", ["\x1b[31mred\r\n", {"detail": "\x1b[31mred\r\n"}])
async def test_a_response_cannot_control_a_terminal(body: object) -> None:
    assert str(await rejection(body, 500)).rstrip().endswith("answered 500: \ufffd[31mred")


async def test_a_body_that_the_intake_did_not_get_in_time_is_sent_again() -> None:
    assert (await rejection({"error": "too slow"}, 408)).retry_s == 30


async def test_a_response_is_read_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("miningmap.partner.http._MAX_RESPONSE", 1000)
    accepted = '{"status": "success"}'
    await sent(" " * (1000 - len(accepted)) + accepted)
    error = await rejection(" " * 1000 + accepted, 200)
    assert str(error).endswith("answered 200: OK")
    assert (await rejection(" " * 1_000_000, 502)).retry_s == 30


async def test_a_redirect_is_not_followed_with_the_token() -> None:
    error = await rejection("moved", 308, {"Location": "https://elsewhere.example/"})
    assert str(error).endswith("answered 308: the intake is at https://elsewhere.example/")
    assert error.retry_s is None


async def test_a_refused_connection_can_be_retried(unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}{PATH}"
    async with intake_client() as client:
        with pytest.raises(ContributeError, match=f"no answer from {url}") as caught:
            await contribute(client, url, TOKEN, [ROW])
    assert caught.value.retry_s == 30


async def test_live_rows_are_sent_with_the_token_and_all_have_to_be_accepted() -> None:
    arrived: list[tuple[str | None, Any]] = []
    detail = {"detail": "row 0 is wrong", "status": 422}
    answers = [
        web.json_response({"accepted": 1}),
        web.json_response({"accepted": 0}),
        web.json_response(detail | {"errors": [{"index": 0, "field": "end", "error": "late"}]}),
    ]

    async def handle(request: web.Request) -> web.Response:
        arrived.append((request.headers.get("Authorization"), await request.json()))
        return answers[len(arrived) - 1]

    app = web.Application()
    app.router.add_post(live_rows.PATH, handle)
    async with TestServer(app) as server, intake_client() as client:
        url = str(server.make_url(live_rows.PATH))
        await send_reports(client, url, TOKEN, [LIVE])
        with pytest.raises(ContributeError, match=r'answered 200: \{"accepted": 0\}'):
            await send_reports(client, url, TOKEN, [LIVE])
        with pytest.raises(ContributeError, match="row 0 is wrong") as caught:
            await send_reports(client, url, TOKEN, [LIVE])
    assert caught.value.errors == (RowError(0, "end", "late"),)
    assert arrived == [(f"Bearer {TOKEN}", [LIVE])] * 3


async def test_a_response_that_never_ends_is_an_error_after_the_time_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("miningmap.partner.http._TIMEOUT_S", 0.2)

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:  # until the client closes the connection
            await response.write(b" ")
            await asyncio.sleep(0.01)

    app = web.Application()
    app.router.add_post(PATH, drip)
    async with TestServer(app) as server, intake_client() as client:
        url = str(server.make_url(PATH))
        with pytest.raises(ContributeError, match=f"no answer from {url}: TimeoutError") as caught:
            await contribute(client, url, TOKEN, [ROW])
    assert caught.value.retry_s == 30


async def test_proxies_and_credentials_of_the_environment_are_not_used(
    monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{unused_tcp_port}")
    assert (await sent({"status": "success"}))[0] == f"Bearer {TOKEN}"


def test_a_body_can_hold_7000_rows() -> None:
    assert len(body_of([ROW] * 7000)) < MAX_BODY

"""One request to an intake over real HTTP: what is sent, and what each answer means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from miningmap.cbeci.contribution import MAX_BODY, PATH, Row, RowError
from miningmap.partner.http import ContributeError, body_of, contribute, intake_client

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKEN = "a-partners-token"
ROW: Row = {
    "period_start_date": "2020-01-01",
    "period": "weekly",
    "country": "China",
    "province": None,
    "average_hashrate": 5230.7,
    "unit": "ph/s",
}


async def sent(
    body: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> tuple[str | None, Any]:
    """The authorization and the document that arrive at an intake that answers so."""
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


async def refusal(
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
        (200, {"status": "fail", "error": "insert"}),  # CBECI's way of failing
        (200, {"error": "Missing key: unit"}),
        (404, "<html>nothing here</html>"),
    ],
)
async def test_a_refusal_says_what_the_intake_said_and_is_final(status: int, body: object) -> None:
    error = await refusal(body, status)
    said = body if isinstance(body, str) else body["error"]  # type: ignore[index]
    assert f"answered {status}: {said}" in str(error)
    assert error.retry_s is None


async def test_the_errors_of_the_rows_are_told_apart() -> None:
    errors = [{"index": 3, "field": "unit", "error": "no unit"}]
    error = await refusal({"error": "no unit", "errors": errors}, 422)
    assert error.errors == (RowError(3, "unit", "no unit"),)


@pytest.mark.parametrize("status", [429, 503])
async def test_another_attempt_waits_as_long_as_the_intake_says(status: int) -> None:
    assert (await refusal({"error": "later"}, status, {"Retry-After": "7"})).retry_s == 7


@pytest.mark.parametrize("said", [None, "", "Wed, 21 Oct 2026 07:28:00 GMT", "-1", "\u0667"])
async def test_without_seconds_to_wait_it_is_half_a_minute(said: str | None) -> None:
    headers = None if said is None else {"Retry-After": said}
    assert (await refusal("<html>", 502, headers)).retry_s == 30


async def test_a_redirect_is_not_followed_with_the_token() -> None:
    error = await refusal("moved", 308, {"Location": "https://elsewhere.example/"})
    assert str(error).endswith("answered 308: the intake is at https://elsewhere.example/")
    assert error.retry_s is None


async def test_nobody_at_the_address_may_be_there_later(unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}{PATH}"
    async with intake_client() as client:
        with pytest.raises(ContributeError, match=f"no answer from {url}") as caught:
            await contribute(client, url, TOKEN, [ROW])
    assert caught.value.retry_s == 30


def test_a_body_holds_some_thousand_rows() -> None:
    assert len(body_of([ROW] * 7000)) < MAX_BODY

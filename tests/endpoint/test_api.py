"""``/api/v1`` over HTTP: what is stored is served as it is, the rest is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from miningmap.places import all_places
from miningmap.times import rfc3339
from streams.method.windows import ROLLING

if TYPE_CHECKING:
    from datetime import datetime

    from aiohttp import web
    from aiohttp.test_utils import TestClient

    from streams.redis.store import Store

    Client = TestClient[web.Request, web.Application]

pytestmark = pytest.mark.integration

SHARES = "/api/v1/shares"


async def get_json(client: Client, path: str, **query: str) -> Any:
    async with client.get(path, params=query) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.content_type == "application/json"
        return await answer.json()


async def refusal(client: Client, path: str, status: int = 400) -> Any:
    async with client.get(path) as answer:
        assert answer.status == status
        assert answer.content_type == "application/problem+json"
        document = await answer.json(content_type=None)
    assert document["status"] == status
    assert document["title"]
    return document


@pytest.mark.parametrize("window", ROLLING)
async def test_a_rolling_window_is_the_snapshots_own_bytes(
    client: Client, store: Store, window: str
) -> None:
    stored = b'{ "whatever":  "was stored" }'
    await store.write_snapshots({f"{window}/country": stored, f"{window}/subdivision/CN": stored})
    for query in ({"window": window}, {"window": window, "level": "subdivision", "country": "CN"}):
        async with client.get(SHARES, params=query) as answer:
            assert await answer.read() == stored


async def test_one_hour_by_country_is_asked_for_by_default(
    client: Client, snapshots: dict[str, bytes]
) -> None:
    async with client.get(SHARES) as answer:
        assert await answer.read() == snapshots["1h/country"]
    async with client.get(f"{SHARES}?window=1h&level=country&country=&as_of=") as answer:
        assert await answer.read() == snapshots["1h/country"]


async def test_as_of_is_computed_and_equals_the_snapshot_of_that_moment(
    client: Client, store: Store, snapshots: dict[str, bytes], now: datetime
) -> None:
    await store.write_snapshots({"now/country": b"not this"})
    async with client.get(SHARES, params={"window": "now", "as_of": rfc3339(now)}) as answer:
        assert await answer.read() == snapshots["now/country"]


@pytest.mark.usefixtures("snapshots")
async def test_the_past_is_answered_with_what_was_there(client: Client) -> None:
    before = await get_json(client, SHARES, window="now", as_of="2026-11-22T11:15:00Z")
    assert [member["pool"] for member in before["cohort"]] == ["gamma"]
    assert before["shares"] == []
    assert before["network"] is None
    assert before["coverage"] is None


@pytest.mark.usefixtures("snapshots")
async def test_adjust_none_applies_no_rule(client: Client) -> None:
    inside = {"window": "now", "level": "subdivision", "country": "CN"}
    published = await get_json(client, SHARES, **inside)
    raw = await get_json(client, SHARES, adjust="none", **inside)
    assert published["rules"] == ["cn-zhejiang"]
    assert [row["code"] for row in published["shares"]] == ["CN-SC"]
    assert raw["rules"] == []
    assert [row["code"] for row in raw["shares"]] == ["CN-SC", "CN-ZJ"]


@pytest.mark.usefixtures("snapshots")
@pytest.mark.parametrize("window", ["2026-11", "2026-11-22", "2026-11-22T14"])
async def test_months_days_and_hours_are_computed(client: Client, window: str) -> None:
    answer = await get_json(client, SHARES, window=window)
    assert answer["window"] == window
    assert sum(row["share"] for row in answer["shares"]) == pytest.approx(1, abs=1e-9)


@pytest.mark.usefixtures("snapshots")
async def test_a_country_without_listed_subdivisions_is_an_empty_list(client: Client) -> None:
    answer = await get_json(client, SHARES, window="now", level="subdivision", country="FR")
    assert answer["shares"] == []
    assert answer["country"] == "FR"
    assert len(answer["cohort"]) == 2


@pytest.mark.usefixtures("cells")
async def test_before_the_first_snapshot_shares_are_computed(client: Client, now: datetime) -> None:
    answer = await get_json(client, SHARES, window="now")
    assert [row["code"] for row in answer["shares"]] == ["US", "CN", "CA", "DE"]
    assert answer["as_of"] == rfc3339(now)


async def test_without_any_data_lists_are_empty_and_figures_null(client: Client) -> None:
    answer = await get_json(client, SHARES)
    assert answer["shares"] == answer["cohort"] == answer["excluded"] == []
    nulls = ("network", "coverage", "located", "measured_coverage")
    assert {name: answer[name] for name in nulls} == dict.fromkeys(nulls)
    assert await get_json(client, "/api/v1/pools") == {"pools": []}


async def test_pools_are_the_snapshots_own_bytes(
    client: Client, snapshots: dict[str, bytes]
) -> None:
    async with client.get("/api/v1/pools") as answer:
        assert await answer.read() == snapshots["pools"]
    states = {
        pool["pool"]: pool["state"] for pool in msgspec.json.decode(snapshots["pools"])["pools"]
    }
    assert states == {"alpha": "live", "beta": "live", "gamma": "stale"}


async def test_places_have_name_parent_and_flags(client: Client) -> None:
    listed = await get_json(client, "/api/v1/places")
    by_code = {place["code"]: place for place in listed["places"]}
    assert len(by_code) == len(listed["places"]) == len(all_places())
    assert by_code["DE"]["flags"] == ["proxy_suspected"]
    assert by_code["US"] == {"code": "US", "name": "United States", "parent": None, "flags": []}
    assert by_code["CN-SC"] == {"code": "CN-SC", "name": "Sichuan", "parent": "CN", "flags": []}


@pytest.mark.parametrize(
    ("query", "parameter", "allowed"),
    [
        ("window=2h", "window", "24h"),
        ("window=", "window", "24h"),
        ("window=2026-13", "window", "YYYY-MM"),
        ("level=planet", "level", "subdivision"),
        ("adjust=some", "adjust", "none"),
        ("as_of=yesterday", "as_of", "2026-11-22T15:00:00Z"),
        ("as_of=2026-01-01T00:00:00", "as_of", "zone"),
        ("level=subdivision&country=XX", "country", "ISO 3166-1"),
        ("level=subdivision", "country", "country=CN"),
        ("country=CN", "country", "level=subdivision"),
        ("windw=1h", "windw", "window"),
        ("window=1h&window=24h", "window", "once"),
    ],
)
@pytest.mark.parametrize("path", [SHARES, f"{SHARES}.csv"])
async def test_a_wrong_parameter_is_named_with_what_is_allowed(
    client: Client, path: str, query: str, parameter: str, allowed: str
) -> None:
    document = await refusal(client, f"{path}?{query}")
    assert document["parameter"] == parameter
    assert document["detail"].startswith(f"{parameter}: ")
    assert allowed in document["detail"]


@pytest.mark.parametrize("path", ["pools", "pools.csv", "places", "places.csv"])
async def test_lists_without_parameters_refuse_any(client: Client, path: str) -> None:
    document = await refusal(client, f"/api/v1/{path}?window=1h")
    assert document["parameter"] == "window"


@pytest.mark.parametrize("as_of", ["0001-01-01T00:00:00%2B23:00", "9999-12-31T23:59:59-23:00"])
async def test_a_time_beyond_the_calendar_is_refused(client: Client, as_of: str) -> None:
    assert (await refusal(client, f"{SHARES}?as_of={as_of}"))["parameter"] == "as_of"


@pytest.mark.parametrize("as_of", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
@pytest.mark.parametrize("window", ["now", "30d", "2026-11", "0001-01", "9999-12", "9999-12-31T23"])
@pytest.mark.usefixtures("snapshots")
async def test_the_ends_of_the_calendar_are_answered(
    client: Client, as_of: str, window: str
) -> None:
    assert (await get_json(client, SHARES, window=window, as_of=as_of))["window"] == window


async def test_a_blank_for_the_plus_of_a_zone_is_taken(client: Client, now: datetime) -> None:
    async with client.get(f"{SHARES}?as_of=2026-11-22T16:00:30+01:00") as answer:
        assert (await answer.json())["as_of"] == rfc3339(now)

"""``/api/v1`` over HTTP: snapshots are served as stored, other responses are computed."""

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


async def test_rolling_windows_are_the_bytes_of_the_snapshot(client: Client, store: Store) -> None:
    names = [f"{window}/{level}" for window in ROLLING for level in ("country", "subdivision/CN")]
    stored = {name: b'{ "name":  "%s" }' % name.encode() for name in names}
    await store.snapshots.write(stored)
    served = {}
    for name in names:
        window, level, *country = name.split("/")
        query = {"window": window, "level": level, "country": "".join(country)}
        async with client.get(SHARES, params=query) as answer:
            served[name] = await answer.read()
    assert served == stored


async def test_the_default_is_one_hour_by_country(
    client: Client, snapshots: dict[str, bytes]
) -> None:
    async with client.get(SHARES) as answer:
        assert await answer.read() == snapshots["1h/country"]
    async with client.get(f"{SHARES}?window=1h&level=country&country=&as_of=") as answer:
        assert await answer.read() == snapshots["1h/country"]


async def test_as_of_is_computed_and_equals_the_snapshot_of_that_time(
    client: Client, store: Store, snapshots: dict[str, bytes], now: datetime
) -> None:
    await store.snapshots.write({"now/country": b"not this"})
    async with client.get(SHARES, params={"window": "now", "as_of": rfc3339(now)}) as answer:
        assert await answer.read() == snapshots["now/country"]


@pytest.mark.usefixtures("snapshots")
async def test_the_past_is_computed_from_the_reports_of_that_time(client: Client) -> None:
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
async def test_months_days_and_hours_are_computed(client: Client) -> None:
    for window in ("2026-11", "2026-11-22", "2026-11-22T14"):
        answer = await get_json(client, SHARES, window=window)
        assert answer["window"] == window
        shares = [row["share"] for row in answer["shares"]]
        assert sum(shares) == pytest.approx(1, abs=1e-9), window


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


async def test_pools_are_the_bytes_of_the_snapshot(
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
    assert (by_code["FR-75C"]["parent"], by_code["FR-IDF"]["parent"]) == ("FR-IDF", "FR")
    assert not {"US-PR", "FR-974", "CN-HK"} & set(by_code)


async def test_an_invalid_parameter_is_named_with_the_allowed_values(client: Client) -> None:
    cases = [
        ("window=2h", "window", "24h"),
        ("window=", "window", "24h"),
        ("window=2026-13", "window", "YYYY-MM"),
        ("level=planet", "level", "subdivision"),
        ("adjust=some", "adjust", "none"),
        ("as_of=yesterday", "as_of", "2026-11-22T15:00:00Z"),
        ("as_of=2026-01-01T00:00:00", "as_of", "zone"),
        ("as_of=0001-01-01T00:00:00%2B23:00", "as_of", "2026-11-22T15:00:00Z"),
        ("as_of=9999-12-31T23:59:59-23:00", "as_of", "2026-11-22T15:00:00Z"),
        ("level=subdivision&country=XX", "country", "ISO 3166-1"),
        ("level=subdivision", "country", "country=CN"),
        ("country=CN", "country", "level=subdivision"),
        ("windw=1h", "windw", "window"),
        ("window=1h&window=24h", "window", "once"),
    ]
    named = []
    for query, _, allowed in cases:
        json, csv = [await refusal(client, f"{path}?{query}") for path in (SHARES, f"{SHARES}.csv")]
        assert json == csv, query
        assert json["detail"].startswith(f"{json['parameter']}: "), query
        assert allowed in json["detail"], query
        named.append(json["parameter"])
    assert named == [parameter for _, parameter, _ in cases]


async def test_lists_without_parameters_reject_any_parameter(client: Client) -> None:
    for path in ("pools", "pools.csv", "places", "places.csv"):
        document = await refusal(client, f"/api/v1/{path}?window=1h")
        assert document["parameter"] == "window", path


@pytest.mark.usefixtures("snapshots")
async def test_the_first_and_last_times_of_the_calendar_are_answered(client: Client) -> None:
    for as_of in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"):
        for window in ("now", "30d", "2026-11", "0001-01", "9999-12", "9999-12-31T23"):
            answer = await get_json(client, SHARES, window=window, as_of=as_of)
            assert answer["window"] == window


async def test_an_unescaped_plus_of_a_zone_is_accepted(client: Client, now: datetime) -> None:
    async with client.get(f"{SHARES}?as_of=2026-11-22T16:00:30+01:00") as answer:
        assert (await answer.json())["as_of"] == rfc3339(now)

"""CBECI's paths over HTTP: formats, published tables as printed, and computed months.

The figures here are made up.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer

from endpoint.service import application
from miningmap.cbeci.monthly_tables import POOL, SOURCE, reports
from miningmap.kafka.topics import REPORTS
from miningmap.messages import Located, Network, Report, encode, key
from miningmap.settings import Endpoint
from miningmap.times import add_months
from streams.method.cells import claims_of
from streams.worker.messages import RawMessage, decode_batch
from tests.endpoint.conftest import BELIEFS, EH, FOR_EVER, NOW
from tests.streams import golden

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from aiohttp import web

    from miningmap.messages import Message
    from streams.redis.store import Store
    from streams.redis.stored_cells import Tables

    Client = TestClient[web.Request, web.Application]
    Get = Callable[[str], Awaitable[str]]

pytestmark = pytest.mark.integration

PREFIX = "/cbeci/api"
CHARTS = [
    "mining_countries",
    "absolute_mining_countries",
    *(f"mining{of}_provinces{country}" for of in ("", "_map") for country in ("", "/cn", "/us")),
    "mining_map_countries",
]
VERSIONS = ["v1.1.0", "v1.1.1", "v1.2.0", "v1.5.0"]
NAMES = ["mining_countries", "mining_provinces", "mining_provinces/cn", "mining_provinces/us"]
DOWNLOADS = [
    *(f"{version}/download/{name}" for version in VERSIONS for name in NAMES),
    *(f"{version}/download/absolute_mining_countries" for version in ("v1.1.1", "v1.5.0")),
]
PATHS = [*(f"{PREFIX}/charts/{name}" for name in CHARTS), *(f"{PREFIX}/{d}" for d in DOWNLOADS)]
FULL = "v1.2.0/download/mining_countries"
KEPT = "public,max-age=300"

PUBLISHED = golden.FOLDER.parent / "ccaf" / "mining_countries_v1.2.0.csv"
# Shares that add up to 100.01 and 99.99 %, zeros of both spellings, and two shares of one size.
TABLE = """\
date,country,monthly_hashrate_%,monthly_absolute_hashrate_EH/S
2021-06-01,Mainland China,50.00%,60.01
2021-06-01,United States,30.01%,36.01
2021-06-01,"Iran, Islamic Rep.",10.00%,12.00
2021-06-01,Germany *,10.00%,12.00
2021-06-01,Ireland *,0.0%,0.00
2021-07-01,United States,79.99%,80.00
2021-07-01,Other,20.00%,20.00
2021-07-01,Mainland China,0%,0.00
"""
PROVINCES = """\
Date,Province,Share of Chinese hashrate
2021-06-01,Sichuan,59.99
2021-06-01,Nei Mongol,35.00
2021-06-01,Other,5.00
2021-07-01,Sichuan,0
"""
STATES = """\
Date,State,US hashrate by state
2021-07-01,Georgia,30.80
2021-07-01,Other,69.20
"""
JUNE, JULY = datetime(2021, 6, 1, tzinfo=UTC), datetime(2021, 7, 1, tzinfo=UTC)
OCTOBER, OCTOBER_MS = datetime(2026, 10, 1, tzinfo=UTC), 1_790_812_800_000
JUNE_MS, JULY_MS = 1_622_505_600_000, 1_625_097_600_000


@dataclass
class Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def client(store: Store, clock: Clock) -> AsyncIterator[Client]:
    app = application(store, BELIEFS, Endpoint(), now=clock)
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.fixture
def get(client: Client) -> Get:
    async def text(path: str) -> str:
        async with client.get(f"{PREFIX}/{path}") as answer:
            assert answer.status == 200, await answer.text()
            return await answer.text()

    return text


@pytest.fixture
def points(client: Client) -> Callable[[str], Awaitable[list[dict[str, Any]]]]:
    async def data(name: str) -> list[dict[str, Any]]:
        async with client.get(f"{PREFIX}/charts/{name}") as answer:
            assert answer.status == 200, await answer.text()
            document = await answer.json()
        assert [*document] == ["data"]
        found: list[dict[str, Any]] = document["data"]
        return found

    return data


async def write_messages(store: Store, messages: Sequence[Message], kept: Any = FOR_EVER) -> None:
    """Write messages as if they came from Kafka."""
    batch = [
        RawMessage(REPORTS, 0, offset, key(message), encode(message))
        for offset, message in enumerate(messages)
    ]
    result = decode_batch(batch, kept, NOW)
    assert result.dead_letters == []
    await store.writer.write(result.claimed)


def imported(*tables: str, fetched_at: datetime = NOW) -> list[Report]:
    return reports(
        {f"{n}.csv": table.encode() for n, table in enumerate(tables)}, fetched_at=fetched_at
    )


def of_month(
    start: datetime, places: dict[str, float], pool: str = "alpha", source: str = "own"
) -> Report:
    """A pool's report of a whole month; hashrates in EH/s."""
    return Report(
        pool=pool,
        source=source,
        start=start,
        end=add_months(start, 1),
        hold_s=0,
        hashrate=sum(places.values()) * EH,
        places=tuple(Located(code, hashrate * EH, "measured") for code, hashrate in places.items()),
        fetched_at=NOW + timedelta(seconds=1),
        simulated=False,
    )


def network(start: datetime, hashrate: float) -> Network:
    return Network(
        source="mempool",
        start=start,
        end=add_months(start, 1),
        hold_s=0,
        hashrate=hashrate * EH,
        fetched_at=NOW,
        simulated=False,
    )


# CBECI lists neither Hebei nor Norway; no report names Iran and others that it lists.
LIVE = {"US-TX": 64.0, "CN-NM": 20.0, "CN-HE": 10.0, "NO": 4.0, "OTHER": 2.0, "IE": 0.0}


@pytest.fixture
async def live(store: Store) -> None:
    """A month of a pool and of the network, and the current month."""
    november = of_month(OCTOBER, {"BR": 1.0})
    await write_messages(
        store,
        [
            of_month(OCTOBER, LIVE),
            network(OCTOBER, 400),
            msgspec.structs.replace(
                november, start=add_months(OCTOBER, 1), end=NOW.replace(minute=0, second=0)
            ),
        ],
    )


# --- published tables -----------------------------------------------------------------------------


@pytest.mark.skipif(not PUBLISHED.exists(), reason="CBECI's own table is not beside the project")
@pytest.mark.parametrize("hours_d", [35, 400_000])
async def test_the_table_of_cbeci_is_returned_exactly(store: Store, get: Get, hours_d: int) -> None:
    text = PUBLISHED.read_text()
    assert len(text.splitlines()) == 1 + 290
    await write_messages(store, imported(text), FOR_EVER.model_copy(update={"hours_d": hours_d}))
    assert await get(FULL) == text
    assert await get("v1.5.0/download/mining_countries") == text


async def test_a_table_is_returned_exactly(store: Store, get: Get) -> None:
    await write_messages(store, imported(TABLE))
    assert await get(FULL) == TABLE


async def test_tables_of_countries_and_subdivisions_are_returned_exactly(
    store: Store, get: Get
) -> None:
    await write_messages(store, imported(STATES, TABLE, PROVINCES))
    assert await get(FULL) == TABLE
    for path in ("mining_provinces", "mining_provinces/cn"):
        assert await get(f"v1.1.0/download/{path}") == PROVINCES
    assert await get("v1.2.0/download/mining_provinces/us") == STATES


async def test_every_version_has_its_format(store: Store, get: Get) -> None:
    await write_messages(store, imported(TABLE))
    assert await get("v1.1.1/download/mining_countries") == TABLE
    plain = (await get("v1.1.0/download/mining_countries")).splitlines()
    assert plain[0] == "Date,Country,Share of global hashrate"
    assert plain[3] == '2021-06-01,"Iran, Islamic Rep.",10.00'
    assert plain[5::3] == ["2021-06-01,Ireland *,0.0", "2021-07-01,Mainland China,0"]
    absolute = (await get("v1.1.1/download/absolute_mining_countries")).splitlines()
    assert absolute[0] == "Date,Country,Estimated absolute hashrate"
    assert absolute[1] == "2021-06-01,Mainland China,60.01"
    assert len(absolute) == 9


async def test_a_table_of_hashrates_alone_is_returned_with_computed_shares(
    store: Store, get: Get
) -> None:
    text = "Date,Country,Estimated absolute hashrate\n2021-06-01,Other,90.125\n2021-06-01,China,10"
    await write_messages(store, imported(text))
    assert (await get("v1.1.1/download/absolute_mining_countries")).splitlines()[1:] == [
        "2021-06-01,Other,90.125",
        "2021-06-01,Mainland China,10",
    ]
    assert (await get(FULL)).splitlines()[1:] == [
        "2021-06-01,Other,90.01%,90.12",
        "2021-06-01,Mainland China,9.99%,10.00",
    ]


async def test_rows_are_sorted_as_cbecis(store: Store, get: Get) -> None:
    header, *rows = TABLE.splitlines()
    await write_messages(store, imported("\n".join([header, *rows[4::-1], *rows[:4:-1]])))
    lines = (await get(FULL)).splitlines()
    iran, germany = lines[3:5]
    assert "\n".join([*lines[:3], germany, iran, *lines[5:], ""]) == TABLE


async def test_a_revised_edition_replaces_the_earlier_one_in_any_order(
    store: Store, get: Get, clock: Clock
) -> None:
    revised = TABLE.replace("0.0%", "0%").replace("60.01", "60.00")
    editions = [
        imported(text, fetched_at=NOW + timedelta(hours=n))
        for n, text in enumerate((TABLE, TABLE, revised))
    ]
    for order in itertools.permutations(range(3)):
        await store.generations.redis.flushall()
        clock.now += timedelta(seconds=300)  # so that the cached tables have expired
        for number in (*order, order[0]):
            await write_messages(store, editions[number])
        assert await get(FULL) == revised, order


# --- months that differ from a published table ----------------------------------------------------


async def lines_of_june(get: Get) -> list[str]:
    return [line for line in (await get(FULL)).splitlines() if line.startswith("2021-06")]


async def test_a_month_with_another_pool_is_computed_and_other_months_are_not(
    store: Store, get: Get
) -> None:
    await write_messages(store, [*imported(TABLE), of_month(JUNE, {"KZ": 120.02})])
    assert (await lines_of_june(get))[:3] == [
        "2021-06-01,Kazakhstan,50.00%,",
        "2021-06-01,Mainland China,25.00%,",
        "2021-06-01,United States,15.00%,",
    ]
    assert (await get(FULL)).splitlines()[-3:] == TABLE.splitlines()[-3:]


async def test_a_month_with_a_report_of_a_day_is_computed(store: Store, get: Get) -> None:
    day = msgspec.structs.replace(
        of_month(JUNE, {"US": 120.02}, POOL, SOURCE), end=JUNE + timedelta(days=1)
    )
    await write_messages(store, [*imported(TABLE), day])
    assert (await lines_of_june(get))[0] == "2021-06-01,Mainland China,48.33%,"


async def test_a_month_whose_hashrate_a_rule_moves_is_computed(store: Store, get: Get) -> None:
    """A month is either entirely a published table or entirely computed."""
    provinces = PROVINCES.replace("Nei Mongol", "Zhejiang")
    await write_messages(store, imported(TABLE, provinces))
    lines = (await get("v1.2.0/download/mining_provinces")).splitlines()
    assert lines[1] == "2021-06-01,Sichuan,92.31"
    assert (await lines_of_june(get))[0] == "2021-06-01,Mainland China,50.00%,"


@pytest.mark.parametrize("backwards", [False, True])
async def test_the_table_of_a_report_that_was_replaced_is_not_used(
    store: Store, get: Get, *, backwards: bool
) -> None:
    later = [*imported(TABLE), of_month(JUNE, {"US": 50.0, "CN": 50.0}, POOL, SOURCE)]
    await write_messages(store, later[::-1] if backwards else later)
    lines = await lines_of_june(get)
    assert lines[:2] == [
        "2021-06-01,Mainland China,50.00%,",
        "2021-06-01,United States,50.00%,",
    ]
    assert "2021-06-01,Germany *,0%,0.00" in lines


# --- computed months ------------------------------------------------------------------------------


@pytest.mark.usefixtures("live")
async def test_the_country_charts_have_nine_countries_and_other(
    points: Callable[[str], Awaitable[Any]],
) -> None:
    def point(name: str, code: str | None, y: object) -> dict[str, Any]:
        return {"x": OCTOBER_MS, "y": y, "name": name, "code": code}

    known = [
        ("United States", "US", 0.64),
        ("Mainland China", "CN", 0.3),
        ("Other", None, 0.06),
        ("Ireland *", "IE", 0.0),
    ]
    unknown = [
        *(("Russian Federation", "RU"), ("Kazakhstan", "KZ"), ("Malaysia", "MY")),
        *(("Iran, Islamic Rep.", "IR"), ("Canada", "CA"), ("Germany *", "DE")),
    ]
    shares = await points("mining_countries")
    assert shares == [
        *(point(name, code, pytest.approx(y)) for name, code, y in known),
        *(point(name, code, None) for name, code in unknown),
    ]
    assert [*shares[0]] == ["x", "y", "name", "code"]
    assert await points("absolute_mining_countries") == [
        *(point(name, code, pytest.approx(400 * y)) for name, code, y in known),
        *(point(name, code, None) for name, code in unknown),
    ]


@pytest.mark.usefixtures("live")
async def test_the_map_has_every_country_with_a_code_by_code(
    points: Callable[[str], Awaitable[Any]],
) -> None:
    found = await points("mining_map_countries")
    assert [(p["code"], p["name"]) for p in found] == [
        ("CN", "Mainland China"),
        ("IE", "Ireland *"),
        ("NO", "Norway"),
        ("US", "United States"),
    ]
    assert [p["y"] for p in found] == pytest.approx([0.3, 0.0, 0.04, 0.64])


@pytest.mark.usefixtures("live")
async def test_the_chart_of_provinces_has_eight_and_other_and_the_map_all(
    points: Callable[[str], Awaitable[Any]],
) -> None:
    area = await points("mining_provinces")
    assert await points("mining_provinces/cn") == area
    assert {frozenset(point) for point in area} == {frozenset({"x", "y", "name"})}
    assert {point["name"]: point["y"] for point in area} == {
        "Nei Mongol": pytest.approx(2 / 3),
        "Other": pytest.approx(1 / 3),
        **dict.fromkeys(("Sichuan", "Xinjiang", "Yunnan", "Gansu", "Beijing", "Shanxi", "Qinghai")),
    }
    mapped = await points("mining_map_provinces")
    assert await points("mining_map_provinces/cn") == mapped
    assert mapped == [
        {"x": OCTOBER_MS, "y": pytest.approx(2 / 3), "name": "Inner Mongolia", "code": "CN-NM"},
        {"x": OCTOBER_MS, "y": pytest.approx(1 / 3), "name": "Hebei", "code": "CN-HE"},
    ]


@pytest.mark.usefixtures("live")
async def test_listed_states_are_in_the_charts(points: Callable[[str], Awaitable[Any]]) -> None:
    texas = {"x": OCTOBER_MS, "y": 1.0, "name": "Texas"}
    assert await points("mining_provinces/us") == [texas]
    assert await points("mining_map_provinces/us") == [{**texas, "code": "US-TX"}]


@pytest.mark.usefixtures("live")
async def test_a_computed_month_downloads_in_the_same_forms(get: Get) -> None:
    assert (await get(FULL)).splitlines()[1:6] == [
        "2026-10-01,United States,64.00%,256.00",
        "2026-10-01,Mainland China,30.00%,120.00",
        "2026-10-01,Other,6.00%,24.00",
        "2026-10-01,Ireland *,0.0%,0.00",
        "2026-10-01,Russian Federation,0%,0.00",
    ]
    plain = (await get("v1.1.0/download/mining_countries")).splitlines()
    assert plain[1] == "2026-10-01,United States,64.00"
    assert plain[4:6] == ["2026-10-01,Ireland *,0.0", "2026-10-01,Russian Federation,0"]
    absolute = (await get("v1.5.0/download/absolute_mining_countries")).splitlines()
    assert absolute[1].startswith("2026-10-01,United States,256.0")  # and a floating-point error
    assert absolute[4:6] == ["2026-10-01,Ireland *,0.0", "2026-10-01,Russian Federation,"]
    provinces = (await get("v1.1.1/download/mining_provinces")).splitlines()
    assert provinces[1::3] == [
        "2026-10-01,Sichuan,0",
        "2026-10-01,Nei Mongol,66.67",
        "2026-10-01,Shanxi,0",
    ]
    assert (await get("v1.1.1/download/mining_provinces/us")).splitlines() == [
        "Date,State,US hashrate by state",
        "2026-10-01,Texas,100.00",
    ]


async def test_without_the_networks_hashrate_absolute_figures_are_unknown_not_zero(
    store: Store, get: Get, points: Callable[[str], Awaitable[Any]]
) -> None:
    await write_messages(store, [of_month(OCTOBER, LIVE)])
    assert {point["y"] for point in await points("absolute_mining_countries")} == {None}
    assert (await get(FULL)).splitlines()[1:3] == [
        "2026-10-01,United States,64.00%,",
        "2026-10-01,Mainland China,30.00%,",
    ]
    absolute = (await get("v1.1.1/download/absolute_mining_countries")).splitlines()
    assert absolute[1] == "2026-10-01,United States,"


async def test_published_months_are_in_the_charts(
    store: Store, points: Callable[[str], Awaitable[Any]]
) -> None:
    await write_messages(store, imported(TABLE, PROVINCES))
    china, *_, zero = await points("mining_countries")
    assert china == {"x": JUNE_MS, "y": 0.5, "name": "Mainland China", "code": "CN"}
    assert zero == {"x": JULY_MS, "y": 0.0, "name": "Mainland China", "code": "CN"}
    usa = (await points("absolute_mining_countries"))[1]
    assert usa == {"x": JUNE_MS, "y": 36.01, "name": "United States", "code": "US"}
    assert [p["code"] for p in await points("mining_map_countries")] == [
        *("CN", "DE", "IE", "IR", "US"),
        *("CN", "US"),
    ]
    assert await points("mining_provinces") == [
        {"x": JUNE_MS, "y": 0.5999, "name": "Sichuan"},
        {"x": JUNE_MS, "y": 0.35, "name": "Nei Mongol"},
        {"x": JUNE_MS, "y": 0.05, "name": "Other"},
        {"x": JULY_MS, "y": 0.0, "name": "Sichuan"},
    ]
    assert [(p["name"], p["code"]) for p in await points("mining_map_provinces")] == [
        ("Sichuan", "CN-SC"),
        ("Inner Mongolia", "CN-NM"),
        ("Sichuan", "CN-SC"),
    ]


@pytest.mark.usefixtures("live")
async def test_a_month_is_served_once_it_is_over(
    points: Callable[[str], Awaitable[Any]], clock: Clock
) -> None:
    end = datetime(2026, 12, 1, tzinfo=UTC)
    november = end.replace(month=11).timestamp() * 1000
    for now, months in (
        (NOW, {OCTOBER_MS}),
        (end - timedelta(seconds=1), {OCTOBER_MS}),
        (end + timedelta(seconds=300), {OCTOBER_MS, november}),
    ):
        clock.now = now
        assert {point["x"] for point in await points("mining_countries")} == months


async def test_years_without_a_report_have_no_rows(store: Store, get: Get) -> None:
    before_bitcoin = of_month(datetime(1970, 1, 1, tzinfo=UTC), LIVE)
    await write_messages(store, [*imported(TABLE), of_month(OCTOBER, LIVE), network(JULY, 1)])
    # Such messages are rejected now, but cells of earlier ones are kept for ever.
    await store.writer.write([(before_bitcoin, claims_of(before_bitcoin))])
    months = {line[:10] for line in (await get(FULL)).splitlines()[1:]}
    assert months == {"2021-06-01", "2021-07-01", "2026-10-01"}


async def test_the_api_distinguishes_zero_from_a_month_without_reports(
    store: Store, client: Client
) -> None:
    await write_messages(store, imported(TABLE))
    query = {"code": "CN", "step": "month", "from": "2021-06-01", "to": "2021-09-01"}
    async with client.get("/api/v1/history", params=query) as answer:
        found = [point["share"] for point in (await answer.json())["points"]]
    assert found == [pytest.approx(50 / 100.01), 0.0, None]


async def test_the_api_has_the_imported_months_of_every_country(
    store: Store, client: Client
) -> None:
    await write_messages(store, imported(TABLE))
    query = {"code": "*", "step": "month", "from": "2021-06", "to": "2021-09"}
    async with client.get("/api/v1/history", params=query) as answer:
        found = await answer.json()
    shares = {s["code"]: [point["share"] for point in s["points"]] for s in found["series"]}
    assert shares == {
        "US": [pytest.approx(30.01 / 100.01), pytest.approx(79.99 / 99.99), None],
        "CN": [pytest.approx(50 / 100.01), 0, None],
        "OTHER": [None, pytest.approx(20 / 99.99), None],
        "DE": [pytest.approx(10 / 100.01), None, None],
        "IR": [pytest.approx(10 / 100.01), None, None],
        "IE": [0, None, None],
    }
    assert list(shares) == ["US", "CN", "OTHER", "DE", "IR", "IE"]
    assert [point["pools"] for point in found["series"][0]["points"]] == [[POOL], [POOL], []]


# --- how it is served -----------------------------------------------------------------------------


async def test_without_months_every_path_has_an_empty_body(client: Client) -> None:
    for path in PATHS:
        async with client.get(path) as answer:
            assert answer.status == 200, path
            text = await answer.text()
        assert text == '{"data":[]}' if "/charts/" in path else text.count("\n") == 1, path


@pytest.mark.usefixtures("live")
async def test_every_path_has_its_headers(client: Client) -> None:
    for path in PATHS:
        await check_headers(client, path)


async def check_headers(client: Client, path: str) -> None:
    async with client.get(path, headers={"Origin": "https://example.org"}) as answer:
        body = await answer.read()
        headers = answer.headers
    assert headers["Cache-Control"] == KEPT, path
    assert headers["Content-Encoding"] == "gzip", path
    assert headers["Access-Control-Allow-Origin"] == "*", path
    if "/charts/" in path:
        assert answer.content_type == "application/json", path
        assert "Content-Disposition" not in headers, path
    else:
        assert answer.content_type == "text/csv", path
        assert headers["Content-Disposition"] == "attachment; filename=export.csv", path
    async with client.head(path) as head:
        assert (head.status, await head.read()) == (200, b""), path
        assert head.headers["ETag"] == headers["ETag"], path
        assert head.headers["Cache-Control"] == KEPT, path
    async with client.get(path, headers={"If-None-Match": headers["ETag"]}) as again:
        assert (again.status, await again.read()) == (304, b""), path
    async with client.get(path, headers={"Accept-Encoding": "identity"}) as plain:
        assert await plain.read() == body, path
        assert "Content-Encoding" not in plain.headers, path
    async with client.options(path) as preflight:
        assert preflight.status == 204, path
    async with client.post(path) as posted:
        assert posted.status == 405, path
        assert posted.content_type == "application/problem+json", path
        assert posted.headers["Allow"] == "GET, HEAD, OPTIONS", path


async def test_an_unknown_version_is_cbecis_404(client: Client) -> None:
    unknown = [
        *(f"{v}/download/{name}" for v in ("v9.9.9", "v1.1", "1.2.0") for name in NAMES),
        "v1.1.0/download/absolute_mining_countries",
        "v1.2.0/download/absolute_mining_countries",
        "v1.1.2/download/mining_countries?file_type=csv",
        "%2e%2e%2fcharts/download/mining_countries",
    ]
    for method, path in itertools.product(("GET", "HEAD"), unknown):
        async with client.request(method, f"{PREFIX}/{path}") as answer:
            assert answer.status == 404, path
            assert answer.content_type == "application/json", path
            assert answer.headers["Access-Control-Allow-Origin"] == "*", path
            if method == "GET":
                assert await answer.text() == '{"error":"Not Implemented"}', path


async def test_any_other_path_is_a_404_problem(client: Client) -> None:
    for path in ("charts/nothing", "v1.2.0/download/mining_provinces/de", "v1.2.0/download/", ""):
        async with client.get(f"{PREFIX}/{path}") as answer:
            assert answer.status == 404, path
            assert answer.content_type == "application/problem+json", path


@pytest.mark.usefixtures("live")
async def test_simulated_figures_are_marked_by_a_header(
    store: Store, client: Client, clock: Clock
) -> None:
    async with client.get(f"{PREFIX}/{FULL}") as answer:
        assert "X-Simulated" not in answer.headers
    september = of_month(add_months(OCTOBER, -1), LIVE)
    await write_messages(store, [msgspec.structs.replace(september, simulated=True)])
    clock.now += timedelta(seconds=300)
    for path in PATHS:
        async with client.get(path) as answer:
            assert answer.headers["X-Simulated"] == "true"


@pytest.mark.usefixtures("live")
async def test_parameters_are_ignored(get: Get) -> None:
    plain = await get(FULL)
    for query in ("file_type=csv", "file_type=xlsx", "file_type=json&file_type=csv&cache=1"):
        assert await get(f"{FULL}?{query}") == plain


@pytest.mark.usefixtures("live")
async def test_the_tables_are_computed_once_in_five_minutes(
    store: Store, get: Get, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0
    published = store.cells.published

    async def counted() -> dict[Any, Tables]:
        nonlocal reads
        reads += 1
        return await published()

    monkeypatch.setattr(store.cells, "published", counted)
    paths = [path.removeprefix(f"{PREFIX}/") for path in PATHS]
    first = await asyncio.gather(*map(get, paths))
    assert reads == 1
    await write_messages(store, [of_month(JUNE, {"US": 1.0})])
    clock.now = NOW + timedelta(seconds=299)
    assert await asyncio.gather(*map(get, paths)) == first
    assert reads == 1
    clock.now = NOW + timedelta(seconds=300)
    assert "2021-06-01,United States,100.00%," in await get(FULL)
    assert reads == 2
    clock.now = NOW  # after the clock is set back, cached bodies are not used
    await get(FULL)
    assert reads == 3


@pytest.mark.usefixtures("live")
async def test_an_import_is_served_at_once(store: Store, get: Get) -> None:
    before = await get(FULL)
    await write_messages(store, imported(TABLE))
    lines = (await get(FULL)).splitlines(keepends=True)
    assert "".join(lines[:9]) == TABLE
    assert lines[9:] == before.splitlines(keepends=True)[1:]
    revised = TABLE.replace("60.01", "60.02")
    await write_messages(store, imported(revised, fetched_at=NOW + timedelta(seconds=1)))
    assert (await get(FULL)).startswith(revised)


async def test_a_share_that_rounds_to_zero_is_written_like_a_measured_zero(
    store: Store, get: Get
) -> None:
    places = {"US": 99.99, "IE": 0.004, "DE": 0.005, "IR": 0.0}
    await write_messages(store, [of_month(OCTOBER, places), network(OCTOBER, 400)])
    assert (await get(FULL)).splitlines()[2:5] == [
        "2026-10-01,Germany *,0.01%,0.02",
        "2026-10-01,Ireland *,0.0%,0.02",
        '2026-10-01,"Iran, Islamic Rep.",0.0%,0.00',
    ]


async def test_without_redis_responses_are_503_until_it_is_available_again(
    client: Client, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unavailable() -> dict[Any, Tables]:
        raise ConnectionRefusedError

    with monkeypatch.context() as away:
        away.setattr(store.cells, "published", unavailable)
        async with client.get(f"{PREFIX}/{FULL}") as answer:
            assert answer.status == 503
            assert answer.headers["Cache-Control"] == "no-store"
    async with client.get(f"{PREFIX}/{FULL}") as answer:
        assert answer.status == 200

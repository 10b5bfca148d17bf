"""Sources with a key: requests and responses; test_secrets.py checks that no key leaks."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import pytest
from aiohttp import web
from pydantic import SecretStr

from collector.http.fetcher import Fetcher
from collector.registry import choose, load
from collector.sources.authorisation import hmac_sha256
from collector.sources.base import (
    CredentialsError,
    PermanentError,
    PoolSource,
    Reading,
    TransientError,
)
from collector.sources.credentials import Credentials
from miningmap.messages import Located
from miningmap.pool_names import pool_name
from miningmap.settings import Collector, SettingsError
from tests.cases import all_cases
from tests.collector.recordings import readings, readings_of, sources

if TYPE_CHECKING:
    from collector.sources.base import Request, Source
    from tests.collector.conftest import Pools

RECORDINGS = Path(__file__).parents[1] / "recordings"
NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)  # 1795359600 s
# Characters that a URL, a form or JSON has to escape.
ODD = 'k/y?&=+%20# "\\é'


def authorised(source: Source, **secrets: str) -> Request:
    assert source.authorise is not None
    return source.authorise(source.requests[0], secrets, NOW)


def credentials(source: Source, secrets: dict[str, str]) -> Credentials:
    return Credentials({source.slug: {name: SecretStr(text) for name, text in secrets.items()}})


def fetcher(pools: Pools, source: Source, secrets: dict[str, str]) -> Fetcher:
    return Fetcher(
        pools.settings(),
        pools.metrics,
        credentials=credentials(source, secrets),
        now=lambda: NOW,
    )


async def sent_request(pools: Pools, path: str, **secrets: str) -> tuple[web.Request, bytes]:
    """The request that reaches the server, and its body."""
    bodies: list[bytes] = []

    async def handler(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return web.Response(text="{}")

    pools.handler = handler
    source = load(path)
    async with fetcher(pools, source, secrets) as fetch:
        await fetch.fetch(source)
    ((request,), (body,)) = pools.requests, bodies
    return request, body


# --- requests -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "secrets", "url", "headers"),
    [
        (
            "pools/braiins",
            {"token": "KEY"},
            "/pool.braiins.com/stats/json/btc/",
            {"Pool-Auth-Token": "KEY"},
        ),
        (
            "pools/luxor_pool",
            {"token": "KEY"},
            "/app.luxor.tech/api/v2/pool/pool-hashrate/BTC",
            {"Authorization": "KEY"},
        ),
        (
            "pools/sbicrypto",
            {"key": "KEY", "secret": "SECRET"},
            "/pool-api.sbicrypto.com/api/external/v1/workers?page=0&size=1000",
            {"X-API-Key": "KEY", "X-API-Secret": "SECRET", "Accept": "application/json"},
        ),
        (
            "pools/poolin",
            {"token": "KEY", "puid": "9002613"},
            "/api-prod.poolin.com/api/public/v2/worker/stats?coin_type=btc&puid=9002613",
            {"Authorization": "Bearer KEY"},
        ),
        (
            "pools/viabtc_account",
            {"key": "KEY"},
            "/www.viabtc.com/res/openapi/v1/hashrate?coin=BTC",
            {"X-API-KEY": "KEY"},
        ),
        (
            "pools/emcd",
            {"key": "c853c7ec-6954"},
            "/api.emcd.io/v1/btc/workers/c853c7ec-6954",
            {},
        ),
        (
            "pools/kanopool",
            {"user": "me", "key": "KEY"},
            "/kano.is/index.php?k=api&json=y&username=me&api=KEY",
            {},
        ),
    ],
    ids=str,
)
async def test_the_key_is_sent_where_the_api_expects_it(
    pools: Pools, source: str, secrets: dict[str, str], url: str, headers: dict[str, str]
) -> None:
    request, body = await sent_request(pools, source, **secrets)
    assert request.method == "GET"
    assert request.path_qs == url
    assert headers.items() <= dict(request.headers).items()
    assert body == b""


async def test_f2pool_request_is_json_with_the_account(pools: Pools) -> None:
    request, body = await sent_request(pools, "pools/f2pool", token="KEY", user=ODD)
    assert (request.method, request.path_qs) == ("POST", "/api.f2pool.com/v2/hash_rate/info")
    assert request.headers["F2P-API-SECRET"] == "KEY"
    assert request.headers["Content-Type"] == "application/json"
    assert json.loads(body) == {"currency": "bitcoin", "mining_user_name": ODD}


async def test_antpool_request_is_a_signed_form(pools: Pools) -> None:
    secrets = {"user": "miner1", "key": "KEY", "secret": "SECRET"}
    request, body = await sent_request(pools, "pools/antpool_signed", **secrets)
    assert (request.method, request.path_qs) == ("POST", "/antpool.com/api/poolStats.htm")
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert dict(parse_qsl(body.decode())) == {
        "key": "KEY",
        "nonce": "1795359600000",
        # printf miner1KEY1795359600000 | openssl dgst -sha256 -hmac SECRET, in upper case
        "signature": "1DA8118033B6B094423D12E472C4DBA3179778B2D19211DDDBA0A8756A4DD2A0",
        "coin": "BTC",
    }


def test_viabtc_signature_equals_the_documented_one() -> None:
    """The secret is the example of the pool's documentation; it gives access to nothing."""
    secret = "d186ababcb0eb1f6af5c1519424f462b84c631f86c06309992ae1f15604668b0"
    signed = hmac_sha256(secret, "coin=BTC&amount=1.0&tonce=1513746038205")
    assert signed == "4a1c9e4c73629b62fd999cbbcd2bc8b87a07f1791ae61ba576427f820dd3bc59"


async def test_viabtc_request_is_signed_if_a_secret_is_set(pools: Pools) -> None:
    request, _ = await sent_request(pools, "pools/viabtc_account", key="KEY", secret="SECRET")
    assert request.path_qs.endswith("/hashrate?coin=BTC&tonce=1795359600000")
    # printf 'coin=BTC&tonce=1795359600000' | openssl dgst -sha256 -hmac SECRET
    signature = "f508644375d7fc765d5f6a72190af5785ebe4e67622a65ceb0ca86f81533b22c"
    assert request.headers["X-SIGNATURE"] == signature


async def test_viabtc_signature_is_of_the_query_that_arrives(pools: Pools) -> None:
    request, _ = await sent_request(pools, "pools/viabtc_account", key="KEY", secret=ODD)
    query = request.raw_path.partition("?")[2]
    signed = hmac.new(ODD.encode(), query.encode(), hashlib.sha256).hexdigest()
    assert request.headers["X-SIGNATURE"] == signed


async def test_special_characters_of_a_key_are_escaped_in_a_form(pools: Pools) -> None:
    _, body = await sent_request(pools, "pools/antpool_signed", user="u", key=ODD, secret="s")
    assert dict(parse_qsl(body.decode()))["key"] == ODD


async def test_special_characters_of_a_key_are_escaped_in_a_query(pools: Pools) -> None:
    request, _ = await sent_request(pools, "pools/kanopool", user=ODD, key=ODD + "2")
    assert dict(request.query) == {"k": "api", "json": "y", "username": ODD, "api": ODD + "2"}


async def test_special_characters_of_a_key_are_escaped_in_a_path(pools: Pools) -> None:
    request, _ = await sent_request(pools, "pools/emcd", key=ODD)
    assert request.path == f"/api.emcd.io/v1/btc/workers/{ODD}"
    assert not request.query


def test_a_secret_for_signatures_is_never_sent() -> None:
    for path in ("pools/antpool_signed", "pools/viabtc_account"):
        request = authorised(load(path), user="u", key="k", secret="HUSHHUSH")
        sent = f"{request.url} {request.headers} {request.body!r}"
        assert "HUSHHUSH" not in sent


# --- credentials ----------------------------------------------------------------------------------


KEYED = [s for s in sources() if s.auth != "none" and not s.own_server]


def secrets_for(source: Source) -> dict[str, str]:
    """A secret for each required credential, which no other text contains by chance."""
    return {c.name: f"hush-{c.name}-5f1e" for c in source.credentials if c.required}


def test_no_repr_of_a_source_contains_its_key() -> None:
    for source in KEYED:
        secrets = secrets_for(source)
        request = authorised(source, **secrets)
        sent = f"{request.url} {request.headers} {request.body!r}"
        assert any(secret in sent for secret in secrets.values())  # something to hide
        assert not [s for s in secrets.values() if s in repr(request) or s in repr(source)]
        assert repr(request).startswith(f"<{request.method} to ")


def test_a_source_is_polled_once_its_credentials_are_set() -> None:
    for source in KEYED:
        assert source not in choose(sources(), Collector())
        chosen = choose(sources(), Collector(), credentials(source, secrets_for(source)))
        assert source.slug in [one.slug for one in chosen]


def test_an_own_account_differs_from_its_pool_by_slug_and_name() -> None:
    accounts = [s.pool for s in KEYED if isinstance(s, PoolSource) and s.scope == "account"]
    assert len(accounts) >= 6
    for pool in accounts:
        assert pool is not None
        assert pool.endswith("-account")
        assert pool_name(pool).endswith(", own account")
    assert pool_name("f2pool-account") == "F2Pool, own account"


# --- responses ------------------------------------------------------------------------------------


def braiins_stats(hashrate: object, unit: str) -> object:
    stats = {"pool_5m_hash_rate": hashrate, "hash_rate_unit": unit, "update_ts": 1_787_443_260}
    return {"btc": stats}


@all_cases(
    ("hashrate", "unit", "expected"),
    [(13_712_345_678.5, "Gh/s", 1.37123456785e19), (13.7, "Eh/s", 1.37e19), (0, "Gh/s", 0.0)],
)
def test_braiins_unit_is_in_the_response(hashrate: float, unit: str, expected: float) -> None:
    at = datetime(2026, 8, 23, 0, 1, tzinfo=UTC)
    assert readings("pools/braiins", braiins_stats(hashrate, unit)) == [
        Reading("braiinspool", expected, observed_at=at)
    ]


@all_cases("unit", ["", "Mh/h", "GB/s"])
def test_braiins_hashrate_in_an_unknown_unit_is_an_error(unit: str) -> None:
    with pytest.raises(PermanentError) as caught:
        readings("pools/braiins", braiins_stats(1, unit))
    assert caught.value.reason == "unit"


def antpool_stats(hashrate: object, code: int = 0) -> object:
    return {"code": code, "message": "busy", "data": {"poolHashrate": hashrate}}


def test_antpool_hashrate_below_the_plausible_range_is_a_unit_error() -> None:
    with pytest.raises(
        PermanentError, match=r"1.7325e\+14 H/s is not between 1e\+18 and inf"
    ) as caught:
        readings("pools/antpool_signed", antpool_stats("173250000000000"))
    assert caught.value.reason == "unit"
    assert readings("pools/antpool_signed", antpool_stats("0")) == [Reading("antpool", 0.0)]


def test_antpool_error_code_is_an_error_even_with_a_hashrate() -> None:
    with pytest.raises(TransientError, match="1 busy"):
        readings("pools/antpool_signed", antpool_stats("173250000000000000000", code=1))


@all_cases("stamp", ["1787472180", 1_787_472_180])
def test_kanopool_timestamp_may_be_text_or_a_number(stamp: object) -> None:
    response = {"STAMP": stamp, "p_hashrate5m": "23649083578790024.000000", "u_hashrate5m": "?"}
    at = datetime.fromtimestamp(1_787_472_180, UTC)
    assert readings("pools/kanopool", response) == [
        Reading("kanopool", 23_649_083_578_790_024.0, observed_at=at)
    ]


@all_cases(
    ("code", "remedy"),
    [
        (12001, "the key is wrong"),
        (12002, "the secret"),
        (12003, "set this machine's clock"),
        (12004, "add it in the pool's settings"),
    ],
)
def test_viabtc_errors_about_the_key_include_a_remedy(code: int, remedy: str) -> None:
    with pytest.raises(CredentialsError, match=remedy) as caught:
        readings("pools/viabtc_account", {"code": code, "message": "busy", "data": {}})
    assert caught.value.reason == "unauthorized"


def test_other_viabtc_codes_are_transient_errors() -> None:
    with pytest.raises(TransientError, match="5001 busy"):
        readings("pools/viabtc_account", {"code": 5001, "message": "busy", "data": {}})


def test_f2pool_account_of_another_token_is_a_credentials_error() -> None:
    with pytest.raises(CredentialsError, match="does not belong to the account of that name"):
        readings("pools/f2pool", {"code": 5010, "msg": 'permission denied: name="me"'})


def test_other_f2pool_codes_are_transient_errors() -> None:
    with pytest.raises(TransientError, match="5001 busy"):
        readings("pools/f2pool", {"code": 5001, "msg": "busy"})


@all_cases(("unit", "expected"), [("K", 5213.0), ("T", 5.213e12), ("P", 5.213e15)])
def test_poolin_unit_is_a_prefix_letter(unit: str, expected: float) -> None:
    response = {"err_no": 0, "data": {"shares_15m": 5.213, "shares_unit": unit}}
    assert readings("pools/poolin", response) == [Reading("poolin-account", expected)]


def workers(*hashrates: list[float | None], total: int | None = None) -> object:
    content = [{"hashrates": averages} for averages in hashrates]
    return {"content": content, "totalElements": len(content) if total is None else total}


def test_sbi_crypto_hashrate_is_the_sum_of_its_workers_in_megahashes() -> None:
    response = workers([1e8, 2e8, 3e8], [5e7, 0, 0], [0, 0, 0])
    assert readings("pools/sbicrypto", response) == [Reading("sbicrypto-account", 1.5e14)]


def test_sbi_crypto_without_workers_has_a_hashrate_of_zero() -> None:
    assert readings("pools/sbicrypto", workers()) == [Reading("sbicrypto-account", 0.0)]


def test_sbi_crypto_page_without_all_workers_is_an_error() -> None:
    with pytest.raises(PermanentError, match="one page holds only 1 of 1001 workers"):
        readings("pools/sbicrypto", workers([1e8], total=1001))


@all_cases("unknown", [None, -1])
def test_sbi_crypto_has_no_reading_if_one_worker_is_unknown(unknown: float | None) -> None:
    assert readings("pools/sbicrypto", workers([1e8], [unknown])) == []


def test_sbi_crypto_worker_above_the_plausible_range_is_a_unit_error() -> None:
    with pytest.raises(PermanentError, match="has the unit changed") as caught:
        readings("pools/sbicrypto", workers([1.03e14]))
    assert caught.value.reason == "unit"


# --- Luxor ----------------------------------------------------------------------------------------


API = "https://app.luxor.tech/api/v2"
TEXAS, OHIO, NORWAY = "b0a5fad8-0e09", "c1&d2 e3", "f00"


def luxor(**sites: str) -> Source:
    """The source, with these places of sites from the settings."""
    source = load("pools/luxor")
    assert source.configure is not None
    return source.configure({"token": "KEY", "sites": json.dumps(sites)} if sites else {})


def listed_sites(**sites: tuple[str | None, str | None]) -> object:
    """The sites of a workspace, each with its country and power market."""
    return {
        "sites": [
            {"id": site, "country": country, "energy": market and {"power_market": market}}
            for site, (country, market) in sites.items()
        ]
    }


def subaccounts(*names: str, following: str | None = None) -> object:
    listed = [{"id": 0, "name": name} for name in names]
    return {"subaccounts": listed, "pagination": {"next_page_url": following}}


def summary(hashrate: str | None) -> object:
    return {"hashrate_5m": hashrate}


def urls_of(source: Source, *bodies: object) -> list[str]:
    encoded = [b"" if body is None else json.dumps(body).encode() for body in bodies]
    return [request.url.removeprefix(API) for request in source.requests_for(encoded)]


LISTS = ["/workspace/sites", "/pool/subaccounts?page_number=1&page_size=100"]


def test_luxor_summary_names_all_subaccounts() -> None:
    urls = urls_of(luxor(), None, subaccounts("north", "a&b"))
    assert urls == [*LISTS, "/pool/summary/BTC?subaccount_names=north%2Ca%26b"]
    assert luxor() is load("pools/luxor")


def test_luxor_pages_of_subaccounts_are_followed_to_the_last() -> None:
    pages = [subaccounts(*(f"a{n}" for n in range(100)), following="/page2"), subaccounts("last")]
    second = "/pool/subaccounts?page_number=2&page_size=100"
    assert urls_of(luxor(), None, pages[0]) == [*LISTS, second]
    *before, first, middle, last = urls_of(luxor(), None, *pages)
    assert before == [*LISTS, second]
    assert first.startswith("/pool/summary/BTC?subaccount_names=a0%2Ca1%2C")
    assert [url.count("%2C") for url in (first, middle)] == [49, 49]
    assert last == "/pool/summary/BTC?subaccount_names=last"
    answers = [None, *pages, *map(summary, ("100", "20", "3"))]
    assert luxor_readings(luxor(), *answers) == [Reading("luxor-account", 123.0)]


def luxor_readings(source: Source, *bodies: object) -> object:
    return readings_of(source, *("" if body is None else body for body in bodies))


def test_luxor_without_subaccounts_has_no_reading() -> None:
    bodies = (listed_sites(a=("USA", None)), subaccounts())
    assert urls_of(luxor(), *bodies) == LISTS
    assert luxor_readings(luxor(), *bodies) == []


@all_cases(
    ("country", "market", "code"),
    [
        ("USA", "ERCOT", "US-TX"),
        ("USA", "NYISO", "US-NY"),
        ("CA", "AESO", "CA-AB"),
        ("CA", "IESO", "CA-ON"),
        (None, "ERCOT", "US-TX"),
        ("USA", "PJM", "US"),
        ("USA", None, "US"),
        ("CA", "ERCOT", "CA"),
        ("OTHER", None, None),
        (None, None, None),
    ],
)
def test_luxor_sites_are_where_the_workspace_says(
    country: str | None, market: str | None, code: str | None
) -> None:
    bodies = [listed_sites(a=(country, market)), subaccounts("north"), summary("1000")]
    if code is None:
        assert len(urls_of(luxor(), *bodies)) == 3
        assert luxor_readings(luxor(), *bodies) == [Reading("luxor-account", 1000.0)]
        return
    assert urls_of(luxor(), *bodies)[3:] == ["/pool/summary/BTC?site_id=a"]
    assert luxor_readings(luxor(), *bodies, summary("300")) == [
        Reading("luxor-account", 1000.0, (Located(code, 300.0, "measured"),))
    ]


def test_luxor_places_of_the_operator_come_before_those_of_the_workspace() -> None:
    source = luxor(**{TEXAS: "US-OH", OHIO: "US-OH", NORWAY: "NO"})
    bodies = [listed_sites(**{TEXAS: ("USA", "ERCOT"), "x": ("CA", None)}), subaccounts("a")]
    assert urls_of(source, *bodies)[3:] == [
        f"/pool/summary/BTC?site_id={site}" for site in (TEXAS, "x", "c1%26d2+e3", NORWAY)
    ]
    summaries = [summary(text) for text in ("1000", "300", "7", "200", "100")]
    assert luxor_readings(source, *bodies, *summaries) == [
        Reading(
            "luxor-account",
            1000.0,
            (
                Located("CA", 7.0, "measured"),
                Located("NO", 100.0, "measured"),
                Located("US-OH", 500.0, "measured"),
            ),
        )
    ]


def test_luxor_sites_and_subaccounts_may_be_numbers() -> None:
    sites = {"sites": [{"id": 7, "country": "CA", "energy": None}]}
    subaccount = {"subaccounts": [{"name": 12}], "pagination": {"next_page_url": None}}
    assert urls_of(luxor(**{"7": "NO"}), sites, subaccount)[2:] == [
        "/pool/summary/BTC?subaccount_names=12",
        "/pool/summary/BTC?site_id=7",
    ]


def test_luxor_key_without_access_to_the_workspace_has_the_total() -> None:
    bodies = [None, subaccounts("a"), summary("1000")]
    assert luxor_readings(luxor(), *bodies) == [Reading("luxor-account", 1000.0)]
    assert luxor_readings(luxor(a="NO"), *bodies, summary("300")) == [
        Reading("luxor-account", 1000.0, (Located("NO", 300.0, "measured"),))
    ]


def test_luxor_total_is_at_least_the_sum_of_its_sites() -> None:
    source, lists = luxor(a="US-TX", b="NO"), (None, subaccounts("x"))
    (reading,) = readings_of(source, "", lists[1], *map(summary, ("1000", "800", "300")))
    assert reading.hashrate == 1100.0


def test_luxor_sites_without_a_hashrate_are_unlocated() -> None:
    summaries = map(summary, ("1000", None, "300"))
    assert luxor_readings(luxor(a="US-TX", b="NO"), None, subaccounts("x"), *summaries) == [
        Reading("luxor-account", 1000.0, (Located("NO", 300.0, "measured"),))
    ]


def test_luxor_without_a_total_has_no_reading() -> None:
    summaries = map(summary, (None, "300"))
    assert luxor_readings(luxor(a="US-TX"), None, subaccounts("x"), *summaries) == []


async def test_luxor_is_polled_without_access_to_its_workspace(pools: Pools) -> None:
    async def handler(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "KEY"
        if request.path.endswith("/workspace/sites"):
            return web.Response(status=403)
        if request.path.endswith("/subaccounts"):
            return web.json_response(subaccounts("north"))
        assert request.query["subaccount_names"] == "north"
        return web.json_response(summary("1000"))

    pools.handler = handler
    source = luxor()
    async with fetcher(pools, source, {"token": "KEY"}) as fetch:
        bodies = await fetch.fetch(source)
    assert source.parse(bodies) == [Reading("luxor-account", 1000.0)]


def test_luxor_sites_come_from_the_settings() -> None:
    given = credentials(load("pools/luxor"), {"token": "KEY", "sites": '{"a": "US-TX"}'})
    (source,) = choose(sources(), Collector(sources=["luxor"]), given)
    assert urls_of(source, None, subaccounts("x"))[3:] == ["/pool/summary/BTC?site_id=a"]


@all_cases("sites", ["US-TX", "[]", '{"a": 1}', '{"a": "US-TX"'])
def test_luxor_sites_must_be_a_json_object(sites: str) -> None:
    configure = load("pools/luxor").configure
    assert configure is not None
    with pytest.raises(SettingsError, match=r"LUXOR__SITES: must be JSON like \{"):
        configure({"token": "KEY", "sites": sites})


def test_luxor_site_at_an_unknown_place_is_named_by_its_number() -> None:
    with pytest.raises(SettingsError, match=r"site 2 is at no known place: .*US-TX") as caught:
        luxor(a="US-OH", hush="US-TXX")
    assert "hush" not in str(caught.value)

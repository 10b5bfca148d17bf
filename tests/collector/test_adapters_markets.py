"""Behaviour of markets, MiningPoolStats and Braiins Insights that the contract does not cover."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from collector.registry import load
from collector.sources.base import PermanentError, Reading, TransientError
from miningmap.messages import Located
from tests.cases import all_cases
from tests.collector.recordings import readings

NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)


@all_cases("path", ["pools/nicehash", "pools/miningrigrentals"])
def test_markets_are_declared_as_such_and_off_by_default(path: str) -> None:
    assert load(path).scope == "market"
    assert not load(path).default


# --- NiceHash -------------------------------------------------------------------------------------


def market(speed: str | None, *, factor: str = "1e18", unit: str = "EH", at: str = "") -> object:
    fields = {"totalSpeed": speed, "marketFactor": factor, "displayMarketFactor": unit}
    return {**fields, "orders": [], **({"updatedTs": at} if at else {})}


def book(**markets: object) -> dict[str, object]:
    return {"stats": markets}


def test_nicehash_global_market_has_no_places() -> None:
    new = book(BTC=market("0.5", factor="1000000000000000000", at="2026-08-18T09:12:31Z"))
    older = book(BTC=market("0.0016217", at="2026-08-18T09:12:01.5+00:00"))
    assert readings("pools/nicehash", new, older) == [
        Reading(
            "nicehash-market",
            5.016217e17,
            observed_at=datetime(2026, 8, 18, 9, 12, 1, 500_000, tzinfo=UTC),
        )
    ]


def test_nicehash_markets_of_other_coins_do_not_count() -> None:
    boost = book(LTC=market("7"), btc=market("3.5"))
    plain = book(BTC=market("4", factor="1000000000000000.00000000", unit="PH"))
    assert readings("pools/nicehash", boost, plain) == [Reading("nicehash-market", 3.504e18)]
    assert load("pools/nicehash").locates is None


@all_cases(
    ("boost", "plain"),
    [
        (book(LTC=market("1")), book(BTC=market("1"))),
        (book(BTC=market("1")), book()),
        (book(), book(BTC=market("1"))),
        (book(EU=market("1"), USA=market("1")), book(EU=market("1"))),
    ],
)
def test_nicehash_without_a_market_of_bitcoin_is_a_shape_error(
    boost: object, plain: object
) -> None:
    with pytest.raises(PermanentError, match="BTC is not in the list") as caught:
        readings("pools/nicehash", boost, plain)
    assert caught.value.reason == "shape"


@all_cases(
    ("boost", "plain"),
    [
        (book(BTC=market(None)), book(BTC=market("1"))),
        (book(BTC=market("1")), book(BTC=market(""))),
    ],
)
def test_nicehash_has_no_reading_if_one_market_is_unknown(boost: object, plain: object) -> None:
    assert readings("pools/nicehash", boost, plain) == []


@all_cases(
    ("factor", "unit"), [("1e18", "PH"), ("1e15", "EH"), ("1e18", "BTC"), ("1e18", ""), ("0", "EH")]
)
def test_nicehash_factor_and_unit_must_agree(factor: str, unit: str) -> None:
    with pytest.raises(PermanentError) as caught:
        readings("pools/nicehash", *[book(BTC=market("1", factor=factor, unit=unit))] * 2)
    assert caught.value.reason == "unit"


@all_cases("speed", ["0.5 EH", "-5", -5, "1e-3 EH", True])
def test_nicehash_speed_must_be_a_number_without_a_unit(speed: str) -> None:
    with pytest.raises(PermanentError):
        readings("pools/nicehash", *[book(BTC=market(speed))] * 2)


def test_nicehash_markets_without_sellers_have_a_hashrate_of_zero() -> None:
    empty = book(BTC=market("0"))
    assert readings("pools/nicehash", empty, empty) == [Reading("nicehash-market", 0.0)]


# --- MiningRigRentals -----------------------------------------------------------------------------


def rig(
    number: int,
    *,
    region: str = "xx",
    speed: object = "100",
    unit: str = "th",
    online: bool = True,
) -> dict[str, object]:
    return {
        "id": str(number),
        "region": region,
        "status": {"online": online, "rented": True},
        "hashrate": {"last_5min": {"hash": speed, "type": unit, "nice": "100.00T"}},
    }


def page(total: int, *rigs: object) -> dict[str, object]:
    return {"success": True, "data": {"total": total, "records": list(rigs)}}


def lists(first: list[object], second: list[object]) -> list[object]:
    """The responses to all requests: the first page of both lists, then the others of each."""
    paged: list[list[object]] = [
        [page(len(listed), *listed[n : n + 100]) for n in range(0, max(1, len(listed)), 100)]
        for listed in (first, second)
    ]
    return [pages[0] for pages in paged] + [other for pages in paged for other in pages[1:]]


def rigs(count: int, first: int = 0) -> list[object]:
    return [rig(number) for number in range(first, first + count)]


def requests_of(*bodies: object) -> list[str]:
    encoded = [json.dumps(body).encode() for body in bodies]
    requests = load("pools/miningrigrentals").requests_for(encoded)
    return [request.url.partition("?")[2] for request in requests]


@all_cases(
    ("first", "second", "offsets"),
    [
        (0, 0, [("sha256", 0), ("sha256ab", 0)]),
        (100, 100, [("sha256", 0), ("sha256ab", 0)]),
        (101, 0, [("sha256", 0), ("sha256ab", 0), ("sha256", 100)]),
        (
            350,
            101,
            [
                *(("sha256", 0), ("sha256ab", 0), ("sha256", 100), ("sha256", 200)),
                *(("sha256", 300), ("sha256ab", 100)),
            ],
        ),
    ],
)
def test_rigs_are_paged_by_the_total_of_each_list(
    first: int, second: int, offsets: list[tuple[str, int]]
) -> None:
    answers = lists(rigs(first), rigs(second, first=1000))
    wanted = [f"type={kind}&rented=true&count=100&offset={offset}" for kind, offset in offsets]
    assert requests_of(*answers[:2]) == requests_of(*answers) == wanted
    found = readings("pools/miningrigrentals", *answers)
    total = (first + second) * 1e14
    assert [reading.hashrate for reading in found] == ([pytest.approx(total)] if total else [])


def test_rigs_on_several_pages_and_both_lists_count_once() -> None:
    (reading,) = readings("pools/miningrigrentals", *lists(rigs(250), rigs(100, first=200)))
    assert reading.hashrate == pytest.approx(300 * 1e14)


@all_cases(
    ("region", "code"),
    [
        ("us-east", "US"),
        ("US-East", "US"),
        ("EU-DE", "DE"),
        (" au ", "AU"),
        ("us-central", "US"),
        ("us-nw", "US"),
        ("us", "US"),
        ("eu-de", "DE"),
        ("eu-ru", "RU"),
        ("eu-uk", "GB"),
        ("eu", "OTHER"),
        ("ap", "OTHER"),
        ("ca", "CA"),
        ("au", "AU"),
        ("in", "IN"),
        ("jp", "JP"),
    ],
)
def test_a_rig_is_located_at_its_proxy(region: str, code: str) -> None:
    (reading,) = readings("pools/miningrigrentals", *lists([rig(1, region=region)], []))
    assert reading == Reading("miningrigrentals", 1e14, (Located(code, 1e14, "estimated"),))


@all_cases("region", ["", "eu-ne", "ap-se", "usa", "DE", "sa"])
def test_a_rig_at_an_unknown_proxy_is_unlocated(region: str) -> None:
    (reading,) = readings(
        "pools/miningrigrentals", *lists([rig(1, region=region), rig(2, region="eu-de")], [])
    )
    assert reading == Reading("miningrigrentals", 2e14, (Located("DE", 1e14, "estimated"),))


@all_cases(
    ("speed", "unit", "hashrate"),
    [
        ("137.137", "th", 1.37137e14),
        (0.138, "ph", 1.38e14),
        ("1.5", "eh", 1.5e18),
        (12, "gh", 1.2e10),
        (0, "hash", 0.0),
    ],
)
def test_rigs_may_have_different_units(speed: object, unit: str, hashrate: float) -> None:
    (reading,) = readings("pools/miningrigrentals", *lists([rig(1, speed=speed, unit=unit)], []))
    assert reading.hashrate == pytest.approx(hashrate)


@all_cases(("speed", "unit"), [("1", "kW"), ("1", ""), ("1 PH", "th"), (True, "th")])
def test_a_rig_with_an_unknown_unit_is_an_error(speed: object, unit: str) -> None:
    with pytest.raises(PermanentError):
        readings("pools/miningrigrentals", *lists([rig(1, speed=speed, unit=unit)], []))


@all_cases("success", [True, "true", 1])
def test_rigs_may_be_numbered_by_numbers_and_text(success: object) -> None:
    by_number = page(2, rig(1) | {"id": 1}, rig(2) | {"id": 2}) | {"success": success}
    by_text = page(1, rig(2)) | {"success": success}
    (reading,) = readings("pools/miningrigrentals", by_number, by_text)
    assert reading.hashrate == 2e14


def test_rigs_that_are_offline_or_without_a_speed_do_not_count() -> None:
    listed: list[object] = [rig(1), rig(2, online=False), rig(3, speed=""), rig(4, speed=None)]
    assert readings("pools/miningrigrentals", *lists(listed, [])) == [
        Reading("miningrigrentals", 1e14)
    ]


@all_cases("total", [4_001, 10**30, 10**400])
def test_a_list_without_an_end_is_an_error(total: int) -> None:
    with pytest.raises(PermanentError, match="more than 4000 rigs"):
        requests_of(page(total, rig(1)), page(0))
    with pytest.raises(PermanentError, match="more than 4000 rigs"):
        readings("pools/miningrigrentals", page(total, rig(1)), page(0))


def test_rigs_missing_in_a_list_are_an_error() -> None:
    answers = lists(rigs(150), [])
    answers[2] = page(149, *rigs(49, first=101))
    with pytest.raises(TransientError, match="1 of 150 rigs are missing"):
        readings("pools/miningrigrentals", *answers)


def test_rigs_added_between_two_pages_are_counted() -> None:
    answers = lists(rigs(121), [])
    answers[0] = page(120, *rigs(100))
    (reading,) = readings("pools/miningrigrentals", *answers)
    assert reading.hashrate == pytest.approx(121 * 1e14)


# --- MiningPoolStats ------------------------------------------------------------------------------


def totals(*pools: tuple[object, float | None], network: float | None = 1e21) -> dict[str, object]:
    return {"hashrate": network, "data": [{"pool_id": p, "hashrate": h} for p, h in pools]}


def test_miningpoolstats_pools_become_known_slugs() -> None:
    body = totals(("foundryusapool.com", 2e20), ("f2pool", 1e20), ("Unknown", 5e18), (None, 1e18))
    assert readings("pools/miningpoolstats", body) == [
        Reading("foundryusa", 2e20),
        Reading("f2pool", 1e20),
    ]


def test_miningpoolstats_lists_no_pool_whose_hashrate_is_unknown_or_0() -> None:
    body = totals(("antpool", -1), ("viabtc", -2), ("f2pool", None), ("ocean", 0), ("luxor", 1))
    assert readings("pools/miningpoolstats", body) == [Reading("luxor", 1.0)]


def test_miningpoolstats_pools_listed_twice_are_left_out() -> None:
    body = totals(("f2pool", 1e20), ("antpool", 2e20), ("f2pool.com", 1.1e20))
    assert readings("pools/miningpoolstats", body) == [Reading("antpool", 2e20)]


def test_miningpoolstats_pool_above_the_network_is_an_error() -> None:
    with pytest.raises(PermanentError, match=r"1e\+20 H/s is not between 0 and 946 H/s"):
        readings("pools/miningpoolstats", totals(("f2pool", 1e20), network=946.0))


def test_miningpoolstats_pools_may_be_numbers() -> None:
    assert readings("pools/miningpoolstats", totals((5, 1e18), ("f2pool", 1e20))) == [
        Reading("5", 1e18),
        Reading("f2pool", 1e20),
    ]


@all_cases("network", [0, -1, None])
def test_pools_without_a_network_to_compare_are_not_said_to_have_another_unit(
    network: float | None,
) -> None:
    kryptex = {"hashrate": 1e18, "net_hashrate": network}
    for path, body in (
        ("pools/miningpoolstats", totals(("f2pool", 1e20), network=network)),
        ("pools/kryptex", kryptex),
    ):
        with pytest.raises(TransientError, match="the response has no hashrate of the network"):
            readings(path, body)


def test_miningpoolstats_request_has_the_current_time_and_a_referer() -> None:
    source = load("pools/miningpoolstats")
    assert source.authorise is not None
    request = source.authorise(source.requests[0], {}, NOW)
    assert request.url == "https://data.miningpoolstats.stream/data/bitcoin.js?t=1795359600"
    assert request.headers == {"Referer": "https://miningpoolstats.stream/bitcoin"}
    assert not source.default


# --- Braiins Insights -----------------------------------------------------------------------------


def found(*pools: tuple[str, int, float]) -> list[object]:
    return [
        {"pool_name": name, "blocks_mined": {"1d": {"absolute": blocks, "relative_pct": percent}}}
        for name, blocks, percent in pools
    ]


NETWORK = {"current_hashrate": 1000.0}


def test_braiins_hashrate_is_distributed_by_blocks() -> None:
    pools = found(("Foundry USA", 2, 50.0), ("SlushPool", 1, 25.0), ("Unknown", 1, 25.0))
    assert readings("pools/braiins_insights", pools, NETWORK) == [
        Reading("foundryusa", 5e20, blocks=2),
        Reading("braiinspool", 2.5e20, blocks=1),
    ]


def test_braiins_blocks_of_unlisted_pools_are_not_distributed() -> None:
    pools = found(("Foundry USA", 2, 50.0), ("AntPool", 1, 25.0))
    assert readings("pools/braiins_insights", pools, NETWORK) == [
        Reading("foundryusa", 5e20, blocks=2),
        Reading("antpool", 2.5e20, blocks=1),
    ]


def test_braiins_names_of_one_pool_are_added_up() -> None:
    pools = found(("Braiins Pool", 2, 50.0), ("SlushPool", 1, 25.0), ("AntPool", 1, 25.0))
    assert readings("pools/braiins_insights", pools, NETWORK)[0] == (
        Reading("braiinspool", 7.5e20, blocks=3)
    )


def test_braiins_pools_without_blocks_have_no_reading() -> None:
    pools = found(("AntPool", 4, 100.0), ("Poolin", 0, 0.0))
    assert readings("pools/braiins_insights", pools, NETWORK) == [
        Reading("antpool", 1e21, blocks=4)
    ]
    assert readings("pools/braiins_insights", found(("Poolin", 0, 0.0)), NETWORK) == []


@all_cases("percent", [0.5, 0.25, 60.0])
def test_braiins_percentages_must_add_up_to_100(percent: float) -> None:
    with pytest.raises(PermanentError, match="% of all blocks") as caught:
        readings("pools/braiins_insights", found(("A", 1, percent), ("B", 1, percent)), NETWORK)
    assert caught.value.reason == "unit"


def test_braiins_has_no_places() -> None:
    for source in (load("pools/braiins_insights"), load("network/braiins_insights")):
        assert source.locates is None
        assert not any("country" in request.url for request in source.requests)

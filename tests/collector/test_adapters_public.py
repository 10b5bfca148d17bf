"""Behaviour of adapters of public APIs that the contract of all sources does not cover."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from collector.registry import load
from collector.sources.base import NetworkReading, PermanentError, Reading, TransientError
from tests.cases import all_cases
from tests.collector.recordings import readings

NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)


def test_blockchain_com_labels_become_pool_slugs() -> None:
    counts = {"Foundry USA": 2, "SBI Crypto": 1, "Unknown": 5, "New Pool": 2, "Slush": 0}
    assert readings("pools/blockchain_info", counts, "1000.0") == [
        Reading("foundryusa", 2e11, blocks=2),
        Reading("sbicrypto", 1e11, blocks=1),
        Reading("newpool", 2e11, blocks=2),
    ]


def test_blockchain_com_labels_of_one_pool_are_added_up() -> None:
    (reading,) = readings("pools/blockchain_info", {"AntPool": 1, "Antpool": 2}, "1")
    assert reading == Reading("antpool", 1e9, blocks=3)


@all_cases(("counts", "network"), [({}, "1"), ({"AntPool": 0}, "1")])
def test_blockchain_com_without_blocks_has_no_reading(counts: object, network: str) -> None:
    assert readings("pools/blockchain_info", counts, network) == []


@all_cases("text", ["945812345678.9", "9.458123456789E11", "9.458123456789e+11"])
def test_blockchain_com_hashrate_may_be_in_scientific_notation(text: str) -> None:
    assert readings("network/q_blockchain", text) == [NetworkReading(9.458123456789e20)]


def test_blockchain_chart_gives_its_newest_point_with_a_value() -> None:
    first = 1_795_359_600
    points = ((300, None), (100, 1.0), (200, 2.0))
    values = [{"x": first + seconds, "y": figure} for seconds, figure in points]
    chart = {"status": "ok", "unit": "Hash Rate TH/s", "values": values}
    at = datetime.fromtimestamp(first + 200, UTC)
    assert readings("network/blockchain_chart", chart) == [NetworkReading(2e12, at)]


def test_mempool_difficulty_becomes_the_hashrate_of_the_network() -> None:
    """2**32 hashes per unit of difficulty in ten minutes: about 1006 EH/s on 2026-10-27."""
    (reading,) = readings("network/mempool_difficulty", {"currentDifficulty": 140.58e12})
    assert reading.hashrate == pytest.approx(1006e18, rel=1e-3)


@all_cases("points", [["96214512345678901234"], [1.0, 96214512345678901234]])
def test_viabtc_last_point_may_be_a_number_or_text(points: list[object]) -> None:
    chart = {"code": 0, "message": "OK", "data": {"viabtc_hash": points}}
    assert readings("pools/viabtc", "", chart) == [Reading("viabtc", 9.62145123456789e19)]


@all_cases(
    ("state", "requests"),
    [
        ({"code": 0, "message": "OK", "data": {"hashrate": "96214512345678901234"}}, 1),
        ({"code": 0, "message": "OK", "data": {"hashrate": 96214512345678901234}}, 1),
        ({"code": 0, "message": "OK", "data": {"hashrate": None}}, 2),
        ({"code": 0, "message": "OK", "data": {"hash": "96214512345678901234"}}, 2),
        ({"code": 1, "message": "busy", "data": {}}, 2),
        ("<html>", 2),
        ("", 2),
    ],
)
def test_viabtc_chart_is_requested_if_the_state_has_no_figure(state: object, requests: int) -> None:
    body = state.encode() if isinstance(state, str) else json.dumps(state).encode()
    urls = [request.url for request in load("pools/viabtc").requests_for([body])]
    assert urls[0] == "https://www.viabtc.com/res/pool/BTC/state"
    assert urls[1:] == ["https://www.viabtc.com/res/pool/BTC/state/usd/chart"][: requests - 1]
    if requests == 1:
        assert readings("pools/viabtc", body.decode()) == [Reading("viabtc", 9.62145123456789e19)]


@all_cases(
    ("figure", "unit", "hashrate"),
    [("3.65", "E", 3.65e18), (3.65, "P", 3.65e15), (3650, "PH/s", 3.65e18), ("0", "E", 0.0)],
)
def test_cloverpool_unit_is_in_a_separate_field(figure: object, unit: str, hashrate: float) -> None:
    status = {"pool_hashrate": figure, "pool_hashrate_unit": unit}
    answer = {"err_no": 0, "err_msg": None, "data": status}
    assert readings("pools/btccom", answer) == [Reading("btccom", hashrate)]


def test_cloverpool_hashrate_without_a_unit_is_an_error() -> None:
    answer = {"err_no": 0, "data": {"pool_hashrate": 3.65, "pool_hashrate_unit": ""}}
    with pytest.raises(PermanentError, match="unit"):
        readings("pools/btccom", answer)


def test_binance_without_the_algorithm_of_bitcoin_is_a_shape_error() -> None:
    listed = [{"algoName": "Ethash", "poolHash": "1"}]
    with pytest.raises(PermanentError, match="SHA256 is not in the list, which has Ethash"):
        readings("pools/binance", {"code": 0, "data": {"algoList": listed}})


@all_cases("algorithm", ["SHA256", "sha256"])
def test_binance_algorithms_may_be_in_upper_or_lower_case(algorithm: str) -> None:
    listed = [{"algoName": algorithm, "poolHash": 5}]
    assert readings("pools/binance", {"code": 0, "data": {"algoList": listed}}) == [
        Reading("binancepool", 5.0)
    ]


def test_binance_errors_include_their_code() -> None:
    with pytest.raises(TransientError, match="-1003 Too many requests"):
        readings("pools/binance", {"code": -1003, "msg": "Too many requests", "data": None})


OLDER = {"location": "global", "currentHashRate": "3000000000000000000.0"}
NEWER = {"location": "global", "current_hash_rate": "3000000000000000000.0"}


@all_cases("data", [[OLDER], NEWER, OLDER, [NEWER], [OLDER | {"location": "eu"}]])
@all_cases("enveloped", [True, False])
def test_whitepool_is_read_in_all_forms_and_has_no_places(data: object, *, enveloped: bool) -> None:
    answer = {"data": data} if enveloped else data
    assert readings("pools/whitepool", answer) == [Reading("whitepool", 3e18)]


def test_whitepool_has_no_reading_if_one_part_is_unknown() -> None:
    assert readings("pools/whitepool", {"data": [OLDER, OLDER]}) == [Reading("whitepool", 6e18)]
    assert readings("pools/whitepool", {"data": [OLDER, {"currentHashRate": None}]}) == []


@all_cases("answer", [{"data": {}}, {"data": [{}]}, {"data": None}, {}, [{}]])
def test_whitepool_without_a_hashrate_is_a_shape_error(answer: object) -> None:
    with pytest.raises(PermanentError, match="unexpected shape"):
        readings("pools/whitepool", answer)


def test_hashrates_of_zero_of_small_pools_are_readings() -> None:
    assert readings("pools/publicpool", {"totalHashRate": 0}) == [Reading("publicpool", 0.0)]
    assert readings("pools/solopool", {"hashrate": 0}) == [Reading("solopool", 0.0)]


def test_2miners_timestamps_are_in_milliseconds() -> None:
    at = datetime(2026, 11, 22, 14, 59, 30, 500_000, tzinfo=UTC)
    answer = {"hashrate": 1.2e16, "now": int(at.timestamp() * 1000)}
    assert readings("pools/twominers", answer) == [Reading("2miners", 1.2e16, observed_at=at)]

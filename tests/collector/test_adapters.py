"""Behaviour of single adapters that the contract of all sources does not cover."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from collector.sources.base import PermanentError, Reading, TransientError
from miningmap.messages import Located
from tests.cases import all_cases
from tests.collector.recordings import readings

NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)


@all_cases(
    ("updated_at", "observed_at"),
    [
        ("2026-11-22T14:55:00Z", datetime(2026, 11, 22, 14, 55, tzinfo=UTC)),
        ("2026-11-22 09:55:00-05:00", datetime(2026, 11, 22, 14, 55, tzinfo=UTC)),
        ("2026-11-22T14:55:00.123+0000", datetime(2026, 11, 22, 14, 55, 0, 123_000, tzinfo=UTC)),
        ("2026-11-22T14:55:00", None),
        ("Nov 22, 2026", None),
        (1795359300, None),
        (None, None),
    ],
)
def test_foundry_timestamps_without_a_time_zone_are_ignored(
    updated_at: object, observed_at: datetime | None
) -> None:
    answer = {"hashrate5minAvg": 233_712_345_678, "updatedAt": updated_at}
    assert readings("pools/foundry", answer) == [
        Reading("foundryusa", 2.33712345678e20, observed_at=observed_at)
    ]


@all_cases("unknown", [-1, -2, None])
def test_foundry_unknown_hashrate_is_not_zero(unknown: int | None) -> None:
    assert readings("pools/foundry", {"hashrate5minAvg": unknown}) == []


def test_foundry_hashrate_of_zero_is_a_reading() -> None:
    assert readings("pools/foundry", {"hashrate5minAvg": 0}) == [Reading("foundryusa", 0.0)]


def blocks(total: int, *pools: tuple[str, int]) -> dict[str, object]:
    listed = [{"slug": slug, "blockCount": count} for slug, count in pools]
    return {"pools": listed, "blockCount": total, "lastEstimatedHashrate": 9e20}


def test_mempool_hashrate_is_distributed_by_blocks() -> None:
    answer = blocks(4, ("foundryusa", 2), ("antpool", 1), ("unknown", 1))
    assert readings("pools/mempool", answer) == [
        Reading("foundryusa", 4.5e20, blocks=2),
        Reading("antpool", 2.25e20, blocks=1),
    ]


def test_mempool_pools_without_blocks_have_no_reading() -> None:
    assert readings("pools/mempool", blocks(1, ("antpool", 1), ("solock", 0))) == [
        Reading("antpool", 9e20, blocks=1)
    ]


@all_cases(
    "answer",
    [
        blocks(2, ("antpool", 3)),
        blocks(2, ("antpool", -1)),
        blocks(2, ("Ant Pool", 1)),
    ],
)
def test_mempool_inconsistent_blocks_are_a_shape_error(answer: object) -> None:
    with pytest.raises(PermanentError) as caught:
        readings("pools/mempool", answer)
    assert caught.value.reason == "shape"


def coins(hashrate: object, coin: str = "BTC", code: str = "000000") -> dict[str, object]:
    items = [{"coinType": coin, "poolHashrate": hashrate}]
    return {"code": code, "msg": "busy", "data": {"items": items}}


def test_antpool_without_bitcoin_is_a_shape_error() -> None:
    with pytest.raises(PermanentError, match="BTC is not in the list, which has LTC"):
        readings("pools/antpool", coins("1 TH/s", coin="LTC"))


@all_cases("coin", ["BTC", "btc"])
def test_antpool_coins_may_be_in_upper_or_lower_case(coin: str) -> None:
    assert readings("pools/antpool", coins("1 TH/s", coin=coin)) == [Reading("antpool", 1e12)]


def test_antpool_hashrate_without_a_unit_is_an_error() -> None:
    with pytest.raises(PermanentError):
        readings("pools/antpool", coins("173.25"))


def test_antpool_error_code_is_an_error_even_with_a_hashrate() -> None:
    with pytest.raises(TransientError, match="100001 busy"):
        readings("pools/antpool", coins("173.25 EH/s", code="100001"))


@all_cases(("text", "hashrate"), [("14100000000000000000", 1.41e19), ("1.5", 1.5), ("0", 0.0)])
def test_ocean_hashrates_are_numbers_without_a_unit(text: str, hashrate: float) -> None:
    assert readings("pools/ocean", {"result": {"pool_300s": text}}) == [Reading("ocean", hashrate)]


def status(lastupdate: int, hashrate: str | None) -> str:
    return "\n".join(map(json.dumps, [{"lastupdate": lastupdate}, {"hashrate5m": hashrate}, {}]))


def test_ckpool_is_located_by_server_and_dated_by_the_oldest_status() -> None:
    bodies = [
        status(1_787_472_180, "141P"),
        status(1_787_472_120, "1.23E"),
        status(1_787_472_180, "0"),
    ]
    assert readings("pools/ckpool", *bodies) == [
        Reading(
            "solock",
            1.371e18,
            (
                Located("US", 1.41e17, "estimated"),
                Located("OTHER", 1.23e18, "estimated"),
                Located("AU", 0.0, "estimated"),
            ),
            datetime.fromtimestamp(1_787_472_120, UTC),
        )
    ]


@all_cases("unknown", ["?", None])
def test_ckpool_has_no_reading_if_one_server_is_unknown(unknown: str | None) -> None:
    bodies = [status(1_787_472_180, text) for text in ("141P", unknown, "9P")]
    assert readings("pools/ckpool", *bodies) == []


def test_long_errors_of_servers_are_shortened() -> None:
    with pytest.raises(TransientError) as caught:
        readings("pools/ocean", {"error": "x" * 10_000})
    assert len(str(caught.value)) < 200

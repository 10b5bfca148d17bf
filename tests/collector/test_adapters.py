"""What single adapters know that the contract of all does not ask for."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from collector.sources.base import PermanentError, Reading, TransientError
from miningmap.messages import Located
from tests.collector.recordings import readings

NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)


@pytest.mark.parametrize(
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
def test_foundrys_time_counts_only_with_a_zone(
    updated_at: object, observed_at: datetime | None
) -> None:
    answer = {"hashrate5minAvg": 233_712_345_678, "updatedAt": updated_at}
    assert readings("pools/foundry", answer) == [
        Reading("foundryusa", 2.33712345678e20, observed_at=observed_at)
    ]


@pytest.mark.parametrize("unknown", [-1, -2, None])
def test_foundrys_unknown_is_not_zero(unknown: int | None) -> None:
    assert readings("pools/foundry", {"hashrate5minAvg": unknown}) == []


def test_a_zero_that_was_looked_for_is_a_zero() -> None:
    assert readings("pools/foundry", {"hashrate5minAvg": 0}) == [Reading("foundryusa", 0.0)]


def blocks(total: int, *pools: tuple[str, int]) -> dict[str, object]:
    listed = [{"slug": slug, "blockCount": count} for slug, count in pools]
    return {"pools": listed, "blockCount": total, "lastEstimatedHashrate": 9e20}


def test_mempool_gives_each_pool_its_part_of_the_blocks() -> None:
    answer = blocks(4, ("foundryusa", 2), ("antpool", 1), ("unknown", 1))
    assert readings("pools/mempool", answer) == [
        Reading("foundryusa", 4.5e20, blocks=2),
        Reading("antpool", 2.25e20, blocks=1),
    ]


def test_mempool_says_nothing_of_a_pool_without_blocks() -> None:
    assert readings("pools/mempool", blocks(1, ("antpool", 1), ("solock", 0))) == [
        Reading("antpool", 9e20, blocks=1)
    ]


@pytest.mark.parametrize(
    "answer",
    [
        blocks(2, ("antpool", 3)),
        blocks(2, ("antpool", -1)),
        blocks(2, ("Ant Pool", 1)),
    ],
)
def test_mempools_blocks_that_make_no_sense_are_another_shape(answer: object) -> None:
    with pytest.raises(PermanentError) as caught:
        readings("pools/mempool", answer)
    assert caught.value.reason == "shape"


def coins(hashrate: object, coin: str = "BTC", code: str = "000000") -> dict[str, object]:
    items = [{"coinType": coin, "poolHashrate": hashrate}]
    return {"code": code, "msg": "said", "data": {"items": items}}


def test_antpool_without_bitcoin_says_nothing() -> None:
    assert readings("pools/antpool", coins("1 TH/s", coin="LTC")) == []


def test_antpool_says_its_unit_or_nothing() -> None:
    with pytest.raises(PermanentError):
        readings("pools/antpool", coins("173.25"))


def test_an_error_of_antpool_is_one_whatever_comes_with_it() -> None:
    with pytest.raises(TransientError, match="100001 said"):
        readings("pools/antpool", coins("173.25 EH/s", code="100001"))


@pytest.mark.parametrize(
    ("said", "hashrate"), [("14100000000000000000", 1.41e19), ("1.5", 1.5), ("0", 0.0)]
)
def test_ocean_says_bare_numbers(said: str, hashrate: float) -> None:
    assert readings("pools/ocean", {"result": {"pool_300s": said}}) == [Reading("ocean", hashrate)]


def status(lastupdate: int, hashrate: str | None) -> str:
    return "\n".join(map(json.dumps, [{"lastupdate": lastupdate}, {"hashrate5m": hashrate}, {}]))


def test_ckpool_is_located_by_server_and_as_old_as_the_oldest() -> None:
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


@pytest.mark.parametrize("unknown", ["?", None])
def test_ckpool_without_one_server_has_no_total(unknown: str | None) -> None:
    bodies = [status(1_787_472_180, text) for text in ("141P", unknown, "9P")]
    assert readings("pools/ckpool", *bodies) == []


def test_an_answer_that_is_an_error_is_quoted_in_short() -> None:
    with pytest.raises(TransientError) as caught:
        readings("pools/ocean", {"error": "x" * 10_000})
    assert len(str(caught.value)) < 200

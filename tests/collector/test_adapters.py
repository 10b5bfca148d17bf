"""Behaviour of single adapters that the contract of all sources does not cover."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from collector.polling.reports import parse_readings
from collector.registry import load
from collector.sources.base import PermanentError, Reading, TransientError
from miningmap.messages import Located
from tests.cases import all_cases
from tests.collector.recordings import readings

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def blocks(total: int, *pools: tuple[object, int]) -> dict[str, object]:
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
    ],
)
def test_mempool_inconsistent_blocks_are_a_shape_error(answer: object) -> None:
    with pytest.raises(PermanentError) as caught:
        readings("pools/mempool", answer)
    assert caught.value.reason == "shape"


@all_cases("slug", ["unknown", "Unknown", "Unknown pool", None, "", "?", "鱼", "null"])
def test_mempool_blocks_of_an_entry_without_a_pool_count_for_no_pool(slug: object) -> None:
    assert readings("pools/mempool", blocks(4, ("foundryusa", 2), (slug, 1), ("antpool", 1))) == [
        Reading("foundryusa", 4.5e20, blocks=2),
        Reading("antpool", 2.25e20, blocks=1),
    ]


@all_cases(("slug", "pool"), [("Ant Pool", "antpool"), ("btctop", "btctop"), (58, "58")])
def test_mempool_slugs_are_read_like_other_names(slug: object, pool: str) -> None:
    assert readings("pools/mempool", blocks(1, (slug, 1))) == [Reading(pool, 9e20, blocks=1)]


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


NOON = 1_787_472_180
HOSTS = ("solo", "uwsolo", "uesolo", "eusolo", "sgsolo", "ausolo")


def status(
    hashrate: str | None, *, users: int, started: int = 0, updated: float = NOON, **other: object
) -> str:
    """The status file of a ckpool host; ``started`` counts from some day."""
    runtime = updated - 1_780_000_000 - started
    first = {"runtime": runtime, "lastupdate": updated, "Users": users, **other}
    return "\n".join(map(json.dumps, [first, {"hashrate5m": hashrate}, {}]))


def of_ckpool(**files: str) -> Sequence[Any]:
    """What ckpool makes of these hosts' files; the other hosts do not respond."""
    return readings("pools/ckpool", *(files.get(host, "") for host in HOSTS))


def solock(hashrate: float, at: int = NOON, **places: float) -> list[Reading]:
    located = tuple(Located(code, rate, "estimated") for code, rate in places.items())
    return [Reading("solock", hashrate, located, datetime.fromtimestamp(at, UTC))]


def test_ckpool_hosts_with_their_own_statistics_add_up_and_are_places() -> None:
    assert of_ckpool(
        solo=status("100P", users=20_000),
        uwsolo=status("20P", users=3_000, started=86_400),
        uesolo=status("10P", users=2_000, started=172_800),
        eusolo=status("0.05E", users=9_000, started=500_000, updated=NOON - 60),
        sgsolo=status("5e15", users=700, started=600_000),
        ausolo=status("0", users=0, started=700_000),
    ) == solock(1.85e17, NOON - 60, AU=0.0, OTHER=5.5e16, US=1.3e17)


def test_ckpool_hosts_with_statistics_in_common_give_one_total_and_no_places() -> None:
    same = dict.fromkeys(HOSTS, status("185P", users=35_000))
    assert of_ckpool(**same) == solock(1.85e17)
    # Each host runs a process of its own, but all count the same users.
    same["eusolo"] = status("184P", users=34_900, started=500_000)
    assert of_ckpool(**same) == solock(1.85e17)
    # The files are written again while they are requested.
    same["ausolo"] = status("186P", users=37_000, updated=NOON + 60)
    assert of_ckpool(**same) == solock(1.86e17, NOON + 60)


def test_ckpool_host_with_two_names_counts_once() -> None:
    solo = status("100P", users=20_000)
    eusolo = status("50P", users=9_000, started=500_000)
    assert of_ckpool(solo=solo, uesolo=solo, eusolo=eusolo) == solock(1.5e17, OTHER=5e16, US=1e17)
    assert of_ckpool(solo=solo, ausolo=solo, eusolo=eusolo) == solock(1.5e17, OTHER=5e16)


@all_cases("host", HOSTS)
def test_ckpool_total_is_known_while_one_host_responds(host: str) -> None:
    assert of_ckpool(**{host: status("185P", users=35_000)}) == solock(1.85e17)


@all_cases(
    "gone",
    [
        "",
        "<html>",
        '{"error":"down"}',
        "{}",
        status(None, users=9_000, started=500_000),
        status("?", users=9_000, started=500_000),
        status("50 Sol/s", users=9_000, started=500_000),
        status("50P", users=9_000, started=500_000, updated=NOON - 3_600),
    ],
)
def test_ckpool_host_without_a_figure_of_now_hides_nothing(gone: str) -> None:
    files = {"solo": status("100P", users=20_000), "eusolo": gone}
    assert of_ckpool(**files) == solock(1e17)


AHEAD = tuple(NOON + ahead for ahead in (901, 3_600, 86_400, 10**9))


@all_cases("at", [*AHEAD, NOON * 10**3, NOON * 10**6, NOON * 10**9, 10**18, 1e22, -1e300, "x", []])
def test_ckpool_host_with_a_wrong_clock_hides_nothing(at: Any) -> None:
    files = {
        host: status(f"{10 + number}P", users=1_000 * 2**number, started=86_400 * number)
        for number, host in enumerate(HOSTS)
    }
    lines = files["eusolo"].splitlines()
    wrong = json.dumps(json.loads(lines[0]) | {"lastupdate": at})
    without = of_ckpool(**{**files, "eusolo": ""})
    assert of_ckpool(**{**files, "eusolo": "\n".join([wrong, *lines[1:]])}) == without
    # Of two hosts, only the time of the fetch tells which of them is wrong.
    two = {"solo": files["solo"], "eusolo": "\n".join([wrong, *lines[1:]])}
    assert fetched_ckpool(two) == solock(1e16)


@all_cases("at", AHEAD)
def test_ckpool_is_an_error_if_all_clocks_are_wrong(at: int) -> None:
    with pytest.raises(PermanentError, match="clock") as caught:
        fetched_ckpool(dict.fromkeys(HOSTS, status("1P", users=1, updated=at)))
    assert caught.value.reason == "future"


def test_ckpool_host_with_an_impossible_hashrate_hides_nothing() -> None:
    files = {"solo": status("100P", users=20_000), "eusolo": status("1e40", users=9_000)}
    assert of_ckpool(**files) == solock(1e17)


@all_cases("at", [float(NOON), f"{NOON}", f"{NOON}.0"])
def test_ckpool_times_may_be_text_or_have_a_fraction(at: Any) -> None:
    line, *others = status("100P", users=20_000).splitlines()
    other = json.dumps(json.loads(line) | {"lastupdate": at})
    assert of_ckpool(solo="\n".join([other, *others])) == solock(1e17)
    half = status("100P", users=20_000, updated=NOON + 0.5)
    assert [reading.hashrate for reading in of_ckpool(solo=half)] == [1e17]


def fetched_ckpool(files: dict[str, str]) -> Sequence[object]:
    bodies = [files.get(host, "").encode() for host in HOSTS]
    return parse_readings(load("pools/ckpool"), bodies, datetime.fromtimestamp(NOON, UTC))


@all_cases("unknown", ["?", None])
def test_ckpool_has_no_reading_if_no_host_knows_its_hashrate(unknown: str | None) -> None:
    assert of_ckpool(solo=status(unknown, users=20_000), ausolo="<html>") == []


def test_long_errors_of_servers_are_shortened() -> None:
    with pytest.raises(TransientError) as caught:
        readings("pools/ocean", {"error": "x" * 10_000})
    assert len(str(caught.value)) < 200

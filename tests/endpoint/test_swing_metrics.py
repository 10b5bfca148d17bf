"""What swings on ``/metrics``: the newest status, and no place or pool that is not in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from endpoint.routes import metrics
from endpoint.routes.swing_metrics import MOST_CONTRIBUTIONS, SwingCollector
from miningmap.metrics import MOST_POOLS, MOST_SOURCES, PoolSeries
from miningmap.swings import PlaceStatus, PoolDelta, PoolStatus, SwingStatus
from streams.redis import keys
from tests.endpoint.swings import ago, lost, over, place_swing, pool_swing, write_events

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.test_utils import TestClient

    from streams.redis.store import Store

    Client = TestClient[web.Request, web.Application]

PLACE = {"country", "subdivision", "pair"}
POOL = {"pool", "source", "pair"}
LABELS: dict[str, set[str]] = {
    "miningmap_swing_evaluated_timestamp_seconds": set(),
    "miningmap_swing_delta_ratio": PLACE,
    "miningmap_swing_active": PLACE | {"driver"},
    "miningmap_swing_contribution_ratio": PLACE | {"pool"},
    "miningmap_swing_muted": PLACE,
    "miningmap_pool_swing_delta_ratio": POOL,
    "miningmap_pool_swing_active": POOL,
    "miningmap_pool_swing_muted": POOL,
}

Samples = dict[tuple[str, ...], float]


def samples_in(text: str) -> dict[str, Samples]:
    """Return the values of each metric by the values of its labels, in the order of the names."""
    return {
        family.name: {
            tuple(value for _, value in sorted(sample.labels.items())): sample.value
            for sample in family.samples
        }
        for family in text_string_to_metric_families(text)
        if family.name in LABELS
    }


def collected(status: SwingStatus | None, series: PoolSeries | None = None) -> dict[str, Samples]:
    registry = CollectorRegistry()
    registry.register(SwingCollector(status, series or PoolSeries()))
    return samples_in(generate_latest(registry).decode())


async def scrape(client: Client) -> dict[str, Samples]:
    async with client.get("/metrics") as response:
        assert response.status == 200
        return samples_in(await response.text())


@pytest.mark.integration
async def test_the_newest_status_is_shown_and_what_is_over_vanishes(
    client: Client, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "KEPT_S", 0.0)  # the text is made at each scrape
    assert not any((await scrape(client)).values())
    fell = place_swing(muted=True, annotations=("annotations/storms",))
    texas = place_swing("US-TX", pair="24h/7d", severity=1, driver="others")
    pool = pool_swing()
    await write_events(store.swings, fell, texas, pool)
    found = await scrape(client)
    assert found["miningmap_swing_evaluated_timestamp_seconds"] == {(): ago().timestamp()}
    assert found["miningmap_swing_delta_ratio"] == {
        ("CN", "1h/24h", ""): 0.06,
        ("US", "1h/24h", ""): -0.06,
        ("US", "1h/24h", "US-TX"): -0.05,
        ("US", "24h/7d", ""): -0.002,
    }
    assert found["miningmap_swing_active"] == {
        ("US", "own", "1h/24h", ""): 5,
        ("US", "others", "24h/7d", "US-TX"): 1,
    }
    assert found["miningmap_swing_contribution_ratio"] == {
        ("US", "1h/24h", "alpha", ""): -0.05,
        ("US", "1h/24h", "beta", ""): -0.01,
        ("US", "24h/7d", "alpha", "US-TX"): -0.05,
        ("US", "24h/7d", "beta", "US-TX"): -0.01,
    }
    assert found["miningmap_swing_muted"] == {("US", "1h/24h", ""): 1}
    assert found["miningmap_pool_swing_delta_ratio"] == {("1h/24h", "alpha", "alpha-api"): -0.4}
    assert found["miningmap_pool_swing_active"] == {("24h/7d", "alpha", "alpha-api"): 25}
    assert found["miningmap_pool_swing_muted"] == {}
    await write_events(
        store.swings,
        *(fell, texas, pool),
        *(over(fell, ago(hours=1)), lost(texas, ago(hours=1)), lost(pool, ago(hours=1))),
    )
    found = await scrape(client)
    assert {name for name, samples in found.items() if samples} == {
        "miningmap_swing_evaluated_timestamp_seconds",
        "miningmap_swing_delta_ratio",
        "miningmap_pool_swing_delta_ratio",
    }


@pytest.mark.integration
@pytest.mark.usefixtures("snapshots")
async def test_a_damaged_status_costs_no_other_figure(client: Client, store: Store) -> None:
    for damage in (b"", b"{}", b"\xff", b"[" * 100_000, b'{"at":7}'):
        await store.generations.redis.hset(keys.SWINGS, "status", damage)
        assert not any((await scrape(client)).values())
        async with client.get("/metrics") as response:
            assert "miningmap_share_ratio{" in await response.text()


def test_before_the_first_evaluation_there_are_only_descriptions() -> None:
    assert collected(None) == {name: {} for name in LABELS}


def test_a_place_and_a_pool_that_are_not_compared_any_more_have_no_series() -> None:
    places = (PlaceStatus("1h/24h", "US", 0.0), PlaceStatus("1h/24h", "CN", 0.0))
    pools = (PoolStatus("1h/24h", "alpha", "a", 0.0), PoolStatus("1h/24h", "alpha", "b", 0.0))
    found = collected(SwingStatus(ago(), places[:1], pools[1:]))
    assert found["miningmap_swing_delta_ratio"] == {("US", "1h/24h", ""): 0.0}
    assert found["miningmap_pool_swing_delta_ratio"] == {("1h/24h", "alpha", "b"): 0.0}


def test_every_sentence_of_a_description_ends() -> None:
    for family in SwingCollector(None, PoolSeries()).collect():
        assert family.documentation.endswith("."), family.name


def test_pools_that_are_not_admitted_have_no_series() -> None:
    status = SwingStatus(
        ago(),
        (PlaceStatus("1h/24h", "US", -0.06),),
        tuple(PoolStatus("1h/24h", pool, "s", -0.5) for pool in ("alpha", "made-up")),
        (
            place_swing(pools=(PoolDelta("made-up", -0.05), PoolDelta("alpha", -0.01))),
            pool_swing("made-up"),
            pool_swing("alpha"),
        ),
    )
    series = PoolSeries()
    for number in range(MOST_POOLS - 1):
        assert series.has_pool(f"unknown{number}")
    assert series.has_pool("alpha")
    found = collected(status, series)
    assert found["miningmap_swing_contribution_ratio"] == {("US", "1h/24h", "alpha", ""): -0.01}
    assert found["miningmap_pool_swing_delta_ratio"] == {("1h/24h", "alpha", "s"): -0.5}
    assert found["miningmap_pool_swing_active"] == {("24h/7d", "alpha", "alpha-api"): 25}
    # What swings is the place, whoever moved it.
    assert found["miningmap_swing_active"] == {("US", "own", "1h/24h", ""): 5}


def test_sources_of_a_pool_have_no_series_without_end() -> None:
    series = PoolSeries()
    shown: set[tuple[str, ...]] = set()
    for number in range(2 * MOST_SOURCES):
        status = SwingStatus(ago(), (), (PoolStatus("1h/24h", "f2pool", f"source{number}", 0.1),))
        shown |= collected(status, series)["miningmap_pool_swing_delta_ratio"].keys()
    assert len(shown) == MOST_SOURCES


def test_only_the_largest_contributions_have_series() -> None:
    pools = tuple(PoolDelta(f"pool{number:02}", -0.001 * (30 - number)) for number in range(30))
    found = collected(SwingStatus(ago(), (), (), (place_swing(pools=pools),)))
    shown = [pool for _, _, pool, _ in found["miningmap_swing_contribution_ratio"]]
    assert shown == [contribution.pool for contribution in pools[:MOST_CONTRIBUTIONS]]


def test_pools_that_contribute_nothing_have_no_series() -> None:
    pools = (PoolDelta("alpha", -0.06), PoolDelta("beta", 0.0))
    found = collected(SwingStatus(ago(), (), (), (place_swing(pools=pools),)))
    assert [pool for _, _, pool, _ in found["miningmap_swing_contribution_ratio"]] == ["alpha"]


def test_a_swing_without_a_driver_is_not_shown_with_an_invented_one() -> None:
    swing: Any = msgspec.structs.replace(place_swing(), driver=None)
    assert collected(SwingStatus(ago(), (), (), (swing,)))["miningmap_swing_active"] == {}

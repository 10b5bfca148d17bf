"""``/metrics`` has exactly the API's figures under their Prometheus names."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from endpoint.http.exposition import Exposition
from endpoint.routes import metrics
from miningmap import __version__
from miningmap.metrics import MOST_POOLS, MOST_SOURCES, PoolSeries
from tests.endpoint import test_swing_metrics as swing_metrics
from tests.endpoint.swings import place_swing, pool_swing, write_events

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from aiohttp import web
    from aiohttp.test_utils import TestClient

    from streams.redis.store import Store

    Client = TestClient[web.Request, web.Application]
    Found = dict[str, dict[frozenset[tuple[str, str]], float]]

pytestmark = pytest.mark.integration

DEADLINE_S = 20.0
PLACE = {"country", "subdivision", "window"}
# Of the listeners of a service: the client of these tests has a server without them.
OF_LISTENERS = {
    "miningmap_http_accept_failures",
    "miningmap_http_connections",
    "miningmap_http_connections_dropped",
}
# Of the process itself, with or without a snapshot.
OWN: dict[str, set[str]] = {
    **{name: set() for name in OF_LISTENERS},
    "miningmap_build_info": {"version"},
    "miningmap_http_requests": {"route", "method", "status"},
    "miningmap_stream_clients": set(),
    "miningmap_stream_dropped": {"reason"},
    "miningmap_rate_limited": set(),
    "miningmap_heavy_questions": set(),
    "miningmap_heavy_questions_refused": {"reason"},
    "miningmap_dependency_up": {"dependency"},
    "miningmap_belief_until_timestamp_seconds": {"belief"},
}
LABELS = {
    **OWN,
    "miningmap_share_ratio": PLACE,
    "miningmap_share_low_ratio": PLACE,
    "miningmap_share_high_ratio": PLACE,
    "miningmap_share_declared_low_ratio": PLACE,
    "miningmap_share_declared_high_ratio": PLACE,
    "miningmap_share_belief_low_ratio": PLACE,
    "miningmap_share_belief_high_ratio": PLACE,
    "miningmap_hashrate_hashes_per_second": PLACE,
    "miningmap_share_evidence_ratio": PLACE,
    "miningmap_network_hashrate_hashes_per_second": {"window"},
    "miningmap_coverage_ratio": {"window"},
    "miningmap_measured_coverage_ratio": {"window"},
    "miningmap_declared_coverage_ratio": {"window"},
    "miningmap_evidence_ratio": {"window"},
    "miningmap_cohort_pools": {"window"},
    "miningmap_simulated": {"window"},
    "miningmap_snapshot_timestamp_seconds": set(),
    "miningmap_pool_hashrate_hashes_per_second": {"pool"},
    "miningmap_pool_last_report_timestamp_seconds": {"pool", "source"},
    "miningmap_pool_reported_gap_ratio": {"pool"},
    "miningmap_pool_reported_gap_error_ratio": {"pool"},
    "miningmap_pools_left_out": set(),
    **swing_metrics.LABELS,
}
# What libraries show, and histograms, whose samples have further labels.
OTHERS = ("process_", "python_", "miningmap_http_request_duration_seconds")


async def scrape(client: Client) -> Found:
    async with client.get("/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        families = list(text_string_to_metric_families(await answer.text()))
    assert all(family.documentation for family in families)
    families = [family for family in families if not family.name.startswith(OTHERS)]
    assert {family.type for family in families if family.name not in OWN} == {"gauge"}
    return {
        family.name: {frozenset(s.labels.items()): s.value for s in family.samples}
        for family in families
    }


async def scrape_until(client: Client, is_met: Callable[[Found], object]) -> Found:
    """Return the first metrics that meet a condition: a new snapshot is not cached at once."""
    async with asyncio.timeout(DEADLINE_S):
        while not is_met(found := await scrape(client)):  # noqa: ASYNC110 - the cache sets no event
            await asyncio.sleep(0.01)
    return found


async def scrape_snapshot(client: Client) -> Found:
    """Return the metrics once they are those of a snapshot."""
    return await scrape_until(client, lambda found: found["miningmap_snapshot_timestamp_seconds"])


def labelled(**labels: str) -> frozenset[tuple[str, str]]:
    return frozenset(labels.items())


def with_gap(snapshots: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the snapshots with a gap between the largest pool's reports and its blocks."""
    pools = msgspec.json.decode(snapshots["pools"])
    pools["pools"][0]["gap"] = {
        "reported": 11e19,
        "reported_by": "alpha-api",
        "mined": 10e19,
        "mined_by": "chain",
        "blocks": 16,
        "ratio": 0.1,
        "error": 0.25,
    }
    return {**snapshots, "pools": msgspec.json.encode(pools)}


def with_belief(snapshots: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the snapshots with a range of shares by belief for the first country of ``1h``."""
    answer = msgspec.json.decode(snapshots["1h/country"])
    answer["shares"][0]["belief"] = [0.25, 0.75]
    return {**snapshots, "1h/country": msgspec.json.encode(answer)}


def answers_of(snapshots: Mapping[str, bytes]) -> list[Any]:
    return [msgspec.json.decode(raw) for key, raw in snapshots.items() if "/" in key]


async def test_every_metric_has_its_labels(
    client: Client, store: Store, snapshots: dict[str, bytes]
) -> None:
    await scrape(client)  # a request to count
    await store.snapshots.write(with_belief(with_gap(snapshots)))
    await write_events(store.swings, place_swing(muted=True), pool_swing(muted=True))
    found = await scrape_until(client, lambda found: found["miningmap_pool_reported_gap_ratio"])
    assert found.keys() == LABELS.keys()
    for name, samples in found.items():
        assert bool(samples) != (name in OF_LISTENERS), name
        for labels in samples:
            assert {label for label, _ in labels} == LABELS[name]


async def test_place_figures_equal_the_api_and_include_no_other_place(
    client: Client, snapshots: dict[str, bytes]
) -> None:
    found = await scrape_snapshot(client)
    for name, field in (
        ("miningmap_share_ratio", "share"),
        ("miningmap_share_low_ratio", "low"),
        ("miningmap_share_high_ratio", "high"),
        ("miningmap_share_declared_low_ratio", "declared_low"),
        ("miningmap_share_declared_high_ratio", "declared_high"),
        ("miningmap_hashrate_hashes_per_second", "hashrate"),
        ("miningmap_share_evidence_ratio", "evidence"),
    ):
        expected = {
            labelled(
                country=row["code"][:2],
                subdivision=row["code"] if answer["level"] == "subdivision" else "",
                window=answer["window"],
            ): row[field]
            for answer in answers_of(snapshots)
            for row in answer["shares"]
        }
        assert found[name] == expected
    shares = found["miningmap_share_ratio"]
    assert labelled(country="CN", subdivision="CN-SC", window="now") in shares
    assert labelled(country="CN", subdivision="", window="now") in shares


async def test_the_range_of_beliefs_is_left_out_where_there_is_none(
    client: Client, store: Store, snapshots: dict[str, bytes]
) -> None:
    await store.snapshots.write(with_belief(snapshots))
    found = await scrape_until(client, lambda found: found["miningmap_share_belief_low_ratio"])
    united_states = labelled(country="US", subdivision="", window="1h")
    assert found["miningmap_share_belief_low_ratio"] == {united_states: 0.25}
    assert found["miningmap_share_belief_high_ratio"] == {united_states: 0.75}


async def test_window_figures_equal_the_api_and_nulls_are_left_out(
    client: Client, snapshots: dict[str, bytes]
) -> None:
    found = await scrape_snapshot(client)
    by_window = {a["window"]: a for a in answers_of(snapshots) if a["level"] == "country"}
    assert by_window["30d"]["coverage"] is None
    for name, field in (
        ("miningmap_coverage_ratio", "coverage"),
        ("miningmap_measured_coverage_ratio", "measured_coverage"),
        ("miningmap_declared_coverage_ratio", "declared_coverage"),
    ):
        expected = {
            labelled(window=window): answer[field]
            for window, answer in by_window.items()
            if answer[field] is not None
        }
        assert found[name] == expected
        assert len(expected) == 4
    assert found["miningmap_network_hashrate_hashes_per_second"] == {
        labelled(window=window): answer["network"]["hashrate"]
        for window, answer in by_window.items()
        if answer["network"] is not None
    }
    assert found["miningmap_evidence_ratio"] == {
        labelled(window=window): answer["evidence"]
        for window, answer in by_window.items()
        if answer["evidence"] is not None
    }
    assert found["miningmap_cohort_pools"] == {
        labelled(window=window): float(count)
        for window, count in (("now", 2), ("1h", 2), ("24h", 2), ("7d", 2), ("30d", 0))
    }
    assert found["miningmap_simulated"] == {
        labelled(window=window): float(answer["simulated"]) for window, answer in by_window.items()
    }


@pytest.mark.usefixtures("snapshots")
async def test_unknown_pool_figures_are_left_out(client: Client, now: datetime) -> None:
    found = await scrape_snapshot(client)
    assert found["miningmap_pool_hashrate_hashes_per_second"] == {
        labelled(pool="alpha"): 1e20,
        labelled(pool="beta"): 5e19,
    }
    assert found["miningmap_pool_last_report_timestamp_seconds"] == {
        labelled(pool="alpha", source="alpha-api"): now.timestamp(),
        labelled(pool="beta", source="beta-api"): now.timestamp(),
        labelled(pool="gamma", source="gamma-api"): now.timestamp() - 3.5 * 3600,
    }
    assert found["miningmap_snapshot_timestamp_seconds"] == {labelled(): now.timestamp()}


async def test_the_gap_between_reported_and_mined_is_shown_with_its_error(
    client: Client, store: Store, snapshots: dict[str, bytes]
) -> None:
    await store.snapshots.write(with_gap(snapshots))
    found = await scrape_until(client, lambda found: found["miningmap_pool_reported_gap_ratio"])
    assert found["miningmap_pool_reported_gap_ratio"] == {labelled(pool="alpha"): 0.1}
    assert found["miningmap_pool_reported_gap_error_ratio"] == {labelled(pool="alpha"): 0.25}


async def test_a_place_that_is_no_longer_listed_has_no_samples(
    client: Client, store: Store, snapshots: dict[str, bytes]
) -> None:
    def countries(found: Found) -> set[str]:
        return {dict(labels)["country"] for labels in found["miningmap_share_ratio"]}

    assert "DE" in countries(await scrape_snapshot(client))
    for key, raw in snapshots.items():
        if key.endswith("/country"):
            answer = msgspec.json.decode(raw)
            answer["shares"] = [row for row in answer["shares"] if row["code"] != "DE"]
            snapshots[key] = msgspec.json.encode(answer)
    await store.snapshots.write(snapshots)
    found = await scrape_until(client, lambda found: "DE" not in countries(found))
    assert countries(found) == {"US", "CN", "CA"}


async def test_before_the_first_snapshot_only_the_process_has_samples(client: Client) -> None:
    found = await scrape(client)
    assert found.keys() == LABELS.keys()
    assert found["miningmap_build_info"] == {labelled(version=__version__): 1}
    assert found["miningmap_stream_clients"] == {labelled(): 0}
    assert found.pop("miningmap_pools_left_out") == {labelled(): 0}
    assert not any(samples for name, samples in found.items() if name not in OWN)


@pytest.mark.usefixtures("snapshots")
async def test_openmetrics_is_sent_to_scrapers_that_accept_it(client: Client) -> None:
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    async with client.get("/metrics", headers=accept) as answer:
        assert answer.content_type == "application/openmetrics-text"
        text = await answer.text()
    families = openmetrics_families(text)  # type: ignore[no-untyped-call]  # of the library
    names = {family.name for family in families}
    assert {name for name in names if not name.startswith(OTHERS)} == LABELS.keys()


async def test_every_format_has_the_same_samples_with_gzip_and_without(
    client: Client, snapshots: dict[str, bytes]
) -> None:
    assert snapshots
    await scrape_snapshot(client)
    for accept in ("text/plain", "application/openmetrics-text"):
        bodies = []
        for coding in ("identity", "gzip", "gzip"):
            headers = {"Accept": accept, "Accept-Encoding": coding}
            async with client.get("/metrics", headers=headers, auto_decompress=False) as answer:
                assert answer.headers.get("Content-Encoding", "identity") == coding
                assert answer.headers["Vary"] == "Accept-Encoding"
                body = await answer.read()
            bodies.append((gzip.decompress(body) if coding == "gzip" else body).splitlines())
        plain, first, second = (
            [line for line in body if line.startswith((b"# ", b"miningmap_share_ratio{"))]
            for body in bodies
        )
        assert plain == first == second
        assert (plain[-1] == b"# EOF") == (accept != "text/plain")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The texts that are made from now on."""
    texts: list[bytes] = []

    class Counted(Exposition):
        def __init__(self, text: bytes) -> None:
            texts.append(text)
            super().__init__(text)

    monkeypatch.setattr(metrics, "Exposition", Counted)
    return texts


async def test_the_text_is_made_once_a_snapshot_before_it_is_asked_for(
    client: Client,
    store: Store,
    snapshots: dict[str, bytes],
    made: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await scrape_snapshot(client)
    monkeypatch.setattr(metrics, "MADE_EVERY_S", 0.0)
    made.clear()
    await store.snapshots.write(with_gap(snapshots))
    async with asyncio.timeout(DEADLINE_S):
        while not made:  # noqa: ASYNC110 - nobody scrapes meanwhile
            await asyncio.sleep(0.01)
    await scrape_until(client, lambda found: found["miningmap_pool_reported_gap_ratio"])
    await asyncio.gather(*(scrape(client) for _ in range(5)))
    assert len(made) == 1


async def test_texts_that_nobody_asks_for_are_not_made(
    client: Client,
    store: Store,
    snapshots: dict[str, bytes],
    made: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await scrape_snapshot(client)
    monkeypatch.setattr(metrics, "MADE_EVERY_S", 0.0)
    monkeypatch.setattr(metrics, "WANTED_S", 0.0)
    async with client.get("/api/v1/pools") as answer:
        before = await answer.read()
    made.clear()
    await store.snapshots.write(with_gap(snapshots))
    async with asyncio.timeout(DEADLINE_S):
        after = before
        while after == before:
            async with client.get("/api/v1/pools") as answer:
                after = await answer.read()
    assert made == []


def test_pools_and_sources_of_unknown_name_have_no_series_without_end(
    snapshots: dict[str, bytes],
) -> None:
    def pools_of(first: int) -> dict[str, bytes]:
        """Return a snapshot of pools and sources that no other has, and of F2Pool."""
        listed = json.loads(snapshots["pools"])
        pool, *_ = listed["pools"]
        source, *_ = pool["sources"]
        sources = [{**source, "source": f"unknown{first + n}"} for n in range(MOST_SOURCES)]
        listed["pools"] = [
            {**pool, "pool": "f2pool", "sources": sources},
            *({**pool, "pool": f"unknown{first + n}"} for n in range(MOST_POOLS)),
        ]
        return {"pools": json.dumps(listed).encode()}

    series = PoolSeries()
    shown: set[tuple[str, str]] = set()
    left_out = []
    for first in (0, 100_000, 200_000):
        for family in metrics.SnapshotCollector(pools_of(first), series).collect():
            if family.name == "miningmap_pools_left_out":
                left_out += [sample.value for sample in family.samples]
            shown |= {
                (sample.labels["pool"], sample.labels.get("source", ""))
                for sample in family.samples
                if "pool" in sample.labels
            }
    assert {pool for pool, _ in shown} == {"f2pool", *(f"unknown{n}" for n in range(MOST_POOLS))}
    assert len([source for pool, source in shown if pool == "f2pool" and source]) == MOST_SOURCES
    assert left_out == [0, MOST_POOLS, MOST_POOLS]

"""The metrics that are promised to operators: their names, types, labels and services."""

from __future__ import annotations

from typing import get_args

import pytest

from collector.outbox import LossReason
from miningmap.http import connections
from miningmap.notify.metrics import Result
from streams.metrics import REWIND_REASONS
from tools.metrics import LABELS, Metric, metrics_by_service, page

PLACE = ("country", "subdivision", "window")
SWING = ("country", "subdivision", "pair")
PROMISED = {
    "endpoint": {
        "miningmap_share_ratio": ("gauge", PLACE),
        "miningmap_share_low_ratio": ("gauge", PLACE),
        "miningmap_share_high_ratio": ("gauge", PLACE),
        "miningmap_share_evidence_ratio": ("gauge", PLACE),
        "miningmap_hashrate_hashes_per_second": ("gauge", PLACE),
        "miningmap_network_hashrate_hashes_per_second": ("gauge", ("window",)),
        "miningmap_coverage_ratio": ("gauge", ("window",)),
        "miningmap_measured_coverage_ratio": ("gauge", ("window",)),
        "miningmap_declared_coverage_ratio": ("gauge", ("window",)),
        "miningmap_evidence_ratio": ("gauge", ("window",)),
        "miningmap_cohort_pools": ("gauge", ("window",)),
        "miningmap_snapshot_timestamp_seconds": ("gauge", ()),
        "miningmap_pool_hashrate_hashes_per_second": ("gauge", ("pool",)),
        "miningmap_pool_last_report_timestamp_seconds": ("gauge", ("pool", "source")),
        "miningmap_swing_delta_ratio": ("gauge", SWING),
        "miningmap_swing_active": ("gauge", (*SWING, "driver")),
        "miningmap_pool_swing_delta_ratio": ("gauge", ("pool", "source", "pair")),
        "miningmap_pool_swing_active": ("gauge", ("pool", "source", "pair")),
    },
    "collector": {
        "miningmap_pool_up": ("gauge", ("pool", "source")),
        "miningmap_source_requests_total": ("counter", ("source",)),
        "miningmap_source_request_failures_total": ("counter", ("source", "reason")),
        "miningmap_source_request_duration_seconds": ("summary", ("source",)),
        "miningmap_poll_request_duration_seconds": ("histogram", ()),
        "miningmap_reports_total": ("counter", ("pool",)),
        "miningmap_dead_letters_total": ("counter", ("reason",)),
        "miningmap_intake_rows_total": ("counter", ("partner", "result")),
    },
    "streams": {
        "miningmap_report_age_seconds": ("histogram", ()),
        "miningmap_consumer_lag": ("gauge", ("topic", "partition")),
        "miningmap_dead_letters_total": ("counter", ("reason",)),
    },
    "notify": {
        "miningmap_notifications_total": ("counter", ("result",)),
        "miningmap_notification_failures_total": ("counter", ("reason",)),
        "miningmap_notification_duration_seconds": ("histogram", ()),
        "miningmap_notification_waiting_seconds": ("gauge", ()),
        "miningmap_consumer_lag": ("gauge", ("topic", "partition")),
    },
}
EVERYWHERE = {
    "miningmap_build_info": ("gauge", ("version",)),
    "miningmap_dependency_up": ("gauge", ("dependency",)),
    "miningmap_http_requests_total": ("counter", ("route", "method", "status")),
    "miningmap_http_request_duration_seconds": ("histogram", ("route", "method", "status")),
}
WITH_REDIS = {"miningmap_redis_request_duration_seconds": ("histogram", ("operation",))}


def test_every_service_has_the_metrics_that_are_promised() -> None:
    found = metrics_by_service()
    assert found.keys() == PROMISED.keys()
    for service, promised in PROMISED.items():
        shapes = {metric.name: (metric.type, metric.labels) for metric in found[service]}
        expected = promised | EVERYWHERE | ({} if service == "notify" else WITH_REDIS)
        assert {name: shapes.get(name) for name in expected} == expected, service


def test_no_metric_is_of_regions_or_zones_and_each_has_one_meaning() -> None:
    listed: list[Metric] = [m for metrics in metrics_by_service().values() for m in metrics]
    assert {"region", "zone"}.isdisjoint(label for metric in listed for label in metric.labels)
    shapes = {(metric.name, metric.type, metric.labels) for metric in listed}
    assert len(shapes) == len({metric.name for metric in listed})


def test_the_page_lists_every_metric_and_says_how_each_label_is_bounded() -> None:
    text = page()
    for metrics in metrics_by_service().values():
        for metric in metrics:
            assert f"| `{metric.name}` |" in text
            assert LABELS.keys() >= set(metric.labels)


@pytest.mark.parametrize(
    ("label", "values"),
    [
        ("reason", (*REWIND_REASONS, *get_args(LossReason), *connections.REASONS)),
        ("result", ("stored", "dead_letter", "damaged", "read", *get_args(Result))),
    ],
)
def test_the_page_names_the_values_that_the_code_has(label: str, values: tuple[str, ...]) -> None:
    assert [value for value in values if f"`{value}`" not in LABELS[label]] == []


def test_sizes_are_in_bytes() -> None:
    units = {m.unit for ms in metrics_by_service().values() for m in ms if "_bytes" in m.name}
    assert units == {"byte"}

"""Print docs/metrics.md: every metric of every service, as the code declares it.

The services are put together without their servers, and what they registered is listed.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from collector.metrics import Metrics as CollectorMetrics
from endpoint.routes.metrics import collectors_of
from endpoint.service import application
from miningmap import settings as config
from miningmap.dependencies import Dependency, show
from miningmap.metrics import PoolSeries, new_registry, redis_durations
from miningmap.notify.metrics import Metrics as NotifyMetrics
from miningmap.redis_client import connect
from streams.method.beliefs import Beliefs
from streams.metrics import Metrics as StreamsMetrics
from streams.redis.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric as Family

PREFIX: Final = "miningmap_"

# From the end of a name to what its figures are in; the first that fits.
UNITS: Final = (
    ("_timestamp_seconds", "Unix time, s"),
    ("_seconds", "s"),
    ("_hashes_per_second", "H/s"),
    ("_ratio", "ratio"),
    ("_bytes", "byte"),
    ("", "number"),
)

# What the values of each label are, and why they are finitely many.
LABELS: Final = {
    "belief": "ids of the 100 beliefs that end soonest",
    "country": "ISO 3166-1 code, or `OTHER`",
    "dependency": "`kafka`, `redis`, `webhook`",
    "driver": "`own`, `others`, as in [the method](method.md#9-swings)",
    "host": "the hosts of the sources that are on",
    "listener": "`endpoint`, `endpoint_metrics`, `intake`, `collector_metrics`, `streams_metrics`, "
    "`notify_metrics`: the setting of the port",
    "method": "of HTTP; `other` for one that HTTP does not define",
    "operation": "of Redis: the commands that the code sends, `pipeline`, `transaction`; of Kafka: "
    "`publish`, `topics`, `lag`",
    "pair": "the pairs of windows that are compared",
    "partition": "numbers of the partitions of the topics that are consumed",
    "partner": "pseudonyms in the file of partners",
    "pool": "slugs that the project names, pools of declared sources and of partners, and the "
    "first 200 other slugs; then they count as `other` (collector) or are left out (endpoint)",
    "reason": "of [dead letters](architecture.md#kafka); kinds of errors of sources; `slow`, "
    "`full` and `address` of the stream; `full` and `late` of heavy questions; `full` and "
    "`refused` of the outbox; `empty` and `behind` of rewinds; of connections `full`, `client`, "
    "`replaced`, `head`, `body`, `unread`, `malformed`; "
    "of a webhook the status of HTTP, or `no_answer`",
    "result": "of messages: `stored`, `dead_letter`, `damaged`, `read`; of rows: `accepted`, "
    "`rejected`; of notifications: `delivered`, `refused`, `left_out`, `invalid`",
    "route": "patterns of paths, such as `/api/v1/shares`; `other` for a path that does not exist",
    "source": "slugs of the sources that are on (collector); of each pool the first 20 (endpoint)",
    "state": "`firing`, `resolved`, `lost`",
    "status": "of HTTP: those that the service answers with",
    "subdivision": "ISO 3166-2 code; empty in a country's row",
    "subject": "`place`, `pool`",
    "topic": "the topics that are consumed",
    "version": "the running one",
    "window": "`now`, `1h`, `24h`, `7d`, `30d`",
}

HEAD: Final = """# Metrics

<!-- Made by `make docs` from the code. -->

Every service answers Prometheus at `/metrics`: the endpoint on port 8080 (in Compose also on 9104),
the collector on 9101, streams on 9102, notify on 9103. Units are base units. A figure that is
unknown is absent, and so is a place or a pool that is no longer reported; there are no rows of
totals. [Operate](operating.md) says which figures are healthy.

The figures of the map are those that the API serves at that time.
"""
FOOT: Final = """
Each service also has `python_info`, `python_gc_*` and, on Linux, `process_*` (CPU, memory, open
files, time of the start) of
[the Prometheus client](https://prometheus.github.io/client_python/collector/).

## Labels

No label has values without end: what others send cannot make more series than this.

| label | values |
|---|---|
"""


@dataclass(frozen=True, order=True)
class Metric:
    """A metric as a scrape shows it."""

    name: str
    type: str
    labels: tuple[str, ...]
    text: str

    @property
    def unit(self) -> str:
        """What its figures are in."""
        return next(unit for end, unit in UNITS if self.name.endswith(end))


def metrics_by_service() -> dict[str, set[Metric]]:
    """Return the metrics of each service, without those of libraries."""
    made = {
        "endpoint": _endpoint(),
        "collector": _collector(),
        "streams": _streams(),
        "notify": _notify(),
    }
    return {name: set(_metrics(registry)) for name, registry in made.items()}


def _endpoint() -> CollectorRegistry:
    registry = new_registry()
    redis = connect(config.Redis(), durations=redis_durations(registry))  # connects when used
    application(Store(redis, config.Retention()), Beliefs(), config.Endpoint(), registry=registry)
    for collector in collectors_of({}, None, PoolSeries()):
        registry.register(collector)
    return registry


def _collector() -> CollectorRegistry:
    metrics = CollectorMetrics(new_registry())
    for series in metrics.series:
        metrics.registry.register(series)
    show([Dependency("kafka"), Dependency("redis")], metrics.registry)
    return metrics.registry


def _streams() -> CollectorRegistry:
    registry = StreamsMetrics(new_registry()).registry
    show([Dependency("kafka"), Dependency("redis")], registry)
    return registry


def _notify() -> CollectorRegistry:
    registry = NotifyMetrics(new_registry()).registry
    show([Dependency("kafka"), Dependency("webhook")], registry)
    return registry


def _metrics(registry: CollectorRegistry) -> Iterator[Metric]:
    # The library has no other way to learn the labels of a metric without samples.
    for collector in list(registry._collector_to_names):  # noqa: SLF001
        for family in collector.collect():
            if family.name.startswith(PREFIX):
                # A collector makes families that know their labels, or is a metric that does.
                labels = getattr(family, "_labelnames", getattr(collector, "_labelnames", ()))
                yield Metric(_name(family), family.type, tuple(labels), family.documentation)


def _name(family: Family) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def page() -> str:
    """Return the page."""
    services = metrics_by_service()
    everywhere = set.intersection(*services.values())
    parts = {
        **{name.capitalize(): metrics - everywhere for name, metrics in services.items()},
        "Every service": everywhere,
    }
    sections = [f"\n## {title}\n\n{_table(metrics)}" for title, metrics in parts.items()]
    used = {label for metrics in services.values() for metric in metrics for label in metric.labels}
    labels = "".join(f"| `{label}` | {LABELS[label]} |\n" for label in sorted(used))
    return "".join([HEAD, *sections, FOOT, labels])


def _table(metrics: Iterable[Metric]) -> str:
    rows = ["| metric | type | unit | labels | meaning |", "|---|---|---|---|---|"]
    for metric in sorted(metrics):
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append(
            f"| `{metric.name}` | {metric.type} | {metric.unit} | {labels} | {metric.text} |"
        )
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())

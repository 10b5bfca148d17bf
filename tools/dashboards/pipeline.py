"""The dashboard of the pipeline: whether reports become answers, and how fast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.models import units

from tools.dashboards.parts import (
    BAD,
    GOOD,
    About,
    Query,
    Row,
    board,
    figures,
    lines,
    per_minute,
    quantile,
    states,
    table_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grafana_foundation_sdk.models import dashboard as models

    from tools.dashboards.parts import PanelBuilder

# Prometheus scrapes itself as well.
SERVICES: Final = 'job=~"collector|streams|endpoint"'
UP_OR_DOWN: Final = {0: "down", 1: "up"}
ALERT: Final = "alertname, severity"
FIRING: Final = 'ALERTS{alertstate="firing"}'
NO_ALERT: Final = "no alert fires"
HALF: Final = "Half of them took less than the lower line, all but 5 % less than the upper one."


def pipeline() -> models.Dashboard:
    """Return the dashboard."""
    return board(
        slug="pipeline",
        title="Pipeline",
        text="Whether the services run and keep up, from requests to sources to answers over HTTP.",
        variables=[],
        rows=[
            Row("Is it up?", _up()),
            Row("From reports to snapshots", _streams()),
            Row("Redis and Kafka", _dependencies()),
            Row("HTTP", _http()),
            Row("Processes", _processes()),
        ],
    )


def _up() -> Sequence[PanelBuilder]:
    return (
        figures(
            About(
                title="Services",
                text="Whether each service answered the last scrape.",
                unit=units.NoUnit,
                steps=((None, BAD), (1, GOOD)),
                words=UP_OR_DOWN,
            ),
            Query(f"min by (job) (up{{{SERVICES}}})", "{{job}}"),
            width=7,
        ),
        figures(
            About(
                title="Redis and Kafka",
                text="Whether each service reaches what it depends on.",
                unit=units.NoUnit,
                steps=((None, BAD), (1, GOOD)),
                words=UP_OR_DOWN,
            ),
            Query("min by (job, dependency) (miningmap_dependency_up)", "{{job}}: {{dependency}}"),
            width=8,
        ),
        figures(
            About(
                title="Snapshot",
                text="Time since the newest snapshot, which the endpoint serves. One is taken "
                "every few seconds.",
                unit=units.Seconds,
                steps=((None, GOOD), (60, BAD)),
            ),
            Query("time() - max(miningmap_snapshot_timestamp_seconds)", "age"),
            width=3,
        ),
        figures(
            About(
                title="Waiting",
                text="Messages in Kafka that the streams service has not processed yet.",
                unit=units.NoUnit,
            ),
            Query("sum(max by (topic, partition) (miningmap_consumer_lag))", "messages"),
            width=3,
        ),
        figures(
            About(
                title="Versions",
                text="Number of processes by the version that they run.",
                unit=units.NoUnit,
            ),
            Query("count by (version) (miningmap_build_info)", "{{version}}"),
            width=3,
        ),
        table_of(
            About(
                title="Alerts",
                text="Alerts that fire in this Prometheus: how many of each kind, and for how "
                "long the oldest has lasted.",
                unit=units.NoUnit,
            ),
            {"alertname": "Alert", "severity": "Severity"},
            Query(f"count by ({ALERT}) ({FIRING})", "Firing", NO_ALERT),
            Query(
                f"time() - min by ({ALERT}) (ALERTS_FOR_STATE) "
                f"and on ({ALERT}) count by ({ALERT}) ({FIRING})",
                "Duration",
                NO_ALERT,
            ),
            units={"Duration": units.Seconds},
            width=24,
            height=6,
        ),
    )


def _streams() -> Sequence[PanelBuilder]:
    size = "miningmap_batch_messages"
    mean = f"rate({size}_sum[$__rate_interval])) / sum(rate({size}_count[$__rate_interval])"
    return (
        lines(
            About(
                title="Messages",
                text="Messages from Kafka that were processed, by topic and by what became of "
                "them.",
                unit=units.MessagesPerMinute,
            ),
            Query(per_minute("miningmap_messages_total", "topic, result"), "{{topic}}: {{result}}"),
            width=8,
        ),
        lines(
            About(
                title="Waiting messages",
                text="Messages in Kafka that have not been processed yet. A few are normal; a "
                "line that climbs means that the service is stopped or too slow.",
                unit=units.NoUnit,
            ),
            Query(
                "sum by (topic) (max by (topic, partition) (miningmap_consumer_lag))", "{{topic}}"
            ),
            width=8,
        ),
        lines(
            About(
                title="Dead letters",
                text="Messages that could not be used, and readings that cannot be true, by "
                "service and reason.",
                unit=units.MessagesPerMinute,
            ),
            Query(per_minute("miningmap_dead_letters_total", "job, reason"), "{{job}}: {{reason}}"),
            width=8,
        ),
        lines(
            About(
                title="Age of reports",
                text=f"Time from the end of a report until its cells are in Redis. {HALF} Reports "
                "of partners about a day or a month are as old as that.",
                unit=units.Seconds,
            ),
            Query(quantile(0.5, "miningmap_report_age_seconds"), "half"),
            Query(quantile(0.95, "miningmap_report_age_seconds"), "95 %"),
        ),
        lines(
            About(
                title="Time of a snapshot",
                text=f"How long the answers for all windows take. {HALF}",
                unit=units.Seconds,
            ),
            Query(quantile(0.5, "miningmap_snapshot_duration_seconds"), "half"),
            Query(quantile(0.95, "miningmap_snapshot_duration_seconds"), "95 %"),
        ),
        lines(
            About(
                title="Messages in a batch",
                text="How many messages are written to Redis together.",
                unit=units.NoUnit,
            ),
            Query(f"sum({mean})", "mean"),
            Query(quantile(0.95, size), "95 %"),
        ),
        lines(
            About(
                title="Time of a batch",
                text="From decoding a batch until Redis and Kafka have acknowledged what it "
                f"became. {HALF}",
                unit=units.Seconds,
            ),
            Query(quantile(0.5, "miningmap_batch_duration_seconds"), "half"),
            Query(quantile(0.95, "miningmap_batch_duration_seconds"), "95 %"),
        ),
    )


def _dependencies() -> Sequence[PanelBuilder]:
    redis, kafka = (f"miningmap_{name}_request_duration_seconds" for name in ("redis", "kafka"))
    return (
        lines(
            About(
                title="Time that Redis takes",
                text="Time within which Redis has answered 95 % of the commands, or of the groups "
                "of commands that are sent together.",
                unit=units.Seconds,
            ),
            Query(quantile(0.95, redis, "job, operation", SERVICES), "{{job}}: {{operation}}"),
        ),
        lines(
            About(
                title="Time that Kafka takes",
                text="Time within which Kafka has answered 95 % of the requests: acknowledged "
                "records (publish), listed topics, or said how far the consumer is (lag).",
                unit=units.Seconds,
            ),
            Query(quantile(0.95, kafka, "job, operation", SERVICES), "{{job}}: {{operation}}"),
        ),
        lines(
            About(
                title="Requests to Redis",
                text="Commands to Redis, and groups of commands that are sent together.",
                unit=units.RequestsPerMinute,
            ),
            Query(per_minute(f"{redis}_count", "job, operation"), "{{job}}: {{operation}}"),
        ),
        states(
            About(
                title="Redis and Kafka over time",
                text="Whether each service reached what it depends on.",
                unit=units.NoUnit,
                steps=((None, BAD), (1, GOOD)),
                words=UP_OR_DOWN,
            ),
            Query("min by (job, dependency) (miningmap_dependency_up)", "{{job}}: {{dependency}}"),
            width=12,
        ),
        lines(
            About(
                title="Read again from Kafka",
                text="Messages that have to be processed again because Redis has lost what they "
                "had made. Normally there are none; while an empty Redis is filled, no figures are "
                "shown.",
                unit=units.NoUnit,
            ),
            Query("sum by (instance) (miningmap_rewind_remaining_messages)", "{{instance}}"),
            width=12,
        ),
        lines(
            About(
                title="Messages that were read again",
                text="How fast these messages are processed, and how often Redis had lost "
                "something: all (empty), or the newest (behind).",
                unit=units.CountsPerMinute,
            ),
            Query("60 * sum(rate(miningmap_rewound_messages_total[$__rate_interval]))", "messages"),
            Query(per_minute("miningmap_rewinds_total", "reason"), "losses: {{reason}}"),
            width=12,
        ),
    )


def _http() -> Sequence[PanelBuilder]:
    requests, durations = "miningmap_http_requests_total", "miningmap_http_request_duration_seconds"
    return (
        lines(
            About(
                title="Requests",
                text="HTTP requests to all services, by route and status of the response. A "
                "stream is counted when it ends.",
                unit=units.RequestsPerMinute,
            ),
            Query(per_minute(requests, "job, route, status"), "{{job}} {{route}}: {{status}}"),
        ),
        lines(
            About(
                title="Time of a response",
                text="Time within which 95 % of the responses of a route were made.",
                unit=units.Seconds,
            ),
            Query(quantile(0.95, durations, "job, route"), "{{job}} {{route}}"),
        ),
        lines(
            About(
                title="Failures",
                text="Requests that were answered with 5xx: something that the service depends on "
                "was away, or the service has a fault.",
                unit=units.RequestsPerMinute,
            ),
            Query(
                per_minute(requests, "job, route, status", 'status=~"5.."'),
                "{{job}} {{route}}: {{status}}",
                "no request has failed",
            ),
            width=8,
        ),
        lines(
            About(
                title="Clients of the stream",
                text="Clients that are connected to the live stream.",
                unit=units.NoUnit,
            ),
            Query("sum by (instance) (miningmap_stream_clients)", "{{instance}}"),
            width=8,
        ),
        lines(
            About(
                title="Refused clients",
                text="Requests beyond the rate limit, and clients of the stream that were dropped, "
                "by reason.",
                unit=units.CountsPerMinute,
            ),
            Query(
                "60 * sum(rate(miningmap_rate_limited_total[$__rate_interval]))",
                "requests beyond the limit",
            ),
            Query(per_minute("miningmap_stream_dropped_total", "reason"), "stream: {{reason}}"),
            width=8,
        ),
    )


def _processes() -> Sequence[PanelBuilder]:
    def of_process(expr: str) -> Query:
        return Query(f"sum by (job, instance) ({expr})", "{{job}} {{instance}}")

    return (
        lines(
            About(
                title="Processor",
                text="Processor time of each process, as a fraction of one core.",
                unit=units.PercentUnit,
            ),
            of_process(f"rate(process_cpu_seconds_total{{{SERVICES}}}[$__rate_interval])"),
        ),
        lines(
            About(
                title="Memory",
                text="Resident memory of each process.",
                unit=units.BytesIEC,
            ),
            of_process(f"process_resident_memory_bytes{{{SERVICES}}}"),
        ),
        lines(
            About(
                title="Open files",
                text="Open files and connections of each process, as a fraction of its limit.",
                unit=units.PercentUnit,
            ),
            of_process(f"process_open_fds{{{SERVICES}}} / process_max_fds{{{SERVICES}}}"),
        ),
        lines(
            About(
                title="Running since",
                text="Time since each process was started. A line that falls to 0 is a restart.",
                unit=units.Seconds,
            ),
            of_process(f"time() - process_start_time_seconds{{{SERVICES}}}"),
        ),
    )

"""The dashboard of pools and sources: who reports what, and whom nobody hears from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.builders import common
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import ScaleDistribution

from miningmap.times import DAY_S
from tools.dashboards.parts import (
    BAD,
    GOOD,
    LIGHT,
    About,
    Query,
    Row,
    annotation,
    board,
    each,
    figures,
    lines,
    mean,
    per_minute,
    quantile,
    some_of,
    states,
    table_of,
    window,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grafana_foundation_sdk.builders import stat
    from grafana_foundation_sdk.models import dashboard as models

    from tools.dashboards.parts import PanelBuilder

POOL: Final = 'pool=~"$pool"'
HASHRATE: Final = each("miningmap_pool_hashrate_hashes_per_second", "pool", POOL)
NETWORK: Final = 'scalar(max(miningmap_network_hashrate_hashes_per_second{window="$window"}))'
UP: Final = each("miningmap_pool_up", "pool, source", POOL)
AGE: Final = (
    f"time() - {each('miningmap_pool_last_report_timestamp_seconds', 'pool, source', POOL)}"
)
GAP: Final = each("miningmap_pool_reported_gap_ratio", "pool", POOL)
ERROR: Final = each("miningmap_pool_reported_gap_error_ratio", "pool", POOL)
LOGARITHMIC: Final = common.ScaleDistributionConfig().type(ScaleDistribution.LOG).log(10)
UP_OR_DOWN: Final = {0: "down", 1: "up"}
NO_GAP: Final = "no chosen pool has both reports of its own and blocks"
TOO_FAR: Final = 4
"""Standard errors at which what a pool reports is too far from its blocks to be chance."""


def pools() -> models.Dashboard:
    """Return the dashboard."""
    return board(
        slug="pools",
        title="Pools and sources",
        text="What each pool reports, by which source, and which sources do not answer.",
        variables=[
            window(),
            some_of(
                "pool",
                "Pool",
                "The pools that are shown.",
                "miningmap_pool_last_report_timestamp_seconds",
            ),
        ],
        rows=[
            Row("Now", _now()),
            Row("Hashrate", _hashrate()),
            Row("Sources", _sources()),
            Row("Partners and refused readings", _partners()),
        ],
        annotations=[
            annotation(
                "Swings of pools",
                LIGHT,
                each("miningmap_pool_swing_active", "pool, source, pair", POOL),
                "{{pool}} swings",
                "source,pair",
            )
        ],
    )


def _now() -> Sequence[stat.Panel]:
    return (
        figures(
            About(
                title="Cohort",
                text="Number of pools that count in the window.",
                unit=units.NoUnit,
            ),
            Query(each("miningmap_cohort_pools", "window", 'window="$window"'), "pools"),
        ),
        figures(
            About(
                title="Pools with a hashrate",
                text="Number of the chosen pools whose hashrate is known.",
                unit=units.NoUnit,
            ),
            Query(f"count({HASHRATE})", "pools"),
        ),
        figures(
            About(
                title="Sources that answer",
                text="Number of sources whose last poll gave an accepted hashrate, each pool of a "
                "source counted by itself.",
                unit=units.NoUnit,
            ),
            Query(f"sum({UP})", "up"),
        ),
        figures(
            About(
                title="Sources that do not",
                text="Number of sources whose last poll failed or was refused, each pool of a "
                "source counted by itself.",
                unit=units.NoUnit,
                steps=((None, GOOD), (1, BAD)),
            ),
            Query(f"count({UP} == 0) or vector(0)", "down"),
        ),
        figures(
            About(
                title="Hosts that are not asked",
                text="Number of servers of sources that failed so often in a row that they are "
                "left alone for a while.",
                unit=units.NoUnit,
                steps=((None, GOOD), (1, BAD)),
            ),
            Query("sum(max by (host) (miningmap_source_host_open)) or vector(0)", "hosts"),
        ),
        figures(
            About(
                title="Silent for a day",
                text="Number of sources of the chosen pools whose last report is more than a day "
                "old. A count of blocks is silent about a pool that found none.",
                unit=units.NoUnit,
            ),
            Query(f"count({AGE} > {DAY_S}) or vector(0)", "sources"),
        ),
    )


def _hashrate() -> Sequence[PanelBuilder]:
    return (
        lines(
            About(
                title="Hashrate",
                text="Each pool's newest mean hashrate. A pool whose hashrate is unknown is left "
                "out.",
                unit=units.HashesPerSecond,
            ),
            Query(HASHRATE, "{{pool}}"),
            stacked=True,
        ),
        lines(
            About(
                title="Part of the network",
                text="Each pool's newest mean hashrate as a fraction of the network's mean in the "
                "window.",
                unit=units.PercentUnit,
            ),
            Query(f"{HASHRATE} / {NETWORK}", "{{pool}}"),
        ),
        lines(
            About(
                title="Reported against mined",
                text="What a pool reports divided by what its blocks imply, minus 1. Blocks are "
                "few, so a gap of some percent is chance; the panel beside says how much.",
                unit=units.PercentUnit,
            ),
            Query(GAP, "{{pool}}", NO_GAP),
        ),
        lines(
            About(
                title="Reported against mined, in standard errors",
                text=f"The same gap divided by the error of a count of so few blocks. Beyond "
                f"{TOO_FAR} it is no chance: the pool or its source is wrong.",
                unit=units.NoUnit,
                steps=((None, BAD), (-TOO_FAR, GOOD), (TOO_FAR, BAD)),
            ),
            Query(f"{GAP} / {ERROR}", "{{pool}}", NO_GAP),
        ),
    )


def _sources() -> Sequence[PanelBuilder]:
    return (
        table_of(
            About(
                title="Sources",
                text="Each source of each pool: time since its last report, and whether its last "
                "poll gave an accepted hashrate. What partners send is not polled.",
                unit=units.NoUnit,
                words=UP_OR_DOWN,
            ),
            {"pool": "Pool", "source": "Source"},
            Query(UP, "Poll"),
            Query(AGE, "Age"),
            units={"Age": units.Seconds},
        ),
        states(
            About(
                title="Answers over time",
                text="Whether the last poll of each source gave an accepted hashrate.",
                unit=units.NoUnit,
                steps=((None, BAD), (1, GOOD)),
                words=UP_OR_DOWN,
            ),
            Query(UP, "{{pool}} by {{source}}"),
            width=12,
            height=12,
        ),
        lines(
            About(
                title="Age of the last report",
                text="Time since the last report of each source. A source that answers rarely has "
                "saw teeth; one that is lost climbs.",
                unit=units.Seconds,
            ),
            Query(AGE, "{{pool}} by {{source}}"),
        ).scale_distribution(LOGARITHMIC),
        lines(
            About(
                title="Reports",
                text="Reports about each pool that Kafka acknowledged.",
                unit=units.MessagesPerMinute,
            ),
            Query(per_minute("miningmap_reports_total", "pool", POOL), "{{pool}}"),
        ),
        lines(
            About(
                title="Requests to sources",
                text="HTTP requests that were sent to each source.",
                unit=units.RequestsPerMinute,
            ),
            Query(per_minute("miningmap_source_requests_total", "source"), "{{source}}"),
            width=8,
        ),
        lines(
            About(
                title="Failures of sources",
                text="Polls and readings that gave no accepted hashrate, by reason.",
                unit=units.CountsPerMinute,
            ),
            Query(
                per_minute("miningmap_source_request_failures_total", "source, reason"),
                "{{source}}: {{reason}}",
                "no source has ever failed",
            ),
            width=8,
        ),
        lines(
            About(
                title="Time that sources take",
                text="From sending a request to the last byte of the response: half of the "
                "requests took less than the lower line, all but 5 % less than the upper one. "
                "The others are the means of the three slowest sources at each time.",
                unit=units.Seconds,
            ),
            Query(quantile(0.5, "miningmap_poll_request_duration_seconds"), "half"),
            Query(quantile(0.95, "miningmap_poll_request_duration_seconds"), "95 %"),
            Query(
                f"topk(3, {mean('miningmap_source_request_duration_seconds', 'source')})",
                "mean of {{source}}",
            ),
            width=8,
        ),
    )


def _partners() -> Sequence[PanelBuilder]:
    return (
        lines(
            About(
                title="Rows of partners",
                text="Rows that each partner sent, by whether they were accepted.",
                unit=units.RowsPerMinute,
            ),
            Query(
                per_minute("miningmap_intake_rows_total", "partner, result"),
                "{{partner}}: {{result}}",
                "no partner has sent a row",
            ),
            width=8,
        ),
        lines(
            About(
                title="Requests of partners",
                text="Requests with a valid token, by the status of the response. Nothing is lost "
                "if a partner repeats those that were answered with 5xx.",
                unit=units.RequestsPerMinute,
            ),
            Query(
                per_minute("miningmap_intake_requests_total", "partner, status"),
                "{{partner}}: {{status}}",
                "no partner has sent a request",
            ),
            width=8,
        ),
        lines(
            About(
                title="Refused readings",
                text="Readings of sources that cannot be true, by reason. They are dead letters.",
                unit=units.MessagesPerMinute,
            ),
            Query(
                per_minute("miningmap_dead_letters_total", "reason", 'job="collector"'),
                "{{reason}}",
            ),
            width=8,
        ),
    )

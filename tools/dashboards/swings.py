"""The dashboard of swings: what moves against its own recent past, and who moves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.models import units

from streams.method.comparison import PAIRS
from tools.dashboards.parts import (
    BAD,
    DARK,
    GOOD,
    LIGHT,
    MIDDLE,
    About,
    Query,
    Row,
    board,
    countries,
    each,
    figures,
    lines,
    one_of,
    quantile,
    some_of,
    states,
    subdivisions,
    table_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grafana_foundation_sdk.builders import stat
    from grafana_foundation_sdk.models import dashboard as models

    from tools.dashboards.parts import PanelBuilder

NAMES: Final = [pair.name for pair in PAIRS]
PAIR: Final = 'pair="$pair"'
COUNTRY: Final = f'{PAIR}, subdivision="", country=~"$country"'
SUBDIVISION: Final = f'{PAIR}, subdivision=~"$subdivision", country=~"$country"'
PLACES: Final = f'{PAIR}, country=~"$country"'
POOL: Final = f'{PAIR}, pool=~"$pool"'
PLACE: Final = "country, subdivision"

NO_PLACE: Final = "no chosen place swings"
NO_REPORT: Final = "no pool reports its hashrate by subdivision"
NO_POOL: Final = "no chosen pool swings"
OWN: Final = (
    "Shares add up to 1, so when one place falls the others rise: only a swing whose driver is own "
    "is of the place's own hashrate."
)


def swings() -> models.Dashboard:
    """Return the dashboard."""
    return board(
        slug="swings",
        title="Swings",
        text="Places whose share, and pools whose hashrate, move against their own recent past, "
        "over the same pools by the same sources.",
        variables=[
            one_of("pair", "Windows", "The short window, and the long one.", NAMES, NAMES[0]),
            countries("miningmap_swing_delta_ratio", PAIR),
            subdivisions("miningmap_swing_delta_ratio", PAIR),
            some_of(
                "pool",
                "Pool",
                "The pools that are shown.",
                f"miningmap_pool_swing_delta_ratio{{{PAIR}}}",
            ),
        ],
        rows=[
            Row("Now", _now()),
            Row("What swings", _what_swings()),
            Row("Over time", _over_time()),
            Row("Detector", _detector()),
        ],
    )


def _now() -> Sequence[stat.Panel]:
    own = each("miningmap_swing_active", PLACE, f'{PAIR}, driver="own"')
    others = each("miningmap_swing_active", PLACE, f'{PAIR}, driver="others"')
    pool = each("miningmap_pool_swing_active", "pool, source", PAIR)
    muted = (
        f"(count({each('miningmap_swing_muted', PLACE, PAIR)}) or vector(0)) + "
        f"(count({each('miningmap_pool_swing_muted', 'pool, source', PAIR)}) or vector(0))"
    )
    return (
        figures(
            About(
                title="Places",
                text=f"Number of countries and subdivisions that swing, by driver. {OWN}",
                unit=units.NoUnit,
            ),
            Query(f"count({own}) or vector(0)", "own"),
            Query(f"count({others}) or vector(0)", "others"),
            width=8,
        ),
        figures(
            About(
                title="Pools",
                text="Number of pools, by source, whose hashrate swings.",
                unit=units.NoUnit,
            ),
            Query(f"count({pool}) or vector(0)", "pools"),
            width=5,
        ),
        figures(
            About(
                title="Muted",
                text="Number of swings that fire and are muted by the operator.",
                unit=units.NoUnit,
            ),
            Query(muted, "swings"),
            width=5,
        ),
        figures(
            About(
                title="Evaluated",
                text="Time since the minute that was compared last. Each minute is compared 90 "
                "seconds after it, or later while the streams service is behind.",
                unit=units.Seconds,
                steps=((None, GOOD), (300, BAD)),
            ),
            Query("time() - max(miningmap_swing_evaluated_timestamp_seconds)", "age"),
            width=6,
        ),
    )


def _what_swings() -> Sequence[PanelBuilder]:
    place = each("miningmap_swing_active", f"{PLACE}, driver", PLACES)
    place_delta = each("miningmap_swing_delta_ratio", PLACE, PLACES)
    pool = each("miningmap_pool_swing_active", "pool, source", POOL)
    pool_delta = each("miningmap_pool_swing_delta_ratio", "pool, source", POOL)
    parts = each("miningmap_swing_contribution_ratio", f"{PLACE}, pool", PLACES)
    return (
        table_of(
            About(
                title="Places that swing",
                text="Severity is the highest of 1, 3 and 5 percentage points that the share has "
                f"moved by since the swing began; delta is how far it is now. {OWN}",
                unit=units.NoUnit,
            ),
            {"country": "Country", "subdivision": "Subdivision", "driver": "Driver"},
            Query(place, "Severity", NO_PLACE),
            Query(f"{place_delta} and on ({PLACE}) {place}", "Delta", NO_PLACE),
            units={"Delta": units.PercentUnit},
            width=8,
            height=9,
        ),
        table_of(
            About(
                title="Who moves them",
                text="What each pool adds to the delta of a place that swings; the ten largest of "
                "each.",
                unit=units.PercentUnit,
            ),
            {"country": "Country", "subdivision": "Subdivision", "pool": "Pool"},
            Query(parts, "Contribution", NO_PLACE),
            width=8,
            height=9,
        ),
        table_of(
            About(
                title="Pools that swing",
                text="Severity is the highest of 10, 25 and 50 percent that the hashrate has "
                "moved by since the swing began; delta is how far it is now.",
                unit=units.NoUnit,
            ),
            {"pool": "Pool", "source": "Source"},
            Query(pool, "Severity", NO_POOL),
            Query(f"{pool_delta} and on (pool, source) {pool}", "Delta", NO_POOL),
            units={"Delta": units.PercentUnit},
            width=8,
            height=9,
        ),
    )


def _over_time() -> Sequence[PanelBuilder]:
    severity = (
        "Which places swing by their own hashrate, and how severely: the darker, the further "
        "the share has moved."
    )
    return (
        lines(
            About(
                title="Delta of countries",
                text="The share in the short window minus the share in the long one, over the "
                "same pools by the same sources.",
                unit=units.PercentUnit,
            ),
            Query(each("miningmap_swing_delta_ratio", "country", COUNTRY), "{{country}}"),
            width=8,
        ),
        lines(
            About(
                title="Delta of subdivisions",
                text="The share in the short window minus the share in the long one, of what "
                "pools report by subdivision themselves.",
                unit=units.PercentUnit,
            ),
            Query(
                each("miningmap_swing_delta_ratio", "subdivision", SUBDIVISION),
                "{{subdivision}}",
                NO_REPORT,
            ),
            width=8,
        ),
        lines(
            About(
                title="Delta of pools",
                text="The mean hashrate in the short window divided by that in the long one, "
                "minus 1. What is counted from blocks is not compared.",
                unit=units.PercentUnit,
            ),
            Query(
                each("miningmap_pool_swing_delta_ratio", "pool, source", POOL),
                "{{pool}} by {{source}}",
            ),
            width=8,
        ),
        states(
            About(
                title="Swings of places",
                text=severity,
                unit=units.NoUnit,
                steps=((None, LIGHT), (3, MIDDLE), (5, DARK)),
            ),
            Query(
                each("miningmap_swing_active", "country", f'{COUNTRY}, driver="own"'),
                "{{country}}",
                NO_PLACE,
            ),
            Query(
                each("miningmap_swing_active", "subdivision", f'{SUBDIVISION}, driver="own"'),
                "{{subdivision}}",
                NO_PLACE,
            ),
            width=12,
        ),
        states(
            About(
                title="Swings of pools",
                text="Which pools swing, and how severely: the darker, the further the hashrate "
                "has moved.",
                unit=units.NoUnit,
                steps=((None, LIGHT), (25, MIDDLE), (50, DARK)),
            ),
            Query(
                each("miningmap_pool_swing_active", "pool, source", POOL),
                "{{pool}} by {{source}}",
                NO_POOL,
            ),
            width=12,
        ),
    )


def _detector() -> Sequence[PanelBuilder]:
    duration = "miningmap_swing_evaluation_duration_seconds"
    return (
        lines(
            About(
                title="Events",
                text="Events of swings in the hour before: of places and pools that began to "
                "swing or became more severe (firing), came to rest (resolved) or could no longer "
                "be compared (lost).",
                unit=units.NoUnit,
            ),
            Query(
                "sum by (subject, state) (increase(miningmap_swings_total[1h]))",
                "{{subject}}: {{state}}",
            ),
        ),
        lines(
            About(
                title="Time of an evaluation",
                text="How long the comparison of one minute takes: half of them took less than "
                "the lower line, all but 5 % less than the upper one.",
                unit=units.Seconds,
            ),
            Query(quantile(0.5, duration), "half"),
            Query(quantile(0.95, duration), "95 %"),
        ),
    )

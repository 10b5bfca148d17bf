"""The dashboard of shares: where the hashrate is, and how sure that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.builders import common, dashboard, geomap
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.geomap import TooltipMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from tools.dashboards.parts import (
    BAD,
    DARK,
    GOOD,
    LIGHT,
    MIDDLE,
    NO_SUBDIVISION,
    About,
    Query,
    Row,
    annotation,
    board,
    countries,
    described,
    each,
    figures,
    lines,
    named,
    subdivisions,
    table_of,
    window,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from grafana_foundation_sdk.builders import stat, table, timeseries

WINDOW: Final = 'window="$window"'
COUNTRY: Final = f'{WINDOW}, subdivision="", country=~"$country"'
SUBDIVISION: Final = f'{WINDOW}, subdivision=~"$subdivision", country=~"$country"'

FEW: Final = "fewer than two distributions of the whole network are in force"
RANGES: Final = (
    ("miningmap_share_ratio", "Share", None),
    ("miningmap_share_low_ratio", "Low", None),
    ("miningmap_share_high_ratio", "High", None),
    ("miningmap_share_declared_low_ratio", "Declared low", None),
    ("miningmap_share_declared_high_ratio", "Declared high", None),
    ("miningmap_share_belief_low_ratio", "Belief low", FEW),
    ("miningmap_share_belief_high_ratio", "Belief high", FEW),
)
RANGES_MEAN: Final = (
    "Low and high are what the measured hashrate alone allows, and hold whatever is assumed. "
    "Declared low and high also trust what operators and utilities declare. Belief is the range "
    "over the published distributions that can stand in for what nobody locates."
)
COVERAGES: Final = (
    ("miningmap_coverage_ratio", "seen"),
    ("miningmap_measured_coverage_ratio", "measured place"),
    ("miningmap_declared_coverage_ratio", "measured or declared place"),
)


def shares() -> models.Dashboard:
    """Return the dashboard."""
    return board(
        slug="shares",
        title="Shares",
        text="Where Bitcoin's hashrate is, by country and subdivision, and how sure that is.",
        variables=[
            window(),
            countries("miningmap_share_ratio", WINDOW),
            subdivisions("miningmap_share_ratio", WINDOW),
        ],
        rows=[
            Row("What is seen", [*_what_is_seen(), _coverage_over_time()]),
            Row("Countries", [_map(), _countries(), _over_time(), _evidence(), _hashrate()]),
            Row("Subdivisions", [_subdivisions(), _subdivisions_over_time()]),
            Row("How sure each country's share is", [_ranges()], folded=True),
        ],
        annotations=[
            annotation(
                "Swings of countries",
                DARK,
                each(
                    "miningmap_swing_active",
                    "country, pair",
                    'subdivision="", country=~"$country", driver="own"',
                ),
                "{{country}} swings",
                "pair",
            ),
            annotation(
                "Swings of subdivisions",
                MIDDLE,
                each(
                    "miningmap_swing_active",
                    "subdivision, pair",
                    'subdivision=~"$subdivision", country=~"$country", driver="own"',
                ),
                "{{subdivision}} swings",
                "pair",
            ),
            annotation(
                "Swings of pools",
                LIGHT,
                each("miningmap_pool_swing_active", "pool, source, pair"),
                "{{pool}} swings",
                "source,pair",
            ),
        ],
    )


def _ranges_of(by: str, where: str, empty: str | None = None) -> Iterator[Query]:
    for metric, name, why_empty in RANGES:
        yield Query(each(metric, by, where), name, why_empty or empty)


def _what_is_seen() -> Sequence[stat.Panel]:
    return (
        figures(
            About(
                title="Coverage",
                text="The hashrate of the pools that count in the window, as a fraction of the "
                "network's; and the parts of it whose place is measured, or measured or declared.",
                unit=units.PercentUnit,
            ),
            *(Query(each(metric, "window", WINDOW), legend) for metric, legend in COVERAGES),
            width=9,
        ),
        figures(
            About(
                title="Evidence",
                text="The fraction of the located hashrate for which there is evidence. The rest "
                "is assumed to be where a published distribution says.",
                unit=units.PercentUnit,
            ),
            Query(each("miningmap_evidence_ratio", "window", WINDOW), "evidence"),
            width=3,
        ),
        figures(
            About(
                title="Network",
                text="Mean hashrate of the whole network in the window.",
                unit=units.HashesPerSecond,
            ),
            Query(
                each("miningmap_network_hashrate_hashes_per_second", "window", WINDOW), "network"
            ),
            width=3,
        ),
        figures(
            About(
                title="Cohort",
                text="Number of pools that count in the window.",
                unit=units.NoUnit,
            ),
            Query(each("miningmap_cohort_pools", "window", WINDOW), "pools"),
            width=3,
        ),
        figures(
            About(
                title="Figures",
                text="Whether simulated reports count in the window, so that its figures are "
                "made up.",
                unit=units.NoUnit,
                steps=((None, GOOD), (1, BAD)),
                words={0: "real", 1: "simulated"},
            ),
            Query(each("miningmap_simulated", "window", WINDOW), "figures"),
            width=3,
        ),
        figures(
            About(
                title="Age",
                text="Time since the newest snapshot, from which all figures here are taken. One "
                "is taken every few seconds.",
                unit=units.Seconds,
                steps=((None, GOOD), (60, BAD)),
            ),
            Query("time() - max(miningmap_snapshot_timestamp_seconds)", "snapshot"),
            width=3,
        ),
    )


def _map() -> geomap.Panel:
    """Circles on the outlines of countries that Grafana serves itself, without the internet."""
    about = About(
        title="Share by country",
        text="The larger a circle is, the more of the located hashrate is there. A share that "
        "belongs to no listed country (OTHER) is only in the table.",
        unit=units.PercentUnit,
    )
    share = Query(each("miningmap_share_ratio", "country", COUNTRY), "{{country}}")
    circles = {
        "showLegend": True,
        "style": {
            "color": {"field": "Share", "fixed": GOOD},
            "opacity": 0.7,
            "size": {"field": "Share", "fixed": 5, "min": 4, "max": 40},
            "symbol": {"mode": "fixed", "fixed": "img/icons/marker/circle.svg"},
            "text": {"mode": "field", "field": "Country", "fixed": ""},
        },
    }
    outlines = {
        "src": "public/maps/countries.geojson",
        "rules": [],
        "style": {"color": {"fixed": "#8E8E8E"}, "opacity": 0.3},
    }
    place = (
        common.FrameGeometrySource()
        .mode(shapes.FrameGeometrySourceMode.LOOKUP)
        .lookup("Country")
        .gazetteer("public/gazetteer/countries.json")
    )
    markers = common.MapLayerOptions().type("markers").name("Share").config(circles)
    panel = described(
        geomap.Panel(), about, [share], width=10, height=14, shape=PromQueryFormat.TABLE
    )
    return (
        panel.color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.CONTINUOUS_BL_PU))
        .min(0)
        .with_transformation(named({"country": "Country", "Value": "Share"}))
        .view(geomap.MapViewConfig().id("coords").lat(30).lon(10).zoom(1))
        .basemap(common.MapLayerOptions().type("geojson").name("Countries").config(outlines))
        .layers([markers.location(place).tooltip(tooltip=True)])
        .tooltip(geomap.TooltipOptions().mode(TooltipMode.DETAILS))
    )


def _countries() -> table.Panel:
    return table_of(
        About(
            title="Countries",
            text=f"The newest figures. {RANGES_MEAN} Evidence is the fraction of the hashrate "
            "placed here for which there is any.",
            unit=units.PercentUnit,
        ),
        {"country": "Country"},
        *_ranges_of("country", COUNTRY),
        Query(each("miningmap_share_evidence_ratio", "country", COUNTRY), "Evidence"),
        Query(each("miningmap_hashrate_hashes_per_second", "country", COUNTRY), "With evidence"),
        units={"With evidence": units.HashesPerSecond},
        width=14,
        height=14,
    )


def _over_time() -> timeseries.Panel:
    return lines(
        About(
            title="Shares over time",
            text="Each country's share of the hashrate that can be located.",
            unit=units.PercentUnit,
        ),
        Query(each("miningmap_share_ratio", "country", COUNTRY), "{{country}}"),
        width=24,
    )


def _evidence() -> timeseries.Panel:
    return lines(
        About(
            title="Evidence over time",
            text="The fraction of the hashrate placed in each country for which there is "
            "evidence. Where it is low, the share follows from an assumption.",
            unit=units.PercentUnit,
        ),
        Query(each("miningmap_share_evidence_ratio", "country", COUNTRY), "{{country}}"),
    )


def _hashrate() -> timeseries.Panel:
    return lines(
        About(
            title="Hashrate with evidence",
            text="The hashrate of the cohort at each country for which there is evidence, without "
            "what is assumed.",
            unit=units.HashesPerSecond,
        ),
        Query(each("miningmap_hashrate_hashes_per_second", "country", COUNTRY), "{{country}}"),
    )


def _subdivisions() -> table.Panel:
    return table_of(
        About(
            title="Subdivisions",
            text=f"Shares of all located hashrate, not of the country's. {RANGES_MEAN}",
            unit=units.PercentUnit,
        ),
        {"subdivision": "Subdivision"},
        *_ranges_of("subdivision", SUBDIVISION, NO_SUBDIVISION),
        Query(
            each("miningmap_share_evidence_ratio", "subdivision", SUBDIVISION),
            "Evidence",
            NO_SUBDIVISION,
        ),
    )


def _subdivisions_over_time() -> timeseries.Panel:
    return lines(
        About(
            title="Shares of subdivisions over time",
            text="Each subdivision's share of all located hashrate.",
            unit=units.PercentUnit,
        ),
        Query(
            each("miningmap_share_ratio", "subdivision", SUBDIVISION),
            "{{subdivision}}",
            NO_SUBDIVISION,
        ),
        height=12,
    )


def _coverage_over_time() -> timeseries.Panel:
    return lines(
        About(
            title="Coverage and evidence over time",
            text="How much of the network is seen, how much of it has a measured or a declared "
            "place, and for how much of what is located there is evidence. A pool that goes dark "
            "or returns moves these, and no share swings.",
            unit=units.PercentUnit,
        ),
        *(Query(each(metric, "window", WINDOW), legend) for metric, legend in COVERAGES),
        Query(each("miningmap_evidence_ratio", "window", WINDOW), "evidence"),
        width=24,
        height=8,
    )


def _ranges() -> timeseries.Panel:
    """One panel for each chosen country."""
    panel = lines(
        About(title="How sure: $country", text=RANGES_MEAN, unit=units.PercentUnit),
        *_ranges_of("country", COUNTRY),
        width=8,
    )
    for high, low in (("High", "Low"), ("Declared high", "Declared low")):
        panel.override_by_name(high, [models.DynamicConfigValue("custom.fillBelowTo", low)])
    return panel.min(0).repeat("country").repeat_direction("h").max_per_row(3)

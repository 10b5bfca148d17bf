"""What the dashboards have in common: variables, queries, and kinds of panels.

Every panel says what it shows, in which unit, under which names, and what it means that it shows
nothing. A panel that may show nothing although all is well gives the reason (``empty``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from string import ascii_uppercase
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, TypeVar

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    geomap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from grafana_foundation_sdk.models.table import Options as TableOptions

from streams.method.windows import ROLLING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from grafana_foundation_sdk.cog.builder import Builder

SOURCE: Final = shapes.DataSourceRef("prometheus", "${datasource}")
EMPTY: Final = "Empty while"
"""How a description begins to say why there may be nothing, and of which queries if not of all."""
NO_SUBDIVISION: Final = "nothing is known by subdivision"

WIDTH: Final = 24
"""The number of columns of a dashboard."""
REFS: Final = ascii_uppercase
"""The names of a panel's queries."""
TAG: Final = "miningmap"

# Blue and orange-red can be told apart with any colour vision, and so can shades from light to
# dark.
GOOD: Final = "#0072B2"
BAD: Final = "#D55E00"
LIGHT, MIDDLE, DARK = "#FEE391", "#FE9929", "#CC4C02"


# --- variables ------------------------------------------------------------------------------------


def datasource() -> dashboard.DatasourceVariable:
    """Choose the Prometheus; Compose provides the one that is chosen first."""
    return (
        dashboard.DatasourceVariable("datasource")
        .label("Data source")
        .description("The Prometheus that scrapes the services.")
        .type("prometheus")
        .current(_option("Prometheus", "prometheus"))
    )


def window() -> dashboard.CustomVariable:
    """Choose one of the rolling windows."""
    return one_of("window", "Window", "The time that figures are means of.", ROLLING, "1h")


def one_of(
    name: str, label: str, text: str, values: Sequence[str], chosen: str
) -> dashboard.CustomVariable:
    """Choose one of some values that are known beforehand."""
    return (
        dashboard.CustomVariable(name)
        .label(label)
        .description(text)
        .values(",".join(values))
        .options([_option(value, value, chosen=value == chosen) for value in values])
        .current(_option(chosen, chosen))
    )


def countries(metric: str, where: str) -> dashboard.QueryVariable:
    """Choose some or all countries that a metric has."""
    text = "The countries that are shown, by ISO 3166-1 code."
    return some_of("country", "Country", text, f'{metric}{{{where}, subdivision=""}}')


def subdivisions(metric: str, where: str) -> dashboard.QueryVariable:
    """Choose some or all subdivisions that a metric has in the chosen countries."""
    text = f"The subdivisions that are shown, by ISO 3166-2 code. {EMPTY} {NO_SUBDIVISION}."
    series = f'{metric}{{{where}, subdivision!="", country=~"$country"}}'
    return some_of("subdivision", "Subdivision", text, series)


def some_of(name: str, label: str, text: str, series: str) -> dashboard.QueryVariable:
    """Choose some or all values that the label of this name has in the series."""
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .description(text)
        .datasource(SOURCE)
        .query({"query": f"label_values({series}, {name})", "refId": name})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".+")  # not .*: an empty subdivision is a row of a country
        .current(_option("All", "$__all"))
    )


def _option(text: str, value: str, *, chosen: bool = True) -> models.VariableOption:
    return models.VariableOption(selected=chosen, text=text, value=value)


# --- queries --------------------------------------------------------------------------------------


class Query(NamedTuple):
    """A PromQL expression and the name of its series.

    Attributes:
        expr: the expression.
        legend: the name, in which labels of the series are replaced: ``{{country}}``.
        empty: when there is no answer although all is well ("no pool swings").
    """

    expr: str
    legend: str
    empty: str | None = None


def each(metric: str, by: str, where: str = "") -> str:
    """Return an expression for the newest figures, one for each value of some labels.

    Every process of the endpoint exports the same figures, so the largest stands for all.
    """
    return f"max by ({by}) ({metric}{{{where}}})"


def per_minute(metric: str, by: str, where: str = "") -> str:
    """Return an expression for the increase of a counter in a minute, of all processes together."""
    return f"60 * sum by ({by}) (rate({metric}{{{where}}}[$__rate_interval]))"


def quantile(q: float, histogram: str, by: str = "", where: str = "") -> str:
    """Return an expression for a quantile of the recent observations of a histogram."""
    rates = f"rate({histogram}_bucket{{{where}}}[$__rate_interval])"
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({q:g}, sum by ({labels}) ({rates}))"


def mean(summary: str, by: str) -> str:
    """Return an expression for the mean of the recent observations of a summary."""
    total, number = (
        f"sum by ({by}) (rate({summary}_{part}{{}}[$__rate_interval]))" for part in ("sum", "count")
    )
    return f"{total} / {number}"


# --- panels ---------------------------------------------------------------------------------------


PanelBuilder: TypeAlias = (
    stat.Panel | timeseries.Panel | statetimeline.Panel | table.Panel | geomap.Panel
)
# The library's builders of panels have the same methods, but no common base.
P = TypeVar("P", stat.Panel, timeseries.Panel, statetimeline.Panel, table.Panel, geomap.Panel)
Step: TypeAlias = tuple[float | None, str]
"""From which figure on a colour is shown; ``None`` for the lowest."""


@dataclass(frozen=True, kw_only=True)
class About:
    """What every panel says.

    Attributes:
        title: what it shows, in a few words.
        text: what that means, in whole sentences.
        unit: Grafana's name of the unit of its figures.
        steps: colours of figures, from the lowest on.
        words: words that are shown in place of figures.
    """

    title: str
    text: str
    unit: str
    steps: Sequence[Step] = ((None, GOOD),)
    words: Mapping[int, str] = field(default_factory=dict)


def figures(about: About, *queries: Query, width: int = 4) -> stat.Panel:
    """Return a panel of the newest figures, in large print."""
    panel = described(stat.Panel(), about, queries, width=width, height=4)
    coloured = len(about.steps) > 1
    mode = shapes.BigValueColorMode
    return (
        panel.color_mode(mode.VALUE if coloured else mode.NONE)
        .graph_mode(shapes.BigValueGraphMode.NONE)
        .text_mode(shapes.BigValueTextMode.VALUE_AND_NAME)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )


def lines(
    about: About, *queries: Query, width: int = 12, height: int = 9, stacked: bool = False
) -> timeseries.Panel:
    """Return a panel of figures over time, with the newest ones in its legend."""
    panel = described(timeseries.Panel(), about, queries, width=width, height=height)
    if stacked:
        panel.stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL)).fill_opacity(40)
    if len(about.steps) > 1:
        style = common.GraphThresholdsStyleConfig().mode(shapes.GraphThresholdsStyleMode.LINE)
        panel.thresholds_style(style)
    return panel.legend(
        common.VizLegendOptions()
        .show_legend(show_legend=True)
        .display_mode(shapes.LegendDisplayMode.TABLE)
        .placement(shapes.LegendPlacement.RIGHT)
        .calcs(["lastNotNull"])
        .sort_by("Last *")
        .sort_desc(sort_desc=True)
    ).tooltip(
        common.VizTooltipOptions()
        .mode(shapes.TooltipDisplayMode.MULTI)
        .sort(shapes.SortOrder.DESCENDING)
    )


def states(about: About, *queries: Query, width: int = 24, height: int = 9) -> statetimeline.Panel:
    """Return a panel of bars, one for each series, whose colours are figures over time."""
    panel = described(statetimeline.Panel(), about, queries, width=width, height=height)
    by_step = dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS)
    return (
        panel.color_scheme(by_step)
        .show_value(shapes.VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .show_legend(show_legend=True)
            .display_mode(shapes.LegendDisplayMode.LIST)
            .placement(shapes.LegendPlacement.BOTTOM)
        )
    )


def table_of(
    about: About,
    labels: Mapping[str, str],
    *queries: Query,
    units: Mapping[str, str] | None = None,
    width: int = 12,
    height: int = 12,
) -> table.Panel:
    """Return a table of the newest figures.

    Args:
        about: what the panel says.
        labels: the labels by which all queries are grouped, and the names of their columns.
        queries: one for each further column, whose name is the query's legend.
        units: of the columns that have another one than the panel.
        width: in columns of the dashboard.
        height: in Grafana's units.
    """
    panel = described(
        table.Panel(), about, queries, width=width, height=height, shape=PromQueryFormat.TABLE
    )
    columns = dict(labels)
    for ref, query in zip(REFS, queries, strict=False):
        columns["Value" if len(queries) == 1 else f"Value #{ref}"] = query.legend
    # One row of the results that agree in all labels; then its columns.
    panel.with_transformation(models.DataTransformerConfig("merge", options={}))
    panel.with_transformation(named(columns))
    for column, unit in (units or {}).items():
        # The panel's words stand for figures of its own unit.
        other = {"unit": unit, "mappings": []}
        panel.override_by_name(column, [models.DynamicConfigValue(*each) for each in other.items()])
    by_first_figure = common.TableSortByFieldState().display_name(queries[0].legend)
    return panel.sort_by([by_first_figure.desc(desc=True)])


def named(columns: Mapping[str, str]) -> models.DataTransformerConfig:
    """Return what names the columns of a result and puts them into this order."""
    return models.DataTransformerConfig(
        "organize",
        options={
            "excludeByName": {"Time": True},
            "indexByName": {column: place for place, column in enumerate(columns)},
            "renameByName": dict(columns),
        },
    )


def described(
    panel: P,
    about: About,
    queries: Sequence[Query],
    *,
    width: int,
    height: int,
    shape: PromQueryFormat = PromQueryFormat.TIME_SERIES,
) -> P:
    """Add to a panel what every panel says, and its queries."""
    text = " ".join([about.text, *_why_empty(queries)])
    panel.title(about.title).description(text).unit(about.unit)
    panel.no_value(queries[0].empty or "no figures yet")
    panel.datasource(SOURCE).span(width).height(height)
    steps = [models.Threshold(value, colour) for value, colour in about.steps]
    panel.thresholds(dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps))
    words = {
        str(figure): models.ValueMappingResult(text=word) for figure, word in about.words.items()
    }
    panel.mappings([models.ValueMap(words)] if words else [])
    for ref, query in zip(REFS, queries, strict=False):
        target = prometheus.Dataquery().ref_id(ref).datasource(SOURCE).format(shape)
        newest = shape is PromQueryFormat.TABLE
        (target.instant() if newest else target.range()).expr(query.expr)
        panel.with_target(target.legend_format(query.legend))
    return panel


def _why_empty(queries: Sequence[Query]) -> Iterator[str]:
    for reason in dict.fromkeys(query.empty for query in queries):
        if reason is not None:
            names = [query.legend for query in queries if query.empty == reason]
            which = "" if len(names) == len(queries) else f": {', '.join(names)}"
            yield f"{EMPTY} {reason}{which}."


# --- dashboards -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """Panels under a heading. Those of a folded row ask nothing until somebody unfolds it."""

    title: str
    panels: Sequence[PanelBuilder]
    folded: bool = False


def annotation(
    name: str, colour: str, expr: str, title: str, labels: str
) -> dashboard.AnnotationQuery:
    """Return what marks the times at which an expression has figures above 0.

    Args:
        name: of the switch above the dashboard.
        colour: of the marks.
        expr: the expression.
        title: of a mark; labels of the series in it are replaced: ``{{country}}``.
        labels: those that are shown with a mark, separated by commas.
    """
    # Severities change at most once a minute.
    target = prometheus.Dataquery().ref_id("A").expr(expr).interval("60s").range()
    return (
        dashboard.AnnotationQuery()
        .name(name)
        .datasource(SOURCE)
        .enable(enable=True)
        .icon_color(colour)
        .target(target)
        .title_format(title)
        .tag_keys(labels)
    )


def board(
    *,
    slug: str,
    title: str,
    text: str,
    variables: Sequence[Builder[models.VariableModel]],
    rows: Sequence[Row],
    annotations: Sequence[dashboard.AnnotationQuery] = (),
) -> models.Dashboard:
    """Return a dashboard with links to the others, which keep the time and the variables."""
    made = (
        dashboard.Dashboard(title)
        .uid(f"{TAG}-{slug}")
        .description(text)
        .tags([TAG])
        .readonly()
        .timezone(shapes.TimeZoneUtc)
        .time("now-24h", "now")
        .refresh("30s")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .variables([datasource(), *variables])
        .annotations(list(annotations))
        .link(
            dashboard.DashboardLink("Mining map")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .keep_time(keep_time=True)
            .include_vars(include_vars=True)
        )
    )
    numbers = count(1)
    for row in rows:
        heading = dashboard.Row(row.title).id(next(numbers)).collapsed(row.folded)
        panels = [panel.id(next(numbers)) for panel in row.panels]
        if row.folded:
            for panel in panels:
                heading.with_panel(panel)
            made.with_row(heading)
        else:
            made.with_row(heading)
            for panel in panels:
                made.with_panel(panel)
    return _without_defaults(made.build())


def _without_defaults(made: models.Dashboard) -> models.Dashboard:
    """Leave out what the library adds: fields of other types, and places in a menu."""
    for annotated in made.annotations.list_val or []:
        annotated.placement = None  # type: ignore[assignment]  # it is optional in Grafana
    for link in made.links or []:
        link.placement = None  # type: ignore[assignment]  # likewise
    for variable in made.templating.list_val or []:
        variable.auto = variable.auto_min = variable.auto_count = None
    for panel in made.panels or []:
        if isinstance(panel, models.Panel) and isinstance(panel.options, TableOptions):
            panel.options.footer = None
    return made

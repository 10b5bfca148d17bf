"""The dashboards: what each panel says, what it asks, and whether Grafana can read it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from grafana_foundation_sdk.models import units

from tools.dashboards import DASHBOARDS, ask, document
from tools.dashboards.parts import EMPTY, SOURCE, WIDTH
from tools.metrics import metrics_by_service

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]
FILES: Final = {file.name: file.read_text() for file in ask.FOLDER.glob("*.json")}
CHECK: Final = ROOT / "tools/check-dashboards.sh"
UNITS: Final = {value for name, value in vars(units).items() if not name.startswith("_")}
WITH_SUBDIVISIONS: Final = re.compile(
    r"\bminingmap_(?:share_|hashrate_|swing_(?:delta|active|contribution|muted))"
)

Panel = dict[str, Any]


def all_panels() -> Iterator[tuple[str, Panel]]:
    for dashboard in ask.dashboards():
        for panel in ask.panels(dashboard):
            yield f"{dashboard['title']}: {panel['title']}", panel


PANELS: Final = dict(all_panels())
each_panel = pytest.mark.parametrize("panel", PANELS.values(), ids=PANELS)
each_dashboard = pytest.mark.parametrize("dashboard", ask.dashboards(), ids=lambda d: d["title"])


def test_the_committed_files_are_those_that_the_code_makes() -> None:
    assert {name: document(make()) for name, make in DASHBOARDS.items()} == FILES


def test_there_are_the_four_dashboards() -> None:
    assert {dashboard["title"] for dashboard in ask.dashboards()} == {
        "Shares",
        "Pools and sources",
        "Swings",
        "Pipeline",
    }
    assert len({dashboard["uid"] for dashboard in ask.dashboards()}) == 4


@each_panel
def test_every_panel_says_what_it_shows(panel: Panel) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    assert panel["title"]
    assert re.fullmatch(r"[A-Z].{20,}\.", panel["description"])
    assert defaults["noValue"]
    assert panel["targets"]
    assert all(target["legendFormat"] for target in panel["targets"])


@each_panel
def test_every_unit_is_one_of_grafanas(panel: Panel) -> None:
    overrides = [
        each["value"]
        for override in panel["fieldConfig"]["overrides"]
        for each in override["properties"]
        if each["id"] == "unit"
    ]
    assert {panel["fieldConfig"]["defaults"]["unit"], *overrides} <= UNITS


@each_panel
def test_lines_and_bars_have_a_legend_and_tables_named_columns(panel: Panel) -> None:
    if panel["type"] in {"timeseries", "state-timeline"}:
        assert panel["options"]["legend"]["showLegend"]
    if panel["type"] == "table":
        [_, organize] = panel["transformations"]
        names = organize["options"]["renameByName"].values()
        assert {target["legendFormat"] for target in panel["targets"]} <= set(names)


@each_panel
def test_a_panel_that_may_be_empty_says_when(panel: Panel) -> None:
    for reason in re.findall(rf"{EMPTY} ([^.:]+)", panel["description"]):
        assert len(reason.split()) >= 3
    if re.search(rf"{EMPTY} [^.:]+\.", panel["description"]):
        assert panel["fieldConfig"]["defaults"]["noValue"] in panel["description"]


@each_dashboard
def test_panels_stand_side_by_side_without_gaps(dashboard: dict[str, Any]) -> None:
    ids = Counter(panel["id"] for panel in [*dashboard["panels"], *ask.panels(dashboard)])
    rows = {panel["id"] for panel in dashboard["panels"] if panel["type"] == "row"}
    assert max(ids[panel] for panel in rows) == 1
    assert len(ids) == len(rows) + len(list(ask.panels(dashboard)))
    ends: Counter[int] = Counter()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] == ends[place["y"]], panel["title"]
        ends[place["y"]] += place["w"]
    assert set(ends.values()) == {WIDTH}


@each_dashboard
def test_titles_are_different(dashboard: dict[str, Any]) -> None:
    titles = Counter(panel["title"] for panel in ask.panels(dashboard))
    assert [title for title, number in titles.items() if number > 1] == []


@each_dashboard
def test_all_ask_the_chosen_source(dashboard: dict[str, Any]) -> None:
    asking = [variable for variable in dashboard["templating"]["list"] if "datasource" in variable]
    asking += dashboard["annotations"]["list"]
    for panel in ask.panels(dashboard):
        asking += [panel, *panel["targets"]]
    assert {json.dumps(each["datasource"]) for each in asking} == {json.dumps(SOURCE.to_json())}


@each_dashboard
def test_every_variable_is_used(dashboard: dict[str, Any]) -> None:
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    # A variable that does not exist is an error.
    for name in variables - {"datasource"}:
        unlike = {question.expr for question in ask.questions(dashboard, {})}
        assert unlike != {question.expr for question in ask.questions(dashboard, {name: "x"})}, name


@each_dashboard
def test_variables_ask_again_when_the_time_changes(dashboard: dict[str, Any]) -> None:
    for variable in dashboard["templating"]["list"]:
        assert variable["label"]
        assert variable["description"].endswith(".")
        if variable["type"] == "query":
            assert variable["refresh"] == 2
            assert re.fullmatch(
                rf"label_values\(miningmap_.+, {variable['name']}\)", variable["query"]["query"]
            )


def test_variables_for_window_country_subdivision_and_pool() -> None:
    variables = {
        variable["name"]
        for dashboard in ask.dashboards()
        for variable in dashboard["templating"]["list"]
    }
    assert variables == {"datasource", "window", "pair", "country", "subdivision", "pool"}


def all_queries() -> Iterator[str]:
    for dashboard in ask.dashboards():
        for panel in ask.panels(dashboard):
            for target in panel["targets"]:
                yield target["expr"]


def test_counters_are_shown_as_rates_over_the_interval_of_the_panel() -> None:
    counter = re.compile(r"(?<!process)_(?:total|count|sum|bucket)\b")
    rate = re.compile(r"(?:rate\([^[(]+\[\$__rate_interval\]|increase\([^[(]+\[1h\])\)")
    wrong = [q for q in all_queries() if len(rate.findall(q)) != len(counter.findall(q))]
    assert wrong == []


def test_no_query_mixes_countries_with_their_subdivisions() -> None:
    asking = [query for query in all_queries() if WITH_SUBDIVISIONS.search(query)]
    assert len(asking) > 20
    assert [query for query in asking if "subdivision" not in query] == []


def test_dashboards_use_existing_metrics() -> None:
    listed = {metric.name for service in metrics_by_service().values() for metric in service}
    used = set(re.findall(r"miningmap_[a-z_]+", " ".join(all_queries())))
    assert {re.sub(r"_(?:bucket|count|sum)$", "", name) for name in used} - listed == set()


def test_grafana_runs_in_the_version_whose_types_the_dashboards_have() -> None:
    packages = json.loads((ROOT / "tools/package.json").read_text())["dependencies"]
    compose = (ROOT / "docker-compose.yml").read_text()
    assert f"image: grafana/grafana:{packages['@grafana/schema']}" in compose


def check(*files: Path, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = None if path is None else {"PATH": path}
    return subprocess.run(
        [CHECK, *files], env=environment, capture_output=True, text=True, check=False
    )


def test_without_npm_the_types_are_not_checked_and_a_message_says_so(tmp_path: Path) -> None:
    for name in ("bash", "dirname"):
        (tmp_path / name).symlink_to(shutil.which(name) or name)
    done = check(path=str(tmp_path))
    assert done.returncode == 0
    assert "not checked against Grafana's types: there is no npm" in done.stderr


def test_the_check_of_types_finds_what_grafana_does_not_know(tmp_path: Path) -> None:
    dashboard = json.loads(FILES["pools.json"])
    panel = next(panel for panel in dashboard["panels"] if panel["type"] == "stat")
    panel["options"]["colorMode"] = "sometimes"
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps(dashboard, indent=2))
    done = check(file)
    if "not checked" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 1
    assert re.search(r"wrong\.json:\d+: .*\"sometimes\"", done.stderr)

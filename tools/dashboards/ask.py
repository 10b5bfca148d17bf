"""Ask a Prometheus all that the dashboards ask, and print a table of its answers.

``python -m tools.dashboards.ask http://127.0.0.1:9090`` shows whether a Prometheus has what the
dashboards need. It exits with 1 if a question has no answer that must have one.
"""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import httpx

from tools.dashboards.parts import EMPTY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Json: TypeAlias = dict[str, Any]

FOLDER: Final = Path(__file__).parents[2] / "deploy/grafana/dashboards"
BUILT_IN: Final = {"__rate_interval": "1m"}
"""Grafana's own variables that the dashboards use; 1m is four scrapes, as in Compose."""

_VARIABLE: Final = re.compile(r"\$\{?(\w+)\}?")
_LABEL: Final = re.compile(r"{{\s*(\w+)\s*}}")
_EMPTY: Final = re.compile(rf"{EMPTY} [^.:]+(?:: ([^.]+))?\.")
_LABEL_VALUES: Final = re.compile(r"label_values\((.+), (\w+)\)")


class Question(NamedTuple):
    """What a panel, a variable or an annotation asks.

    Attributes:
        dashboard: the title of the dashboard.
        asker: ``variable country``, ``annotation Swings of pools`` or the title of a panel.
        expr: PromQL; of a variable the series whose label is asked for.
        legend: the names of the series; of a variable the label.
        unit: of the figures.
        may_be_empty: whether no answer can be right.
    """

    dashboard: str
    asker: str
    expr: str
    legend: str
    unit: str
    may_be_empty: bool

    @property
    def is_variable(self) -> bool:
        """Whether values of a label are asked for, and no figures."""
        return self.asker.startswith("variable ")


class Answer(NamedTuple):
    """The answer to a question: how many series or values there are, and the largest of them."""

    number: int
    sample: str


def dashboards() -> list[Json]:
    """Return the dashboards that are in the repository."""
    return [json.loads(file.read_text()) for file in sorted(FOLDER.glob("*.json"))]


def panels(dashboard: Json) -> Iterator[Json]:
    """Yield all panels, those of folded rows too."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def questions(dashboard: Json, chosen: Mapping[str, str]) -> Iterator[Question]:
    """Yield all that a dashboard asks.

    Args:
        dashboard: the dashboard.
        chosen: values of variables, Grafana's own included, in place of those that are chosen when
            the dashboard is opened.
    """
    values = {**BUILT_IN, **chosen}
    title = dashboard["title"]
    for variable in dashboard["templating"]["list"]:
        name = variable["name"]
        values.setdefault(name, variable.get("allValue") or variable["current"]["value"])
        if variable["type"] == "query":
            asked = _LABEL_VALUES.sub(r"\1", variable["query"]["query"])
            expr = substituted(asked, values)
            may_be_empty = _may_be_empty(variable["description"], name)
            yield Question(title, f"variable {name}", expr, name, "string", may_be_empty)
    for annotation in dashboard["annotations"]["list"]:
        expr = substituted(annotation["target"]["expr"], values)
        asker = f"annotation {annotation['name']}"
        legend = annotation["titleFormat"]
        yield Question(title, asker, expr, legend, "none", may_be_empty=True)
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield Question(
                title,
                panel["title"],
                substituted(target["expr"], values),
                target["legendFormat"],
                _unit(panel["fieldConfig"], target["legendFormat"]),
                _may_be_empty(panel["description"], target["legendFormat"]),
            )


def _unit(fields: Json, legend: str) -> str:
    """Return the unit of a query: that of the column of this name, else that of the panel."""
    unit = fields["defaults"]["unit"]
    for override in fields["overrides"]:
        if override["matcher"] == {"id": "byName", "options": legend}:
            unit = {each["id"]: each["value"] for each in override["properties"]}.get("unit", unit)
    return str(unit)


def _may_be_empty(description: str, legend: str) -> bool:
    found = _EMPTY.findall(description)
    return any(not names or legend in names.split(", ") for names in found)


def substituted(text: str, values: Mapping[str, str]) -> str:
    """Return the text with the values of variables, like Grafana; an unknown one is an error."""
    return _VARIABLE.sub(lambda variable: values[variable[1]], text)


def ask(prometheus: httpx.Client, question: Question) -> Answer | None:
    """Return the answer of a Prometheus; ``None`` if it has none.

    Raises:
        httpx.HTTPError: it cannot be reached, or does not understand the question.
    """
    if question.is_variable:
        path = f"/api/v1/label/{question.legend}/values"
        found = _data(prometheus, path, {"match[]": question.expr})
        return Answer(len(found), found[0]) if found else None
    result = _data(prometheus, "/api/v1/query", {"query": question.expr})["result"]
    figures = [(float(series["value"][1]), series["metric"]) for series in result]
    known = [(figure, labels) for figure, labels in figures if math.isfinite(figure)]
    if not known:
        return None
    figure, labels = max(known, key=lambda one: abs(one[0]))
    name = _LABEL.sub(lambda label: labels.get(label[1], ""), question.legend)
    return Answer(len(known), f"{name} {_shown(figure, question.unit)}")


def _data(prometheus: httpx.Client, path: str, parameters: Mapping[str, str]) -> Any:  # noqa: ANN401 - JSON
    response = prometheus.get(path, params=parameters)
    response.raise_for_status()
    return response.json()["data"]


def _shown(figure: float, unit: str) -> str:
    match unit:
        case "percentunit":
            return f"{figure:.2%}"
        case "Hs":
            return f"{figure / 1e18:.4g} EH/s"
        case "bytes":
            return f"{figure / 2**20:.4g} MiB"
        case "none":
            return f"{figure:.4g}"
        case _:
            return f"{figure:.4g} {unit}"


def table(answers: Sequence[tuple[Question, Answer | None]]) -> str:
    """Return the answers as a table in Markdown."""
    head = "| dashboard | panel | series | sample |\n|---|---|---|---|\n"
    return head + "".join(
        f"| {asked.dashboard} | {asked.asker} | {answer.number if answer else 0} "
        f"| {answer.sample if answer else 'nothing'} |\n"
        for asked, answer in answers
    )


def main(url: str) -> int:
    """Print the table; return the exit code."""
    try:
        with httpx.Client(base_url=url) as prometheus:
            answers = [
                (question, ask(prometheus, question))
                for dashboard in dashboards()
                for question in questions(dashboard, {})
            ]
    except httpx.HTTPError as error:
        sys.stderr.write(f"no Prometheus answers at {url}: {error}\n")
        return 2
    sys.stdout.write(table(answers))
    return int(any(answer is None and not asked.may_be_empty for asked, answer in answers))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

"""What the benchmarks are to reach, and how far they get, by the tables that they print. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_NUMBER: Final = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


class Reach(NamedTuple):
    """One figure that is to be reached.

    Attributes:
        what: in words.
        benchmark: its name, which is that of its module.
        row: the first cells of the row that has it.
        column: the head of its column; of several, the first one.
        aim: the figure.
        at_least: whether more is better; otherwise less is.
    """

    what: str
    benchmark: str
    row: tuple[str, ...]
    column: str
    aim: float
    at_least: bool = False


_ENDPOINT: Final = "of bare: requests"
_SOURCES: Final = "CPU, s in a minute"
REACHES: Final = (
    *(
        Reach(f"throughput, of {name}", "throughput", (name,), "ours to it", ratio, at_least=True)
        for name, ratio in (("bare aiokafka loop", 1.3), ("Quix Streams", 1.5))
    ),
    Reach(
        "reports/s with snapshots, so that a day of 100 pools takes 20 s",
        *("throughput", ("miningmap with snapshots",), "reports/s", 7_200),
        at_least=True,
    ),
    *(
        Reach(f"a figure visible in {name}, 99 %, ms", "freshness", (name,), "99 %", 500)
        for name in ("the stream", "`/api/v1/shares`", "the stream, while a worker catches up")
    ),
    Reach(
        "a snapshot of 1,000 pools, a twelfth reported, ms of CPU",
        *("snapshot", ("1000",), "CPU", 100),
    ),
    *(
        Reach(f"{name}, {column}", "questions", (name,), column, aim)
        for name, column, aim in (
            ("30 days by hour, one place", "first s", 1.0),
            ("30 days by hour, one place", "again ms", 50.0),
            ("2 years by day, one place", "first s", 2.0),
            ("shares of 24 h as of a week ago", "again ms", 10.0),
            ("shares of a past month", "again ms", 10.0),
        )
    ),
    Reach("a scrape of the endpoint, ms", "scrape", ("identity",), "median", 10.0),
    *(
        Reach(
            f"snapshots of a bare handler, {how}",
            *("serving", (f"{how}: /api/v1/shares",), _ENDPOINT, 0.85),
            at_least=True,
        )
        for how in ("200", "200, gzip", "304")
    ),
    Reach("an event to 1,000 clients, 99 %, ms", "stream", ("1,000",), "p99", 200.0),
    *(
        Reach(f"5,000 polls a minute by {by}, s of CPU", "polling", row, _SOURCES, 9.0)
        for by, row in (
            ("HTTP", ("collector", "HTTP")),
            ("HTTPS", ("collector", "HTTPS", "0")),
            ("HTTPS where servers keep connections", ("collector", "HTTPS, kept")),
        )
    ),
    Reach("timers late, 99 %, ms", "polling", ("collector", "HTTP"), "99 %", 100.0),
)

HEAD: Final = ("what", "reach", "measured", "")


def rows(outputs: Mapping[str, str], reaches: Iterable[Reach] = REACHES) -> list[tuple[str, ...]]:
    """Return the rows of a table with :data:`HEAD`.

    Args:
        outputs: what each benchmark printed, by its name.
        reaches: in the order of the table; those of benchmarks that did not run are left out.
    """
    return [
        _row(reach, measured(outputs[reach.benchmark], reach))
        for reach in reaches
        if reach.benchmark in outputs
    ]


def measured(output: str, reach: Reach) -> float | None:
    """Return the figure that a benchmark printed; ``None`` if there is none."""
    head: Sequence[str] = ()
    for line in output.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            head = ()
        elif not head:
            head = cells
        elif reach.column in head and tuple(cells[: len(reach.row)]) == reach.row:
            figure = _NUMBER.search(cells[head.index(reach.column)])
            return float(figure[0].replace(",", "")) if figure else None
    return None


def _row(reach: Reach, figure: float | None) -> tuple[str, ...]:
    aim = f"{'≥' if reach.at_least else '≤'} {reach.aim:,g}"
    if figure is None:
        return (reach.what, aim, "-", "not measured")
    is_reached = figure >= reach.aim if reach.at_least else figure <= reach.aim
    words = "reached" if is_reached else f"**missed**: {figure / reach.aim:.2f} of it"
    return (reach.what, aim, f"{figure:,g}", words)

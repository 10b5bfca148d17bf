"""Metrics with thousands of series: counters, gauges and summaries whose text costs little. Pure.

The library keeps an object with a lock for each series, and writes the labels of each anew at every
scrape: for some thousand sources that takes longer than a poll should wait. Here a series is a list
of its figures, and what its lines begin with is written once. Metrics with few series stay with the
library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple, Self, TypeAlias

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from prometheus_client import Metric

_ESCAPED: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})

Values: TypeAlias = tuple[str, ...]
"""The values of a series' labels, in the order of their names."""


def labels_text(labels: Iterable[tuple[str, str]]) -> str:
    """Return labels, names and values, as they follow the name of a metric."""
    pairs = [f'{name}="{value.translate(_ESCAPED)}"' for name, value in sorted(labels)]
    return f"{{{','.join(pairs)}}}" if pairs else ""


class _One(NamedTuple):
    """One series: what each of its lines begins with, and the figure that each ends with."""

    lines: tuple[str, ...]
    figures: list[float]


class Series(Collector):
    """All series of one name.

    Args:
        name: of the metric; of a counter without ``_total``.
        text: its description.
        labels: the names of the labels.
    """

    family: ClassVar[Callable[..., Metric]]
    suffixes: ClassVar[Sequence[str]]

    def __init__(self, name: str, text: str, labels: Sequence[str]) -> None:
        self._name = name
        self._text = text
        self._labels = labels
        self._series: dict[Values, _One] = {}

    def __len__(self) -> int:
        return len(self._series)

    def remove(self, values: Values) -> None:
        """Remove the series with these labels, if there is one."""
        self._series.pop(values, None)

    def collect(self) -> Iterator[Metric]:
        """Yield the metric in the library's form."""
        family = self.family(self._name, self._text, labels=self._labels)
        for values, one in self._series.items():
            labels = dict(zip(self._labels, values, strict=True))
            for suffix, figure in zip(self.suffixes, one.figures, strict=True):
                family.add_sample(self._name + suffix, labels, figure)
        yield family

    def without_series(self) -> Self:
        """Return the metric as it was at first."""
        return type(self)(self._name, self._text, self._labels)

    def lines(self) -> str:
        """Return the lines of all series, of which the text format and OpenMetrics have the same.

        They are written as the library writes them.
        """
        number: Callable[[float], str] = floatToGoString
        return "".join(
            [
                f"{line}{number(figure)}\n"
                for one in self._series.values()
                for line, figure in zip(one.lines, one.figures, strict=True)
            ]
        )

    def _figures(self, values: Values) -> list[float]:
        """Return the figures of a series, which are 0 if it is new."""
        one = self._series.get(values)
        if one is None:
            one = self._series[values] = self._new(values)
        return one.figures

    def _new(self, values: Values) -> _One:
        labels = labels_text(zip(self._labels, values, strict=True))
        lines = tuple(f"{self._name}{suffix}{labels} " for suffix in self.suffixes)
        return _One(lines, [0.0] * len(lines))


class Counters(Series):
    """Numbers that only increase."""

    family = CounterMetricFamily
    suffixes = ("_total",)

    def add(self, values: Values, number: float = 1) -> None:
        """Add to the counter with these labels; 0 makes it appear."""
        self._figures(values)[0] += number


class Gauges(Series):
    """Numbers that increase and decrease."""

    family = GaugeMetricFamily
    suffixes = ("",)

    def set(self, values: Values, number: float) -> None:
        """Set the gauge with these labels."""
        self._figures(values)[0] = float(number)


class Summaries(Series):
    """How often something was observed, and the sum of what was: the mean of any time."""

    family = SummaryMetricFamily
    suffixes = ("_count", "_sum")

    def observe(self, values: Values, observed: float) -> None:
        """Count an observation with these labels."""
        figures = self._figures(values)
        figures[0] += 1
        figures[1] += observed

"""The text of metrics that many scrapes share, with further text appended for each of them."""

from __future__ import annotations

import zlib
from functools import cache
from typing import TYPE_CHECKING, Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.utils import floatToGoString

from miningmap.series import labels_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from prometheus_client import Metric

# zlib's code for a gzip header and trailer around the data.
_GZIP: Final = 31
# The fastest level takes a third of the default level's time, and bodies are a tenth larger.
_LEVEL: Final = 1


def gauge(
    name: str,
    text: str,
    labels: Sequence[str],
    samples: Iterable[tuple[Sequence[str], float | None]],
) -> Metric:
    """Return a family with a sample for each figure that is known.

    Args:
        name: of the family.
        text: its description.
        labels: their names.
        samples: the values of the labels, and the figure.
    """
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, figure in samples:
        if figure is not None:
            family.add_metric(values, figure)
    return family


def gauges_text(families: Iterable[Metric]) -> bytes:
    """Return gauges as text, of which the text format and OpenMetrics have the same.

    The library's encoders also handle every other type and any name, and take three times as long:
    with thousands of places, longer than a scrape should.

    Args:
        families: gauges whose descriptions have no quotation mark and no backslash.
    """
    return "".join(_lines(families)).encode()


def _lines(families: Iterable[Metric]) -> Iterator[str]:
    number: Callable[[float], str] = floatToGoString
    labels = cache(labels_text)  # each place has a sample in several families
    for family in families:
        name = family.name
        yield f"# HELP {name} {family.documentation}\n# TYPE {name} gauge\n"
        for sample in family.samples:
            yield f"{name}{labels(tuple(sample.labels.items()))} {number(sample.value)}\n"


class Exposition:
    """Text that is encoded and compressed once.

    Args:
        text: complete lines.
    """

    def __init__(self, text: bytes) -> None:
        self._text = text
        # A stream that ends at the end of a byte, so that a copy of its compressor can continue it:
        # the parts together are one gzip file, which every client can read.
        self._compressor = zlib.compressobj(_LEVEL, wbits=_GZIP)
        self._zipped = self._compressor.compress(text) + self._compressor.flush(zlib.Z_SYNC_FLUSH)

    def followed_by(self, more: bytes) -> bytes:
        """Return the text, and ``more`` after it."""
        return self._text + more

    def zipped_followed_by(self, more: bytes) -> bytes:
        """Return what :meth:`followed_by` returns as a gzip file."""
        compressor = self._compressor.copy()
        return self._zipped + compressor.compress(more) + compressor.flush()

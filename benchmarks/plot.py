"""Plots with two logarithmic axes, as SVG. Pure."""

from __future__ import annotations

from html import escape
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

WIDTH: Final = 420
HEIGHT: Final = 340
LEFT: Final = 58
RIGHT: Final = 84
"""Room for the names of the lines, which stand at their ends."""
TOP: Final = 46
BOTTOM: Final = 50
LINE_HEIGHT: Final = 13
# Light and dark backgrounds each have colours of their own; dashes tell the lines apart without.
_STYLE: Final = """
  text { font: 11px sans-serif; fill: #24292f }
  .title { font-weight: bold; font-size: 12px }
  .end { text-anchor: end }
  .middle { text-anchor: middle }
  .grid { stroke: #d0d7de }
  .line { fill: none; stroke-width: 2 }
  .s0 { stroke: #0969da } .s1 { stroke: #bc4c00; stroke-dasharray: 7 3 }
  .s2 { stroke: #1a7f37; stroke-dasharray: 2 3 } .s3 { stroke: #8250df; stroke-dasharray: 9 3 2 3 }
  .s4 { stroke: #a40e26; stroke-dasharray: 4 2 } .s5 { stroke: #57606a; stroke-dasharray: 1 2 }
  .dot { fill: none; stroke-width: 2; stroke-dasharray: none }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .grid { stroke: #3d444d }
    .s0 { stroke: #58a6ff } .s1 { stroke: #f0883e } .s2 { stroke: #56d364 }
    .s3 { stroke: #bc8cff } .s4 { stroke: #ff7b72 } .s5 { stroke: #9198a1 }
  }
"""


class Panel(NamedTuple):
    """One of several plots beside each other.

    Attributes:
        title: above it, with the unit.
        x: the name of the horizontal axis.
        lines: their points by their names; all numbers are more than 0.
    """

    title: str
    x: str
    lines: Mapping[str, Sequence[tuple[float, float]]]


class _Axis(NamedTuple):
    """Maps the logarithm of a number to a coordinate."""

    low: int
    high: int
    start: float
    end: float

    def at(self, value: float) -> float:
        part = (log10(value) - self.low) / (self.high - self.low)
        return self.start + part * (self.end - self.start)

    def decades(self) -> list[float]:
        return [10.0**power for power in range(self.low, self.high + 1)]


def log_log(title: str, description: str, panels: Sequence[Panel]) -> str:
    """Return a picture with panels beside each other.

    Args:
        title: what screen readers say first.
        description: the same as the picture, in words.
        panels: at least one.
    """
    drawn = "\n".join(
        f'<g transform="translate({n * WIDTH} 0)">\n' + "\n".join(_panel(panel)) + "\n</g>"
        for n, panel in enumerate(panels)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {len(panels) * WIDTH} {HEIGHT}" '
        'role="img" aria-labelledby="title description">\n'
        f'<title id="title">{escape(title)}</title>\n'
        f'<desc id="description">{escape(description)}</desc>\n'
        f"<style>{_STYLE}</style>\n{drawn}\n</svg>\n"
    )


def _panel(panel: Panel) -> Iterator[str]:
    points = [point for line in panel.lines.values() for point in line]
    x = _axis([x for x, _ in points], LEFT, WIDTH - RIGHT)
    y = _axis([y for _, y in points], HEIGHT - BOTTOM, TOP)
    yield f'<text class="title" x="{LEFT}" y="20">{escape(panel.title)}</text>'
    yield _text("middle", (x.start + x.end) / 2, HEIGHT - 12, panel.x)
    for value in x.decades():
        yield _grid(x.at(value), y.start, x.at(value), y.end)
        yield _text("middle", x.at(value), y.start + 17, f"{value:,g}")
    for value in y.decades():
        yield _grid(x.start, y.at(value), x.end, y.at(value))
        yield _text("end", x.start - 6, y.at(value) + 4, f"{value:,g}")
    for number, line in enumerate(panel.lines.values()):
        path = " ".join(f"{x.at(at):.1f},{y.at(value):.1f}" for at, value in line)
        yield f'<polyline class="line s{number}" points="{path}"/>'
        for at, value in line:
            place = f'cx="{x.at(at):.1f}" cy="{y.at(value):.1f}"'
            yield f'<circle class="s{number} dot" {place} r="2.5"/>'
    ends = {name: y.at(line[-1][1]) for name, line in panel.lines.items()}
    for name, height in _apart(ends).items():
        yield _text("name", x.end + 6, height + 4, name)


def _axis(values: Sequence[float], start: float, end: float) -> _Axis:
    """Return an axis of whole decades, at least one."""
    low, high = floor(log10(min(values))), ceil(log10(max(values)))
    return _Axis(low, max(high, low + 1), start, end)


def _apart(heights: Mapping[str, float]) -> dict[str, float]:
    """Move names down until none covers another."""
    moved: dict[str, float] = {}
    last = 0.0
    for name, height in sorted(heights.items(), key=lambda item: item[1]):
        last = max(height, last + LINE_HEIGHT)
        moved[name] = last
    return moved


def _grid(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="grid" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(kind: str, x: float, y: float, text: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'

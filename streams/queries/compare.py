"""Published figures beside the map's: what measured hashrate excludes (docs/compare.md). Pure.

The verdict rests on the bounds of method.md 8, also for a place that an answer does not list, and
for a share of a country.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

import msgspec

from miningmap.api.models import Adjust, Instant, SubdivisionRow
from miningmap.places import OTHER, OTHER_SUFFIX, country_of, name_of
from streams.method.cohort import SAME
from streams.queries.figures import Range, Whole
from streams.queries.shares import STATED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from miningmap.api.models import Answer, ShareRow
    from streams.method.beliefs import Ratio
    from streams.queries.figures import Figure

Verdict: TypeAlias = Literal["inside", "outside", "partly", "cannot say"]
CANNOT_SAY: Final = "cannot say"

Ask: TypeAlias = "Callable[[str, str | None], Answer]"
"""Returns the answer for a window by country, or by the subdivisions of a country."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A published figure beside the map's. Unknown figures are null.

    Shares, bounds and ranges are fractions of the world or of the country (``of``). ``verdict`` is
    by measured hashrate (``low`` to ``high``), and ``reason`` is its reason. ``declared_verdict``
    holds if what is declared is right; ``belief_verdict`` only compares with published priors.
    """

    line: int
    code: str
    name: str
    window: str
    of: Whole
    source: str
    note: str
    figure_low: float | None
    figure_high: float | None
    figure_hashrate: float | None
    share: float | None
    low: float | None
    high: float | None
    declared_low: float | None
    declared_high: float | None
    belief: tuple[float, float] | None
    evidence: float | None
    verdict: Verdict
    reason: str
    declared_verdict: Verdict
    belief_verdict: Verdict
    coverage: float | None
    coverage_stated: bool
    as_of: Instant
    adjust: Adjust
    prior: str
    simulated: bool


def compare(figures: Iterable[Figure], ask: Ask) -> list[Comparison]:
    """Compare figures with the answers of the map, in the order of the figures.

    Args:
        figures: what others have published.
        ask: answers; asked once for each window and country.
    """
    answer = cache(ask)
    return [_compared(figure, _Place(figure.code, figure.window, answer)) for figure in figures]


def percent(ratio: Ratio) -> str:
    """Return a ratio as a text in percent."""
    return f"{100 * ratio:.4g} %"


def judge(figure: Range | None, bounds: Range | None) -> Verdict:
    """Return whether a figure lies within bounds; ends that are equal are within.

    Bounds that are unknown, or exclude nothing, allow no verdict.
    """
    if figure is None or bounds is None or _excludes_nothing(bounds, figure):
        return CANNOT_SAY
    if figure.high < bounds.low - SAME or figure.low > bounds.high + SAME:
        return "outside"
    if figure.low < bounds.low - SAME or figure.high > bounds.high + SAME:
        return "partly"
    return "inside"


def _excludes_nothing(bounds: Range, figure: Range) -> bool:
    """Return whether every share is within the bounds; a hashrate can be more than the whole."""
    return bounds.low <= SAME and bounds.high >= 1 - SAME and figure.high <= 1 + SAME


# --- what an answer says of a place ---------------------------------------------------------------


class _Basis(NamedTuple):
    """The hashrate that bounds rest on: the bounds of a row, and how much of the network it is."""

    bounds: Callable[[ShareRow], tuple[float | None, float | None]]
    coverage: Callable[[Answer], float | None]

    def low(self, rows: Iterable[ShareRow]) -> dict[str, Ratio]:
        """Return the lower bounds by place: the part of the network that is known to be there."""
        return {row.code: self.bounds(row)[0] or 0.0 for row in rows}


_MEASURED: Final = _Basis(lambda row: (row.low, row.high), lambda answer: answer.measured_coverage)
_DECLARED: Final = _Basis(
    lambda row: (row.declared_low, row.declared_high), lambda answer: answer.declared_coverage
)


class _Place:
    """What the map says of a place, whether its answers list it or not."""

    def __init__(self, code: str, window: str, ask: Ask) -> None:
        self.code = code
        self.country = country_of(code)
        self.world = ask(window, None)
        self.inside = None if code == self.country else ask(window, self.country)

    @property
    def row(self) -> ShareRow | None:
        return self._row(self.code)

    def bounds(self, basis: _Basis, *, of_country: bool) -> Range | None:
        """Return the smallest and the largest share of the world, or of its country.

        ``None`` if the network's hashrate is unknown, or no hashrate can be in the country.
        """
        found = self._bounds(self.code, basis)
        if found is None or not of_country:
            return found
        # The share is least where all that is unknown is elsewhere in the country, and largest
        # where all of it is at the place; the country has most of the network in both cases.
        whole = self._bounds(self.country, basis)
        if whole is None or whole.high <= 0:
            return None
        return Range(min(1.0, found.low / whole.high), min(1.0, found.high / whole.high))

    def _row(self, code: str) -> ShareRow | None:
        answer = self.world if code == self.country or self.inside is None else self.inside
        return next((row for row in answer.shares if row.code == code), None)

    def _bounds(self, code: str, basis: _Basis) -> Range | None:
        known, coverage = basis.coverage(self.world), self.world.coverage
        if known is None or coverage is None:
            return None
        if row := self._row(code):
            low, high = basis.bounds(row)
            if low is None or high is None:
                return None
            if low > 0:
                return Range(low, high)
        # A place that only a belief lists is bounded like one that is not listed.
        # What the pools report beyond the network's hashrate makes that larger (method.md 8).
        unknown = max(0.0, 1 - known / max(1.0, coverage))
        return Range(0.0, min(1.0, unknown + self._anywhere(basis)))

    def _anywhere(self, basis: _Basis) -> Ratio:
        """Return how much is known only to be somewhere around this place, where nothing is."""
        countries = basis.low(self.world.shares)
        if self.inside is None or countries.get(self.country, 0.0) <= 0:
            return countries.get(OTHER, 0.0)
        inside = basis.low(self.inside.shares)
        exactly = max(0.0, countries[self.country] - sum(inside.values()))
        return exactly + inside.get(self.country + OTHER_SUFFIX, 0.0)


# --- one figure -----------------------------------------------------------------------------------


def _compared(figure: Figure, place: _Place) -> Comparison:
    of_country = figure.of == "country"
    row, world = place.row, place.world
    value = _value(figure, world)
    bounds = place.bounds(_MEASURED, of_country=of_country)
    declared = place.bounds(_DECLARED, of_country=of_country)
    belief = None if of_country or row is None or row.belief is None else Range(*row.belief)
    # Each publication lists other places, so its OTHER is another place.
    comparable = None if _is_other(figure.code) else value
    verdict = judge(comparable, bounds)
    return Comparison(
        line=figure.line,
        code=figure.code,
        name=name_of(figure.code),
        window=figure.window,
        of=figure.of,
        source=figure.source,
        note=figure.note,
        figure_low=None if value is None else value.low,
        figure_high=None if value is None else value.high,
        figure_hashrate=figure.hashrate,
        share=_share(row, of_country=of_country),
        low=None if bounds is None else bounds.low,
        high=None if bounds is None else bounds.high,
        declared_low=None if declared is None else declared.low,
        declared_high=None if declared is None else declared.high,
        belief=belief,
        evidence=None if row is None else row.evidence,
        verdict=verdict,
        reason=_reason(figure, value, bounds, verdict, world),
        declared_verdict=judge(comparable, declared),
        belief_verdict=judge(comparable, belief),
        coverage=world.coverage,
        coverage_stated=_is_stated(world),
        as_of=world.as_of,
        adjust=world.adjust,
        prior=world.prior,
        simulated=world.simulated,
    )


def _value(figure: Figure, world: Answer) -> Range | None:
    """Return a figure as shares; a hashrate is one only of a network that was measured."""
    if figure.hashrate is None:
        return figure.share
    if world.network is None or world.coverage is None or _is_stated(world):
        return None
    share = figure.hashrate / (world.network.hashrate * max(1.0, world.coverage))
    return Range(share, share)


def _share(row: ShareRow | None, *, of_country: bool) -> Ratio | None:
    if of_country:
        return row.share_of_country if isinstance(row, SubdivisionRow) else None
    return None if row is None else row.share


def _is_other(code: str) -> bool:
    return code == OTHER or code.endswith(OTHER_SUFFIX)


def _is_stated(world: Answer) -> bool:
    return world.network is not None and world.network.source == STATED


# --- reasons --------------------------------------------------------------------------------------


def _reason(
    figure: Figure, value: Range | None, bounds: Range | None, verdict: Verdict, world: Answer
) -> str:
    """Return the reason of a verdict in a sentence."""
    if verdict == CANNOT_SAY or value is None or bounds is None:
        return _why_not(figure, value, bounds, world)
    whole, elsewhere = "", "elsewhere"
    if figure.of == "country":
        whole, elsewhere = f" of {name_of(country_of(figure.code))}", "elsewhere in it"
    allowed = f"{percent(bounds.low)} to {percent(bounds.high)}{whole}"
    match verdict:
        case "outside" if value.low > 1 + SAME:
            return "That is more than the whole network has."
        case "outside" if value.low > bounds.high:
            return (
                f"At most {percent(bounds.high)}{whole} is possible, because the rest is measured "
                f"{elsewhere}."
            )
        case "outside":
            return f"At least {percent(bounds.low)}{whole} is there, by what was measured."
        case "partly":
            low, high = max(value.low, bounds.low), min(value.high, bounds.high)
            return (
                f"What was measured allows {allowed}: of {_text(value)}, only "
                f"{percent(low)} to {percent(high)} is possible."
            )
        case _:
            return f"What was measured allows {allowed}{_needed(figure, value, bounds)}."


def _why_not(figure: Figure, value: Range | None, bounds: Range | None, world: Answer) -> str:
    if _is_other(figure.code):
        return f"Every publication means other places by {figure.code}."
    window = f"the window {figure.window}"
    if not world.cohort and world.network is None:
        return f"No pool has data in {window}, and the network's hashrate is unknown."
    if world.network is None:
        return f"The network's hashrate in {window} is unknown, so nothing can be excluded."
    if value is None:
        return (
            "Only a coverage was stated, so the network's hashrate, which a hashrate is compared "
            "with, is unknown."
        )
    if bounds is None:
        return f"By what was measured, no hashrate is in {name_of(country_of(figure.code))}."
    return "What was measured excludes nothing."


def _needed(figure: Figure, value: Range, bounds: Range) -> str:
    """Return how much of what may be at the place has to be there for a share of the world."""
    free = bounds.high - bounds.low
    if figure.of == "country" or free <= SAME:
        return ""
    needed = [min(1.0, max(0.0, (end - bounds.low) / free)) for end in value]
    ends = " to ".join(dict.fromkeys(map(percent, needed)))
    return f"; {_text(value)} needs {ends} of the hashrate that may or may not be there"


def _text(value: Range) -> str:
    return " to ".join(dict.fromkeys(map(percent, value)))

"""What swings as Prometheus metrics: the status of the minute that was evaluated last.

There are series for what is compared in that minute, and no others: a place or a pool that is not
compared any more has none.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from prometheus_client.registry import Collector

from endpoint.http.exposition import gauge
from miningmap.places import country_of
from miningmap.swings import PlaceSwing, PoolSwing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from prometheus_client import Metric

    from miningmap.metrics import PoolSeries
    from miningmap.swings import PoolStatus, SwingStatus

MOST_CONTRIBUTIONS: Final = 10
"""How many pools have their contribution to a place's swing shown: enough to name who moved it."""

_PLACE: Final = ("country", "subdivision", "pair")
_POOL: Final = ("pool", "source", "pair")
_ROWS: Final = "subdivision is empty in a country's row, which includes its subdivisions."


class SwingCollector(Collector):
    """Collects the metrics of one status.

    Args:
        status: of the minute that was evaluated last; ``None`` if there is none.
        series: the pools and sources that have series.
    """

    def __init__(self, status: SwingStatus | None, series: PoolSeries) -> None:
        self._status = status
        self._series = series

    def collect(self) -> Iterable[Metric]:
        """Yield every metric family, without samples where nothing is compared or fires."""
        firing = () if self._status is None else self._status.firing
        places = [swing for swing in firing if isinstance(swing, PlaceSwing)]
        pools = [
            swing
            for swing in firing
            if isinstance(swing, PoolSwing) and self._series.has_source(swing.pool, swing.source)
        ]
        yield from self._evaluated()
        yield from _of_places(places)
        yield self._contributions(places)
        yield from _of_pools(pools)

    def _evaluated(self) -> Iterator[Metric]:
        """Yield the time of the status, and how far all places and pools are from their past."""
        status = self._status
        yield gauge(
            "miningmap_swing_evaluated_timestamp_seconds",
            "The minute for which swings were evaluated last; Unix time. It is usually one to "
            "three minutes ago.",
            (),
            () if status is None else [((), status.at.timestamp())],
        )
        yield gauge(
            "miningmap_swing_delta_ratio",
            "The place's share in the short window of the pair minus its share in the long one, "
            f"over the same pools by the same sources; -1 to 1. {_ROWS}",
            _PLACE,
            (
                (_place(each.place, each.pair), each.delta)
                for each in (status.places if status else ())
            ),
        )
        yield gauge(
            "miningmap_pool_swing_delta_ratio",
            "The pool's mean hashrate in the short window of the pair divided by that in the long "
            "one, minus 1, as the source reports it.",
            _POOL,
            (
                (_pool(each), each.delta)
                for each in (status.pools if status else ())
                if self._series.has_source(each.pool, each.source)
            ),
        )

    def _contributions(self, firing: Iterable[PlaceSwing]) -> Metric:
        return gauge(
            "miningmap_swing_contribution_ratio",
            "What the pool adds to the delta of a place whose swing is firing, at the newest event "
            f"of that swing; the {MOST_CONTRIBUTIONS} largest of each that are not 0. {_ROWS}",
            (*_PLACE, "pool"),
            (
                ((*_place(swing.place, swing.pair), contribution.pool), contribution.delta)
                for swing in firing
                for contribution in islice(swing.pools, MOST_CONTRIBUTIONS)
                # Every pool that takes part is listed; most of them are not at this place.
                if contribution.delta and self._series.has_pool(contribution.pool)
            ),
        )


def _of_places(firing: Sequence[PlaceSwing]) -> Iterator[Metric]:
    yield gauge(
        "miningmap_swing_active",
        "The severity of the place's swing while it is firing: 1, 3 or 5 percentage points. driver "
        "is own if the hashrate at the place explains the swing, and others if its share moved "
        f"because other places did. {_ROWS}",
        (*_PLACE, "driver"),
        (
            ((*_place(swing.place, swing.pair), swing.driver), swing.severity)
            for swing in firing
            if swing.driver is not None
        ),
    )
    yield gauge(
        "miningmap_swing_muted",
        "1 while the place's swing is firing and the operator mutes an annotation that concerns "
        f"it. {_ROWS}",
        _PLACE,
        ((_place(swing.place, swing.pair), 1) for swing in firing if swing.muted is True),
    )


def _of_pools(firing: Sequence[PoolSwing]) -> Iterator[Metric]:
    yield gauge(
        "miningmap_pool_swing_active",
        "The severity of the pool's swing while it is firing: 10, 25 or 50 percent.",
        _POOL,
        ((_pool(swing), swing.severity) for swing in firing),
    )
    yield gauge(
        "miningmap_pool_swing_muted",
        "1 while the pool's swing is firing and the operator mutes an annotation that concerns it.",
        _POOL,
        ((_pool(swing), 1) for swing in firing if swing.muted is True),
    )


def _place(code: str, pair: str) -> tuple[str, str, str]:
    country = country_of(code)
    return country, "" if code == country else code, pair


def _pool(each: PoolStatus | PoolSwing) -> tuple[str, str, str]:
    return each.pool, each.source, each.pair

"""Months in the shapes of CBECI's charts (JSON) and downloads (CSV, a form a version). Pure.

A month that is a table, as it was published, has the figures that were printed. Any other is
computed: in area charts and downloads it has CBECI's nine countries and eight provinces, and
``Other`` for the rest; in map charts every place that is listed.

CBECI spells the share of a place that it knows nothing of like that of one without hashrate,
``0%``, and a zero that was looked for, or a share that rounds to it, ``0.0%``. So it is here. A
hashrate that cannot be known, as the network's is not, is an empty cell, where CBECI would write 0.
In the download of hashrates alone and in JSON all that is unknown is empty or null, as there.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import msgspec

from miningmap.places import OTHER, OTHER_SUFFIX, country_of, is_country, name_of, world_bank_name
from miningmap.units import scale

if TYPE_CHECKING:
    from datetime import datetime

    from miningmap.messages import Published
    from streams.queries.months import Month

VERSIONS: Final = ("v1.1.0", "v1.1.1", "v1.2.0", "v1.5.0")

COUNTRIES: Final = ("CN", "US", "RU", "KZ", "MY", "IR", "CA", "DE", "IE")
INSIDE: Final = ("CN", "US")
"""The countries that CBECI looks into."""
PROVINCES: Final = ("CN-SC", "CN-XJ", "CN-YN", "CN-NM", "CN-GS", "CN-BJ", "CN-SX", "CN-QH")

_COUNTRY_NAMES: Final = {"CN": "Mainland China", "DE": "Germany *", "IE": "Ireland *"}
_AREA_NAMES: Final = {"CN-NM": "Nei Mongol"}
_EHS: Final = float(scale("EH/s"))


class Row(NamedTuple):
    """A place in the month that begins at ``start``.

    ``share`` is a ratio, of the world or of the place's country; ``hashrate`` is in EH/s.
    ``printed`` is the place's line in the table that the month is, if it is one.
    """

    start: datetime
    code: str
    share: float | None
    hashrate: float | None = None
    printed: Published | None = None


Rows: TypeAlias = Callable[["Month"], Sequence[Row]]
"""A month's rows, in order."""


class Chart(NamedTuple):
    """JSON: a point a row."""

    rows: Rows
    point: Callable[[Row], dict[str, object]]

    def body(self, rows: Iterable[Row]) -> bytes:
        """The chart of these rows."""
        return msgspec.json.encode({"data": list(map(self.point, rows))})


class Download(NamedTuple):
    """CSV: the month, the place, and its figures."""

    rows: Rows
    header: str
    cells: Callable[[Row], tuple[str, ...]]

    def body(self, rows: Iterable[Row]) -> bytes:
        """The file of these rows."""
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(self.header.split(","))
        lines.writerows((f"{r.start:%Y-%m-%d}", _area_name(r), *self.cells(r)) for r in rows)
        return text.getvalue().encode()


def bodies(months: Sequence[Month]) -> dict[str, bytes]:
    """All that CBECI has at its addresses, by their ends (:data:`SERVED`), of these months."""
    sorts = {served.rows for served in SERVED.values()}
    rows = {sort: [row for month in months for row in sort(month)] for sort in sorts}
    return {path: served.body(rows[served.rows]) for path, served in SERVED.items()}


# --- rows -----------------------------------------------------------------------------------------


def area_countries(month: Month) -> list[Row]:
    """CBECI's nine countries and Other, by share."""
    rows = _countries(month)
    if not month.published:
        rows = _folded(rows, COUNTRIES, OTHER)
    return sorted(rows, key=lambda row: -math.inf if row.share is None else row.share, reverse=True)


def map_countries(month: Month) -> list[Row]:
    """Every country that is listed, by code."""
    rows = (row for row in _countries(month) if is_country(row.code))
    return sorted(rows, key=lambda row: row.code)


def area_provinces(month: Month) -> list[Row]:
    """CBECI's eight provinces of China and Other."""
    rows = _inside(month, "CN")
    return rows if month.published else _folded(rows, PROVINCES, "CN" + OTHER_SUFFIX)


def area_states(month: Month) -> list[Row]:
    """Every state of the US that is listed, and Other."""
    return _inside(month, "US")


def map_provinces(month: Month) -> list[Row]:
    """Every province of China that is listed."""
    return _with_iso_code(_inside(month, "CN"))


def map_states(month: Month) -> list[Row]:
    """Every state of the US that is listed."""
    return _with_iso_code(_inside(month, "US"))


def _countries(month: Month) -> list[Row]:
    """Every country that is listed, and OTHER."""
    if month.published:
        lines = (line for line in month.published if line.code == country_of(line.code))
        return _printed(month, lines, {s.code: s.share for s in month.countries})
    ehs = None if month.network is None else month.network / _EHS
    return [
        Row(month.start, s.code, s.share, None if ehs is None else s.share * ehs)
        for s in month.countries
    ]


def _inside(month: Month, country: str) -> list[Row]:
    """Every subdivision that is listed, and XX-OTHER."""
    found = {s.code: s.share_of_country for s in month.inside[country]}
    if month.published:
        lines = (line for line in month.published if line.code.startswith(f"{country}-"))
        return _printed(month, lines, found)
    return [Row(month.start, code, share) for code, share in found.items()]


def _printed(
    month: Month, lines: Iterable[Published], computed: Mapping[str, float | None]
) -> list[Row]:
    """A table's lines. One of hashrates alone has the shares that follow from them."""
    return [
        Row(
            month.start,
            line.code,
            computed.get(line.code) if line.share is None else float(Decimal(line.share) / 100),
            None if line.hashrate is None else float(line.hashrate),
            line,
        )
        for line in lines
    ]


def _folded(rows: Sequence[Row], listed: Sequence[str], other: str) -> list[Row]:
    """Those that are listed, in that order, and all the rest as one; nothing of nothing.

    What no report names is unknown, not 0.
    """
    if not rows:
        return []
    start = rows[0].start
    known = {row.code: row for row in rows}
    rest = [row for row in rows if row.code not in listed]
    return [
        *(known.get(code, Row(start, code, None)) for code in listed),
        Row(start, other, _sum(r.share for r in rest), _sum(r.hashrate for r in rest)),
    ]


def _sum(figures: Iterable[float | None]) -> float | None:
    """Of unknown figures, as of none at all, the sum is unknown."""
    known = [figure for figure in figures if figure is not None]
    return math.fsum(known) if known else None


def _with_iso_code(rows: Iterable[Row]) -> list[Row]:
    """Without XX-OTHER, which is on no map."""
    return [row for row in rows if not row.code.endswith(OTHER_SUFFIX)]


# --- names and figures ----------------------------------------------------------------------------


def _country_name(code: str) -> str:
    return _COUNTRY_NAMES.get(code) or world_bank_name(code)


def _area_name(row: Row) -> str:
    if row.code.endswith(OTHER_SUFFIX):
        return name_of(OTHER)
    if row.code != country_of(row.code):
        return _AREA_NAMES.get(row.code) or name_of(row.code)
    return _country_name(row.code)


def _point(row: Row, figure: float | None, name: str) -> dict[str, object]:
    return {"x": round(row.start.timestamp() * 1000), "y": figure, "name": name}


def _area_point(row: Row) -> dict[str, object]:
    return _point(row, row.share, _area_name(row))


def _country_point(row: Row) -> dict[str, object]:
    return _area_point(row) | {"code": None if row.code == OTHER else row.code}


def _absolute_point(row: Row) -> dict[str, object]:
    return _country_point(row) | {"y": row.hashrate}


def _map_province_point(row: Row) -> dict[str, object]:
    return _point(row, row.share, name_of(row.code)) | {"code": row.code}


def _percent(row: Row) -> str:
    if row.printed is not None and row.printed.share is not None:
        return row.printed.share
    if row.share is None:
        return "0"
    percent = f"{100 * row.share:.2f}"
    return "0.0" if percent == "0.00" else percent


def _share(row: Row) -> tuple[str, ...]:
    return (_percent(row),)


def _hashrate(row: Row) -> tuple[str, ...]:
    if row.printed is not None and row.printed.hashrate is not None:
        return (row.printed.hashrate,)
    return ("" if row.hashrate is None else str(row.hashrate),)


def _share_and_hashrate(row: Row) -> tuple[str, ...]:
    (hashrate,) = ("0",) if row.share is None else _hashrate(row)
    return (f"{_percent(row)}%", f"{Decimal(hashrate):.2f}" if hashrate else "")


# --- what is where --------------------------------------------------------------------------------

_PLAIN: Final = Download(area_countries, "Date,Country,Share of global hashrate", _share)
_FULL: Final = Download(
    area_countries,
    "date,country,monthly_hashrate_%,monthly_absolute_hashrate_EH/S",
    _share_and_hashrate,
)
_ABSOLUTE: Final = Download(area_countries, "Date,Country,Estimated absolute hashrate", _hashrate)
_PROVINCES: Final = Download(area_provinces, "Date,Province,Share of Chinese hashrate", _share)
_STATES: Final = Download(area_states, "Date,State,US hashrate by state", _share)

DOWNLOADS: Final[dict[str, dict[str, Download]]] = {
    "mining_countries": {"v1.1.0": _PLAIN, "v1.1.1": _FULL, "v1.2.0": _FULL, "v1.5.0": _FULL},
    "absolute_mining_countries": dict.fromkeys(("v1.1.1", "v1.5.0"), _ABSOLUTE),
    "mining_provinces": dict.fromkeys(VERSIONS, _PROVINCES),
    "mining_provinces/cn": dict.fromkeys(VERSIONS, _PROVINCES),
    "mining_provinces/us": dict.fromkeys(VERSIONS, _STATES),
}
"""By name the versions that there are of it."""

CHARTS: Final[dict[str, Chart]] = {
    "mining_countries": Chart(area_countries, _country_point),
    "absolute_mining_countries": Chart(area_countries, _absolute_point),
    "mining_provinces": Chart(area_provinces, _area_point),
    "mining_provinces/cn": Chart(area_provinces, _area_point),
    "mining_provinces/us": Chart(area_states, _area_point),
    "mining_map_countries": Chart(map_countries, _country_point),
    "mining_map_provinces": Chart(map_provinces, _map_province_point),
    "mining_map_provinces/cn": Chart(map_provinces, _map_province_point),
    "mining_map_provinces/us": Chart(map_states, _map_province_point),
}

SERVED: Final[dict[str, Chart | Download]] = {
    **{f"charts/{name}": chart for name, chart in CHARTS.items()},
    **{
        f"{version}/download/{name}": download
        for name, versions in DOWNLOADS.items()
        for version, download in versions.items()
    },
}
"""By the end of its address."""

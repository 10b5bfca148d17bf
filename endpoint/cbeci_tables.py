"""Months in the formats of CBECI's charts (JSON) and downloads (CSV, one format per version). Pure.

A month for which a table was published has the figures of that table. All other months are
computed: area charts and downloads have CBECI's nine countries and eight provinces, and ``Other``
for the remainder; map charts have all listed places.

CBECI writes ``0%`` both for a place without data and for one without hashrate, and ``0.0%`` for a
measured zero or a share that rounds to zero. This module does the same. If the network's hashrate
is unknown, hashrates are empty cells (CBECI would write 0). In JSON and in the download of
hashrates alone, all unknown figures are null or empty, as in CBECI's.
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
COUNTRIES_WITH_SUBDIVISIONS: Final = ("CN", "US")
PROVINCES: Final = ("CN-SC", "CN-XJ", "CN-YN", "CN-NM", "CN-GS", "CN-BJ", "CN-SX", "CN-QH")

_COUNTRY_NAMES: Final = {"CN": "Mainland China", "DE": "Germany *", "IE": "Ireland *"}
_AREA_NAMES: Final = {"CN-NM": "Nei Mongol"}
_EHS: Final = float(scale("EH/s"))


class Row(NamedTuple):
    """A place in the month that begins at ``start``.

    ``share`` is a fraction of the world, or of the country of a subdivision; ``hashrate`` is in
    EH/s. ``published`` is the place's line in the published table, if there is one for the month.
    """

    start: datetime
    code: str
    share: float | None
    hashrate: float | None = None
    published: Published | None = None


Rows: TypeAlias = Callable[["Month"], Sequence[Row]]
"""Returns the rows of a month in order."""


class Chart(NamedTuple):
    """A chart in JSON, with one point per row."""

    rows: Rows
    point: Callable[[Row], dict[str, object]]

    def body(self, rows: Iterable[Row]) -> bytes:
        """Return the JSON of the chart with these rows."""
        return msgspec.json.encode({"data": list(map(self.point, rows))})


class Download(NamedTuple):
    """A table in CSV: the month, the place and its figures."""

    rows: Rows
    header: str
    cells: Callable[[Row], tuple[str, ...]]

    def body(self, rows: Iterable[Row]) -> bytes:
        """Return the CSV of the table with these rows."""
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(self.header.split(","))
        lines.writerows((f"{r.start:%Y-%m-%d}", _area_name(r), *self.cells(r)) for r in rows)
        return text.getvalue().encode()


def bodies(months: Sequence[Month]) -> dict[str, bytes]:
    """Return the body of each chart and download in :data:`TABLES` with these months, by path."""
    # Many tables have the same rows, so these are computed once.
    functions = {table.rows for table in TABLES.values()}
    rows = {rows_of: [row for month in months for row in rows_of(month)] for rows_of in functions}
    return {path: table.body(rows[table.rows]) for path, table in TABLES.items()}


# --- rows -----------------------------------------------------------------------------------------


def area_countries(month: Month) -> list[Row]:
    """Return CBECI's nine countries and Other, the largest share first."""
    rows = _countries(month)
    if not month.published:
        rows = _with_remainder(rows, COUNTRIES, OTHER)
    return sorted(rows, key=lambda row: -math.inf if row.share is None else row.share, reverse=True)


def map_countries(month: Month) -> list[Row]:
    """Return every listed country, by code."""
    rows = (row for row in _countries(month) if is_country(row.code))
    return sorted(rows, key=lambda row: row.code)


def area_provinces(month: Month) -> list[Row]:
    """Return CBECI's eight provinces of China and Other."""
    rows = _subdivisions(month, "CN")
    return rows if month.published else _with_remainder(rows, PROVINCES, "CN" + OTHER_SUFFIX)


def area_states(month: Month) -> list[Row]:
    """Return every listed state of the US, and Other."""
    return _subdivisions(month, "US")


def map_provinces(month: Month) -> list[Row]:
    """Return every listed province of China."""
    return _with_iso_code(_subdivisions(month, "CN"))


def map_states(month: Month) -> list[Row]:
    """Return every listed state of the US."""
    return _with_iso_code(_subdivisions(month, "US"))


def _countries(month: Month) -> list[Row]:
    """Return every listed country and OTHER."""
    if month.published:
        lines = (line for line in month.published if line.code == country_of(line.code))
        return _published(month, lines, {s.code: s.share for s in month.countries})
    ehs = None if month.network is None else month.network / _EHS
    return [
        Row(month.start, s.code, s.share, None if ehs is None else s.share * ehs)
        for s in month.countries
    ]


def _subdivisions(month: Month, country: str) -> list[Row]:
    """Return every listed subdivision and XX-OTHER."""
    shares = {s.code: s.share_of_country for s in month.subdivisions[country]}
    if month.published:
        lines = (line for line in month.published if line.code.startswith(f"{country}-"))
        return _published(month, lines, shares)
    return [Row(month.start, code, share) for code, share in shares.items()]


def _published(
    month: Month, lines: Iterable[Published], computed: Mapping[str, float | None]
) -> list[Row]:
    """Return the rows of a published table, with computed shares if it has only hashrates."""
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


def _with_remainder(rows: Sequence[Row], listed: Sequence[str], other: str) -> list[Row]:
    """Return the rows of the listed codes in that order, then the sum of all other rows.

    The figures of a listed code without a row are unknown, not 0. Without any row there is no
    remainder either.
    """
    if not rows:
        return []
    start = rows[0].start
    by_code = {row.code: row for row in rows}
    others = [row for row in rows if row.code not in listed]
    return [
        *(by_code.get(code, Row(start, code, None)) for code in listed),
        Row(start, other, _sum(r.share for r in others), _sum(r.hashrate for r in others)),
    ]


def _sum(figures: Iterable[float | None]) -> float | None:
    """Return the sum of the known figures, or ``None`` if all are unknown."""
    known = [figure for figure in figures if figure is not None]
    return math.fsum(known) if known else None


def _with_iso_code(rows: Iterable[Row]) -> list[Row]:
    """Return the rows without XX-OTHER, which cannot be drawn on a map."""
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
    if row.published is not None and row.published.share is not None:
        return row.published.share
    if row.share is None:
        return "0"
    percent = f"{100 * row.share:.2f}"
    return "0.0" if percent == "0.00" else percent


def _share(row: Row) -> tuple[str, ...]:
    return (_percent(row),)


def _hashrate(row: Row) -> tuple[str, ...]:
    if row.published is not None and row.published.hashrate is not None:
        return (row.published.hashrate,)
    return ("" if row.hashrate is None else str(row.hashrate),)


def _share_and_hashrate(row: Row) -> tuple[str, ...]:
    (hashrate,) = ("0",) if row.share is None else _hashrate(row)
    return (f"{_percent(row)}%", f"{Decimal(hashrate):.2f}" if hashrate else "")


# --- the tables -----------------------------------------------------------------------------------

_SHARES: Final = Download(area_countries, "Date,Country,Share of global hashrate", _share)
_SHARES_AND_HASHRATES: Final = Download(
    area_countries,
    "date,country,monthly_hashrate_%,monthly_absolute_hashrate_EH/S",
    _share_and_hashrate,
)
_HASHRATES: Final = Download(area_countries, "Date,Country,Estimated absolute hashrate", _hashrate)
_PROVINCES: Final = Download(area_provinces, "Date,Province,Share of Chinese hashrate", _share)
_STATES: Final = Download(area_states, "Date,State,US hashrate by state", _share)

DOWNLOADS: Final[dict[str, dict[str, Download]]] = {
    "mining_countries": {
        "v1.1.0": _SHARES,
        "v1.1.1": _SHARES_AND_HASHRATES,
        "v1.2.0": _SHARES_AND_HASHRATES,
        "v1.5.0": _SHARES_AND_HASHRATES,
    },
    "absolute_mining_countries": dict.fromkeys(("v1.1.1", "v1.5.0"), _HASHRATES),
    "mining_provinces": dict.fromkeys(VERSIONS, _PROVINCES),
    "mining_provinces/cn": dict.fromkeys(VERSIONS, _PROVINCES),
    "mining_provinces/us": dict.fromkeys(VERSIONS, _STATES),
}
"""The downloads by name and version."""

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

TABLES: Final[dict[str, Chart | Download]] = {
    **{f"charts/{name}": chart for name, chart in CHARTS.items()},
    **{
        f"{version}/download/{name}": download
        for name, versions in DOWNLOADS.items()
        for version, download in versions.items()
    },
}
"""All charts and downloads, by their path after the prefix."""

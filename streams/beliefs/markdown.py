"""``docs/beliefs.md``: the page of all shipped beliefs, made from their files. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from miningmap.units import format_hashrate
from streams.beliefs.rows import all_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import date

    from miningmap.api.models import BeliefRow
    from streams.beliefs.documents import BeliefsDocument

_PAGE: Final = """\
# Beliefs

This page lists all that the map believes about where hashrate is, beside what sources report.
`make docs` writes it from the files in `beliefs/`. [The method](method.md) says how beliefs are
used, [add-evidence.md](add-evidence.md) how to add one, and [SOURCES.md](../SOURCES.md) names the
terms of the sources. `miningmap beliefs` lists what counts today, and `/api/v1/beliefs` serves it.

A belief counts from the first of its days to the day before the last. A source is *primary* if it
is the one that knows; otherwise (*press*) somebody else repeats what it said. *Checked* is the day
on which somebody last read the source or a copy of it.
"""
_SECTIONS: Final = {
    "The network": """\
Distributions of the whole network. Of those in force the first is the default; it places what
nothing else does.""",
    "Pools": """\
Distributions of a whole pool: `declared` by the pool or by whoever operates its machines, or
assumed (`prior`).""",
    "Claims": """\
Floors: by its source, at least so much operates at a place. A claim within another one is about
some of the same machines.""",
    "Rules": "Corrections of what pools report.",
    "Parts": "Accounts that report as pools of their own, and the pools whose totals contain them.",
    "Annotations": """\
Calendars of what is known to move hashrate, in local time. They are shown on the swings of their
places and pools, and change no figure; `swings.muted` names those that should raise no alert.""",
}


def page(document: BeliefsDocument) -> str:
    """Return the page as Markdown."""
    sections: dict[str, list[BeliefRow]] = {title: [] for title in _SECTIONS}
    for row in all_rows(document):
        sections[_section_of(row)].append(row)
    parts = [_PAGE]
    for title, rows in sections.items():
        if rows:
            parts.append(f"## {title}\n\n{_SECTIONS[title]}\n\n{_table_of(_COLUMNS[title], rows)}")
    return "\n".join(parts)


def figures(row: BeliefRow) -> str:
    """Return the figures of a row in a line, such as ``US 36.7 %, RU 17.2 %``; empty for none."""
    if row.unit == "ratio":
        return ", ".join(f"{code} {100 * part:.4g} %" for code, part in row.figures.items())
    if row.unit == "H/s":
        return ", ".join(f"{code} {format_hashrate(h)}" for code, h in row.figures.items())
    if row.calendar is not None:
        return f"{' '.join((*(row.places or ()), *(row.pools or ())))} {row.calendar}"
    if row.part_of is not None:
        return f"{' '.join(row.pools or ())} is part of {row.part_of}"
    return f"{row.place} at {' '.join(row.pools) if row.pools else 'all pools'}"


def _section_of(row: BeliefRow) -> str:
    match row.kind, row.unit:
        case "rule", _:
            return "Rules"
        case "part", _:
            return "Parts"
        case "annotation", _:
            return "Annotations"
        case _, "H/s":
            return "Claims"
        case _:
            return "Pools" if row.pools else "The network"


def _table_of(columns: Mapping[str, Callable[[BeliefRow], str]], rows: Iterable[BeliefRow]) -> str:
    lines = [
        _line(columns),
        f"|{'---|' * len(columns)}",
        *(_line(cell(row) for cell in columns.values()) for row in rows),
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _source(row: BeliefRow) -> str:
    named = row.publisher or row.source
    text = f"[{named}]({row.source})" if row.source.startswith("https://") else named
    dates = [f"published {row.published}"] if row.published else []
    dates += [f"checked {row.checked}"] if row.checked else []
    kinds = {True: ["primary"], False: ["press"], None: []}[row.primary]
    licence = [f"licence: {row.licence}"] if row.licence else []
    return "; ".join([text, *kinds, *dates, *licence])


def _day(day: date | None) -> str:
    return "" if day is None else day.isoformat()


def _pools(row: BeliefRow) -> str:
    return ", ".join(row.pools or ())


_Columns: TypeAlias = "dict[str, Callable[[BeliefRow], str]]"
_ID: Final[_Columns] = {"belief": lambda row: f"`{row.id}`"}
_DAYS: Final[_Columns] = {"from": lambda row: _day(row.start), "until": lambda row: _day(row.until)}
_CITATION: Final[_Columns] = {
    "stated": lambda row: row.stated,
    "converted": lambda row: row.converted,
    "source": _source,
    "note": lambda row: row.note,
}
_COLUMNS: Final[dict[str, _Columns]] = {
    "The network": {**_ID, **_DAYS, "figures": figures, **_CITATION},
    "Pools": {**_ID, "kind": lambda row: row.kind, **_DAYS, "figures": figures, **_CITATION},
    "Claims": {
        **_ID,
        "subject": lambda row: row.subject,
        "at least": figures,
        **_DAYS,
        "pools": _pools,
        "within": lambda row: f"`{row.within}`" if row.within else "",
        **_CITATION,
    },
    "Rules": {
        **_ID,
        "place": lambda row: row.place or "",
        "pools": lambda row: _pools(row) or "all",
        **_CITATION,
    },
    "Parts": {
        "pool": lambda row: f"`{_pools(row)}`",
        "part of": lambda row: f"`{row.part_of}`",
    },
    "Annotations": {
        **_ID,
        "subject": lambda row: row.subject,
        "places": lambda row: ", ".join(row.places or ()),
        "pools": _pools,
        "calendar": lambda row: row.calendar or "",
        **_DAYS,
        "says": lambda row: row.text or "",
        **_CITATION,
    },
}

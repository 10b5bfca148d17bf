"""Where a record of a database of addresses says that an address is. Pure.

Databases have different records. MaxMind's name the country and its subdivisions by ISO codes,
DB-IP's the subdivisions by names alone, and IPinfo's are flat texts. All are read here, and so are
codes that ISO has replaced since the database was made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from miningmap import places
from miningmap.former_codes import FORMER, RENUMBERED, RENUMBERED_ON

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

_COUNTRY_FIELDS: Final = ("country_code", "country", "country_name")
_NAME_FIELDS: Final = ("region", "region_name", "state1", "state")
_CODE_FIELDS: Final = ("region_code",)
_NOTHING: Final = frozenset({"", "-"})  # IP2Location's way to leave a field out


class Location(NamedTuple):
    """The code of a place; ``not_understood`` is what its subdivision is called, if that failed."""

    code: str
    not_understood: str | None = None


class _Subdivision(NamedTuple):
    code: str | None
    name: str | None


def location_of(record: object, built: date) -> Location | None:
    """Return the place of a record: where the address is used, not where it is registered.

    Of nested subdivisions it is the outermost one. A subdivision that is not understood leaves the
    country, and is named.

    Args:
        record: of any of these databases.
        built: the day on which the database was made (UTC), which tells what its codes mean.

    Returns:
        ``None`` if the record names no country.
    """
    if isinstance(nested := _get(record, "geo"), dict):  # IPinfo's newer form
        record = nested
    country = _country(record)
    if country is None:
        return None
    named = [found for found in _subdivisions(record) if found.code or found.name]
    for subdivision in named:
        if code := _understood(country, subdivision, built):
            return Location(code)
    if not named or not places.has_subdivisions(country):
        return Location(country)
    return Location(country, f"{country}: {named[0].name or named[0].code}")


def code_of(country: str, code: str, built: date | None = None) -> str | None:
    """Return the place of a subdivision's code, a former one included, or ``None``.

    Args:
        country: its country.
        code: with or without the country, in any case.
        built: the day from which the code is; today, if left out.
    """
    full = places.full_code(country, code)
    if built is not None and built < RENUMBERED_ON and full in _RENUMBERED_CODES:
        return RENUMBERED.get(full)
    if places.is_subdivision(full):
        return places.outermost(full)
    now = places.own_country(full) or FORMER.get(full)
    return None if now is None else places.outermost(now)


# The codes that mean something else before and after the renumbering.
_RENUMBERED_CODES: Final = frozenset(RENUMBERED) | frozenset(RENUMBERED.values())


def _understood(country: str, subdivision: _Subdivision, built: date) -> str | None:
    by_name = _by_name(country, subdivision.name)
    if subdivision.code is None:
        return by_name
    code = places.full_code(country, subdivision.code)
    # A name tells which of both numberings a database follows, however late it changed.
    if by_name is not None and by_name in {RENUMBERED.get(code), code}:
        return by_name
    return code_of(country, subdivision.code, built) or by_name


def _by_name(country: str, name: str | None) -> str | None:
    """Return the place in the country that has this name, and no similar one."""
    if name is None:
        return None
    try:
        code = places.resolve(country, name)
    except places.UnknownPlaceError:
        return places.own_country_named(name, country)
    return None if code.endswith(places.OTHER_SUFFIX) else places.outermost(code)


def _country(record: object) -> str | None:
    described = _get(record, "country")
    texts = [_text(described, "iso_code"), *(_text(record, field) for field in _COUNTRY_FIELDS)]
    for text in texts:
        try:
            code = places.resolve(text) if text else places.OTHER
        except places.UnknownPlaceError:
            continue
        if code != places.OTHER:
            return code
    return None


def _subdivisions(record: object) -> Iterator[_Subdivision]:
    """Yield the subdivisions of a record, the largest first."""
    listed = _get(record, "subdivisions")
    for found in listed if isinstance(listed, list) else []:
        name = _text(_get(found, "names"), "en") or _text(found, "name")
        yield _Subdivision(_text(found, "iso_code"), name)
    yield _Subdivision(_first(record, _CODE_FIELDS), _first(record, _NAME_FIELDS))


def _first(record: object, fields: tuple[str, ...]) -> str | None:
    return next((text for field in fields if (text := _text(record, field))), None)


def _get(record: object, name: str) -> object:
    return record.get(name) if isinstance(record, dict) else None


def _text(record: object, name: str) -> str | None:
    value = _get(record, name)
    text = value.strip() if isinstance(value, str) else ""
    return None if text in _NOTHING else text

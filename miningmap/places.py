"""Places: ISO 3166-1 countries, ISO 3166-2 subdivisions, and the few codes that are neither.

``OTHER`` is located but in no listed country, ``CN-OTHER`` the same inside a country; both count in
denominators. ``UNKNOWN`` is not located and never does. Names come from pools and from the World
Bank's list, so :func:`resolve` takes what they write ("Iran, Islamic Rep.", "Nei Mongol").
"""

from __future__ import annotations

import difflib
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Final

import pycountry

OTHER: Final = "OTHER"
UNKNOWN: Final = "UNKNOWN"
OTHER_SUFFIX: Final = "-OTHER"

PROXY_SUSPECTED: Final = "proxy_suspected"
# Starred by CCAF: no large operations are known there, proxies and VPN exits are.
FLAGS: Final[dict[str, tuple[str, ...]]] = {"DE": (PROXY_SUSPECTED,), "IE": (PROXY_SUSPECTED,)}

# ISO lists these both as countries and as subdivisions of China; as countries they are comparable.
_COUNTRIES_OF_THEIR_OWN: Final = frozenset({"CN-HK", "CN-MO", "CN-TW"})
# Not in ISO 3166-1, but in the World Bank's list; XK is the code that all others use.
_KOSOVO: Final = "XK"

# What pools and the World Bank write, where ISO's own names do not say it. Lower case, no accents.
_COUNTRY_ALIASES: Final[dict[str, str]] = {
    "bahamas, the": "BS",
    "bolivia": "BO",
    "british virgin islands": "VG",
    "brunei": "BN",
    "brunei darussalam": "BN",
    "burma": "MM",
    "cape verde": "CV",
    "channel islands": OTHER,  # two ISO codes (GG, JE): located, but not in one listed country
    "china (mainland)": "CN",
    "congo, dem. rep.": "CD",
    "congo, rep.": "CG",
    "cote d'ivoire": "CI",
    "curacao": "CW",
    "czech republic": "CZ",
    "egypt, arab rep.": "EG",
    "england": "GB",
    "gambia, the": "GM",
    "great britain": "GB",
    "hong kong": "HK",
    "hong kong sar, china": "HK",
    "iran": "IR",
    "iran, islamic rep.": "IR",
    "ivory coast": "CI",
    "korea, dem. people's rep.": "KP",
    "korea, rep.": "KR",
    "kosovo": _KOSOVO,
    "kyrgyz republic": "KG",
    "lao pdr": "LA",
    "laos": "LA",
    "macao sar, china": "MO",
    "macau": "MO",
    "macedonia": "MK",
    "mainland china": "CN",
    "micronesia, fed. sts.": "FM",
    "moldova": "MD",
    "north korea": "KP",
    "other": OTHER,
    "palestine": "PS",
    "russia": "RU",
    "sint maarten": "SX",
    "slovak republic": "SK",
    "south korea": "KR",
    "st. kitts and nevis": "KN",
    "st. lucia": "LC",
    "st. martin (french part)": "MF",
    "st. vincent and the grenadines": "VC",
    "swaziland": "SZ",
    "syria": "SY",
    "taiwan": "TW",
    "taiwan, china": "TW",
    "tanzania": "TZ",
    "the bahamas": "BS",
    "the gambia": "GM",
    "the netherlands": "NL",
    "turkey": "TR",
    "uae": "AE",
    "uk": "GB",
    "united states of america": "US",
    "usa": "US",
    "venezuela": "VE",
    "venezuela, rb": "VE",
    "vietnam": "VN",
    "virgin islands (u.s.)": "VI",
    "west bank and gaza": "PS",
    "yemen, rep.": "YE",
}
_SUBDIVISION_ALIASES: Final[dict[str, dict[str, str]]] = {
    "CN": {
        "guangxi": "CN-GX",
        "inner mongolia": "CN-NM",
        "nei monggol": "CN-NM",
        "nei mongol": "CN-NM",
        "ningxia": "CN-NX",
        "tibet": "CN-XZ",
        "xinjiang": "CN-XJ",
    },
}
# How people write a place's name; ISO's own is for treaties.
_NAMES: Final[dict[str, str]] = {
    OTHER: "Other",
    UNKNOWN: "Unknown",
    _KOSOVO: "Kosovo",
    "BN": "Brunei",
    "CD": "Congo, Dem. Rep.",
    "FK": "Falkland Islands",
    "FM": "Micronesia",
    "HK": "Hong Kong",
    "MO": "Macao",
    "PS": "Palestine",
    "RU": "Russia",
    "SX": "Sint Maarten",
    "TR": "Türkiye",
    "VG": "British Virgin Islands",
    "VI": "U.S. Virgin Islands",
    "CN-GX": "Guangxi",
    "CN-NM": "Inner Mongolia",
    "CN-NX": "Ningxia",
    "CN-XJ": "Xinjiang",
    "CN-XZ": "Tibet",
}


@dataclass(frozen=True)
class Place:
    """A place as the API lists it; ``parent`` is its country, ``None`` for a country."""

    code: str
    name: str
    parent: str | None
    flags: tuple[str, ...]


class UnknownPlaceError(ValueError):
    """A name or code that is no place; the text names near matches where there are any."""


def country_of(code: str) -> str:
    """``CN`` for ``CN-SC``; a country, ``OTHER`` and ``UNKNOWN`` are their own."""
    return code.partition("-")[0]


def is_country(code: str) -> bool:
    """Whether this is an ISO 3166-1 alpha-2 code (or Kosovo's)."""
    return code in _countries()


def is_subdivision(code: str) -> bool:
    """Whether this is an ISO 3166-2 code, or ``XX-OTHER`` of a country."""
    if code.endswith(OTHER_SUFFIX):
        return is_country(code.removesuffix(OTHER_SUFFIX))
    return code in _subdivisions()


def is_locatable(code: str) -> bool:
    """Whether a report may place hashrate there: anything but ``UNKNOWN``."""
    return code == OTHER or is_country(code) or is_subdivision(code)


@cache
def name_of(code: str) -> str:
    """The name of a place, by its code."""
    if code in _NAMES:
        return _NAMES[code]
    if code.endswith(OTHER_SUFFIX):
        return f"Other in {name_of(country_of(code))}"
    return _subdivisions().get(code) or _countries().get(code) or code


def flags_of(code: str) -> tuple[str, ...]:
    """What a reader should know of a place's figures, such as ``proxy_suspected``."""
    return FLAGS.get(country_of(code), ())


@cache
def all_places() -> tuple[Place, ...]:
    """Every country and subdivision and the special codes, by code."""
    codes = [*_countries(), *_subdivisions(), OTHER]
    return tuple(
        Place(code, name_of(code), country_of(code) if "-" in code else None, flags_of(code))
        for code in sorted(codes)
    )


def resolve(country: str, province: str | None = None) -> str:
    """The code of a place by what people call it.

    Args:
        country: an ISO code, a World Bank name, or an alias ("Mainland China", "Germany *").
        province: free text inside the country, or ``None`` for all of it.

    Raises:
        UnknownPlaceError: no such place; the text lists near matches.
    """
    code = _lookup(country, _countries(), _country_names(), "country")
    if province is None:
        return code
    if code == OTHER:
        raise UnknownPlaceError("'Other' has no provinces")
    if _plain(province) == "other":
        return code + OTHER_SUFFIX
    codes = {c: n for c, n in _subdivisions().items() if country_of(c) == code}
    if f"{code}-{province.upper()}" in codes:
        return f"{code}-{province.upper()}"
    return _lookup(province, codes, _subdivision_names(code), f"subdivision of {code}")


def hint(code: str) -> str:
    """What is wrong with a code that is no place, and what was likely meant."""
    if code in _COUNTRIES_OF_THEIR_OWN:
        return f"use the country code {code[3:]}"
    if code == UNKNOWN:
        return "leave out what is not located"
    known = [*_countries(), *_subdivisions(), OTHER]
    near = difflib.get_close_matches(code.upper(), known, n=3)
    wanted = "an ISO 3166-1 or 3166-2 code, OTHER, or XX-OTHER is wanted"
    return f"{wanted}; near are {', '.join(near)}" if near else wanted


def _lookup(text: str, codes: dict[str, str], names: dict[str, str], what: str) -> str:
    if text.upper() in codes:
        return text.upper()
    plain = _plain(text)
    if plain in names:
        return names[plain]
    near = difflib.get_close_matches(plain, names, n=3)
    found = f"; near matches: {', '.join(f'{n} ({names[n]})' for n in near)}" if near else ""
    raise UnknownPlaceError(f"unknown {what}: {text[:64]!r}{found}")


def _plain(text: str) -> str:
    """Lower case, without accents, without the star that CCAF puts behind Germany and Ireland."""
    decomposed = unicodedata.normalize("NFKD", text)
    bare = "".join(c for c in decomposed if not unicodedata.combining(c))
    return bare.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").removesuffix("*").strip().lower()


@cache
def _countries() -> dict[str, str]:
    names = {c.alpha_2: getattr(c, "common_name", c.name) for c in pycountry.countries}
    return names | {_KOSOVO: "Kosovo"}


@cache
def _subdivisions() -> dict[str, str]:
    every = (s for s in pycountry.subdivisions if s.code not in _COUNTRIES_OF_THEIR_OWN)
    return {s.code: _short(s.code, s.name) for s in every}


def _short(code: str, name: str) -> str:
    """People write "Sichuan"; ISO writes "Sichuan Sheng" (province) and "Beijing Shi" (city)."""
    return name.removesuffix(" Sheng").removesuffix(" Shi") if code.startswith("CN-") else name


@cache
def _country_names() -> dict[str, str]:
    names = {_plain(c.name): c.alpha_2 for c in pycountry.countries}
    common = (c for c in pycountry.countries if hasattr(c, "common_name"))
    return names | {_plain(c.common_name): c.alpha_2 for c in common} | _COUNTRY_ALIASES


@cache
def _subdivision_names(country: str) -> dict[str, str]:
    own = [s for s in pycountry.subdivisions if s.country_code == country]
    names = {_plain(s.name): s.code for s in own if s.code in _subdivisions()}
    short = {_plain(_short(s.code, s.name)): s.code for s in own if s.code in _subdivisions()}
    return names | short | _SUBDIVISION_ALIASES.get(country, {})

"""Places: ISO 3166-1 countries, ISO 3166-2 subdivisions, and the few codes that are neither.

``OTHER`` is located, but in no listed country; ``CN-OTHER`` is in China, but in no listed
subdivision. Both count in denominators. ``UNKNOWN`` is not located and never counts.
:func:`resolve` accepts names as pools and the World Bank write them ("Iran, Islamic Rep.").
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final

import msgspec
import pycountry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OTHER: Final = "OTHER"
UNKNOWN: Final = "UNKNOWN"
OTHER_SUFFIX: Final = "-OTHER"

PROXY_SUSPECTED: Final = "proxy_suspected"
# CCAF marks these with a star: they have proxies and VPN exits, but no known large operations.
FLAGS: Final[dict[str, tuple[str, ...]]] = {"DE": (PROXY_SUSPECTED,), "IE": (PROXY_SUSPECTED,)}

# ISO lists these as countries and as subdivisions of China. Only the country codes are accepted, so
# that figures of different sources can be compared.
_COUNTRIES_ONLY: Final = frozenset({"CN-HK", "CN-MO", "CN-TW"})
_UNKNOWN_HINT: Final = "leave out hashrate that is not located"
# In errors: how many characters of a text are quoted, how many near matches are named, and how many
# first letters of a name are enough for a near match.
_LONGEST: Final = 64
_NEAR: Final = 3
_PREFIX: Final = 3
# Kosovo is not in ISO 3166-1, but in the World Bank's list; XK is the code in common use.
_KOSOVO: Final = "XK"

# The World Bank's names, which CBECI uses, where they differ from ISO's.
_WORLD_BANK: Final[dict[str, str]] = {
    "BS": "Bahamas, The",
    "VG": "British Virgin Islands",
    "CD": "Congo, Dem. Rep.",
    "CG": "Congo, Rep.",
    "CI": "Cote D'Ivoire",
    "CW": "Curacao",
    "CZ": "Czech Republic",
    "EG": "Egypt, Arab Rep.",
    "FM": "Micronesia, Fed. Sts.",
    "GM": "Gambia, The",
    "HK": "Hong Kong SAR, China",
    "IR": "Iran, Islamic Rep.",
    "KG": "Kyrgyz Republic",
    "KN": "St. Kitts and Nevis",
    "KP": "Korea, Dem. People's Rep.",
    "KR": "Korea, Rep.",
    "LA": "Lao PDR",
    "LC": "St. Lucia",
    "MF": "St. Martin (French part)",
    "MO": "Macao SAR, China",
    "PS": "West Bank and Gaza",
    "SK": "Slovak Republic",
    "SY": "Syrian Arab Republic",
    "TR": "Turkey",
    "TW": "Taiwan, China",
    "VC": "St. Vincent and the Grenadines",
    "VE": "Venezuela, RB",
    "VI": "Virgin Islands (U.S.)",
    "YE": "Yemen, Rep.",
}
# Other names that pools write: neither the World Bank's, nor ISO's, nor in _NAMES below. In lower
# case, without accents.
_COUNTRY_ALIASES: Final[dict[str, str]] = {
    "burma": "MM",
    "cape verde": "CV",
    "channel islands": OTHER,  # two countries in ISO 3166-1 (GG, JE)
    "china (mainland)": "CN",
    "england": "GB",
    "great britain": "GB",
    "ivory coast": "CI",
    "kosovo": _KOSOVO,
    "macau": "MO",
    "macedonia": "MK",
    "mainland china": "CN",
    "other": OTHER,
    "swaziland": "SZ",
    "the bahamas": "BS",
    "the gambia": "GM",
    "the netherlands": "NL",
    "uae": "AE",
    "uk": "GB",
    "united states of america": "US",
    "usa": "US",
}
# English names of subdivisions with miners, where ISO has only the local name.
_SUBDIVISION_ALIASES: Final[dict[str, dict[str, str]]] = {
    "AE": {"abu dhabi": "AE-AZ", "dubai": "AE-DU", "sharjah": "AE-SH"},
    "CN": {
        "guangxi zhuang": "CN-GX",
        "nei monggol": "CN-NM",
        "ningxia hui": "CN-NX",
        "xinjiang uyghur": "CN-XJ",
    },
    "DE": {
        "bavaria": "DE-BY",
        "hesse": "DE-HE",
        "lower saxony": "DE-NI",
        "north rhine-westphalia": "DE-NW",
        "saxony": "DE-SN",
    },
    "IR": {"isfahan": "IR-10"},
    "KZ": {
        "akmola": "KZ-11",
        "aktobe": "KZ-15",
        "east kazakhstan": "KZ-63",
        "karaganda": "KZ-35",
        "kostanay": "KZ-39",
        "mangystau": "KZ-47",
        "north kazakhstan": "KZ-59",
        "nur-sultan": "KZ-71",
        "west kazakhstan": "KZ-27",
    },
    "OM": {"dhofar": "OM-ZU", "muscat": "OM-MA"},
    "RU": {
        "buryatia": "RU-BU",
        "kemerovo": "RU-KEM",
        "khakassia": "RU-KK",
        "moscow": "RU-MOW",
        "moscow oblast": "RU-MOS",
        "moscow region": "RU-MOS",
        "saint petersburg": "RU-SPE",
        "st. petersburg": "RU-SPE",
    },
    "SE": {"norrbotten": "SE-BD", "vasterbotten": "SE-AC"},
    "US": {"washington dc": "US-DC", "washington, d.c.": "US-DC"},
}
# Words for the kind of a subdivision, which some write and some leave out. "City" is not one of
# them: Kansas City is not Kansas.
_KIND_WORDS: Final = re.compile(
    r"\b(autonomous|county|governorate|kra[iy]|oblast|oblysy|of|prefecture|province|region"
    r"|republic|respublika|state)\b|[',]"
)
# The ending of an adjective, such as "Irkutskaya".
_ADJECTIVE: Final = re.compile(r"(?<=sk)(aya|iy)\b")
# Common names, where ISO has a formal or a local one.
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


class Place(msgspec.Struct, frozen=True):
    """A place as the API lists it; ``parent`` is the country of a subdivision, else null."""

    code: str
    name: str
    parent: str | None
    flags: tuple[str, ...]


class UnknownPlaceError(ValueError):
    """A name or code is not a place; the text names near matches if there are any."""


def country_of(code: str) -> str:
    """The country of a subdivision; any other code is returned as it is."""
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


def world_bank_name(code: str) -> str:
    """The World Bank's name of a country, or :func:`name_of` if the World Bank lists none."""
    return _WORLD_BANK.get(code) or _countries().get(code) or name_of(code)


def flags_of(code: str) -> tuple[str, ...]:
    """Warnings about the figures of a place, such as ``proxy_suspected``."""
    return FLAGS.get(country_of(code), ())


@cache
def all_places() -> tuple[Place, ...]:
    """All countries, all subdivisions and ``OTHER``, in the order of their codes."""
    codes = [*_countries(), *_subdivisions(), OTHER]
    return tuple(
        Place(code, name_of(code), country_of(code) if "-" in code else None, flags_of(code))
        for code in sorted(codes)
    )


def resolve(country: str, province: str | None = None) -> str:
    """Find the code of a place by a name or code of it.

    Args:
        country: an ISO code, a World Bank name, or an alias ("Mainland China", "Germany *").
        province: a name or code inside the country, "Other", or ``None`` for the whole country.

    Raises:
        UnknownPlaceError: no place has this name, or several have it.
    """
    code = _lookup(country, None)
    if province is None:
        return code
    if code == OTHER:
        raise UnknownPlaceError(f"{country[:64]!r} has no provinces; leave the province null")
    other = code + OTHER_SUFFIX
    if plain_name(province) in {"other", other.lower(), plain_name(name_of(other))}:
        return other
    return _lookup(province, code)


def hint(code: str) -> str:
    """An explanation of why ``code`` is not a place, with near matches."""
    if code in _COUNTRIES_ONLY:
        return f"use the country code {code[3:]}"
    if code == UNKNOWN:
        return _UNKNOWN_HINT
    expected = "expected an ISO 3166-1 or 3166-2 code, OTHER, or XX-OTHER"
    country = country_of(code).upper()
    known = [country, *_subdivisions_of(country)] if is_country(country) else [*_countries(), OTHER]
    near = difflib.get_close_matches(code[:_LONGEST].upper(), known, n=3)
    return f"{expected}; near matches: {', '.join(near)}" if near else expected


def _lookup(text: str, country: str | None) -> str:
    """The code of a subdivision of ``country``, or of a country if that is ``None``."""
    plain = plain_name(text)
    found = (
        _codes_by_name(country).get(plain)
        or _codes_by_code(country).get(plain)
        or (country and _codes_by_bare_name(country).get(_bare(plain)))
        or ()
    )
    if len(found) == 1:
        return found[0]
    quoted, what = repr(text[:_LONGEST]), f"subdivision of {country}" if country else "country"
    if found:
        codes = ", ".join(found)
        raise UnknownPlaceError(f"more than one {what} is called {quoted}; send one of {codes}")
    raise UnknownPlaceError(f"unknown {what}: {quoted}{_remedy(plain[:_LONGEST], country)}")


@lru_cache(maxsize=1024)  # a misspelt name is in many rows of a file
def _remedy(plain: str, country: str | None) -> str:
    if plain == UNKNOWN.lower():
        return f"; {_UNKNOWN_HINT}"
    if country == "CN":
        for code in sorted(_COUNTRIES_ONLY):
            own = code.removeprefix("CN-")
            if own in _codes_by_name(None).get(plain, ()) or plain in {own.lower(), code.lower()}:
                return f"; use the country code {own}"
    names = _codes_by_name(country)
    longer = [name for name in names if len(plain) >= _PREFIX and name.startswith(plain)]
    similar = difflib.get_close_matches(plain, names, n=2 * _NEAR)
    codes = dict.fromkeys(code for name in longer + similar for code in names[name])
    near = ", ".join(f"{name_of(code)} ({code})" for code in list(codes)[:_NEAR])
    if near:
        return f"; near matches: {near}"
    if country is None:
        return ""
    if not names:
        return "; ISO 3166-2 has no subdivisions there; leave the province null"
    return "; the ISO 3166-2 code is accepted too"


def plain_name(text: str) -> str:
    """Normalise a name for comparison: lower case, without accents.

    The star that CCAF puts after Germany and Ireland is removed too.
    """
    decomposed = unicodedata.normalize("NFKD", text)
    bare = "".join(c for c in decomposed if not unicodedata.combining(c))
    straight = bare.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return " ".join(straight.strip().removesuffix("*").lower().split())


@cache
def _countries() -> dict[str, str]:
    names = {c.alpha_2: getattr(c, "common_name", c.name) for c in pycountry.countries}
    return names | {_KOSOVO: "Kosovo"}


@cache
def _subdivisions() -> dict[str, str]:
    return {
        code: _short(code, name)
        for code, name in _iso_names().items()
        if code not in _COUNTRIES_ONLY
    }


@cache
def _iso_names() -> dict[str, str]:
    return {s.code: s.name for s in pycountry.subdivisions}


def _subdivisions_of(country: str) -> Mapping[str, str]:
    return _subdivisions_by_country().get(country, {})


@cache
def _subdivisions_by_country() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for code, name in _subdivisions().items():
        found.setdefault(country_of(code), {})[code] = name
    return found


def _short(code: str, name: str) -> str:
    """A Chinese name without its kind: "Sichuan Sheng" (province), "Beijing Shi" (city)."""
    if not code.startswith("CN-"):
        return name
    return name.removesuffix(" Sheng").removesuffix(" Shi").removesuffix(" Zizhiqu")


@lru_cache(maxsize=512)  # more than there are countries
def _codes_by_name(country: str | None) -> dict[str, tuple[str, ...]]:
    """Codes by normalised name; ISO has some names twice ("Dhaka" is BD-13 and BD-C)."""
    pairs = _names_in(country) if country else _country_names()
    found: dict[str, tuple[str, ...]] = {}
    for name, code in sorted(set(pairs)):
        found[name] = (*found.get(name, ()), code)
    aliases = _SUBDIVISION_ALIASES.get(country, {}) if country else _COUNTRY_ALIASES
    return found | {name: (code,) for name, code in aliases.items()}


@lru_cache(maxsize=512)
def _codes_by_bare_name(country: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name, codes in _codes_by_name(country).items():
        bare = _bare(name)
        found[bare] = tuple(sorted({*found.get(bare, ()), *codes}))
    return found


def _bare(plain: str) -> str:
    """A subdivision's name without its kind: "irkutsk" for "irkutskaya oblast'"."""
    bare = " ".join(_ADJECTIVE.sub("", _KIND_WORDS.sub(" ", plain)).split())
    return bare or plain


def _country_names() -> Iterator[tuple[str, str]]:
    for code, name in _WORLD_BANK.items():
        yield plain_name(name), code
    for country in pycountry.countries:
        yield plain_name(country.name), country.alpha_2
        yield plain_name(_countries()[country.alpha_2]), country.alpha_2
        yield plain_name(name_of(country.alpha_2)), country.alpha_2


def _names_in(country: str) -> Iterator[tuple[str, str]]:
    for code, name in _subdivisions_of(country).items():
        yield plain_name(_iso_names()[code]), code
        yield plain_name(name), code
        yield plain_name(name_of(code)), code


@lru_cache(maxsize=512)
def _codes_by_code(country: str | None) -> Mapping[str, tuple[str, ...]]:
    """Codes by lower-case code; a subdivision's also without its country ("tx")."""
    if country is None:
        return {code.lower(): (code,) for code in [*_countries(), OTHER]}
    own = _subdivisions_of(country)
    bare = {code.partition("-")[2].lower(): (code,) for code in own}
    return bare | {code.lower(): (code,) for code in own}

"""Places: ISO 3166-1 countries, ISO 3166-2 subdivisions, and the few codes that are neither.

``OTHER`` is located, but in no listed country; ``CN-OTHER`` is in China, but in no listed
subdivision. Both count in denominators. ``UNKNOWN`` is not located and never counts.
:func:`resolve` accepts names as pools and the World Bank write them ("Iran, Islamic Rep.").
"""

from __future__ import annotations

import difflib
import math
import re
import unicodedata
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
import pycountry

from miningmap import place_names
from miningmap.former_codes import DIVIDED, DIVIDED_NAMES, FORMER

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping

K = TypeVar("K", bound="Hashable")

OTHER: Final = place_names.OTHER
UNKNOWN: Final = place_names.UNKNOWN
OTHER_SUFFIX: Final = "-OTHER"

PROXY_SUSPECTED: Final = "proxy_suspected"
# CCAF marks these with a star: they have proxies and VPN exits, but no known large operations.
FLAGS: Final[dict[str, tuple[str, ...]]] = {"DE": (PROXY_SUSPECTED,), "IE": (PROXY_SUSPECTED,)}

# ISO lists these as countries and as subdivisions of others. Only the country codes are accepted,
# so that figures of different sources can be compared.
_COUNTRIES_OF_THEIR_OWN: Final[dict[str, str]] = {
    "CN-HK": "HK",
    "CN-MO": "MO",
    "CN-TW": "TW",
    "FI-01": "AX",
    "FR-971": "GP",
    "FR-972": "MQ",
    "FR-973": "GF",
    "FR-974": "RE",
    "FR-976": "YT",
    "FR-BL": "BL",
    "FR-MF": "MF",
    "FR-NC": "NC",
    "FR-PF": "PF",
    "FR-PM": "PM",
    "FR-TF": "TF",
    "FR-WF": "WF",
    "NL-AW": "AW",
    "NL-BQ1": "BQ",
    "NL-BQ2": "BQ",
    "NL-BQ3": "BQ",
    "NL-CW": "CW",
    "NL-SX": "SX",
    "NO-21": "SJ",
    "NO-22": "SJ",
    "US-AS": "AS",
    "US-GU": "GU",
    "US-MP": "MP",
    "US-PR": "PR",
    "US-UM": "UM",
    "US-VI": "VI",
}
# Countries that people look for in another one; ISO lists them nowhere else.
_DEPENDENCIES: Final[dict[str, tuple[str, ...]]] = {
    "AU": ("CC", "CX", "HM", "NF"),
    "DK": ("FO", "GL"),
    "GB": (
        *("AI", "BM", "FK", "GG", "GI", "GS", "IM", "IO", "JE", "KY", "MS", "PN", "SH", "TC"),
        "VG",
    ),
    "NO": ("BV",),
    "NZ": ("CK", "NU", "TK"),
}
_NOT_SUBDIVISIONS: Final[dict[str, str]] = _COUNTRIES_OF_THEIR_OWN | {
    f"{country}-{own}": own for country, members in _DEPENDENCIES.items() for own in members
}
_UNKNOWN_HINT: Final = "leave out hashrate that is not located"
# In errors: how many characters of a text are quoted, how many near matches are named, and how many
# first letters of a name are enough for a near match.
_LONGEST: Final = 64
_NEAR: Final = 3
_PREFIX: Final = 3
# How alike two names of countries are at least, so that a suggestion is a correction of what was
# written: "Pery" and "Peru" are at 0.75, "Pery" and "Jersey" at 0.6.
_ALIKE: Final = 0.75
_ALIKE_DIRECTION: Final = 0.85  # "soth" is south, "coast" is not east
_ALIKE_INSIDE: Final = 0.7  # of subdivisions: "kansas city" and "arkansas" are at 0.63

# How tables mark a name that has a footnote: "Germany *", "China [1]", "Serbia 7/".
# No sign can be matched in two ways: with a "+" inside the outer one, a row of asterisks that
# something else follows would be divided in all ways, which takes for ever.
_FOOTNOTE: Final = re.compile(
    r"(?:\s*(?:[*†‡§¶#¹²³⁰⁴-⁹]|\[\w{1,3}\]|\(\d{1,2}\)|(?<=\s)\d{1,2}/?))+$"
)
_BRACKETED: Final = re.compile(r"(.*\S)\s*[(\[]([^()\[\]]+)[)\]]")
_FORMERLY: Final = re.compile(r"\s*(?:formerly|former|also|or|ex)\b[\s.-]*", re.IGNORECASE)
_APOSTROPHE: Final = re.compile(
    r"[`\u00b4\u02b9\u02bb\u02bc\u2018\u2019]"  # accents, primes and quotation marks
)
_DASH: Final = re.compile(r"[-\u2010-\u2015]")
# Letters that have no accent to remove.
_LETTERS: Final = str.maketrans(
    {"ł": "l", "ø": "o", "đ": "d", "\N{LATIN SMALL LETTER DOTLESS I}": "i", "æ": "ae", "ə": "a"}
)
_ABBREVIATIONS: Final[dict[str, str]] = {
    "st": "saint",
    "rep": "republic",
    "dem": "democratic",
    "fed": "federal",
    "federated": "federal",
    "sts": "states",
    "is": "islands",
    "island": "islands",
}
_SMALL_WORDS: Final = frozenset({"the", "of", "and"})
# Words of many countries' names; a name that is like another only in these is like it in nothing.
_FORMS_OF_STATE: Final = frozenset(
    {
        *("administrative", "arab", "bolivarian", "commonwealth", "democratic", "federal"),
        *("federation", "islamic", "kingdom", "peoples", "plurinational"),
        *("province", "region", "republic", "sar", "special"),
    }
)
# Words for the kind of a subdivision, which some write and some leave out. "City" is not one of
# them: Kansas City is not Kansas.
_KIND_WORDS: Final = re.compile(
    r"\b(autonomous|avtonomn[ay]ya?|canton|county|department|division|emirate|governorate|kra[iy]"
    r"|lan|municipality|oblast|oblysy|of|okrug|prefecture|province|region|republic|respublika"
    r"|state|voblasc|voivodeship|voivodship)\b|,"
)
# The ending of an adjective, such as "Irkutskaya".
_ADJECTIVE: Final = re.compile(r"(?<=sk)(aya|iy)\b")
# What ISO adds to a name: its code of another list, or the name in a second language.
_ADDITION: Final = re.compile(r"\s*\[([^\]]*)\]")


class Place(msgspec.Struct, frozen=True):
    """A place as the API lists it.

    ``parent`` is the place that directly contains it: a country or, of a subdivision inside another
    one, that one; null for a country. Hashrate counts at the outermost subdivision.
    """

    code: str
    name: str
    parent: str | None
    flags: tuple[str, ...]


class UnknownPlaceError(ValueError):
    """A name or code is not a place; the text names near matches if there are any."""


@lru_cache(maxsize=16_384)  # a history asks for some thousand places a million times
def country_of(code: str) -> str:
    """The country of a subdivision; any other code is returned as it is."""
    return code.partition("-")[0]


def outermost(code: str) -> str:
    """The subdivision that hashrate at ``code`` counts at: of nested ones, the outermost.

    Any code that is inside no other subdivision is returned as it is.
    """
    return _outermost().get(code, code)


def by_outermost(figures: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Add up the figures of places by the places that they count at (:func:`outermost`).

    The sums do not depend on the order of the figures.
    """
    parts: dict[str, list[float]] = {}
    for code, figure in figures:
        parts.setdefault(outermost(code), []).append(figure)
    return {code: math.fsum(figures) for code, figures in parts.items()}


def full_code(country: str, code: str) -> str:
    """The code of a subdivision in capitals and with its country: "KZ-AKM" of "akm"."""
    upper = code.upper()
    return upper if upper.startswith(f"{country}-") else f"{country}-{upper}"


def own_country(code: str) -> str | None:
    """The country code of what is a country, and no subdivision (``US-PR`` is ``PR``)."""
    return _NOT_SUBDIVISIONS.get(code)


def own_country_named(text: str, country: str) -> str | None:
    """The country of this name, if it is also a part of ``country``, as Greenland is of Denmark."""
    for code, own in _NOT_SUBDIVISIONS.items():
        if country_of(code) == country and (
            own in _named(text, None)
            or plain_name(text) in {code.lower(), code.partition("-")[2].lower()}
            or _words(text) == _words(_iso_names().get(code, own))
        ):
            return own
    return None


def is_country(code: str) -> bool:
    """Whether this is an ISO 3166-1 alpha-2 code (or Kosovo's)."""
    return code in _countries()


def is_subdivision(code: str) -> bool:
    """Whether this is an ISO 3166-2 code, or ``XX-OTHER`` of a country."""
    if code.endswith(OTHER_SUFFIX):
        return is_country(code.removesuffix(OTHER_SUFFIX))
    return code in _subdivisions()


def has_subdivisions(country: str) -> bool:
    """Whether ISO 3166-2 lists subdivisions of this country."""
    return bool(_subdivisions_of(country))


def is_locatable(code: str) -> bool:
    """Whether a report may place hashrate there: anything but ``UNKNOWN``."""
    return code == OTHER or is_country(code) or is_subdivision(code)


@cache
def name_of(code: str) -> str:
    """The name of a place, by its code."""
    if code in place_names.COMMON:
        return place_names.COMMON[code]
    if code.endswith(OTHER_SUFFIX):
        return f"Other in {name_of(country_of(code))}"
    return _subdivisions().get(code) or _countries().get(code) or code


def world_bank_name(code: str) -> str:
    """The World Bank's name of a country, or :func:`name_of` if the World Bank lists none."""
    return place_names.WORLD_BANK.get(code) or _countries().get(code) or name_of(code)


def flags_of(code: str) -> tuple[str, ...]:
    """Warnings about the figures of a place, such as ``proxy_suspected``."""
    return FLAGS.get(country_of(code), ())


@cache
def all_places() -> tuple[Place, ...]:
    """All countries, all subdivisions and ``OTHER``, in the order of their codes."""
    codes = [*_countries(), *_subdivisions(), OTHER]
    return tuple(
        Place(code, name_of(code), _parent(code), flags_of(code)) for code in sorted(codes)
    )


def resolve(country: str, province: str | None = None) -> str:
    """Find the code of a place by a name or code of it.

    Args:
        country: an ISO code of two or three letters, or a name as the UN, ISO, the World Bank or a
            database of addresses print it ("Iran (Islamic Republic of)", "Germany *").
        province: a name or code inside the country, "Other" or "Others", or ``None`` for the whole
            country. One inside another subdivision has the code of its own (:func:`outermost`).

    Raises:
        UnknownPlaceError: no place has this name, or several have it.
    """
    code = _lookup(country, None)
    if province is None:
        return code
    if code == OTHER:
        raise UnknownPlaceError(f"{country[:64]!r} has no provinces; leave the province null")
    other = code + OTHER_SUFFIX
    if plain_name(province) in {"other", "others", other.lower(), plain_name(name_of(other))}:
        return other
    return _lookup(province, code)


def hint(code: str) -> str:
    """An explanation of why ``code`` is not a place, with near matches."""
    plain = code[:_LONGEST].upper()
    if own := own_country(code):
        return f"use the country code {own}"
    if code == UNKNOWN:
        return _UNKNOWN_HINT
    if now := _now(plain):
        return now
    expected = "expected an ISO 3166-1 or 3166-2 code, OTHER, or XX-OTHER"
    country, dash, inside = plain.partition("-")
    # Also of three letters, and names: USA-TX, UK, China.
    named = _find(country, None)
    if len(named) != 1:
        return expected
    known = [named[0], *_subdivisions_of(named[0])]
    near = difflib.get_close_matches(f"{named[0]}{dash}{inside}", known, _NEAR)
    return f"{expected}; near matches: {', '.join(near)}" if near else expected


def _now(code: str) -> str | None:
    """What to use in place of a former code; ``None`` if it is none.

    It is said and not done, because who sends the code can tell whether it still fits: some
    subdivisions have lost a part since.
    """
    if now := FORMER.get(code):
        return f"a former code; use {now}"
    if parts := DIVIDED.get(code):
        return f"it was divided; use {' or '.join(parts)}"
    return None


def _instead(text: str, country: str) -> str | None:
    """What to use in place of a province that is no subdivision now, by its code or its name."""
    if own := own_country_named(text, country):
        return f"use the country code {own}"
    if now := _now(full_code(country, text.strip())):
        return now
    named = _bare(plain_name(text))
    for code, names in DIVIDED_NAMES.items():
        if country_of(code) == country and named in {_bare(plain_name(name)) for name in names}:
            return _now(code)
    return None


def _lookup(text: str, country: str | None) -> str:
    """The code of a subdivision of ``country``, or of a country if that is ``None``."""
    found = _find(text, country)
    if len(found) == 1:
        return found[0]
    quoted, what = repr(text[:_LONGEST]), f"subdivision of {country}" if country else "country"
    if found:
        codes = ", ".join(found)
        raise UnknownPlaceError(f"more than one {what} is called {quoted}; send one of {codes}")
    raise UnknownPlaceError(f"unknown {what}: {quoted}{_remedy(text[:_LONGEST], country)}")


def _find(text: str, country: str | None) -> tuple[str, ...]:
    """The codes of all places of this name; a text in brackets must be another name of the place.

    "Myanmar (Burma)" is one place, "China (mainland)" is a name of its own, and "Ireland (Ulster)"
    is neither.
    """
    bare = _FOOTNOTE.sub("", text[: 4 * _LONGEST].strip())
    for spelling in (text, bare):
        if found := _named(spelling, country):
            return found
    if match := _BRACKETED.fullmatch(bare):
        outside, inside = _named(match[1], country), _named(_FORMERLY.sub("", match[2]), country)
        return outside if outside == inside else ()
    return ()


def _named(text: str, country: str | None) -> tuple[str, ...]:
    plain = plain_name(text)
    if country is None:
        return _country_codes().get(plain) or _countries_by_words().get(_words(text)) or ()
    found = (
        _codes_by_name(country).get(plain)
        or _codes_by_code(country).get(plain)
        or _codes_by_bare_name(country).get(_bare(plain))
        or ()
    )
    # Of one name at two levels, the outer one is meant: "Dhaka" is a district in a division.
    outer = tuple(sorted({outermost(code) for code in found}))
    return outer if len(found) > 1 else found


@lru_cache(maxsize=1024)  # a misspelt name is in many rows of a file
def _remedy(text: str, country: str | None) -> str:
    plain = plain_name(text)
    if plain == UNKNOWN.lower():
        return f"; {_UNKNOWN_HINT}"
    if country is not None and (instead := _instead(text, country)):
        return f"; {instead}"
    near = _near_countries(text) if country is None else _near_subdivisions(text, country)
    if near:
        return "; near matches: " + ", ".join(f"{name_of(code)} ({code})" for code in near)
    if country is None:
        return ""
    if not _subdivisions_of(country):
        return "; ISO 3166-2 has no subdivisions there; leave the province null"
    return "; the ISO 3166-2 code is accepted too"


def _near_countries(text: str) -> list[str]:
    """Countries whose name is nearly this one, not counting what many countries are called."""
    if match := _BRACKETED.fullmatch(text):
        text = match[1]
    own, names = _own_words(text), _countries_by_own_words()
    if same := names.get(own):
        return list(same[:_NEAR])
    if len(own) < _PREFIX:
        return []
    longer = sorted((name for name in names if name.startswith(own)), key=len)
    similar = difflib.get_close_matches(own, names, n=2 * _NEAR, cutoff=_ALIKE)
    within = [word for word in own.split() if word in names]
    codes = (code for name in (*longer, *similar, *within) for code in names[name])
    return _nearest(text, codes, _directions_of_countries())


def _near_subdivisions(text: str, country: str) -> list[str]:
    bare, names = _bare(plain_name(text)), _codes_by_bare_name(country)
    shorter = [name for name in names if bare.startswith(f"{name} ")]
    longer = [name for name in names if len(bare) >= _PREFIX and name.startswith(bare)]
    similar = difflib.get_close_matches(bare, names, n=2 * _NEAR, cutoff=_ALIKE_INSIDE)
    codes = (code for name in (*shorter, *longer, *similar) for code in names[name])
    return _nearest(bare, codes, _directions_of_subdivisions(country))


def _nearest(
    text: str, codes: Iterable[str], directions: Mapping[str, frozenset[str]]
) -> list[str]:
    """The first different places that are in no other direction than ``text`` says.

    "South Java" looks like West Java, and is not there. "North Territory" may be Northern and be
    in the north-west.
    """
    said = _directions_meant(text)
    agreeing = (code for code in codes if said <= directions[code] or directions[code] <= said)
    return list(dict.fromkeys(agreeing))[:_NEAR]


def _directions(text: str) -> frozenset[str]:
    """The directions in a known name: north and west of "North-West"."""
    words = _direction_words()
    return frozenset(found for word in _plain_words(text) for found in words.get(word, ()))


def _directions_meant(text: str) -> frozenset[str]:
    """The directions in a name that may be misspelt: north of "Nort Dakota"."""
    words = _direction_words()
    near = (
        difflib.get_close_matches(word, words, n=1, cutoff=_ALIKE_DIRECTION)
        for word in _plain_words(text)
    )
    return frozenset(found for matches in near for match in matches for found in words[match])


def _plain_words(text: str) -> list[str]:
    return _DASH.sub(" ", plain_name(text).translate(_LETTERS)).split()


@cache
def _direction_words() -> dict[str, tuple[str, ...]]:
    words = {
        word: (direction,) for direction, names in place_names.DIRECTIONS.items() for word in names
    }
    return words | place_names.COMPOUND_DIRECTIONS


@cache
def _directions_of_countries() -> dict[str, frozenset[str]]:
    return _directions_of((name, code) for name, code in _country_names())


@lru_cache(maxsize=512)
def _directions_of_subdivisions(country: str) -> dict[str, frozenset[str]]:
    names = _codes_by_name(country)
    return _directions_of((name, code) for name, codes in names.items() for code in codes)


def _directions_of(names: Iterable[tuple[str, str]]) -> dict[str, frozenset[str]]:
    """The directions in all names of a place together, in whatever language, by its code."""
    found: dict[str, frozenset[str]] = {}
    for name, code in names:
        found[code] = found.get(code, frozenset()) | _directions(name)
    return found


def plain_name(text: str) -> str:
    """Normalise a name for comparison: lower case, without accents.

    The star that CCAF puts after Germany and Ireland is removed too.
    """
    decomposed = unicodedata.normalize("NFKD", text)
    bare = "".join(c for c in decomposed if not unicodedata.combining(c))
    straight = _APOSTROPHE.sub("'", bare)
    return " ".join(straight.strip().removesuffix("*").lower().split())


def _words(text: str) -> tuple[str, ...]:
    """The words of a country's name that matter, in one spelling and in no order."""
    return tuple(sorted(_spelt(text)))


def _own_words(text: str) -> str:
    """A country's name without the words that many names have: "korea" of "Korea, Rep."."""
    words = _spelt(text)
    return " ".join([word for word in words if word not in _FORMS_OF_STATE] or words)


def _spelt(text: str) -> list[str]:
    plain = plain_name(text).translate(_LETTERS)
    joined = re.sub(r"['.]", "", re.sub(r"\.(?=\w\w)", " ", plain))
    words = (_ABBREVIATIONS.get(word, word) for word in re.findall(r"\w+", joined))
    return [word for word in words if word not in _SMALL_WORDS]


@cache
def _countries() -> dict[str, str]:
    names = {c.alpha_2: getattr(c, "common_name", c.name) for c in pycountry.countries}
    return names | {place_names.KOSOVO: "Kosovo"}


@cache
def _alpha_3() -> dict[str, str]:
    return {c.alpha_3: c.alpha_2 for c in pycountry.countries}


@cache
def _subdivisions() -> dict[str, str]:
    return {
        code: _short(code, name)
        for code, name in _iso_names().items()
        if code not in _COUNTRIES_OF_THEIR_OWN
    }


@cache
def _iso_names() -> dict[str, str]:
    return {s.code: s.name for s in pycountry.subdivisions}


@cache
def _iso_kinds() -> dict[str, str]:
    return {s.code: plain_name(s.type) for s in pycountry.subdivisions}


@cache
def _parents() -> dict[str, str]:
    """The subdivision that directly contains a subdivision, for those inside another."""
    return {s.code: s.parent_code for s in pycountry.subdivisions if s.parent_code}


def _parent(code: str) -> str | None:
    if "-" not in code:
        return None
    return _parents().get(code, country_of(code))


@cache
def _outermost() -> dict[str, str]:
    parents = _parents()
    found = {}
    for code in parents:
        outer = code
        while outer in parents:
            outer = parents[outer]
        found[code] = outer
    return found


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
        return _ADDITION.sub("", name)
    return name.removesuffix(" Sheng").removesuffix(" Shi").removesuffix(" Zizhiqu")


# --- names to codes -------------------------------------------------------------------------------


@cache
def _country_codes() -> dict[str, tuple[str, ...]]:
    codes = {code: code for code in [*_countries(), OTHER]} | _alpha_3()
    return {written.lower(): (code,) for written, code in codes.items()}


@cache
def _countries_by_words() -> dict[tuple[str, ...], tuple[str, ...]]:
    """Codes by the words of a name, in order; "Korea" alone is two countries."""
    return _collected((_words(name), code) for name, code in _country_names())


@cache
def _countries_by_own_words() -> dict[str, tuple[str, ...]]:
    single = (
        (name, code)
        for name, code in _country_names()
        if len(_countries_by_words()[_words(name)]) == 1
    )
    return _collected((_own_words(name), code) for name, code in single)


def _country_names() -> Iterator[tuple[str, str]]:
    for country in pycountry.countries:
        code = country.alpha_2
        yield country.name, code
        yield getattr(country, "official_name", country.name), code
        yield _countries()[code], code
        yield name_of(code), code
        yield world_bank_name(code), code
    for code, names in place_names.COUNTRIES.items():
        yield from ((name, code) for name in names)


def _collected(pairs: Iterable[tuple[K, str]]) -> dict[K, tuple[str, ...]]:
    """Codes by name; a name of several places has all their codes, in order."""
    found: dict[K, set[str]] = {}
    for name, code in pairs:
        found.setdefault(name, set()).add(code)
    return {name: tuple(sorted(codes)) for name, codes in found.items()}


@lru_cache(maxsize=512)  # more than there are countries
def _codes_by_name(country: str) -> dict[str, tuple[str, ...]]:
    """Codes by normalised name; ISO has some names twice ("Dhaka" is BD-13 and BD-C)."""
    with_kinds = {
        f"{_bare(name)} {kind}": codes
        for (name, kind), codes in _collected(_names_and_kinds(country)).items()
    }
    names = _collected(_names_in(country))
    own = _collected(
        (plain_name(name), code)
        for code in _subdivisions_of(country)
        for name in place_names.SUBDIVISIONS.get(code, ())
    )
    return with_kinds | names | own


def _names_and_kinds(country: str) -> Iterator[tuple[tuple[str, str], str]]:
    """Names with ISO's word for what a subdivision is, such as "almaty" and "region"."""
    for code, name in _subdivisions_of(country).items():
        yield (_bare(plain_name(name)), _iso_kinds()[code]), code


@lru_cache(maxsize=512)
def _codes_by_bare_name(country: str) -> dict[str, tuple[str, ...]]:
    return _collected(
        (_bare(name), code) for name, codes in _codes_by_name(country).items() for code in codes
    )


def _bare(plain: str) -> str:
    """A subdivision's name without its kind: "irkutsk" for "irkutskaya oblast'"."""
    letters = _DASH.sub(" ", plain.replace("'", "")).translate(_LETTERS)
    bare = " ".join(_ADJECTIVE.sub("", _KIND_WORDS.sub(" ", letters)).split())
    return bare or plain


def _names_in(country: str) -> Iterator[tuple[str, str]]:
    for code, name in _subdivisions_of(country).items():
        full = _iso_names()[code]
        yield plain_name(full), code
        yield plain_name(name), code
        yield plain_name(name_of(code)), code
        yield from ((plain_name(second), code) for second in _ADDITION.findall(full))
        kept, comma, moved = name.partition(", ")
        if comma:  # "London, City of"
            yield plain_name(f"{moved} {kept}"), code


@lru_cache(maxsize=512)
def _codes_by_code(country: str) -> Mapping[str, tuple[str, ...]]:
    """Codes of subdivisions by lower-case code, also without the country ("tx")."""
    own = _subdivisions_of(country)
    bare = {code.partition("-")[2].lower(): (code,) for code in own}
    return bare | {code.lower(): (code,) for code in own}

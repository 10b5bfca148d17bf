"""The places that a query selects: by their codes, all countries, all of a country. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from miningmap import places
from streams.queries.parameters import Format, parse_country, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_TERMS: Final = 250
"""As many as there are countries."""

_EVERY: Final = "*"
_EVERY_SUBDIVISION: Final = "-*"
ESTIMATE: Final = 50
"""How many places of a parent are taken to be listed; the answer shows how many are."""

Parent: TypeAlias = "str | None"
"""The country of a subdivision; ``None`` for countries, as ``parent`` in ``/api/v1/places``."""


class PlaceSelection(NamedTuple):
    """The places that a query is about.

    Attributes:
        codes: the places that it names.
        parents: those of which it is about every place that is listed.
        is_one: whether it is written as a single place, such as ``US``.
    """

    codes: frozenset[str]
    parents: frozenset[Parent] = frozenset()
    is_one: bool = False

    @property
    def all_parents(self) -> frozenset[Parent]:
        """The parents of all the places."""
        return self.parents | {parent_of(code) for code in self.codes}

    @property
    def size(self) -> int:
        """The number of places; an estimate if not all are named."""
        return len(self.codes) + ESTIMATE * len(self.parents)

    def of_parent(self, parent: Parent) -> frozenset[str] | None:
        """Return the places of a parent that are named; ``None`` if it is about all of them."""
        if parent in self.parents:
            return None
        return frozenset(code for code in self.codes if parent_of(code) == parent)

    def among(self, listed: Iterable[str]) -> frozenset[str]:
        """Return the places that are named, and those of the parents that are listed."""
        return self.codes | {code for code in listed if parent_of(code) in self.parents}


def parent_of(code: str) -> Parent:
    """Return the country of a subdivision, or ``None`` if the place is a country."""
    country = places.country_of(code)
    return None if code == country else country


def _selection(text: str) -> PlaceSelection:
    # A comma at the end makes a list of one place.
    terms = text.removesuffix(",").split(",")
    if len(terms) > MAX_TERMS:
        raise ValueError(
            f"{len(terms)} places; expected at most {MAX_TERMS}: request the others separately"
        )
    codes: set[str] = set()
    parents: set[Parent] = set()
    for term in terms:
        if term == _EVERY:
            parents.add(None)
        elif term.endswith(_EVERY_SUBDIVISION):
            parents.add(parse_country(term.removesuffix(_EVERY_SUBDIVISION)))
        else:
            codes.add(_place(term))
    return PlaceSelection(
        frozenset(codes), frozenset(parents), is_one="," not in text and not parents
    )


def _place(text: str) -> str:
    if not places.is_locatable(text):
        raise ValueError(f"unknown place {quoted(text)}: {places.hint(text[:32])}")
    return places.outermost(text)


ONE_PLACE: Final = (
    "A place: a code of `/api/v1/places`, or `XX-OTHER` for all other places of a country. Of "
    "nested subdivisions the outermost is answered: `FR-IDF` for `FR-75C`."
)
"""The description of a parameter that is a place."""
PLACE: Final = Format(
    _place,
    {"type": "string", "pattern": "^(?:OTHER|[A-Z]{2}(?:-(?:OTHER|[A-Z0-9]{1,3}))?)$"},
)
_TERM: Final = r"(?:\*|OTHER|[A-Z]{2}(?:-(?:\*|OTHER|[A-Z0-9]{1,3}))?)"
PLACES: Final = Format(
    _selection,
    {"type": "string", "pattern": f"^{_TERM}(?:,{_TERM}){{0,{MAX_TERMS - 1}}},?$"},
)

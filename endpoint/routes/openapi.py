"""``/openapi.json``: this service as an OpenAPI 3.1 document.

A path that is served without a description in :mod:`endpoint.routes.descriptions` is an error at
the start. A path that is described but not served is left out.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import msgspec

from endpoint.http.representation import REVALIDATE, Representation
from endpoint.routes.descriptions import DESCRIBED, TAGS
from miningmap import __version__
from miningmap.api.models import (
    Answer,
    BeliefList,
    Contributions,
    Histories,
    History,
    PlaceList,
    PoolList,
    Problem,
    SubdivisionAnswer,
)
from miningmap.api.schemas import description_of, ref, schemas
from miningmap.places import all_places, is_country
from miningmap.swing_list import ListedPlaceSwing, ListedPoolSwing, SwingList

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiohttp import web
    from aiohttp.typedefs import Handler

    from endpoint.http.openapi_objects import Json

PATH: Final = "/openapi.json"

_ABOUT: Final = """\
Where Bitcoin's hashrate is, how certain that is, and which sources reported it. The API is read
only, and pages on every site may use it (CORS).

Times are UTC, hashrates are in H/s, shares are fractions of 1. `null` is unknown; `0` means that a
source looked and found none. A parameter that is unknown, repeated or invalid is answered with a
400 that names it. Errors are problem documents (RFC 9457), including those that no path lists: 404
for unknown paths, and 405 for methods that write.

Responses that may be cached have an `ETag`, for which `If-None-Match` gets a 304. Paths that end in
`.csv` have the same rows as the JSON, one figure per column; unknown figures are empty cells. Every
list has a fixed order. Only histories and swings grow with time; they are requested by range, so
there are no pages.
"""


class OpenApi:
    """Handler of ``/openapi.json``.

    Args:
        paths: every other path that the service serves.

    Raises:
        ValueError: one of the paths is not described.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        body = msgspec.json.encode(document((*paths, PATH)))
        self._document = Representation(body, "application/json", REVALIDATE)

    def routes(self) -> dict[str, Handler]:
        """Return the handler by path."""
        return {PATH: self.serve}

    async def serve(self, request: web.Request) -> web.Response:
        """Answer with the document."""
        return self._document.respond(request)


def document(paths: Iterable[str]) -> Json:
    """Return the document about these paths.

    Raises:
        ValueError: one of the paths is not described.
    """
    served = frozenset(paths)
    if missing := served - DESCRIBED.keys():
        raise ValueError(f"served, but not described for OpenAPI: {', '.join(sorted(missing))}")
    described = {path: description for path, description in DESCRIBED.items() if path in served}
    tags = {description.tag for description in described.values()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "miningmap",
            "version": __version__,
            "summary": "The live Bitcoin mining map.",
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": n, "description": text} for n, text in TAGS.items() if n in tags],
        "paths": {path: description.path_item(path) for path, description in described.items()},
        "components": {"schemas": _schemas()},
    }


def _schemas() -> Json:
    """Return the schemas of all bodies by name, and that of country codes."""
    types = (
        Answer,
        SubdivisionAnswer,
        History,
        Histories,
        Contributions,
        PoolList,
        PlaceList,
        BeliefList,
        ListedPlaceSwing,
        ListedPoolSwing,
        Problem,
    )
    codes = [place.code for place in all_places() if is_country(place.code)]
    countries = {"type": "string", "description": "A country, by ISO 3166-1.", "enum": codes}
    return {**schemas(types), SwingList.__name__: _swing_list(), "CountryCode": countries}


def _swing_list() -> Json:
    """Return the schema of a list of swings, which msgspec cannot make: it mixes two types."""
    time = {"type": "string", "format": "date-time"}
    item = {"oneOf": [ref(ListedPlaceSwing), ref(ListedPoolSwing)]}
    return {
        "title": SwingList.__name__,
        "description": description_of(SwingList),
        "type": "object",
        "properties": {
            "as_of": {"anyOf": [time, {"type": "null"}]},
            "swings": {"type": "array", "items": item},
        },
        "required": ["as_of", "swings"],
    }


if __name__ == "__main__":  # for `make check`
    sys.stdout.buffer.write(msgspec.json.encode(document(DESCRIBED)))

"""The page: a fixed list of files that are read at the start.

No part of a request's path is used as a file name.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Final

from endpoint.http.representation import REVALIDATE, Representation

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.typedefs import Handler

_FOLDER: Final = files("endpoint") / "page"
_SCRIPT: Final = "text/javascript; charset=utf-8"
FILES: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/docs": ("docs.html", "text/html; charset=utf-8"),
    "/page/style.css": ("style.css", "text/css; charset=utf-8"),
    "/page/main.js": ("main.js", _SCRIPT),
    "/page/format.js": ("format.js", _SCRIPT),
    "/page/docs.js": ("docs.js", _SCRIPT),
    "/page/docs.css": ("docs.css", "text/css; charset=utf-8"),
    "/page/icon.svg": ("icon.svg", "image/svg+xml"),
}
"""The name of the file and its media type, by path."""


def routes() -> dict[str, Handler]:
    """Return the handlers of the page's files by path."""
    return {path: _handler(*file) for path, file in FILES.items()}


def _handler(name: str, content_type: str) -> Handler:
    file = Representation((_FOLDER / name).read_bytes(), content_type, REVALIDATE)

    async def serve(request: web.Request) -> web.Response:
        return file.respond(request)

    return serve

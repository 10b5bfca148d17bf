"""The page: a fixed list of files, made by `make page`, that are read at the start.

No part of a request's path is used as a file name.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Final

from endpoint.http.headers import CONTENT_SECURITY_POLICY
from endpoint.http.representation import REVALIDATE, Representation

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.typedefs import Handler

_FOLDER: Final = files("endpoint") / "page" / "built"
_HTML: Final = "text/html; charset=utf-8"
_SCRIPT: Final = "text/javascript; charset=utf-8"
_STYLE: Final = "text/css; charset=utf-8"
JSON: Final = "application/json"
FILES: Final = {
    "/": ("index.html", _HTML),
    "/docs": ("docs.html", _HTML),
    "/method": ("method.html", _HTML),
    "/page/style.css": ("style.css", _STYLE),
    "/page/main.js": ("main.js", _SCRIPT),
    "/page/chunk.js": ("chunk.js", _SCRIPT),
    "/page/drawing.js": ("drawing.js", _SCRIPT),
    "/page/map-world.json": ("map-world.json", JSON),
    "/page/map-cn.json": ("map-cn.json", JSON),
    "/page/map-us.json": ("map-us.json", JSON),
    "/page/docs.js": ("docs.js", _SCRIPT),
    "/page/docs.css": ("docs.css", _STYLE),
    "/page/notices.txt": ("notices.txt", "text/plain; charset=utf-8"),
    "/page/icon.svg": ("icon.svg", "image/svg+xml"),
}
"""The name of the file and its media type, by path."""

_POLICY: Final = "Content-Security-Policy"
_EMBEDDABLE: Final = CONTENT_SECURITY_POLICY.replace("frame-ancestors 'none'", "frame-ancestors *")
"""The view for frames of other sites, which has nothing that a click there could misuse."""


def routes() -> dict[str, Handler]:
    """Return the handlers of the page's files by path."""
    return {path: _handler(*file) for path, file in FILES.items()}


def _handler(name: str, content_type: str) -> Handler:
    file = Representation((_FOLDER / name).read_bytes(), content_type, REVALIDATE)

    async def serve(request: web.Request) -> web.Response:
        response = file.respond(request)
        if name == "index.html" and request.query.get("embed") == "1":
            response.headers[_POLICY] = _EMBEDDABLE
        return response

    return serve

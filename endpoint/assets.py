"""The page: a fixed list of files, read at start. No path of a request ever becomes a file's."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Final

from endpoint.representation import REVALIDATE, Representation

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.typedefs import Handler

_FOLDER: Final = files(__package__) / "page"
_SCRIPT: Final = "text/javascript; charset=utf-8"
_FILES: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page/style.css": ("style.css", "text/css; charset=utf-8"),
    "/page/main.js": ("main.js", _SCRIPT),
    "/page/format.js": ("format.js", _SCRIPT),
    "/page/icon.svg": ("icon.svg", "image/svg+xml"),
}


def routes() -> dict[str, Handler]:
    """Handlers of the page's files by path."""
    return {path: _handler(*described) for path, described in _FILES.items()}


def _handler(name: str, content_type: str) -> Handler:
    file = Representation((_FOLDER / name).read_bytes(), content_type, REVALIDATE)

    async def serve(request: web.Request) -> web.Response:
        return file.answer(request)

    return serve

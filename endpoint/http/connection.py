"""Whether the client of a request is still connected."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web


def still_connected(request: web.Request) -> Callable[[], bool]:
    """Return a function that says whether the client still waits for the response."""
    return partial(_has_transport, request)


def _has_transport(request: web.Request) -> bool:
    return request.transport is not None

"""Headers of every response, including errors and the event stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web
from multidict import CIMultiDict, CIMultiDictProxy

if TYPE_CHECKING:
    from miningmap.licences import Licence

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Browsers may only run, show and request what this service itself serves."""

SERVER_NAME: Final = "miningmap"
"""Replaces aiohttp's name and version, which would help an attacker."""

COMMON: Final = CIMultiDictProxy(
    CIMultiDict(
        {
            # Every page on any site may read the responses.
            hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*",
            hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: (
                "ETag, Link, RateLimit, RateLimit-Policy, Retry-After"
            ),
            hdrs.CACHE_CONTROL: "no-store",
            "Content-Security-Policy": CONTENT_SECURITY_POLICY,
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
    )
)
"""The defaults: a header that a response sets itself takes precedence."""


QUOTA: Final = web.RequestKey("quota", dict[str, str])
"""The headers with the quota of the client of a request; none if the limit does not apply to it."""


def add_common(headers: CIMultiDict[str]) -> None:
    """Add what every response has to its headers."""
    headers.merge(COMMON)
    headers[hdrs.SERVER] = SERVER_NAME


def licence_link(licence: Licence) -> str:
    """Return the value of a ``Link`` header that names a licence (RFC 8288)."""
    return f'<{licence.url}>; rel="license"'

"""Headers that every answer carries, errors and the stream included."""

from __future__ import annotations

from typing import Final

from aiohttp import hdrs

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing but this service's own files runs, is shown or is asked."""

COMMON: Final[dict[str, str]] = {
    # Anyone may read it from any page, and no browser guesses at it.
    hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*",
    hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: "ETag, RateLimit, RateLimit-Policy, Retry-After",
    hdrs.CACHE_CONTROL: "no-store",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "no-referrer",
    hdrs.SERVER: "miningmap",  # the library and its version are nobody's business
    "X-Content-Type-Options": "nosniff",
}

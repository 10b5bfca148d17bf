"""The usual ways to put credentials into a request."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from collector.sources.base import Request, Secrets


def credentials_in(
    *,
    path: str = "",
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Callable[[Request, Secrets, datetime], Request]:
    """Return an ``authorise`` that fills these templates and adds them to the request.

    Args:
        path: template of the end of the path; the request's URL must have no query.
        query: names of parameters and templates; the request's URL must have a query already.
        headers: header names and templates, like ``{"Authorization": "Bearer {token}"}``.
    """

    def authorise(request: Request, secrets: Secrets, _now: datetime) -> Request:
        url = request.url + path.format_map({n: quote(s, safe="") for n, s in secrets.items()})
        if query:
            url += "&" + urlencode(_filled(query, secrets), quote_via=quote)
        added = _filled(headers or {}, secrets)
        return replace(request, url=url, headers={**request.headers, **added})

    return authorise


def hmac_sha256(secret: str, text: str) -> str:
    """Return the HMAC-SHA256 signature of a text, in hexadecimal."""
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def _filled(templates: Mapping[str, str], secrets: Secrets) -> dict[str, str]:
    return {name: template.format_map(secrets) for name, template in templates.items()}

"""OpenAPI objects of which the descriptions of paths consist: headers, contents, responses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from endpoint.http import csv
from endpoint.http.rate_limit import EXEMPT
from miningmap.api.columns import columns
from miningmap.api.models import PROBLEM_CONTENT_TYPE, Problem
from miningmap.api.schemas import ref

if TYPE_CHECKING:
    from miningmap.api.models import Table

Json: TypeAlias = Mapping[str, Any]

_JSON: Final = "application/json"


def header_parameter(name: str, description: str) -> Json:
    """Return the parameter object of a request header."""
    return {"name": name, "in": "header", "description": description, "schema": {"type": "string"}}


def json_content(schema: Json) -> Json:
    """Return the content of a JSON body."""
    return {_JSON: {"schema": schema}}


def text_content(media_type: str, description: str) -> Json:
    """Return the content of a body that is not JSON."""
    return {
        media_type.partition(";")[0]: {"schema": {"type": "string", "description": description}}
    }


def csv_content(*kinds: type[Table]) -> Json:
    """Return the content of a list as CSV; ``kinds`` are the possible types of the list."""
    headers = (",".join(columns(kind.table_fields())) for kind in kinds)
    return text_content(csv.CONTENT_TYPE, "; or ".join(f"`{header}`" for header in headers))


def problem_response(description: str, headers: Json | None = None) -> Json:
    """Return the response object of an error."""
    content = {PROBLEM_CONTENT_TYPE: {"schema": ref(Problem)}}
    response = {"description": description, "content": content}
    return response | {"headers": headers} if headers else response


def _header(description: str, schema: Json | None = None) -> Json:
    return {"description": description, "required": True, "schema": schema or {"type": "string"}}


_SECONDS: Final = {"type": "integer", "minimum": 1}
RETRY_AFTER: Final = {"Retry-After": _header("Seconds to wait before the next request.", _SECONDS)}
BAD_REQUEST: Final = {
    HTTPStatus.BAD_REQUEST: problem_response("A parameter is invalid; `parameter` names it.")
}
NO_REDIS: Final = {
    HTTPStatus.SERVICE_UNAVAILABLE: problem_response(
        "Redis, which stores all figures, is unavailable or being filled again.", RETRY_AFTER
    )
}
NO_REDIS_OR_BUSY: Final = {
    HTTPStatus.SERVICE_UNAVAILABLE: problem_response(
        "Redis, which stores all figures, is unavailable; or, with the `reason` `busy`, too much "
        "is being computed, and the same request can be answered later.",
        RETRY_AFTER,
    )
}

_CACHE_CONTROL: Final = {"Cache-Control": _header("How long the response may be cached.")}
_CACHED: Final = {
    **_CACHE_CONTROL,
    "ETag": _header("Identifies these bytes."),
    "Vary": _header("`Accept-Encoding`: the body is gzipped if the client accepts that."),
}
_LICENCE: Final = {
    "Link": _header('The licence of the figures: its address, with `rel="license"`.')
}
_IF_NONE_MATCH: Final = header_parameter(
    "If-None-Match", "The `ETag` of the body that the client has."
)
_METHODS: Final = {
    "description": "The allowed methods.",
    "headers": {"Allow": _header("The allowed methods.")},
}
_TOO_MANY: Final = {
    HTTPStatus.TOO_MANY_REQUESTS: problem_response(
        "The client exceeded the rate limit, if there is one; `cost` is what the answer costs "
        "beyond the request, if it costs more.",
        RETRY_AFTER
        | {
            "RateLimit": _header("The remaining quota; also sent with every other response."),
            "RateLimit-Policy": _header("The number of requests allowed in a number of seconds."),
        },
    )
}


@dataclass(frozen=True, kw_only=True)
class PathDescription:
    """The description of one path: the responses to ``GET``, and to ``HEAD`` without bodies.

    Attributes:
        summary: one line.
        tag: the name of the group of paths.
        content: the content of a 200, by media type.
        parameters: the parameters of the request.
        others: the responses other than 200 and 304, by status.
        has_etag: whether the body has an ETag, so that 304 is a possible response.
        has_figures: whether there are figures in the body, which are under a licence.
    """

    summary: str
    tag: str
    content: Json
    parameters: tuple[Json, ...] = ()
    others: Mapping[HTTPStatus, Json] = field(default_factory=dict)
    has_etag: bool = True
    has_figures: bool = False

    def path_item(self, path: str) -> Json:
        """Return the OpenAPI path item object."""
        common = {"summary": self.summary, "tags": [self.tag]}
        parameters = [*self.parameters, _IF_NONE_MATCH] if self.has_etag else [*self.parameters]
        limited = {} if path in EXEMPT else _TOO_MANY
        responses = _by_code(self._responses() | limited)
        options = _by_code({HTTPStatus.NO_CONTENT: _METHODS} | limited)
        name = path.strip("/").replace("/", ".") or "index.html"
        return {
            "get": {
                "operationId": name,
                **common,
                "parameters": parameters,
                "responses": responses,
            },
            "head": {
                "operationId": f"HEAD.{name}",
                **common,
                "parameters": parameters,
                "responses": {code: _without_body(r) for code, r in responses.items()},
            },
            "options": {
                "operationId": f"OPTIONS.{name}",
                **common,
                "parameters": [_any_value(p) for p in self.parameters if p["in"] == "path"],
                "responses": options,
            },
        }

    def _responses(self) -> dict[HTTPStatus, Json]:
        headers = _CACHED if self.has_etag else _CACHE_CONTROL
        if self.has_figures:
            headers = headers | _LICENCE
        responses: dict[HTTPStatus, Json] = {
            HTTPStatus.OK: {
                "description": self.summary,
                "headers": headers,
                "content": self.content,
            }
        }
        if self.has_etag:
            responses[HTTPStatus.NOT_MODIFIED] = {
                "description": "The client has the current body.",
                "headers": headers,
            }
        return responses | dict(self.others)


def _by_code(responses: Mapping[HTTPStatus, Json]) -> dict[str, Json]:
    return {str(int(status)): responses[status] for status in sorted(responses)}


def _any_value(parameter: Json) -> Json:
    """Return the parameter as it is for a method that ignores its value."""
    return {**parameter, "schema": {"type": "string"}}


def _without_body(response: Json) -> Json:
    return {name: value for name, value in response.items() if name != "content"}

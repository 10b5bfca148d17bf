"""What this service answers, as an OpenAPI 3.1 document: ``/openapi.json``.

Answers are described by the types that they are made from, parameters by what they are compared
with. What a path says of itself stands in :data:`_DESCRIBED`; to serve one that does not stand
there is an error at start. A path that stands there and is not served is left out.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeAlias, get_args

import msgspec

from endpoint.cbeci_tables import CHARTS, DOWNLOADS
from endpoint.http import csv
from endpoint.http.rate_limit import EXEMPT
from endpoint.http.representation import REVALIDATE, Representation
from endpoint.routes import cbeci, page
from miningmap import __version__
from miningmap.api.columns import columns
from miningmap.api.models import (
    PROBLEM_CONTENT_TYPE,
    Adjust,
    Answer,
    History,
    Level,
    PlaceList,
    Point,
    PoolList,
    PoolState,
    Problem,
    ShareRow,
    Step,
    SubdivisionAnswer,
    SubdivisionRow,
)
from miningmap.api.schemas import ref, schemas
from miningmap.places import Place, all_places, is_country
from streams.method.windows import ROLLING
from streams.queries.history import MAX_POINTS

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.typedefs import Handler

Json: TypeAlias = Mapping[str, Any]

PATH: Final = "/openapi.json"

_JSON: Final = "application/json"
_ABOUT: Final = """\
Where Bitcoin's hashrate is, how sure that is, and who said so. Read only, and open to every page
(CORS).

Times are UTC, hashrates are in H/s, shares are ratios. `null` is unknown; `0` means that somebody
looked and there was none. A parameter that does not exist, is given twice or has a value that is
not allowed is a 400 that names it. Errors are problem documents (RFC 9457), also those that stand
at no path: 404 where there is nothing, and 405 for methods that write.

What may be kept has an `ETag`, which `If-None-Match` turns into a 304. The `.csv` twins have the
rows of the JSON, one figure a column; unknown is an empty cell. Every list is in a fixed order.
Only a history grows with time: it is read range by range, so there are no pages.
"""
_TAGS: Final = {
    "map": "Shares, and what they rest on.",
    "cbeci": "The addresses and shapes of Cambridge's CBECI, for its clients.",
    "operation": "For those who run the service.",
    "page": "For people.",
}


class OpenApi:
    """Handler of ``/openapi.json``.

    Args:
        paths: all that the service serves, this one left out.

    Raises:
        ValueError: one of them is not described.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        body = msgspec.json.encode(document((*paths, PATH)))
        self._document = Representation(body, _JSON, REVALIDATE)

    def routes(self) -> dict[str, Handler]:
        """Handlers by path."""
        return {PATH: self.serve}

    async def serve(self, request: web.Request) -> web.Response:
        """The document."""
        return self._document.answer(request)


def document(paths: Iterable[str]) -> Json:
    """The document about these paths.

    Raises:
        ValueError: one of them is not described.
    """
    served = frozenset(paths)
    if missing := served - _DESCRIBED.keys():
        raise ValueError(f"served, but not described for OpenAPI: {', '.join(sorted(missing))}")
    described = {path: said for path, said in _DESCRIBED.items() if path in served}
    tags = {said.tag for said in described.values()}
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
        "tags": [{"name": n, "description": text} for n, text in _TAGS.items() if n in tags],
        "paths": {path: said.item(path) for path, said in described.items()},
        "components": {"schemas": _schemas()},
    }


def described_paths() -> frozenset[str]:
    """All paths that can be described, whether or not they are served."""
    return frozenset(_DESCRIBED)


# --- parameters -----------------------------------------------------------------------------------

_YEAR: Final = "(?:000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})"
_LEAP_YEAR: Final = (
    "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
)
_MONTH: Final = f"{_YEAR}-(?:0[1-9]|1[0-2])"
_DAY: Final = (
    f"(?:{_YEAR}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])"
    f"|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)|{_LEAP_YEAR}-02-29)"
)
_PLACE: Final = "^(?:OTHER|[A-Z]{2}(?:-(?:OTHER|[A-Z0-9]{1,3}))?)$"
_LEFT_OUT: Final = {"const": "", "description": "As if left out."}
_MOMENT: Final = {"type": "string", "format": "date-time"}
_DATE: Final = {"type": "string", "format": "date"}


def _query(name: str, description: str, schema: Json, *, required: bool = False) -> Json:
    said = {"name": name, "in": "query", "description": description, "schema": schema}
    return said | {"required": True} if required else said


def _header_parameter(name: str, description: str) -> Json:
    return {"name": name, "in": "header", "description": description, "schema": {"type": "string"}}


def _choice(name: str, description: str, allowed: object) -> Json:
    """A parameter with the values of a ``Literal``, of which the first is the default."""
    values = get_args(allowed)
    schema = {"type": "string", "enum": list(values), "default": values[0]}
    return _query(name, description, schema)


_ROLLING: Final = {"type": "string", "enum": list(ROLLING)}
_ADJUST: Final = _choice(
    "adjust", "`published` applies the published relabelling rules, `none` none.", Adjust
)
_SHARES: Final = (
    _query(
        "window",
        "The time that the figures are means over: a rolling window, a month, a day or an hour.",
        {
            "anyOf": [
                _ROLLING,
                {"type": "string", "pattern": f"^{_MONTH}$", "description": "YYYY-MM"},
                {"type": "string", "pattern": f"^{_DAY}$", "description": "YYYY-MM-DD"},
                {
                    "type": "string",
                    "pattern": f"^{_DAY}T(?:[01][0-9]|2[0-3])$",
                    "description": "YYYY-MM-DDTHH",
                },
            ],
            "default": "1h",
            "examples": ["24h", "2026-10", "2026-11-22", "2026-11-22T14"],
        },
    ),
    _choice("level", "Countries, or the subdivisions of one `country`.", Level),
    _query(
        "country",
        "Whose subdivisions. Goes with `level=subdivision`, and only with it.",
        {
            "anyOf": [
                ref("CountryCode"),
                _LEFT_OUT,
            ],
            "examples": ["CN"],
        },
    ),
    _ADJUST,
    _query(
        "as_of",
        "The moment that is asked about; now, if left out. Minutes are kept for 48 hours: for "
        "older moments ask for a month, a day or an hour by `window`.",
        {"anyOf": [_MOMENT, _LEFT_OUT], "examples": ["2026-11-22T15:00:00Z"]},
    ),
)
_HISTORY: Final = (
    _query(
        "code",
        "The place: a code of `/api/v1/places`, or `XX-OTHER` for what is elsewhere in a country.",
        {"type": "string", "pattern": _PLACE, "examples": ["US", "CN-SC"]},
        required=True,
    ),
    _choice("step", "The length of a bucket. Hours are kept for 35 days.", Step),
    _query(
        "from",
        "The first bucket is the one that contains it. A date is its first moment. If left out, "
        "there are 48 hours, 30 days or 12 months.",
        {"anyOf": [_DATE, _MOMENT, _LEFT_OUT], "examples": ["2026-11-01"]},
    ),
    _query(
        "to",
        "The last bucket is the one before it, or that contains it; now, if left out. It is after "
        f"`from`, and by at most {MAX_POINTS} buckets.",
        {"anyOf": [_DATE, _MOMENT, _LEFT_OUT], "examples": ["2026-11-22T15:00:00Z"]},
    ),
    _ADJUST,
)
_IF_NONE_MATCH: Final = _header_parameter("If-None-Match", "The `ETag` of what the client has.")


# --- answers --------------------------------------------------------------------------------------


def _header(description: str, schema: Json | None = None) -> Json:
    return {"description": description, "required": True, "schema": schema or {"type": "string"}}


_CACHE_CONTROL: Final = {"Cache-Control": _header("How long the answer may be kept.")}
_KEPT: Final = {
    **_CACHE_CONTROL,
    "ETag": _header("Stands for these bytes."),
    "Vary": _header("`Accept-Encoding`: gzip, if the client takes that."),
}
_SECONDS: Final = {"type": "integer", "minimum": 1}
_RETRY_AFTER: Final = {"Retry-After": _header("Seconds after which to ask again.", _SECONDS)}
_METHODS: Final = {
    "description": "The methods there are.",
    "headers": {"Allow": _header("The methods there are.")},
}


def _problem(description: str, headers: Json | None = None) -> Json:
    content = {PROBLEM_CONTENT_TYPE: {"schema": ref(Problem)}}
    said = {"description": description, "content": content}
    return said | {"headers": headers} if headers else said


_BAD_REQUEST: Final = {
    HTTPStatus.BAD_REQUEST: _problem("A parameter is wrong; `parameter` names it.")
}
_NO_REDIS: Final = {
    HTTPStatus.SERVICE_UNAVAILABLE: _problem(
        "Redis, which holds all figures, does not answer.", _RETRY_AFTER
    )
}


def _json(schema: Json) -> Json:
    return {_JSON: {"schema": schema}}


_TOO_MANY: Final = {
    HTTPStatus.TOO_MANY_REQUESTS: _problem(
        "More requests a minute than one client may make, if there is a limit.",
        _RETRY_AFTER
        | {
            "RateLimit": _header("What is left; on every other answer too."),
            "RateLimit-Policy": _header("How many there may be in how many seconds."),
        },
    )
}


def _text(media_type: str, description: str) -> Json:
    """The content of a body that is no JSON."""
    return {
        media_type.partition(";")[0]: {"schema": {"type": "string", "description": description}}
    }


def _csv(*rows: type[msgspec.Struct]) -> Json:
    """The content of a CSV twin; ``rows`` are the types that its lines can be of."""
    headers = (",".join(columns(row.__struct_fields__)) for row in rows)
    return _text(csv.CONTENT_TYPE, "; or ".join(f"`{header}`" for header in headers))


def _schemas() -> Json:
    """The types of all answers by name, and the one long list of values."""
    kinds = (Answer, SubdivisionAnswer, History, PoolList, PlaceList, Problem)
    codes = [place.code for place in all_places() if is_country(place.code)]
    countries = {"type": "string", "description": "A country, by ISO 3166-1.", "enum": codes}
    return {**schemas(kinds), "CountryCode": countries}


# --- paths ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Described:
    """One path, as ``GET`` answers there; ``HEAD`` answers alike, without a body.

    Attributes:
        summary: one line.
        tag: one of :data:`_TAGS`.
        content: of a 200, by media type.
        parameters: of the request.
        others: what else there is to be answered, by status.
        tagged: whether the body has an ETag, so that there is a 304.
    """

    summary: str
    tag: str
    content: Json
    parameters: tuple[Json, ...] = ()
    others: Mapping[HTTPStatus, Json] = field(default_factory=dict)
    tagged: bool = True

    def item(self, path: str) -> Json:
        """The path item object."""
        common = {"summary": self.summary, "tags": [self.tag]}
        asked = [*self.parameters, _IF_NONE_MATCH] if self.tagged else [*self.parameters]
        limited = {} if path in EXEMPT else _TOO_MANY
        answers = _by_code(self._answers() | limited)
        options = _by_code({HTTPStatus.NO_CONTENT: _METHODS} | limited)
        name = path.strip("/").replace("/", ".") or "index.html"
        return {
            "get": {"operationId": name, **common, "parameters": asked, "responses": answers},
            "head": {
                "operationId": f"HEAD.{name}",
                **common,
                "parameters": asked,
                "responses": {code: _bodiless(said) for code, said in answers.items()},
            },
            "options": {
                "operationId": f"OPTIONS.{name}",
                **common,
                "parameters": [_any(said) for said in self.parameters if said["in"] == "path"],
                "responses": options,
            },
        }

    def _answers(self) -> dict[HTTPStatus, Json]:
        answers: dict[HTTPStatus, Json] = {
            HTTPStatus.OK: {
                "description": self.summary,
                "headers": _KEPT if self.tagged else _CACHE_CONTROL,
                "content": self.content,
            }
        }
        if self.tagged:
            answers[HTTPStatus.NOT_MODIFIED] = {
                "description": "The client has it.",
                "headers": _KEPT,
            }
        return answers | dict(self.others)


def _by_code(answers: Mapping[HTTPStatus, Json]) -> dict[str, Json]:
    return {str(int(status)): answers[status] for status in sorted(answers)}


def _any(parameter: Json) -> Json:
    """A parameter whose value makes no difference."""
    return {**parameter, "schema": {"type": "string"}}


def _bodiless(answer: Json) -> Json:
    return {name: said for name, said in answer.items() if name != "content"}


def _twins(
    path: str,
    summary: str,
    json: Json,
    csv: Json,
    *,
    parameters: tuple[Json, ...] = (),
    others: Mapping[HTTPStatus, Json] = _BAD_REQUEST | _NO_REDIS,
) -> dict[str, Described]:
    """A list as JSON and as CSV."""
    return {
        f"{path}{suffix}": Described(
            summary=f"{summary}{words}.",
            tag="map",
            content=content,
            parameters=parameters,
            others=others,
        )
        for suffix, words, content in (("", "", _json(json)), (".csv", ", as CSV", csv))
    }


# Tools that read event streams take the schema for that of one event.
_EVENT: Final = {
    "type": "object",
    "description": "A server-sent event; its data is JSON.",
    "properties": {
        "id": {"type": "string"},
        "event": {"enum": ["shares", "gap"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "retry": {"type": "integer", "description": "How soon to come back, in ms."},
    },
}


def _map() -> dict[str, Described]:
    stream = Described(
        summary="Events as they happen: `shares` at each snapshot.",
        tag="map",
        content={"text/event-stream": {"schema": _EVENT}},
        parameters=(
            _query("window", "Of the shares that are told.", {**_ROLLING, "default": "1h"}),
            _header_parameter("Last-Event-ID", "The last event that the client has."),
        ),
        others=_BAD_REQUEST
        | {
            HTTPStatus.SERVICE_UNAVAILABLE: _problem(
                "Too many clients listen, or Redis does not answer.", _RETRY_AFTER
            )
        },
        tagged=False,
    )
    return {
        **_twins(
            "/api/v1/shares",
            "Where the hashrate is, by country or by a country's subdivisions",
            {"anyOf": [ref(SubdivisionAnswer), ref(Answer)]},
            _csv(ShareRow, SubdivisionRow),
            parameters=_SHARES,
        ),
        **_twins(
            "/api/v1/history",
            "One place's share, bucket by bucket; a bucket without data is null",
            ref(History),
            _csv(Point),
            parameters=_HISTORY,
        ),
        **_twins("/api/v1/pools", "How each pool is doing", ref(PoolList), _csv(PoolState)),
        **_twins(
            "/api/v1/places",
            "Every place that a report can name",
            ref(PlaceList),
            _csv(Place),
            others=_BAD_REQUEST,
        ),
        "/api/v1/stream": stream,
    }


_CBECI_POINT: Final = {
    "type": "object",
    "properties": {
        "x": {"type": "integer", "description": "The first of the month, in Unix milliseconds."},
        "y": {
            "type": ["number", "null"],
            "description": "A share of the world, or of the country; in `absolute_...` EH/s.",
        },
        "name": {"type": "string"},
        "code": {"type": ["string", "null"]},
    },
    "required": ["x", "y", "name"],
}


def _cbeci() -> dict[str, Described]:
    points = {
        "type": "object",
        "properties": {"data": {"type": "array", "items": _CBECI_POINT}},
        "required": ["data"],
    }
    unknown = {
        "description": "CBECI has no such version of it.",
        "content": {
            **_json({"type": "object", "properties": {"error": {"const": "Not Implemented"}}}),
            PROBLEM_CONTENT_TYPE: {"schema": ref(Problem)},
        },
    }
    described = {
        f"{cbeci.PREFIX}/charts/{name}": Described(
            summary=f"CBECI's chart `{name}`.", tag="cbeci", content=_json(points), others=_NO_REDIS
        )
        for name in CHARTS
    }
    for name, versions in DOWNLOADS.items():
        version = {
            "name": "version",
            "in": "path",
            "required": True,
            "description": "CBECI's version, which decides on the form.",
            "schema": {"type": "string", "enum": list(versions), "examples": [max(versions)]},
        }
        described[f"{cbeci.PREFIX}/{{version}}/download/{name}"] = Described(
            summary=f"CBECI's table `{name}`, as CSV.",
            tag="cbeci",
            content=_text(csv.CONTENT_TYPE, "With CBECI's header, which depends on the version."),
            parameters=(version,),
            others={HTTPStatus.NOT_FOUND: unknown} | _NO_REDIS,
        )
    return described


def _operation() -> dict[str, Described]:
    metrics = {
        media_type: {"schema": {"type": "string"}}
        for media_type in ("text/plain", "application/openmetrics-text")
    }
    unready = _problem("Not fit to serve; `detail` says why.", _RETRY_AFTER)
    return {
        "/metrics": Described(
            summary="Prometheus metrics, in the format that `Accept` asks for.",
            tag="operation",
            content=metrics,
            others=_NO_REDIS,
        ),
        "/healthz": Described(
            summary="Alive.",
            tag="operation",
            content=_text("text/plain", "`alive`"),
            tagged=False,
        ),
        "/readyz": Described(
            summary="Fit to serve: Redis answers, and its snapshot is fresh.",
            tag="operation",
            content=_text("text/plain", "`ready`"),
            others={HTTPStatus.SERVICE_UNAVAILABLE: unready},
            tagged=False,
        ),
        PATH: Described(
            summary="This document.", tag="operation", content=_json({"type": "object"})
        ),
    }


def _page() -> dict[str, Described]:
    return {
        path: Described(summary=f"`{name}`.", tag="page", content=_text(media_type, "The file."))
        for path, (name, media_type) in page.FILES.items()
    }


_DESCRIBED: Final = {**_map(), **_cbeci(), **_operation(), **_page()}


if __name__ == "__main__":  # for `make check`
    sys.stdout.buffer.write(msgspec.json.encode(document(described_paths())))

"""The OpenAPI description of each path, from the types and parameters that the code uses."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from endpoint.cbeci_tables import CHARTS, DOWNLOADS
from endpoint.http import csv
from endpoint.http.openapi_objects import (
    BAD_REQUEST,
    NO_REDIS,
    NO_REDIS_OR_BUSY,
    RETRY_AFTER,
    Json,
    PathDescription,
    csv_content,
    header_parameter,
    json_content,
    problem_response,
    text_content,
)
from endpoint.routes import cbeci, page
from endpoint.routes.api import PREFIX
from endpoint.routes.stream import StreamParameters
from miningmap.api.models import (
    PROBLEM_CONTENT_TYPE,
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
from miningmap.api.schemas import ref
from miningmap.swing_list import SwingList
from streams.queries.contributions import ContributionsParameters
from streams.queries.history import HistoryParameters
from streams.queries.parameters import BeliefsParameters, Parameters, SharesParameters
from streams.queries.pools import PoolsParameters
from streams.queries.swing_list import SwingsParameters

if TYPE_CHECKING:
    from collections.abc import Mapping

TAGS: Final = {
    "map": "Shares, and what they are based on.",
    "cbeci": "The paths and formats of Cambridge's CBECI, for its clients.",
    "operation": "For operators of the service.",
    "page": "For people.",
}
"""The groups of paths, and what they are for."""


def _twins(
    path: str,
    summary: str,
    json: Json,
    csv: Json,
    *,
    parameters: type[Parameters] = Parameters,
    others: Mapping[HTTPStatus, Json] = BAD_REQUEST | NO_REDIS,
) -> dict[str, PathDescription]:
    """Return the descriptions of the two paths of a list, as JSON and as CSV."""
    return {
        f"{PREFIX}{path}{suffix}": PathDescription(
            summary=f"{summary}{words}.",
            tag="map",
            has_figures=True,
            content=content,
            parameters=tuple(parameters.describe()),
            others=others,
        )
        for suffix, words, content in (("", "", json_content(json)), (".csv", ", as CSV", csv))
    }


# OpenAPI describes one event of a stream, not the whole stream.
_EVENT: Final = {
    "type": "object",
    "description": "A server-sent event; its data is JSON.",
    "properties": {
        "id": {"type": "string"},
        "event": {"enum": ["shares", "swing", "gap"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "retry": {"type": "integer", "description": "The delay before a reconnection, in ms."},
    },
}
_STREAM: Final = PathDescription(
    summary="Events as they happen: `shares` at each snapshot, `swing` at each change of a swing.",
    tag="map",
    has_figures=True,
    content={"text/event-stream": {"schema": _EVENT}},
    parameters=(
        *StreamParameters.describe(),
        header_parameter("Last-Event-ID", "The id of the last event that the client received."),
    ),
    others=BAD_REQUEST
    | {
        HTTPStatus.SERVICE_UNAVAILABLE: problem_response(
            "Too many clients are connected, or Redis is unavailable.", RETRY_AFTER
        )
    },
    has_etag=False,
)
_MAP: Final = {
    **_twins(
        "/shares",
        "Shares of the hashrate by country, or by the subdivisions of a country",
        {"anyOf": [ref(SubdivisionAnswer), ref(Answer)]},
        csv_content(Answer, SubdivisionAnswer),
        parameters=SharesParameters,
    ),
    **_twins(
        "/history",
        "The shares of a place or of several, bucket by bucket; a bucket without data is null",
        {"oneOf": [ref(History), ref(Histories)]},
        csv_content(Histories),
        parameters=HistoryParameters,
        others=BAD_REQUEST | NO_REDIS_OR_BUSY,
    ),
    **_twins(
        "/contributions",
        "The pools that the share of a place is made of, also against another window",
        ref(Contributions),
        csv_content(Contributions),
        parameters=ContributionsParameters,
    ),
    **_twins(
        "/pools",
        "The state of each pool that is not off, or of those in one state",
        ref(PoolList),
        csv_content(PoolList),
        parameters=PoolsParameters,
    ),
    **_twins(
        "/swings",
        "Places whose share and pools whose hashrate moved against their own past, newest first",
        ref(SwingList),
        csv_content(SwingList),
        parameters=SwingsParameters,
    ),
    **_twins(
        "/places",
        "Every place that a report can name",
        ref(PlaceList),
        csv_content(PlaceList),
        others=BAD_REQUEST,
    ),
    **_twins(
        "/beliefs",
        "What is believed on a day about where hashrate is: by whom, and from when to when",
        ref(BeliefList),
        csv_content(BeliefList),
        parameters=BeliefsParameters,
        others=BAD_REQUEST,
    ),
    f"{PREFIX}/stream": _STREAM,
}

_CBECI_POINT: Final = {
    "type": "object",
    "properties": {
        "x": {"type": "integer", "description": "The first of the month, in Unix milliseconds."},
        "y": {
            "type": ["number", "null"],
            "description": "A share of the world or of the country; EH/s in `absolute_...`.",
        },
        "name": {"type": "string"},
        "code": {"type": ["string", "null"]},
    },
    "required": ["x", "y", "name"],
}
_CBECI_CHART: Final = {
    "type": "object",
    "properties": {"data": {"type": "array", "items": _CBECI_POINT}},
    "required": ["data"],
}
_CBECI_NOT_FOUND: Final = {
    "description": "CBECI has no such version of this table.",
    "content": {
        **json_content({"type": "object", "properties": {"error": {"const": "Not Implemented"}}}),
        PROBLEM_CONTENT_TYPE: {"schema": ref(Problem)},
    },
}


def _chart(name: str) -> PathDescription:
    return PathDescription(
        summary=f"CBECI's chart `{name}`.",
        tag="cbeci",
        has_figures=True,
        content=json_content(_CBECI_CHART),
        others=NO_REDIS_OR_BUSY,
    )


def _download(name: str) -> PathDescription:
    versions = list(DOWNLOADS[name])
    version = {
        "name": "version",
        "in": "path",
        "required": True,
        "description": "CBECI's version, which determines the format.",
        "schema": {"type": "string", "enum": versions, "examples": [max(versions)]},
    }
    return PathDescription(
        summary=f"CBECI's table `{name}`, as CSV.",
        tag="cbeci",
        has_figures=True,
        content=text_content(csv.CONTENT_TYPE, "With CBECI's header for that version."),
        parameters=(version,),
        others={HTTPStatus.NOT_FOUND: _CBECI_NOT_FOUND} | NO_REDIS_OR_BUSY,
    )


_CBECI: Final = {
    **{f"{cbeci.PREFIX}/charts/{name}": _chart(name) for name in CHARTS},
    **{f"{cbeci.PREFIX}/{{version}}/download/{name}": _download(name) for name in DOWNLOADS},
}

_OPERATION: Final = {
    "/metrics": PathDescription(
        summary="Prometheus metrics that are known, in the format that `Accept` requests.",
        tag="operation",
        has_figures=True,
        content={
            media_type: {"schema": {"type": "string"}}
            for media_type in ("text/plain", "application/openmetrics-text")
        },
        has_etag=False,
    ),
    "/healthz": PathDescription(
        summary="Liveness: the process is alive.",
        tag="operation",
        content=text_content("text/plain", "`alive`"),
        has_etag=False,
    ),
    "/readyz": PathDescription(
        summary="Readiness: Redis is available, and its snapshot is fresh.",
        tag="operation",
        content=text_content("text/plain", "`ready`"),
        others={
            HTTPStatus.SERVICE_UNAVAILABLE: problem_response(
                "The service is not ready; `detail` gives the reason.", RETRY_AFTER
            )
        },
        has_etag=False,
    ),
    "/openapi.json": PathDescription(
        summary="This document.", tag="operation", content=json_content({"type": "object"})
    ),
}

_PAGE: Final = {
    path: PathDescription(
        summary=f"`{name}`.",
        tag="page",
        content=json_content({"type": "object"})
        if media_type == page.JSON
        else text_content(media_type, "The file."),
    )
    for path, (name, media_type) in page.FILES.items()
}

DESCRIBED: Final = {**_MAP, **_CBECI, **_OPERATION, **_PAGE}
"""The descriptions by path."""

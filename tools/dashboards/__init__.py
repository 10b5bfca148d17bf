"""Grafana's dashboards as code. ``make docs`` writes them to deploy/grafana/dashboards/."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from tools.dashboards.pipeline import pipeline
from tools.dashboards.pools import pools
from tools.dashboards.shares import shares
from tools.dashboards.swings import swings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from grafana_foundation_sdk.models.dashboard import Dashboard

DASHBOARDS: Final[Mapping[str, Callable[[], Dashboard]]] = {
    "shares.json": shares,
    "pools.json": pools,
    "swings.json": swings,
    "pipeline.json": pipeline,
}
"""By the name of its file."""


def document(dashboard: Dashboard) -> str:
    """Return the dashboard as Grafana reads it."""
    return json.dumps(dashboard, cls=JSONEncoder, indent=2) + "\n"

"""Beliefs as they are written in a document, for tests that read or check one."""

from __future__ import annotations

from typing import Any


def network(id_: str = "network/n", /, **weights: float) -> dict[str, Any]:
    """A distribution of the network from 2026 on; the weights are by place."""
    series = [{"from": "2026-01-01", "weights": weights or {"US": 1}}]
    return {"id": id_, "source": "https://example.org", "series": series}


def claim(
    id_: str = "claims/c",
    /,
    *,
    start: str = "2026-01-01",
    until: str = "2027-01-01",
    **fields: object,
) -> dict[str, Any]:
    """A claim of 1 EH/s in the United States in 2026, with some fields replaced or added."""
    stated = {"id": id_, "source": "https://example.org", "place": "US", "at_least": 1e18}
    return {**stated, "from": start, "until": until, **fields}

"""``/healthz``: whether the process is alive. ``/readyz``: whether it can serve, or why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from miningmap.http.problems import readiness
from streams.queries.snapshot import TAKEN_AT, decode_taken_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from endpoint.data.gateway import Gateway


class Health:
    """Handlers of the two paths.

    Args:
        gateway: reads the time of the snapshot.
        fresh_s: the age in seconds at which a snapshot is too old.
        now: the clock, UTC.
    """

    def __init__(self, gateway: Gateway, *, fresh_s: float, now: Callable[[], datetime]) -> None:
        self._gateway = gateway
        self._fresh_s = fresh_s
        self._now = now

    async def alive(self, _request: web.Request) -> web.Response:
        """Answer 200 as long as the process can answer at all."""
        return web.Response(text="alive\n")

    async def ready(self, _request: web.Request) -> web.Response:
        """Answer 200 if Redis is available, has its cells and a fresh snapshot, else 503."""
        await self._gateway.check_cells()
        reason = self._reason(decode_taken_at(await self._gateway.snapshot_part(TAKEN_AT)))
        return readiness([] if reason is None else [reason])

    def _reason(self, taken_at: datetime | None) -> str | None:
        if taken_at is None:
            return "there is no snapshot yet; is the streams service running?"
        age_s = (self._now() - taken_at).total_seconds()
        if abs(age_s) < self._fresh_s:
            return None
        if age_s < 0:
            return (
                f"the snapshot is {-age_s:.0f} s in the future; compare the clocks of the machines "
                "that run streams and endpoint"
            )
        return (
            f"the snapshot is {age_s:.0f} s old, and {self._fresh_s:g} s is too old; "
            "is the streams service running?"
        )

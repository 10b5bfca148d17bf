"""Rejected readings: the newest one of each pool, from dead letters. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from miningmap.api.models import Refusal
from miningmap.kafka.dead_letters import LONGEST_ERROR
from miningmap.messages import SLUG
from miningmap.plausibility import is_future
from miningmap.times import parse_rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime


def add_rejection(
    key: bytes | None,
    headers: Iterable[tuple[str, bytes]],
    newest: dict[str, Refusal],
    now: datetime | None = None,
) -> None:
    """Put the rejected reading of a dead letter into ``newest``, unless its pool has a newer one.

    Dead letters without a pool, a time, a reason or an error are skipped, and so are those from
    the future: they would hide all later ones.
    """
    pool = (key or b"").decode(errors="replace")
    values = {name: value.decode(errors="replace") for name, value in headers}
    try:
        rejection = Refusal(
            parse_rfc3339(values["at"]),
            values.get("source"),
            values["reason"],
            values["error"][:LONGEST_ERROR],
        )
    except (KeyError, ValueError):
        return
    if now is not None and is_future(rejection.at, now):
        return
    if re.match(SLUG, pool) and (pool not in newest or newest[pool].at <= rejection.at):
        newest[pool] = rejection

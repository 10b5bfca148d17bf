"""Rejected readings: the newest one of each pool, from dead letters. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from miningmap.api.models import Refusal
from miningmap.messages import SLUG
from miningmap.times import parse_rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable


def add_rejection(
    key: bytes | None, headers: Iterable[tuple[str, bytes]], newest: dict[str, Refusal]
) -> None:
    """Put the rejected reading of a dead letter into ``newest``, unless its pool has a newer one.

    Dead letters without a pool, a time, a reason or an error are skipped.
    """
    pool = (key or b"").decode(errors="replace")
    values = {name: value.decode(errors="replace") for name, value in headers}
    try:
        rejection = Refusal(
            parse_rfc3339(values["at"]), values.get("source"), values["reason"], values["error"]
        )
    except (KeyError, ValueError):
        return
    if re.match(SLUG, pool) and (pool not in newest or newest[pool].at <= rejection.at):
        newest[pool] = rejection

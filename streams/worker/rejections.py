"""What was said of a pool and could not be used, as its dead letter tells. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from miningmap.api.models import Refusal
from miningmap.messages import SLUG
from miningmap.times import parse_rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable


def note(
    key: bytes | None, headers: Iterable[tuple[str, bytes]], newest: dict[str, Refusal]
) -> None:
    """Take a dead letter into the newest refusal of each pool.

    One that is about no pool, or does not say whence and why, is none of ours.
    """
    pool = (key or b"").decode(errors="replace")
    said = {name: value.decode(errors="replace") for name, value in headers}
    try:
        refusal = Refusal(
            parse_rfc3339(said["at"]), said.get("source"), said["reason"], said["error"]
        )
    except (KeyError, ValueError):
        return
    if re.match(SLUG, pool) and (pool not in newest or newest[pool].at <= refusal.at):
        newest[pool] = refusal

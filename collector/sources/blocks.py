"""Hashrates of pools by the blocks that they found."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, TypeAlias

import msgspec

from collector.sources.base import Reading
from miningmap.pool_names import pool_slug

if TYPE_CHECKING:
    from collections.abc import Iterable

    from collector.sources.decoding import Label

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
"""A number of blocks."""


def by_pool(labelled: Iterable[tuple[Label, int]]) -> Counter[str | None]:
    """Return the blocks by slug, from those by label; unattributed ones are under ``None``."""
    found = Counter[str | None]()
    for label, blocks in labelled:
        found[pool_slug(str(label))] += blocks
    return found


def readings(found: Counter[str | None], network: float | None) -> list[Reading]:
    """Return each pool's part of the network's hashrate (H/s), by its part of the blocks.

    A pool without a block may well have hashrate, so it is left out instead of read as 0. Nothing
    is known of any pool while the network's hashrate is unknown or 0.
    """
    return [
        Reading(slug, blocks / found.total() * network, blocks=blocks)
        for slug, blocks in found.items()
        if slug is not None and blocks and network
    ]

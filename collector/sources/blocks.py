"""Pools by the blocks that they found, where a source calls pools by their names."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from collector.sources.base import Reading
from miningmap.pool_names import pool_slug

if TYPE_CHECKING:
    from collections.abc import Iterable


def by_pool(labelled: Iterable[tuple[str, int]]) -> Counter[str | None]:
    """Blocks by slug; under ``None`` those of nobody that anyone knows."""
    found = Counter[str | None]()
    for label, blocks in labelled:
        found[pool_slug(label)] += blocks
    return found


def readings(found: Counter[str | None], hashrate: float) -> list[Reading]:
    """Each pool's part of the hashrate (H/s) that found all these blocks.

    A pool that found none may well have hashrate, so it is left out rather than 0.
    """
    return [
        Reading(slug, blocks / found.total() * hashrate, blocks=blocks)
        for slug, blocks in found.items()
        if slug is not None and blocks
    ]

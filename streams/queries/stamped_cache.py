"""What was computed from cells, kept for as long as these do not change. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

V = TypeVar("V")


class _Kept(NamedTuple, Generic[V]):
    stamp: bytes
    value: V
    size: int


class StampedCache(Generic[V]):
    """Values by key, each with the stamp of the cells that it was computed from.

    Without room, those that were not asked for the longest are dropped.

    Args:
        most: the size of all values together.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, _Kept[V]] = OrderedDict()
        self.size = 0

    def get(self, key: Hashable, stamp: bytes) -> V | None:
        """Return the value of a key, or ``None`` if there is none with this stamp."""
        kept = self._kept.get(key)
        if kept is None or kept.stamp != stamp:
            return None
        self._kept.move_to_end(key)
        return kept.value

    def put(self, key: Hashable, stamp: bytes, value: V, size: int) -> None:
        """Keep a value in place of the one that the key had, unless it is larger than the cache."""
        old = self._kept.pop(key, None)
        self.size -= 0 if old is None else old.size
        if size > self._most:
            return
        self._kept[key] = _Kept(stamp, value, size)
        self.size += size
        while self.size > self._most:
            _, oldest = self._kept.popitem(last=False)
            self.size -= oldest.size

"""Long computations in pieces: short ones need not wait for them, and all can be stopped.

What computes a long answer hands its pieces to a :class:`Worker`. The worker decides where and when
a piece runs; between two pieces the computation can be cancelled like any coroutine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

    from streams.method.windows import Span
    from streams.redis.loaded_cells import LoadedCells

T = TypeVar("T")

Reader: TypeAlias = "Callable[[Iterable[Span]], Awaitable[LoadedCells]]"
"""Reads the cells over some spans."""


class Worker(Protocol):
    """Computes the pieces of one answer, one after the other, outside the event loop."""

    async def __call__(self, piece: Callable[[], T], left: float) -> T:
        """Compute a piece, and return what it returns.

        Args:
            piece: a function without side effects.
            left: the part of all work that is left, from 1 before the first piece to 0.
        """


def pieces_of(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield sequences of up to so many items, in order."""
    return (items[n : n + size] for n in range(0, len(items), size))

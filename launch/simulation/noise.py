"""Reproducible randomness: pure functions of a seed, a name and a number."""

from __future__ import annotations

import math
from functools import lru_cache
from hashlib import blake2b
from typing import Final

# The number of bits that a float holds exactly.
_BITS: Final = 53
_STEP: Final = 2.0**-_BITS


@lru_cache(maxsize=1 << 16)
def uniform(seed: int, name: str, n: int) -> float:
    """Return number ``n`` of the random series ``name``, in [0, 1)."""
    # Python's hash() would differ between processes, because each salts it.
    digest = blake2b(f"{seed}/{name}/{n}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> (64 - _BITS)) * _STEP


def noise(seed: int, name: str, at_s: float, grid_s: float) -> float:
    """Return smooth noise in [-1, 1] that changes direction every ``grid_s`` seconds."""
    n = math.floor(at_s / grid_s)
    fraction = at_s / grid_s - n
    left, right = uniform(seed, name, n), uniform(seed, name, n + 1)
    eased = fraction * fraction * (3 - 2 * fraction)
    return 2 * (left + (right - left) * eased) - 1

"""Beliefs from files: those of this package, and those of the operator (method.md 5.0).

``documents`` reads files, ``loader`` turns them into what the method uses, ``refusals`` says what
cannot be used. ``check`` finds everything that is wrong with files, by ``lines``; ``rows`` and
``markdown`` list what is believed, for people; ``excerpt`` cuts out what counts on some days.
"""

from streams.beliefs.documents import BeliefsDocument, BeliefsError
from streams.beliefs.loader import (
    BeliefOptions,
    beliefs_of,
    configured,
    load,
    load_only,
    unknown_annotations,
    unknown_pools,
)

__all__ = [
    "BeliefOptions",
    "BeliefsDocument",
    "BeliefsError",
    "beliefs_of",
    "configured",
    "load",
    "load_only",
    "unknown_annotations",
    "unknown_pools",
]

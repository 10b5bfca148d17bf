"""Tables of numbers: the numbers of codes are in the order of the codes."""

from __future__ import annotations

from miningmap.places import OTHER
from streams.method.tables import CODES


def test_codes_are_numbered_in_their_order_whatever_is_asked_for_first() -> None:
    """Sums are made in the order of the numbers, and have to be the same in each process."""
    asked = ("US-TX", "CN", "US", OTHER, "CN-OTHER", "AD")
    assert sorted(asked, key=CODES.__getitem__) == sorted(asked)

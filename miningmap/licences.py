"""Licences of the data that this project makes. Pure.

Whose figures are in an answer decides. Cambridge's imported tables are under CC BY-NC-SA 4.0, which
everything that is made from them inherits. All else may be used by anybody who names this map.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from miningmap.pool_names import CBECI_SAMPLE

if TYPE_CHECKING:
    from collections.abc import Iterable


class Licence(NamedTuple):
    """A licence: its identifier in the list of SPDX, its title, and the address of its text."""

    spdx: str
    title: str
    url: str


CC_BY: Final = Licence(
    "CC-BY-4.0",
    "Creative Commons Attribution 4.0 International",
    "https://creativecommons.org/licenses/by/4.0/",
)
CC_BY_NC_SA: Final = Licence(
    "CC-BY-NC-SA-4.0",
    "Creative Commons Attribution-NonCommercial-ShareAlike 4.0 International",
    "https://creativecommons.org/licenses/by-nc-sa/4.0/",
)


def licence_of(pools: Iterable[str]) -> Licence:
    """Return the licence of figures that are made from the reports of these pools.

    Args:
        pools: slugs; ``cbeci-sample`` stands for Cambridge's tables.
    """
    return CC_BY_NC_SA if CBECI_SAMPLE in pools else CC_BY

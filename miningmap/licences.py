"""Licences of the data that this project makes. Pure.

Whose figures are in an answer decides. Cambridge's imported tables are under CC BY-NC-SA 4.0, which
everything that is made from them inherits. All else may be used by anybody who names this map.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from miningmap.pool_names import CBECI_SAMPLE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


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
CC_0: Final = Licence(
    "CC0-1.0",
    "Creative Commons Zero 1.0 Universal",
    "https://creativecommons.org/publicdomain/zero/1.0/",
)
CC_BY_SA: Final = Licence(
    "CC-BY-SA-4.0",
    "Creative Commons Attribution-ShareAlike 4.0 International",
    "https://creativecommons.org/licenses/by-sa/4.0/",
)
ODBL: Final = Licence(
    "ODbL-1.0",
    "Open Data Commons Open Database License 1.0",
    "https://opendatacommons.org/licenses/odbl/1-0/",
)
LICENCES: Final = {each.spdx: each for each in (CC_BY, CC_0, CC_BY_SA, CC_BY_NC_SA, ODBL)}
"""Those that an operator can choose for data of their own, by the identifier."""


class LicenceError(ValueError):
    """Data may not be published under a licence; the text says why."""


def chosen_licence(spdx: str | None, pools: Collection[str]) -> Licence:
    """Return the licence that was chosen, or without a choice that of these pools' figures.

    Args:
        spdx: an identifier of :data:`LICENCES`, or ``None``.
        pools: slugs; ``cbeci-sample`` stands for Cambridge's tables.

    Raises:
        LicenceError: Cambridge's licence does not allow the choice.
    """
    required = licence_of(pools)
    if spdx is None or LICENCES[spdx] == required:
        return required
    if required == CC_BY_NC_SA:
        raise LicenceError(
            f"Cambridge's tables (pool {CBECI_SAMPLE}) are among the messages; what is made from "
            f"them can only be under {required.spdx}"
        )
    return LICENCES[spdx]


def licence_of(pools: Iterable[str]) -> Licence:
    """Return the licence of figures that are made from the reports of these pools.

    Args:
        pools: slugs; ``cbeci-sample`` stands for Cambridge's tables.
    """
    return CC_BY_NC_SA if CBECI_SAMPLE in pools else CC_BY

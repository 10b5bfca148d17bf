"""Licences of the data."""

from __future__ import annotations

from miningmap.cbeci.monthly_tables import POOL
from miningmap.licences import CC_BY, CC_BY_NC_SA, licence_of


def test_figures_made_from_cambridges_tables_stay_under_cambridges_licence() -> None:
    assert licence_of(["foundryusa", POOL]) == CC_BY_NC_SA


def test_other_figures_may_be_used_by_anybody_who_names_the_map() -> None:
    assert licence_of(["foundryusa", "ocean"]) == CC_BY
    assert licence_of([]) == CC_BY

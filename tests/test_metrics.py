"""No label has values without end, and every service shows its version, process and Python."""

from __future__ import annotations

import sys

from miningmap import __version__
from miningmap.metrics import MOST_POOLS, OTHER, Bound, new_registry, pool_bound
from miningmap.pool_names import named_pools
from tests.cases import all_cases


def test_values_that_are_not_known_are_admitted_up_to_a_number() -> None:
    bound = Bound(2, is_known=lambda value: value.startswith("known"))
    bound.know("partner")
    labels = [bound.label(value) for value in ("a", "known1", "b", "c", "partner", "known2", "a")]
    assert labels == ["a", "known1", "b", OTHER, "partner", "known2", "a"]


def test_known_values_take_no_place_of_others() -> None:
    bound = Bound(1, is_known=lambda value: value == "known")
    bound.know("partner")
    assert [bound.label(value) for value in ("known", "partner", "a")] == ["known", "partner", "a"]


@all_cases("value", ["", "x" * 65, "a\ud800", "a\n", "A", 'a"b', "Ünïcode"])
def test_what_is_no_slug_is_not_admitted(value: str) -> None:
    assert pool_bound().label(value) == OTHER


def test_all_pools_with_a_name_are_admitted_and_a_number_of_others() -> None:
    bound = pool_bound()
    labels = {bound.label(f"unknown{number}") for number in range(10 * MOST_POOLS)}
    assert len(labels) == MOST_POOLS + 1
    assert all(bound.admits(pool) for pool in named_pools())
    assert bound.label("f2pool-account") == "f2pool-account"
    assert bound.label("f2pool-account-account") == OTHER


def test_a_registry_has_the_version_the_process_and_python() -> None:
    registry = new_registry()
    assert registry.get_sample_value("miningmap_build_info", {"version": __version__}) == 1
    names = {family.name for family in registry.collect()}
    assert {"python_info", "python_gc_collections"} <= names
    if sys.platform == "linux":
        assert {"process_resident_memory_bytes", "process_cpu_seconds", "process_open_fds"} <= names

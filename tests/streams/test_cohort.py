"""The pools that count and the sources that represent them; checkable by hand."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from streams.method.beliefs import Beliefs
from streams.method.cells import Cell, PlaceKind
from streams.method.cohort import Earlier, cohort_of, profiles_of, representative_source
from streams.method.observations import Observation, Observations
from streams.method.tables import Rows
from tests.streams.fixtures import cell, observed, places_of

Pools = dict[str, dict[str, Observation]]
REPORTED, RELAYED, MINED = range(3)


def pools_of(**cells: Cell) -> Pools:
    """Pools with one source each."""
    return {pool: {"own": observed(each)} for pool, each in cells.items()}


class TestRepresentation:
    """Section 4 of the method: which source counts."""

    def test_a_source_needs_half_of_the_windows_minutes(self) -> None:
        assert representative_source({"own": observed(cell(30, US=1))}, 60) == "own"
        assert representative_source({"own": observed(cell(29, US=1))}, 60) is None
        assert representative_source({"own": observed(cell(719, US=1))}, 1440) is None
        assert representative_source({"own": observed(Cell())}, 0) is None

    @pytest.mark.parametrize(
        ("worse", "better"),
        [
            pytest.param(cell(60, "declared", US=1), cell(40, US=1), id="kind"),
            pytest.param(cell(60, "estimated", US=1), cell(40, "declared", US=1), id="declared"),
            pytest.param(cell(60, "prior", US=1), cell(40, "estimated", US=1), id="estimated"),
            pytest.param(cell(60, total=1), cell(40, "prior", US=1), id="a place at all"),
            pytest.param(cell(60, total=1, US=0), cell(40, "prior", US=1), id="a place with 0"),
            pytest.param(cell(60, US=1, basis=RELAYED), cell(40, US=1), id="basis"),
            pytest.param(
                cell(60, total=1, basis=MINED), cell(40, total=1, basis=RELAYED), id="not mined"
            ),
            pytest.param(cell(40, US=1), cell(50, US=1), id="minutes"),
            pytest.param(
                cell(50, total=1), cell(40, "prior", US=1, basis=MINED), id="kind before basis"
            ),
        ],
    )
    def test_the_better_source_represents_a_pool(self, worse: Cell, better: Cell) -> None:
        assert representative_source({"a": observed(worse), "b": observed(better)}, 60) == "b"
        assert representative_source({"a": observed(better), "b": observed(worse)}, 60) == "a"

    def test_of_equal_sources_the_first_name_represents_a_pool(self) -> None:
        bare = observed(cell(60, total=1))
        assert representative_source({"b": bare, "a": bare}, 60) == "a"

    def test_a_pool_without_recent_reports_is_stale_and_one_with_gaps_is_thin(self) -> None:
        pools: Pools = {
            "silent": {"own": observed(Cell(), seen_before=True)},
            "gaps": {"own": observed(cell(10, US=5))},
            "good": {"own": observed(cell(60, US=5))},
            "future": {"own": observed(Cell())},
        }
        found = cohort_of(Observations(pools, {}), 60, Beliefs())
        assert list(found.members) == ["good"]
        assert found.excluded == {"silent": "stale", "gaps": "thin"}

    def test_a_window_of_no_minutes_has_no_cohort_no_exclusions_and_no_network(self) -> None:
        pools: Pools = {"silent": {"own": observed(Cell(), seen_before=True)}}
        found = cohort_of(Observations(pools, {"n": observed(Cell())}), 0, Beliefs())
        assert (found.members, found.excluded, found.network) == ({}, {}, None)
        assert (found.network_source, found.usual_network, found.simulated) == (None, None, False)


class TestNetwork:
    """Section 4 of the method: the hashrate of the network."""

    def test_it_is_of_the_eligible_source_with_most_minutes_then_the_first_name(self) -> None:
        sources = {
            "b": observed(cell(50, total=900)),
            "a": observed(cell(40, total=800)),
            "c": observed(cell(10, total=1)),
            "d": observed(cell(50, total=700)),
        }
        found = cohort_of(Observations({}, sources), 60, Beliefs())
        assert (found.network_source, found.network) == ("b", 900)

    def test_a_hashrate_of_0_is_not_used(self) -> None:
        sources = {"a": observed(Cell(60, 0.0)), "b": observed(cell(40, total=800))}
        assert cohort_of(Observations({}, sources), 60, Beliefs()).network_source == "b"
        only = cohort_of(Observations({}, {"a": sources["a"]}), 60, Beliefs())
        assert (only.network, only.network_source) == (None, None)

    def test_the_usual_one_is_of_the_source_with_most_minutes_in_the_profile_days(self) -> None:
        sources = {
            "c": observed(Cell(), cell(20, total=7)),
            "b": observed(Cell(), cell(20, total=5)),
            "a": observed(cell(60, total=9), cell(10, total=3)),
            "d": observed(Cell(), Cell(30, 0.0)),
        }
        found = cohort_of(Observations({}, sources), 60, Beliefs())
        assert (found.network, found.usual_network) == (9, 5)
        del sources["a"], sources["b"], sources["c"]
        assert cohort_of(Observations({}, sources), 60, Beliefs()).usual_network is None


class TestMembers:
    """Sections 4 and 5 of the method: what is known of a pool that counts."""

    def test_a_member_has_the_means_of_its_source(self) -> None:
        own = observed(cell(40, total=9, CN_SC=3), cell(1440, total=18, KZ=18))
        found = cohort_of(Observations({"a": {"own": own}}, {}), 60, Beliefs()).members["a"]
        assert (found.pool, found.source) == ("a", "own")
        assert (found.reported_total, found.total) == (9, 9)
        assert found.places == places_of(CN_SC=3)
        assert found.profile.by_place() == places_of(KZ=18)
        assert (found.growth, found.parts) == (2, frozenset())

    def test_a_pool_grows_by_the_figures_of_one_source_or_not_at_all(self) -> None:
        other = observed(Cell(), cell(1440, total=70))
        for own in (
            observed(cell(60, total=7)),
            observed(Cell(60, 0.0), cell(1440, total=7)),
            observed(cell(60, total=7), Cell(1440, 0.0)),
        ):
            pools: Pools = {"a": {"own": own, "other": other}}
            found = cohort_of(Observations(pools, {}), 60, Beliefs()).members["a"]
            assert (found.source, found.growth) == ("own", 1)

    def test_the_nearest_whole_that_counts_is_lessened_by_its_parts(self) -> None:
        """a and d are parts of b, which is a part of c; what is absent passes them on."""
        pools = pools_of(
            a=cell(total=10), b=cell(total=50, US=12), c=cell(total=90), d=cell(total=5)
        )
        part_of = {"a": "away", "away": "b", "b": "c", "d": "b"}
        found = cohort_of(Observations(pools, {}), 1, Beliefs(part_of=part_of)).members
        assert {pool: each.total for pool, each in found.items()} == {
            "a": 10,
            "b": 50 - 10 - 5,
            "c": 90 - 50,
            "d": 5,
        }
        assert found["c"].reported_total == 90
        assert {pool: each.parts for pool, each in found.items()} == {
            "a": frozenset(),
            "b": {"a", "d"},
            "c": {"a", "b", "d"},
            "d": frozenset(),
        }

    def test_pools_with_the_same_observations_are_not_made_again(self) -> None:
        """But those with another source, and those with parts, whose totals can have changed."""
        beliefs = Beliefs(part_of={"a": "b"})
        before = pools_of(a=cell(total=10), b=cell(total=50), c=cell(60, US=1), d=cell(60, US=1))
        members = cohort_of(Observations(before, {}), 1, beliefs).members
        measured = {"own": before["d"]["own"], "other": observed(cell(70, US=2))}
        after = before | pools_of(a=cell(total=20)) | {"d": measured}
        earlier = Earlier(before, members)
        found = cohort_of(Observations(after, {}), 1, beliefs, earlier).members
        assert found == cohort_of(Observations(after, {}), 1, beliefs).members
        assert {pool for pool in found if found[pool] is members[pool]} == {"c"}
        assert (found["b"].total, found["d"].source) == (30, "other")

    def test_a_whole_keeps_what_its_own_reports_locate(self) -> None:
        pools = pools_of(a=cell(total=30), b=cell(total=40, US=25))
        found = cohort_of(Observations(pools, {}), 1, Beliefs(part_of={"a": "b"})).members
        assert (found["b"].reported_total, found["b"].total) == (40, 25)

    def test_a_cohort_with_simulated_cells_is_simulated(self) -> None:
        plain = observed(cell(60, US=5))
        simulated = replace(cell(60, total=5), simulated=True)
        for own in (observed(simulated), observed(Cell(), simulated)):
            found = cohort_of(Observations({"a": {"x": plain, "y": own}}, {}), 60, Beliefs())
            assert (found.members["a"].source, found.simulated) == ("x", True)
        for network in (observed(simulated), observed(Cell(), simulated)):
            assert cohort_of(Observations({}, {"n": network}), 60, Beliefs()).simulated
        assert not cohort_of(Observations({"a": {"x": plain}}, {}), 60, Beliefs()).simulated


def test_small_hashrates_are_not_0() -> None:
    little = {"a": observed(cell(1, US=0.25), cell(1, US=0.5)), "b": observed(cell(1, total=9))}
    network = {"n": observed(cell(1, total=0.5), cell(1, total=0.25))}
    found = cohort_of(Observations({"a": little}, network), 1, Beliefs())
    assert (found.network, found.usual_network) == (0.5, 0.25)
    assert (found.members["a"].source, found.members["a"].growth) == ("a", 2)


def profile_of(sources: dict[str, Observation]) -> dict[PlaceKind, float]:
    (profile,) = profiles_of([sources])
    return profile.by_place()


class TestProfile:
    """Section 5.1 of the method, step 1."""

    def test_only_measured_places_make_a_profile_of_the_source_with_most_minutes(self) -> None:
        sources = {
            "a": observed(Cell(), cell(10, US=1)),
            "b": observed(Cell(), cell(20, CA=1)),
            "c": observed(Cell(), cell(90, "declared", KZ=1)),
            "d": observed(Cell(), cell(99, MY=0)),
        }
        assert profile_of(sources) == places_of(CA=1)
        assert profile_of(dict(reversed(sources.items()))) == places_of(CA=1)
        assert profile_of({"c": sources["c"], "d": sources["d"]}) == {}

    def test_of_sources_with_equally_many_minutes_the_first_name_makes_the_profile(self) -> None:
        sources = {name: observed(Cell(), cell(1, US=0.1)) for name in "bac"}
        sources["a"] = observed(Cell(), cell(1, CA=0.1))
        assert profile_of(sources) == places_of(CA=0.1)

    def test_a_profile_locates_at_least_a_fifth_of_its_source(self) -> None:
        """A site or two say nothing of the rest."""
        assert profile_of({"a": observed(Cell(), cell(9, total=10, US=2))}) == places_of(US=2)
        assert profile_of({"a": observed(Cell(), cell(9, total=10, US=1.99))}) == {}
        both = Rows.of(places_of(US=9) | places_of("prior", CA=80))
        mixed = replace(cell(9, total=10, US=1), places=both)
        assert profile_of({"a": observed(Cell(), mixed)}) == {}

"""The map moves with what is known: the winter storm of January 2026, and a partner that joins.

Figures of the storm called Fern, in EH/s, as the press had them on these days (they are estimates
from a few blocks, so only sign and size are compared):
https://yellow.com/news/winter-storm-knocks-110-ehs-off-us-bitcoin-mining (Foundry, Luxor),
https://www.cryptocnews.com/us-bitcoin-miners-slow-as-winter-storm-hits-power-grids (AntPool),
https://hashrateindex.com/blog/hashrate-index-roundup-january-12-2026 (the network, seven days).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from streams.method.beliefs import Beliefs, Document, Entry, normalised
from streams.method.cells import MemoryCells
from streams.queries.parameters import SharesParameters
from streams.queries.shares import answer_from
from tests.streams.fixtures import network, report

if TYPE_CHECKING:
    from collections.abc import Mapping

    from miningmap.api.models import Answer, ShareRow
    from streams.method.beliefs import Weights

EH = 1e18
NOW = datetime(2026, 1, 26, 12, tzinfo=UTC)
NETWORK = 1024.0
USUAL = {"foundryusa": 340.0, "luxor": 45.0, "antpool": 165.0}
STORM = {"foundryusa": 163.5, "luxor": 21.9, "antpool": 137.0}
LEVELS = (242.0, 198.0, 163.5, 140.0, 124.0)
"""What was said of Foundry in the storm, in the order of size."""

# The third quarter of 2025 of Hashrate Index, in percent; Foundry's part in the US is at least what
# it lost, and is stated nowhere.
INDEX = {"US": 35.81, "RU": 16.61, "CN": 13.84, "PY": 3.87, "AE": 3.54, "OM": 2.99, "CA": 2.935}
WEIGHTS = normalised(INDEX | {"OTHER": 100 - sum(INDEX.values())})
FOUNDRY = normalised({"US": 76, "OTHER": 24})
BELIEFS = Beliefs(
    network=[Document("network/index", [Entry(0, WEIGHTS)])],
    pools=[Document("pools/foundryusa", [Entry(0, FOUNDRY)], "foundryusa")],
)


def answered(
    now: dict[str, float],
    beliefs: Beliefs = BELIEFS,
    *,
    measured: Mapping[str, Weights] | None = None,
    level: str = "",
) -> Answer:
    """The answer in the storm, after a month of usual days; all figures in EH/s.

    ``measured`` has the places of pools that report where their miners are.
    """
    others = NETWORK - sum(USUAL.values())
    cells = MemoryCells()
    for pool, usual in (USUAL | {"others": others}).items():
        places = (measured or {}).get(pool, {})
        for hashrate, start, length in (
            (usual, NOW.replace(hour=0) - timedelta(days=30), timedelta(days=30)),
            (now.get(pool, usual), NOW, timedelta(minutes=1)),
        ):
            located = {code: ratio * hashrate * EH for code, ratio in places.items()}
            sent = report(pool, located, hashrate=hashrate * EH, start=start, end=start + length)
            cells.add(sent)
    total = sum((USUAL | now).values()) + others
    cells.add(network(total * EH, start=NOW))
    asked = {"window": "now", "as_of": NOW.isoformat()}
    asked |= {"level": "subdivision", "country": level} if level else {}
    return answer_from(cells, SharesParameters.parse(asked).query(NOW), beliefs)


def rows(answer: Answer) -> dict[str, ShareRow]:
    return {row.code: row for row in answer.shares}


def placed(answer: Answer, code: str) -> float:
    """All hashrate that is placed somewhere, in EH/s."""
    kinds = rows(answer)[code].kinds
    return (kinds.measured + kinds.declared + kinds.estimated + kinds.prior) / EH


class TestStorm:
    """Only what is known of the pool that falls falls."""

    @pytest.mark.parametrize("level", LEVELS)
    def test_the_us_falls_with_foundry_and_russia_does_not(self, level: float) -> None:
        before, after = answered({}), answered({"foundryusa": level})
        lost = USUAL["foundryusa"] - level
        assert placed(after, "US") - placed(before, "US") == pytest.approx(-0.76 * lost)
        for code in ("RU", "CN", "PY", "AE", "OM", "CA"):
            assert placed(after, code) == pytest.approx(placed(before, code))
            assert rows(after)[code].share > rows(before)[code].share

    def test_sign_and_size_are_those_of_the_reports(self) -> None:
        """Its 35.8 % of the network lost some 100 EH/s; the press had it at 110 to 200 in all."""
        before = rows(answered({}))["US"].share
        assert before == pytest.approx(WEIGHTS["US"])
        shares = [rows(answered({"foundryusa": level}))["US"].share for level in LEVELS]
        assert shares == sorted(shares, reverse=True)
        assert 0.03 < before - shares[0] < before - shares[-1] < 0.15

    def test_with_all_pools_that_fell_no_country_loses_as_much_as_the_us(self) -> None:
        """What Luxor and AntPool lost is nowhere known, and falls like the rest of the network."""
        before, after = answered({}), answered(STORM)
        change = {code: placed(after, code) - placed(before, code) for code in INDEX}
        assert change["US"] == min(change.values())
        assert change["US"] == pytest.approx(-0.76 * 176.5, rel=0.1)
        assert all(-15 < lost < 0 for code, lost in change.items() if code != "US")
        assert rows(after)["US"].share < rows(before)["US"].share
        assert rows(after)["RU"].share > rows(before)["RU"].share

    def test_a_pool_that_measures_its_places_moves_them_and_no_others(self) -> None:
        measured = {"foundryusa": {"US-TX": 0.5, "US-GA": 0.26, "NO": 0.24}}
        before, after = (
            answered(now, measured=measured) for now in ({}, {"foundryusa": LEVELS[2]})
        )
        assert placed(after, "RU") == pytest.approx(placed(before, "RU"))
        assert placed(after, "NO") / placed(before, "NO") == pytest.approx(LEVELS[2] / 340)
        assert rows(after)["US"].low == pytest.approx(0.76 * 163.5 / (1024 - 340 + 163.5))


class TestPartner:
    """A partner that says the truth changes the answer only where it knows better."""

    alone = Beliefs(network=BELIEFS.network)

    def test_if_the_prior_is_right_no_share_changes(self) -> None:
        """Foundry's miners are part of those that the prior describes: it is not counted twice."""
        before = answered({}, self.alone)
        measured = {"foundryusa": {"US": 0.9, "CA": 0.05, "OTHER": 0.05}}
        after = answered({}, self.alone, measured=measured)
        assert {code: row.share for code, row in rows(after).items()} == pytest.approx(
            {code: row.share for code, row in rows(before).items()}, rel=1e-9
        )
        assert before.evidence == 0
        assert after.evidence == pytest.approx(340 / NETWORK)
        assert rows(after)["US"].low == pytest.approx(0.9 * 340 / NETWORK)

    def test_where_it_knows_more_than_the_prior_its_figure_counts(self) -> None:
        """The prior has 3 % in Canada. The partner alone has more, so the others have none there.

        All other places give that up in proportion to what the prior has beyond what is located.
        """
        measured = {"foundryusa": {"US": 0.5, "CA": 0.5}}
        before = rows(answered({}, self.alone))
        after = rows(answered({}, self.alone, measured=measured))
        assert after["CA"].share == pytest.approx(170 / NETWORK)
        assert after["CA"].kinds.prior == 0
        given_up = {code: before[code].share - after[code].share for code in INDEX if code != "CA"}
        assert all(part > 0 for part in given_up.values())
        ratio = given_up["RU"] / before["RU"].share
        for code in ("CN", "PY", "AE", "OM"):
            assert given_up[code] / before[code].share == pytest.approx(ratio)
        assert given_up["US"] / (before["US"].share - 170 / NETWORK) == pytest.approx(ratio)

    def test_states_that_it_alone_knows_are_listed_and_the_country_stays_as_it_is(self) -> None:
        measured = {"foundryusa": {"US-TX": 0.6, "US-GA": 0.3}}
        texas, georgia = answered({}, self.alone, measured=measured, level="US").shares
        assert (texas.code, georgia.code) == ("US-TX", "US-GA")
        assert texas.share + georgia.share == pytest.approx(WEIGHTS["US"])
        assert answered({}, self.alone, level="US").shares == ()

    def test_in_a_storm_a_partner_and_its_rest_fall_together(self) -> None:
        """Half of its miners have a place; the other half is placed like them, by its profile."""
        measured = {"foundryusa": {"US": 0.5}}
        before = answered({}, self.alone, measured=measured)
        after = answered({"foundryusa": LEVELS[2]}, self.alone, measured=measured)
        assert placed(after, "US") - placed(before, "US") == pytest.approx(-176.5)
        assert placed(after, "RU") == pytest.approx(placed(before, "RU"))

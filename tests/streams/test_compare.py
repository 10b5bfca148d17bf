"""Published figures beside the map's: verdicts that can be checked on paper, and properties."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from miningmap.api.models import NetworkHashrate
from miningmap.places import OTHER, country_of
from streams.method.beliefs import Beliefs, BeliefsInForce, Distribution
from streams.method.placing import place
from streams.method.shares import Shares
from streams.method.windows import parse_window
from streams.queries.compare import Comparison, Verdict, compare, judge
from streams.queries.figures import Figure, Range
from streams.queries.parameters import SharesQuery
from streams.queries.shares import STATED, answer, answer_from, shares_of
from tests.cases import all_cases
from tests.streams.fixtures import NOON, cohort, member, network, places_of, report
from tests.streams.test_invariants import WINDOW, crowded, observations_in, some
from tests.streams.worlds import MIDNIGHT, beliefs_of, cells_of

if TYPE_CHECKING:
    from datetime import datetime

    from miningmap.api.models import Answer
    from streams.queries.compare import Ask
    from streams.queries.figures import Whole
    from tests.streams.model import World

# Of 60, 54 are measured. The place of 46 of the network's 100 is unknown; of 8 in China, and of 4
# that are in none of the listed countries, only that much is known.
ALPHA = member("alpha", total=60, US=30, CN=6, CN_SC=12, CN_OTHER=2, OTHER=4)


def query(window: str, country: str | None, as_of: datetime) -> SharesQuery:
    return SharesQuery(
        window=parse_window(window, as_of),
        as_of=as_of,
        level="country" if country is None else "subdivision",
        country=country,
    )


def asking(shares: Shares) -> Ask:
    """Answers from these shares, whatever the window."""

    def ask(window: str, country: str | None) -> Answer:
        return answer(query(window, country, MIDNIGHT), shares, ())

    return ask


def asked(*members: Any, network: float | None = 100) -> Ask:
    return asking(Shares(place(cohort(*members, network=network), BeliefsInForce(), (), None)))


def figure(
    code: str, low: float | None, high: float | None = None, /, of: Whole = "world", **other: Any
) -> Figure:
    share = None if low is None else Range(low, low if high is None else high)
    stated: dict[str, Any] = {"line": 2, "window": "now", "hashrate": None}
    return Figure(code=code, share=share, of=of, source="x", note="", **stated | other)


def compared(ask: Ask, *of: Any, **other: Any) -> Comparison:
    (found,) = compare([figure(*of, **other)], ask)
    return found


def bounds(found: Comparison) -> Any:
    return found.low, found.high


@all_cases(
    ("figure", "bounds", "verdict"),
    [
        (Range(0.5, 0.5), Range(0.3, 0.76), "inside"),
        (Range(0.3, 0.3), Range(0.3, 0.76), "inside"),
        (Range(0.76, 0.76), Range(0.3, 0.76), "inside"),
        (Range(0.3, 0.76), Range(0.3, 0.76), "inside"),
        (Range(0.76 + 1e-12, 0.76 + 1e-12), Range(0.3, 0.76), "inside"),  # order of additions
        (Range(0.29, 0.29), Range(0.3, 0.76), "outside"),
        (Range(0.77, 0.9), Range(0.3, 0.76), "outside"),
        (Range(0.29, 0.3), Range(0.3, 0.76), "partly"),
        (Range(0.7, 0.8), Range(0.3, 0.76), "partly"),
        (Range(0.2, 0.8), Range(0.3, 0.76), "partly"),
        (Range(0.3, 0.3), Range(0.3, 0.3), "inside"),
        (Range(0.0, 0.0), Range(0.0, 0.4), "inside"),
        (Range(1.0, 1.0), Range(0.2, 1.0), "inside"),
        (Range(0.1, 0.1), Range(0.2, 1.0), "outside"),
        (Range(0.5, 0.5), Range(0.0, 1.0), "cannot say"),
        (Range(1.2, 1.2), Range(0.0, 1.0), "outside"),
        (Range(0.5, 0.5), None, "cannot say"),
        (None, Range(0.3, 0.76), "cannot say"),
    ],
)
def test_a_verdict_is_by_the_bounds(
    figure: Range | None, bounds: Range | None, verdict: Verdict
) -> None:
    assert judge(figure, bounds) == verdict


@all_cases(
    ("code", "of", "low", "high"),
    [
        ("US", "world", 0.30, 0.30 + 0.46),
        ("CN", "world", 0.20, 0.20 + 0.46),
        ("KZ", "world", 0.0, 0.46 + 0.04),  # not listed: it may have all of OTHER
        ("CN-SC", "world", 0.12, 0.12 + 0.46 + 0.08),
        ("CN-XJ", "world", 0.0, 0.46 + 0.08),  # not listed: somewhere in China
        ("US-TX", "world", 0.0, 0.46 + 0.30),
        ("KZ-ALA", "world", 0.0, 0.46 + 0.04),
        ("CN-SC", "country", 0.12 / 0.66, 1.0),
        ("CN-XJ", "country", 0.0, 0.54 / 0.66),
        ("US-TX", "country", 0.0, 1.0),
        ("KZ-ALA", "country", 0.0, 1.0),
    ],
)
def test_every_place_has_bounds_listed_or_not(
    code: str, of: Whole, low: float, high: float
) -> None:
    found = compared(asked(ALPHA), code, 0.1, of=of)
    assert bounds(found) == pytest.approx((low, high))
    assert (found.declared_low, found.declared_high) == pytest.approx((low, high))


def test_bounds_by_measured_hashrate_are_the_same_whatever_is_believed() -> None:
    """OTHER may be in a country that is listed only because a distribution names it."""
    members = (ALPHA, member("beta", total=40))
    weights = {"US": 0.2, "KZ": 0.3, "NO": 0.3, "CN-XJ": 0.1, "NO-03": 0.1}
    prior = (Distribution("a", weights),)
    placement = place(cohort(*members, network=100), BeliefsInForce(network=prior), (), "a")
    believed = asking(Shares(placement))
    assert compared(believed, "KZ", 0.1).share is not None
    for code in ("US", "KZ", "NO", "NO-03", "CN", "CN-SC", "CN-XJ", "RU", "KZ-ALA"):
        for of in ("world", "country") if "-" in code else ("world",):
            expected = bounds(compared(asked(*members), code, 0.5, of=of))
            assert bounds(compared(believed, code, 0.5, of=of)) == pytest.approx(expected), code


def test_the_map_has_no_share_of_a_place_that_it_does_not_list() -> None:
    ask = asked(ALPHA)
    assert (compared(ask, "KZ", 0.1).share, compared(ask, "CN-XJ", 0.1).share) == (None, None)
    assert compared(ask, "US", 0.1).share == pytest.approx(30 / 54)
    assert compared(ask, "CN-SC", 0.1).share == pytest.approx(12 / 14 * 20 / 54)
    assert compared(ask, "CN-SC", 0.1, of="country").share == pytest.approx(12 / 14)


def test_what_pools_report_beyond_the_network_counts_as_network() -> None:
    ask = asked(ALPHA, network=50)
    assert bounds(compared(ask, "US", 0.5)) == pytest.approx((30 / 60, 36 / 60))
    assert bounds(compared(ask, "KZ", 0.1)) == pytest.approx((0, 10 / 60))
    assert compared(ask, "US", None, hashrate=33).figure_low == pytest.approx(33 / 60)


ALLOWED = "What was measured allows 30 % to 76 %"


@all_cases(
    ("given", "verdict", "reason"),
    [
        (
            figure("US", 0.415),
            "inside",
            ALLOWED + "; 41.5 % needs 25 % of the hashrate that may or may not be there.",
        ),
        (
            figure("US", 0.3, 0.53),
            "inside",
            ALLOWED
            + "; 30 % to 53 % needs 0 % to 50 % of the hashrate that may or may not be there.",
        ),
        (
            figure("CN-XJ", 0.54, of="country"),
            "inside",
            "What was measured allows 0 % to 81.82 % of China.",
        ),
        (
            figure("US", 0.8),
            "outside",
            "At most 76 % is possible, because the rest is measured elsewhere.",
        ),
        (
            figure("CN-XJ", 0.9, of="country"),
            "outside",
            "At most 81.82 % of China is possible, because the rest is measured elsewhere in it.",
        ),
        (figure("US", 0.0), "outside", "At least 30 % is there, by what was measured."),
        (
            figure("US", 0.7, 0.8),
            "partly",
            ALLOWED + ": of 70 % to 80 %, only 70 % to 76 % is possible.",
        ),
        (
            figure("KZ-ALA", 0.5, of="country"),
            "cannot say",
            "What was measured excludes nothing.",
        ),
        (
            figure("US", None, hashrate=20),
            "outside",
            "At least 30 % is there, by what was measured.",
        ),
        (
            figure("US", None, hashrate=110),
            "outside",
            "That is more than the whole network has.",
        ),
        (figure("OTHER", 0.9), "cannot say", "Every publication means other places by OTHER."),
        (
            figure("CN-OTHER", 0.9),
            "cannot say",
            "Every publication means other places by CN-OTHER.",
        ),
    ],
)
def test_a_reason_is_a_sentence(given: Figure, verdict: Verdict, reason: str) -> None:
    (found,) = compare([given], asked(ALPHA))
    assert (found.verdict, found.reason) == (verdict, reason)


@all_cases(
    ("ask", "given", "reason"),
    [
        (
            asked(ALPHA, network=None),
            figure("US", 0.9),
            "The network's hashrate in the window now is unknown, so nothing can be excluded.",
        ),
        (
            asked(network=None),
            figure("US", 0.9),
            "No pool has data in the window now, and the network's hashrate is unknown.",
        ),
        (asked(network=100), figure("US", 0.9), "What was measured excludes nothing."),
        (
            asked(member("all", US=100)),
            figure("CN-SC", 0.9, of="country"),
            "By what was measured, no hashrate is in China.",
        ),
    ],
)
def test_without_bounds_there_is_no_verdict(ask: Ask, given: Figure, reason: str) -> None:
    (found,) = compare([given], ask)
    assert (found.verdict, found.reason) == ("cannot say", reason)


def test_nothing_is_possible_elsewhere_if_all_is_measured() -> None:
    ask = asked(member("all", US=100))
    assert compared(ask, "US", 1.0).reason == "What was measured allows 100 % to 100 %."
    assert compared(ask, "KZ", 0.0).verdict == "inside"
    assert compared(ask, "KZ", 0.01).verdict == "outside"


def test_declared_bounds_have_a_verdict_of_their_own() -> None:
    beta = member("beta", places_of("declared", US=20), total=40)
    ask = asked(ALPHA, beta)
    found = compared(ask, "US", 0.4)
    assert (found.verdict, found.declared_verdict) == ("inside", "outside")
    assert (found.declared_low, found.declared_high) == pytest.approx((0.5, 0.76))
    unlisted = compared(ask, "KZ", 0.4)  # 26 are neither measured nor declared, 4 are OTHER
    assert unlisted.declared_high == pytest.approx(0.30)
    assert (unlisted.verdict, unlisted.declared_verdict) == ("inside", "outside")


def test_the_range_of_published_priors_is_compared_too() -> None:
    priors = [Distribution("a", {"US": 0.5, "KZ": 0.5}), Distribution("b", {"KZ": 1.0})]
    placement = place(
        cohort(member("gamma", total=10), network=20), BeliefsInForce(network=priors), (), "a"
    )
    ask = asking(Shares(placement))
    found = compared(ask, "KZ", 0.7)
    assert found.belief == pytest.approx((0.5, 1.0))
    assert (found.verdict, found.belief_verdict) == ("cannot say", "inside")
    assert compared(ask, "KZ", 0.4).belief_verdict == "outside"
    assert compared(ask, "KZ", 0.4, 0.6).belief_verdict == "partly"
    assert compared(ask, "NO", 0.4).belief_verdict == "cannot say"  # no prior names it
    assert compared(ask, "KZ-ALA", 0.7, of="country").belief is None


def test_an_answer_is_asked_for_once() -> None:
    calls = []

    def ask(window: str, country: str | None) -> Answer:
        calls.append((window, country))
        return asked(ALPHA)(window, country)

    given = [figure("US", 0.4), figure("CN-SC", 0.4), figure("CN", 0.4), figure("CN-XJ", 0.4)]
    assert [found.code for found in compare(given, ask)] == ["US", "CN-SC", "CN", "CN-XJ"]
    assert calls == [("now", None), ("now", "CN")]


# --- a stated coverage ----------------------------------------------------------------------------


def of_sample(coverage: float | None, *more: Any) -> Ask:
    messages = [report(hashrate=10, places={"CN": 6, "US": 4}), *more]
    cells = cells_of(messages)

    def ask(window: str, country: str | None) -> Answer:
        return answer_from(cells, query(window, country, NOON), Beliefs(), coverage)

    return ask


def test_a_stated_coverage_gives_bounds_where_the_network_is_unknown() -> None:
    assert bounds(compared(of_sample(None), "CN", 0.5)) == (None, None)
    found = compared(of_sample(0.25), "CN", 0.5)
    assert bounds(found) == pytest.approx((0.15, 0.9))
    assert (found.coverage, found.coverage_stated) == (0.25, True)
    assert of_sample(0.25)("now", None).network == NetworkHashrate(40, STATED)
    assert bounds(compared(of_sample(1.0), "CN", 0.5)) == pytest.approx((0.6, 0.6))


def test_a_stated_coverage_replaces_no_network_that_is_known() -> None:
    found = compared(of_sample(0.25, network(20)), "CN", 0.5)
    assert bounds(found) == pytest.approx((0.3, 0.8))
    assert (found.coverage, found.coverage_stated) == (0.5, False)


def test_a_stated_coverage_says_nothing_of_a_window_without_data() -> None:
    found = compared(of_sample(0.25), "CN", 0.5, window="2020-01")
    assert (found.coverage, found.coverage_stated, found.verdict) == (None, False, "cannot say")


def test_a_hashrate_is_not_compared_with_a_stated_coverage() -> None:
    """The hashrates of imported months are the whole network's, not those of their pools."""
    found = compared(of_sample(0.25), "CN", None, hashrate=5.0)
    assert (found.verdict, found.figure_low, found.figure_hashrate) == ("cannot say", None, 5.0)
    assert found.reason.startswith("Only a coverage was stated")


# --- properties -----------------------------------------------------------------------------------


@some
@given(crowded, st.none() | st.floats(0.01, 1))
def test_a_share_of_the_map_is_within_its_own_bounds(world: World, coverage: float | None) -> None:
    shares = shares_of(WINDOW, observations_in(world), beliefs_of(world), coverage=coverage)
    ask = asking(shares)
    own = [figure(share.code, share.share) for share in shares.countries()]
    for country in [each.code for each in own]:
        for share in shares.subdivisions(country):
            assert share.share_of_country is not None
            own += [
                figure(share.code, share.share),
                figure(share.code, share.share_of_country, of="country"),
            ]
    for found in compare(own, ask):
        expected = {"inside", "cannot say"}
        assert {found.verdict, found.declared_verdict} <= expected, found


CODES = ("US", "US-TX", "CN", "CN-SC", "CN-XJ", "CN-OTHER", "KZ", "OTHER")
AT = ("US", "US-TX", "US-NY", "CN-SC", "CN-XJ", "CN-GS", "KZ", "NO")
amounts = st.sampled_from([0.0, 0.0, 1.0, 2.0, 5.0, 10.0])


def finer(code: str, listed: set[str]) -> list[str]:
    """Where hashrate can be that is measured at ``code``, if these places are listed."""
    if code == OTHER:
        return [at for at in AT if country_of(at) not in {country_of(each) for each in listed}]
    if code == country_of(code):
        return [at for at in AT if country_of(at) == code]
    if code.endswith("-OTHER"):
        inside = [at for at in AT if country_of(at) == country_of(code) and at != code]
        return [at for at in inside if at not in listed]
    return [code]


@some
@given(st.data())
def test_what_can_be_true_is_never_outside(data: st.DataObject) -> None:
    """One possible truth: what is not measured, or not exactly, is anywhere that it can be."""
    measured = {code: data.draw(amounts) for code in CODES if data.draw(st.booleans())}
    total = sum(measured.values()) + data.draw(amounts)
    network = total + data.draw(amounts)
    if network <= 0:
        return
    pool = member("alpha", places_of(**{c.replace("-", "_"): h for c, h in measured.items()}))
    ask = asked(replace(pool, total=total, reported_total=total), network=network)
    truth = dict.fromkeys((*AT, "elsewhere"), 0.0)
    truth[data.draw(st.sampled_from(list(truth)))] += network - sum(measured.values())
    for code, hashrate in measured.items():
        choice = finer(code, set(measured)) or ["elsewhere"]
        truth[data.draw(st.sampled_from(choice))] += hashrate
    given_figures = [figure(at, truth[at] / network) for at in AT if at not in {"US", "KZ", "NO"}]
    for country in ("US", "CN", "KZ", "NO"):
        inside = {at: truth[at] for at in AT if country_of(at) == country}
        whole = sum(inside.values())
        given_figures.append(figure(country, whole / network))
        given_figures += [
            figure(at, inside[at] / whole, of="country")
            for at in inside
            if at != country and whole > 0
        ]
    for found in compare(given_figures, ask):
        assert found.verdict in {"inside", "cannot say"}, found

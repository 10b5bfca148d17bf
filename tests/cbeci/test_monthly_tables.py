"""CBECI's tables become reports; the figures are not the published ones.

The published tables are not part of the project; they are tested if they are in a folder beside it.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miningmap.api.models import SubdivisionRow
from miningmap.cbeci.monthly_tables import (
    FORMS,
    POOL,
    SHARES_ALONE,
    Fault,
    Form,
    TablesError,
    located,
    reports,
)
from miningmap.messages import Published, decode, encode
from miningmap.plausibility import KnownFigures
from miningmap.times import add_months
from streams.method.beliefs import Beliefs
from streams.method.cells import MemoryCells, Series
from streams.method.windows import parse_window
from streams.queries.parameters import SharesParameters
from streams.queries.shares import answer_from
from tests.cases import all_cases
from tests.streams import golden
from tests.streams.fixtures import network

if TYPE_CHECKING:
    from collections.abc import Iterable

    from miningmap.api.models import Answer
    from miningmap.messages import Report

NOW = datetime(2026, 11, 22, 15, 0, tzinfo=UTC)
EH = 1e18
COUNTRIES, ABSOLUTE, PROVINCES, STATES = FORMS
CCAF = golden.FOLDER.parent / "ccaf"
PUBLISHED = CCAF / "mining_countries_v1.2.0.csv"
PUBLISHED_PROVINCES = CCAF / "cn_provinces_monthly.csv"

TWO_MONTHS = """\
date,country,monthly_hashrate_%,monthly_absolute_hashrate_EH/S
2021-06-01,Mainland China,50.00%,60.00
2021-06-01,United States,30.01%,36.01
2021-06-01,"Iran, Islamic Rep.",12.50%,15.00
2021-06-01,Germany *,7.50%,9.00
2021-06-01,Ireland *,0.0%,0.00
2021-07-01,United States,80.00%,80.00
2021-07-01,Other,20.00%,20.00
2021-07-01,Mainland China,0%,0.00
"""


def imported(*texts: str) -> list[Report]:
    return reports({f"{n}.csv": text.encode() for n, text in enumerate(texts)}, fetched_at=NOW)


def faults(*texts: str | bytes) -> list[Fault]:
    bodies = [text.encode() if isinstance(text, str) else text for text in texts]
    with pytest.raises(TablesError) as caught:
        reports({f"{n}.csv": body for n, body in enumerate(bodies)}, fetched_at=NOW)
    return list(caught.value.faults)


def table(form: Form, *rows: str) -> str:
    return "\n".join([",".join(form.header), *rows, ""])


def places(report: Report) -> dict[str, float]:
    return {place.code: place.hashrate for place in report.places}


def answer_to(messages: Iterable[Report], window: str, **parameters: str) -> Answer:
    cells = MemoryCells()
    for message in messages:
        cells.add(message)
    query = SharesParameters.parse({"window": window, **parameters}).query(NOW)
    return answer_from(cells, query, Beliefs())


def inside(messages: Iterable[Report], window: str) -> dict[str, float]:
    """The provinces' shares of China."""
    rows = answer_to(messages, window, level="subdivision", country="CN").shares
    return {row.code: row.share_of_country for row in rows if isinstance(row, SubdivisionRow)}


def test_each_month_is_one_measured_report_of_the_sample() -> None:
    june, july = imported(TWO_MONTHS)
    assert (june.pool, june.source, june.hold_s, june.simulated) == (POOL, "cbeci", 0, False)
    assert june.basis == "relayed"
    assert (june.start, june.end) == (datetime(2021, 6, 1, tzinfo=UTC), july.start)
    assert july.end == datetime(2021, 8, 1, tzinfo=UTC)
    assert june.fetched_at == NOW
    assert {place.kind for place in june.places} == {"measured"}
    assert decode(encode(june)) == june


def test_the_hashrate_is_the_sum_of_the_published_ones_divided_by_the_shares() -> None:
    june, july = imported(TWO_MONTHS)
    assert june.hashrate == pytest.approx(120.01 * EH, rel=1e-15)
    assert places(june) == pytest.approx(
        {
            "CN": 120.01 * EH * 50 / 100.01,
            "US": 120.01 * EH * 30.01 / 100.01,
            "IR": 120.01 * EH * 12.5 / 100.01,
            "DE": 120.01 * EH * 7.5 / 100.01,
            "IE": 0,
        }
    )
    assert july.hashrate == pytest.approx(100 * EH)


def test_all_hashrate_is_located() -> None:
    answer = answer_to(imported(TWO_MONTHS), "2021-06")
    assert answer.located == pytest.approx(1, abs=1e-12)
    assert all(row.kinds.estimated == row.kinds.prior == 0 for row in answer.shares)


def test_coverage_and_bounds_are_unknown() -> None:
    answer = answer_to(imported(TWO_MONTHS), "2021-06")
    assert answer.network is None
    assert answer.coverage is None
    assert answer.measured_coverage is None
    assert {(row.low, row.high, row.network_hashrate) for row in answer.shares} == {(None,) * 3}


def test_a_published_zero_is_a_place_with_hashrate_0() -> None:
    june, july = imported(TWO_MONTHS)
    assert places(june)["IE"] == 0
    assert places(july)["CN"] == 0
    listed = {row.code: row.share for row in answer_to([june, july], "2021-07").shares}
    assert listed == {"US": 0.8, "OTHER": 0.2, "CN": 0.0}


@st.composite
def published(draw: st.DrawFn) -> dict[str, Decimal]:
    """Shares with two decimals that add up to 100 %, except for rounding."""
    codes = ["CN", "US", "RU", "KZ", "MY", "IR", "CA", "DE", "IE", "OTHER"]
    cuts = sorted(draw(st.lists(st.integers(0, 10_000), min_size=9, max_size=9)))
    parts = [b - a for a, b in zip([0, *cuts], [*cuts, 10_000], strict=True)]
    rounding = draw(st.integers(-10, 10))
    parts[parts.index(max(parts))] += rounding
    return {code: Decimal(part) / 100 for code, part in zip(codes, parts, strict=True)}


@given(published(), st.integers(1, 1_000_000))
def test_shares_are_reproduced_relative_to_the_months_total(
    shares: dict[str, Decimal], cents: int
) -> None:
    rows = [
        f"2020-02-01,{code},{share}%,{share * cents / 10_000:.2f}" for code, share in shares.items()
    ]
    # If all hashrates were rounded to 0, there would be no shares.
    rows.append(f"2020-02-01,BR,0%,{cents / 100:.2f}")
    answer = answer_to(imported(table(COUNTRIES, *rows)), "2020-02")
    got = {row.code: row.share for row in answer.shares}
    total = sum(shares.values())
    want = {code: float(share / total) for code, share in shares.items()}
    assert got == pytest.approx(want | {"BR": 0.0}, abs=1e-12)


@all_cases(
    "text",
    [
        "\ufeff" + TWO_MONTHS,
        TWO_MONTHS.replace("\n", "\r\n"),
        TWO_MONTHS.replace("\n", "\n\n"),
        TWO_MONTHS.replace("%", " %").replace("hashrate_ %", "hashrate_%"),
        TWO_MONTHS.replace("0%", "0").replace("date,country", " Date , COUNTRY "),
        TWO_MONTHS.replace("Mainland China", "China").replace("Germany *", "Germany"),
    ],
)
def test_equivalent_spellings_give_the_same_reports(text: str) -> None:
    assert imported(text) == imported(TWO_MONTHS)


def test_the_order_of_rows_changes_only_the_kept_lines() -> None:
    header, *rows = TWO_MONTHS.splitlines()
    reordered = imported("\n".join([header, *reversed(rows)]))
    for there, here in zip(reordered, imported(TWO_MONTHS), strict=True):
        assert there.places == here.places
        assert there.published == tuple(reversed(here.published))


def test_the_lines_are_kept_as_printed() -> None:
    june, july = imported(TWO_MONTHS, table(PROVINCES, "2021-06-01,Nei Mongol,100 %"))
    assert june.published == (
        Published("CN", "50.00", "60.00"),
        Published("US", "30.01", "36.01"),
        Published("IR", "12.50", "15.00"),
        Published("DE", "7.50", "9.00"),
        Published("IE", "0.0", "0.00"),
        Published("CN-NM", "100"),
    )
    assert july.published[-1] == Published("CN", "0", "0.00")
    (absolute,) = imported(table(ABSOLUTE, "2021-06-01,China,3.05e1"))
    assert absolute.published == (Published("CN", hashrate="3.05e1"),)
    assert decode(encode(june)) == june


def test_the_kept_lines_give_the_places_of_their_report() -> None:
    provinces = table(
        PROVINCES, "2021-06-01,Sichuan,60.01", "2021-06-01,Other,40", "2021-07-01,Other,0"
    )
    for report in imported(TWO_MONTHS, provinces):
        assert located(report.published) == places(report)


def test_a_table_with_hashrates_only_gives_shares() -> None:
    text = table(ABSOLUTE, "2021-06-01,China,30.5", "2021-06-01,Ireland,0", "2021-06-01,US,9.15e1")
    (june,) = imported(text)
    assert june.hashrate == pytest.approx(122 * EH)
    assert places(june) == pytest.approx({"CN": 30.5 * EH, "US": 91.5 * EH, "IE": 0})


def test_subdivisions_replace_their_country() -> None:
    provinces = table(
        PROVINCES,
        *("2021-06-01,Sichuan,40.00", "2021-06-01,Nei Mongol,35", "2021-06-01,Other,25.01"),
    )
    states = table(STATES, "2021-06-01,Georgia,30.76%", "2021-06-01,Other,69.24%")
    june, july = imported(provinces, TWO_MONTHS, states)
    china = 120.01 * EH * 50 / 100.01
    usa = 120.01 * EH * 30.01 / 100.01
    want = {
        "CN-SC": china * 40 / 100.01,
        "CN-NM": china * 35 / 100.01,
        "CN-OTHER": china * 25.01 / 100.01,
        "US-GA": usa * 0.3076,
        "US-OTHER": usa * 0.6924,
        "IR": 120.01 * EH * 12.5 / 100.01,
        "DE": 120.01 * EH * 7.5 / 100.01,
        "IE": 0,
    }
    assert places(june) == pytest.approx(want)
    assert july == imported(TWO_MONTHS)[1]


def test_subdivisions_do_not_change_the_shares_of_countries() -> None:
    provinces = table(PROVINCES, "2021-06-01,Sichuan,40.00", "2021-06-01,Yunnan,60.00")
    split, plain = imported(TWO_MONTHS, provinces), imported(TWO_MONTHS)
    countries = {row.code: row.share for row in answer_to(plain, "2021-06").shares}
    got = {row.code: row.share for row in answer_to(split, "2021-06").shares}
    assert got == pytest.approx(countries, rel=1e-12)
    assert inside(split, "2021-06") == pytest.approx({"CN-YN": 0.6, "CN-SC": 0.4})


def test_provinces_of_a_country_without_hashrate_are_zeros() -> None:
    provinces = table(PROVINCES, "2021-07-01,Sichuan,0.00", "2021-07-01,Other,0%")
    july = imported(TWO_MONTHS, provinces)[1]
    assert places(july)["CN-SC"] == places(july)["CN-OTHER"] == 0
    assert "CN" not in places(july)
    assert answer_to([july], "2021-07").shares[-1].code == "CN"
    assert inside([july], "2021-07") == {}


def test_a_repeated_import_changes_no_cell_and_a_revision_replaces() -> None:
    first = imported(TWO_MONTHS)
    later = datetime(2026, 11, 23, tzinfo=UTC)
    again = reports({"a.csv": TWO_MONTHS.encode()}, fetched_at=later)
    smaller = TWO_MONTHS.replace("60.00", "6.00")
    revised = reports({"a.csv": smaller.encode()}, fetched_at=later)
    span = parse_window("2021-06", NOW).span
    series = Series(POOL, "cbeci")

    def cell(*messages: Report) -> object:
        cells = MemoryCells()
        for message in messages:
            cells.add(message)
        return cells.sum(series, span)

    assert cell(*first) == cell(*first, *again) == cell(*again, *first)
    assert cell(*revised) == cell(*first, *revised) == cell(*revised, *first)
    assert cell(*revised) != cell(*first)


# --- errors ---------------------------------------------------------------------------------------


@all_cases(
    ("row", "error"),
    [
        ("2021-06-01,Kazakstan,1%,1.2", "near matches: Kazakhstan (KZ)"),
        ("2021-06-01,,1%,1.2", "unknown country: ''"),
        ("2021-06-02,Brazil,1%,1.2", "'2021-06-02' is not the first day of a month"),
        ("2021-13-01,Brazil,1%,1.2", "'2021-13-01' is not the first day"),
        ("June 2021,Brazil,1%,1.2", "'June 2021' is not the first day"),
        ("2008-12-01,Brazil,1%,1.2", "2008-12-01 is before Bitcoin's first block, 2009-01"),
        ("2026-11-01,Brazil,1%,1.2", "2026-11 has not ended yet"),
        ("9999-12-01,Brazil,1%,1.2", "9999-12 has not ended yet"),
        ("2021-06-01,Brazil,-1%,1.2", "'-1%' is not a share in percent"),
        ("2021-06-01,Brazil,100.1%,1.2", "'100.1%' is not a share in percent"),
        ("2021-06-01,Brazil,nan,1.2", "'nan' is not a share"),
        ("2021-06-01,Brazil,,1.2", "'' is not a share"),
        ("2021-06-01,Brazil,1%,-1.2", "'-1.2' is not a hashrate in EH/s"),
        ("2021-06-01,Brazil,1%,1.2 EH/s", "'1.2 EH/s' is not a hashrate"),
        (f"2021-06-01,Brazil,0.{'0' * 63}%,1.2", "0000' is not a share"),
        (f"2021-06-01,Brazil,1%,0.{'0' * 63}", "0000' is not a hashrate"),
        (
            "2021-06-01,Brazil,1%,1200000",
            "1200 ZH/s is more than 100 ZH/s, a hundred",
        ),
        ("2021-06-01,Brazil,1%", "3 columns instead of 4"),
        ("2021-06-01,Iran,1%,1.2", "IR in 2021-06 is already in line 4"),
    ],
)
def test_a_bad_row_is_named_by_its_line(row: str, error: str) -> None:
    (fault,) = faults(TWO_MONTHS + row + "\n")
    assert (fault.file, fault.line) == ("0.csv", 10)
    assert error in fault.error
    assert str(fault) == f"0.csv: line 10: {fault.error}"


def test_all_errors_are_listed_by_file_and_line() -> None:
    bad = TWO_MONTHS.replace("Germany *", "Germani").replace("80.00%", "70.00%")
    found = faults(bad, table(PROVINCES, "2021-06-01,Sichuan,110", "2021-07-01,Texas,1"))
    assert [(fault.file, fault.line) for fault in found] == [
        *(("0.csv", 5), ("0.csv", 7)),
        *(("1.csv", 2), ("1.csv", 3)),
    ]
    assert found[1].error == "2021-07: the shares add up to 90.00 %, not 100 %"


def test_names_as_the_un_prints_them_are_imported() -> None:
    (report,) = imported(
        table(
            COUNTRIES,
            "2019-09-01,China (People's Republic of),75.53%,66.76",
            "2019-09-01,United States of America,14.39%,12.72",
            "2019-09-01,Russian Federation (the),5.93%,5.24",
            "2019-09-01,Korea (the Republic of),3.25%,2.87",
            "2019-09-01,Iran (Islamic Republic of),0.9%,0.8",
            "2019-09-01,Türkiye *,0%,0",
        )
    )
    assert set(places(report)) == {"CN", "US", "RU", "KR", "IR", "TR"}


def test_every_row_with_an_unknown_name_is_listed_with_its_line_and_name() -> None:
    found = faults(
        TWO_MONTHS.replace("Mainland China,50", "People's Republic of Chyna,50").replace(
            "Other", "Atlantis"
        )
    )
    assert [(fault.line, fault.error) for fault in found] == [
        (2, 'unknown country: "People\'s Republic of Chyna"; near matches: China (CN)'),
        (8, "unknown country: 'Atlantis'"),
    ]


def test_sums_of_months_with_rejected_rows_are_not_checked() -> None:
    known = TWO_MONTHS.replace("30.01%", "x").replace("80.00%", "70.00%")
    assert [fault.line for fault in faults(known)] == [3, 7]
    unknown = TWO_MONTHS.replace("2021-06-01,United", "2021-06-31,United")
    assert [fault.line for fault in faults(unknown.replace("80.00%", "70.00%"))] == [3]


@all_cases("us", ["29.90%", "30.10%"])
def test_shares_may_miss_100_percent_by_a_tenth(us: str) -> None:
    text = TWO_MONTHS.replace("30.01%", us)
    assert len(imported(text)) == 2
    (fault,) = faults(text.replace("12.50%", "12.49%" if us < "30" else "12.51%"))
    assert (fault.line, fault.error[:29]) == (2, "2021-06: the shares add up to")


def test_a_month_without_hashrate_is_rejected() -> None:
    (fault,) = faults(table(ABSOLUTE, "2021-06-01,China,0", "2021-06-01,US,0.0"))
    assert fault.error == "2021-06: the hashrates add up to 0"
    (fault,) = faults(table(COUNTRIES, "2021-06-01,China,0%,0"))
    assert fault.error == "2021-06: the shares add up to 0 %, not 100 %"


@all_cases(
    ("body", "line", "error"),
    [
        ("", 1, "'' is not a header of CBECI's"),
        ("<!doctype html>\n<html>", 1, "'<!doctype html>' is not a header of CBECI's"),
        ("month,share\n", 1, "expected one of: date,country,monthly_hashrate_%"),
        (TWO_MONTHS.splitlines()[0], None, "has no rows"),
        (TWO_MONTHS.encode() + b"2021-08-01,C\xf4te d'Ivoire,1%,1\n", 10, "is not UTF-8"),
        (TWO_MONTHS + '2021-08-01,"Other', 10, "is not CSV: unexpected end of data"),
        (",".join(SHARES_ALONE), 1, "has shares and no hashrates (CBECI's v1.1.0); take"),
    ],
)
def test_a_file_that_is_not_a_table_of_cbeci_is_named(
    body: str | bytes, line: int | None, error: str
) -> None:
    (fault,) = faults(body)
    assert fault.line == line
    assert error in fault.error


def test_errors_before_a_truncated_line_are_listed() -> None:
    broken = TWO_MONTHS.replace("80.00%", "x") + '2021-08-01,"Other'
    assert [fault.line for fault in faults(broken)] == [7, 10]


def test_an_error_of_the_whole_file_has_no_line() -> None:
    (fault,) = faults(TWO_MONTHS.splitlines()[0])
    assert str(fault) == "0.csv: has no rows"


def test_a_table_of_subdivisions_needs_the_table_of_countries() -> None:
    provinces = table(PROVINCES, "2021-06-01,Sichuan,100")
    states = table(STATES, "2021-06-01,Texas,100")
    found = faults(provinces, states)
    assert [fault.file for fault in found] == ["0.csv", "1.csv"]
    assert found[0].error == (
        "has only shares of China; give CBECI's table of countries (mining_countries of v1.1.1 or "
        "later) too"
    )


def test_two_tables_of_the_same_places_are_rejected() -> None:
    (fault,) = faults(TWO_MONTHS, TWO_MONTHS)
    assert (fault.file, fault.error) == (
        "1.csv",
        "has the same places as 0.csv; give one of them",
    )


def test_shares_of_a_country_without_hashrate_are_rejected() -> None:
    before = table(PROVINCES, "2021-05-01,Sichuan,100", "2021-06-01,Sichuan,0")
    early, nothing = faults(TWO_MONTHS, before)
    assert (early.line, early.error) == (2, "2021-05: 0.csv has no hashrate of China")
    assert nothing.line == 3
    assert nothing.error == "2021-06: all shares are 0, but 0.csv has a hashrate of China"
    without = table(ABSOLUTE, "2021-05-01,US,1")
    (absent,) = faults(without, table(PROVINCES, "2021-05-01,Sichuan,100"))
    assert absent.error == "2021-05: 0.csv has no hashrate of China"


# --- the published tables -------------------------------------------------------------------------


@pytest.mark.skipif(not PUBLISHED.exists(), reason="CBECI's own table is not beside the project")
def test_every_published_share_is_reproduced() -> None:
    text = PUBLISHED.read_text()
    messages = imported(text)
    months: defaultdict[str, list[tuple[str, float]]] = defaultdict(list)
    for row in csv.DictReader(io.StringIO(text)):
        percent = float(row["monthly_hashrate_%"].removesuffix("%"))
        months[row["date"][:7]].append((row["country"], percent))
    compared = 0
    for window, rows in months.items():
        (report,) = [m for m in messages if f"{m.start:%Y-%m}" == window]
        answer = answer_to([report], window)
        got = sorted((100 * row.share for row in answer.shares), reverse=True)
        total = sum(percent for _, percent in rows)
        want = sorted((percent for _, percent in rows), reverse=True)
        assert got == pytest.approx([100 * percent / total for percent in want], abs=1e-9)
        compared += len(got)
    assert compared == 290


@pytest.mark.skipif(
    not PUBLISHED_PROVINCES.exists(), reason="CBECI's provinces are not beside the project"
)
def test_every_published_share_of_a_province_is_reproduced() -> None:
    with PUBLISHED_PROVINCES.open() as opened:
        published = list(csv.DictReader(opened))
    rows = [
        f"{row['month']}-01,{row['region_name'].partition(' Chinese')[0]},{row['share_pct']}"
        for row in published
    ]
    messages = imported(PUBLISHED.read_text(), table(PROVINCES, *rows))
    compared = 0
    for month in sorted({row["month"] for row in published}):
        want = {
            row["region_code"].replace("-ZZ", "-OTHER"): float(row["share_pct"])
            for row in published
            if row["month"] == month
        }
        report = next(m for m in messages if f"{m.start:%Y-%m}" == month)
        got = {code: 100 * share for code, share in inside([report], month).items()}
        total = sum(want.values())
        expected = {c: 100 * share / total for c, share in want.items()} if total else {}
        assert got == pytest.approx(expected, abs=1e-9)
        compared += len(want)
    assert compared == len(published) == 23 * 9


# --- more than the network can have had -----------------------------------------------------------


def known_of(month: int, hashrate: float) -> KnownFigures:
    known = KnownFigures()
    start = datetime(2021, month, 1, tzinfo=UTC)
    known.add(network(hashrate, start=start, end=add_months(start, 1)))
    return known


def test_a_month_is_compared_with_the_network_of_its_time() -> None:
    """The tables have the whole network's hashrate; here 120 and 100 EH/s."""
    files = {"a.csv": TWO_MONTHS.encode()}
    plain = reports(files, fetched_at=NOW)
    for month, hashrate in ((6, 61e18), (7, 61e18), (3, 1e18)):
        known = known_of(month, hashrate)
        assert reports(files, fetched_at=NOW, known=known) == plain
    with pytest.raises(TablesError) as caught:
        reports(files, fetched_at=NOW, known=known_of(6, 59e18))
    (fault,) = caught.value.faults
    assert str(fault) == (
        "a.csv: line 2: 2021-06: 120 EH/s is more than twice the network's 59 EH/s at that time"
    )

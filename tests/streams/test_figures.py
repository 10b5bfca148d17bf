"""Tables of published figures."""

from __future__ import annotations

import io

import pytest

from miningmap.partner.csv import TableError
from streams.queries.figures import COLUMNS, Figure, Range, read_figures
from tests.cases import all_cases

HEADER = "code,window,share,share_low,share_high,hashrate,of,source,note\n"


def read(text: str) -> list[Figure]:
    return read_figures(io.StringIO(text, newline=""))


def errors(text: str) -> list[str]:
    with pytest.raises(TableError) as caught:
        read(text)
    return list(caught.value.errors)


def test_a_figure_is_a_share_a_range_or_a_hashrate() -> None:
    found = read(
        HEADER
        + "CN-SC,2019-12,54%,,,,,CoinShares,\n"
        + '\ncn,24h,0.54,,,,world,"CoinShares, 2019",a note\n'
        + "CN-SC,2019-12-01T05,,81.7 %,84.5%,,country,computed,\n"
        + "US,2021-06,,,,50 EH/s,,a report,\n"
    )
    assert found == [
        Figure(2, "CN-SC", "2019-12", "world", Range(0.54, 0.54), None, "CoinShares", ""),
        Figure(4, "CN", "24h", "world", Range(0.54, 0.54), None, "CoinShares, 2019", "a note"),
        Figure(5, "CN-SC", "2019-12-01T05", "country", Range(0.817, 0.845), None, "computed", ""),
        Figure(6, "US", "2021-06", "world", None, 50e18, "a report", ""),
    ]


def test_columns_have_any_order_and_some_may_be_missing() -> None:
    (found,) = read("source,share,window,code\nsomebody,1e-1,now,Mainland China\n")
    assert (found.code, found.share, found.of, found.note) == ("CN", (0.1, 0.1), "world", "")


@all_cases(
    ("line", "error"),
    [
        (",now,1%,,,,,x,", "code: unknown country: ''"),
        ("XX,now,1%,,,,,x,", "code: unknown country: 'XX'"),
        (
            "CN-XX,now,1%,,,,,x,",
            "code: unknown place 'CN-XX': expected an ISO 3166-1 or 3166-2 code",
        ),
        ("CN-HK,now,1%,,,,,x,", "code: unknown place 'CN-HK': use the country code HK"),
        ("FR-75C,now,1%,,,,,x,", "code: FR-75C is inside FR-IDF, at which hashrate counts"),
        ("UNKNOWN,now,1%,,,,,x,", "code: unknown country: 'UNKNOWN'; leave out hashrate"),
        ("CN,2h,1%,,,,,x,", "window: unknown window '2h'; expected one of: now, 1h"),
        ("CN,2019-13,1%,,,,,x,", "window: unknown window '2019-13'"),
        ("CN,now,1%,,,,,,", "source: is empty; name who published the figure"),
        ("CN,now,54,,,,,x,", "share: '54' is not a share; expected a ratio such as 0.54, or 54%"),
        ("CN,now,-1%,,,,,x,", "share: '-1%' is not a share"),
        ("CN,now,nan,,,,,x,", "share: 'nan' is not a share"),
        ("CN,now,101%,,,,,x,", "share: '101%' is not a share"),
        ("CN,now,,5%,,,,x,", "expected one of: share; share_low and share_high; hashrate; found "),
        (
            "CN,now,,,,,,x,",
            "expected one of: share; share_low and share_high; hashrate; found none",
        ),
        ("CN,now,5%,,,5 EH/s,,x,", "expected one of: share; share_low and share_high; hashrate; "),
        ("CN,now,,6%,5%,,,x,", "share_low: is above share_high"),
        ("CN,now,,,,5,,x,", "hashrate: '5' is no hashrate with a unit, such as 50 EH/s"),
        ("CN,now,,,,n/a,,x,", "hashrate: 'n/a' is no hashrate with a unit"),
        ("CN,now,,,,five EH/s,,x,", "hashrate: not a hashrate: 'five EH/s'"),
        ("CN-SC,now,,,,5 EH/s,country,x,", "of: a hashrate is no share; leave it empty"),
        ("CN,now,5%,,,,country,x,", "of: CN is no subdivision, so it has no share of its country"),
        ("CN,now,5%,,,,europe,x,", "of: 'europe' is not allowed; expected world or country"),
        ("CN,now,5%,,,,,a, b,c", "10 fields, but the header has 9"),
    ],
)
def test_a_wrong_line_is_named(line: str, error: str) -> None:
    (found,) = errors(HEADER + "CN,now,1%,,,,,x,\n" + line + "\n")
    assert found.startswith(f"line 3: {error}")


def test_all_errors_of_all_lines_are_told_at_once() -> None:
    found = errors(HEADER + "XX,2h,54,,,,,,\nCN,now,1%,,,,,x,y,z\nCN,now,,,,,,x,\n")
    columns = [error.split(":")[0:2] for error in found]
    assert [line for line, _ in columns] == ["line 2"] * 4 + ["line 3", "line 4"]
    assert [column.strip() for _, column in columns[:4]] == ["code", "window", "source", "share"]


@all_cases(
    ("text", "error"),
    [
        ("", "line 1: missing column code, window, source; found none"),
        ("code,window\n", "line 1: missing column source; found code, window"),
        (HEADER, "has no figures"),
        ("code,window,source,percent\nCN,now,x,5\n", "line 1: unknown column 'percent'"),
        ('code,window,source,share\nCN,now,"x"y,5%\n', "line 2: not CSV"),
    ],
)
def test_a_wrong_table_is_named(text: str, error: str) -> None:
    (found,) = errors(text)
    assert found.startswith(error)


def test_the_columns_are_those_of_the_header_above() -> None:
    assert set(COLUMNS) == set(HEADER.strip().split(","))

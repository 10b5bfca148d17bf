from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miningmap.cbeci.contribution import FIELDS, Row
from miningmap.partner.csv import TableError, read_rows, read_table, write_rows
from tests.cases import all_cases

HEADER = "period_start_date,period,country,province,average_hashrate,unit"


def rows(*lines: str) -> tuple[list[dict[str, object]], list[int]]:
    return read_rows(io.StringIO("\n".join([HEADER, *lines]), newline=""))


def error(text: str) -> str:
    with pytest.raises(TableError) as caught:
        list(read_table(io.StringIO(text, newline=""), ["a", "b"]))
    (text,) = caught.value.errors
    return text


def test_rows_equal_those_of_json() -> None:
    ((row,), lines) = rows("2026-11-01,daily,China,Sichuan,5230.7,ph/s")
    assert row == {
        "period_start_date": "2026-11-01",
        "period": "daily",
        "country": "China",
        "province": "Sichuan",
        "average_hashrate": 5230.7,
        "unit": "ph/s",
    }
    assert lines == [2]


def test_an_empty_province_is_the_whole_country() -> None:
    (row,), _ = rows("2026-11-01,daily,China,,1,ph/s")
    assert row["province"] is None


@all_cases("text", ["", "many", "1_000", "1,5", "0x10"])
def test_an_invalid_number_stays_text_for_validation(text: str) -> None:
    (row,), _ = rows(f'2026-11-01,daily,China,,"{text}",ph/s')
    assert row["average_hashrate"] == text


def test_columns_without_a_name_may_be_several() -> None:
    (record,) = read_table(io.StringIO("a,b,,\n1,2,3,4\n"), ["a", "b"])
    assert (record.fields["a"], record.fields["b"]) == ("1", "2")


def test_columns_may_be_in_any_order_with_others_between_them() -> None:
    text = "b, x ,a\n1,2,3\n"
    (record,) = read_table(io.StringIO(text, newline=""), ["a", "b"])
    assert (record.fields["a"], record.fields["b"]) == ("3", "1")


def test_line_numbers_are_those_of_the_file() -> None:
    text = 'a,b\n1,2\n\n"over\ntwo",3\r\n4,5\n'
    assert [(r.line, r.fields["b"]) for r in read_table(io.StringIO(text, newline=""), "ab")] == [
        (2, "2"),
        (4, "3"),
        (6, "5"),
    ]


@all_cases(
    ("text", "message"),
    [
        ("", "line 1: missing column a, b; found none"),
        ("a;b\n1;2", "line 1: missing column a, b; found a;b"),
        ("A,b\n", "line 1: missing column a; found A, b"),
        ("a,b,c,b\n1,2,3,4", "line 1: several columns b; only one can be meant"),
        ("a,b,c,c\n1,2,3,4", "line 1: several columns c; only one can be meant"),
        ("a,b,192.0.2.1,192.0.2.1\n1,2,3,4", "line 1: several columns; only one can be meant"),
        ("a,b\n1,2\n1\n", "line 3: 1 fields, but the header has 2"),
        ("a,b\n1,2,3\n", "line 2: 3 fields, but the header has 2"),
        ('a,b\n1,"2\n', "line 2: not CSV: unexpected end of data"),
    ],
)
def test_an_invalid_table_is_an_error_with_the_line(text: str, message: str) -> None:
    assert error(text) == message


def test_invalid_utf_8_is_named() -> None:
    file = io.TextIOWrapper(io.BytesIO(b"a,b\n\xff,1\n"), encoding="utf-8", newline="")
    with pytest.raises(TableError, match="not UTF-8"):
        list(read_table(file, ["a", "b"]))


TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs", "Z"]), min_size=1, max_size=8)


@given(
    st.lists(
        st.builds(
            lambda country, province, hashrate: Row(
                period_start_date="2026-11-01",
                period="daily",
                country=country,
                province=province,
                average_hashrate=hashrate,
                unit="th/s",
            ),
            TEXT,
            st.none() | TEXT,
            st.floats(0, 1e12),
        )
    )
)
def test_reading_reverses_writing(written: list[Row]) -> None:
    found, _ = read_rows(io.StringIO(write_rows(written), newline=""))
    assert found == written
    assert write_rows([]).strip().split(",") == list(FIELDS)

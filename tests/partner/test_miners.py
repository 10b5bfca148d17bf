"""Lists of miners as CSV and as JSON lines; whatever is wrong with one, no error quotes it."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miningmap.partner.aggregate import aggregate
from miningmap.partner.csv import TableError
from miningmap.partner.miners import read_miners
from miningmap.partner.records import Location
from tests.cases import all_cases
from tests.partner.fixtures import ADDRESSES

TEXAS = ADDRESSES["texas"]
QUEBEC = ADDRESSES["quebec"]


def records(text: str) -> list[tuple[int, dict[str, str]]]:
    return [(line, fields) for line, fields in read_miners(io.StringIO(text, newline=""))]


def test_json_lines_are_the_same_list_as_csv() -> None:
    as_csv = f"worker,ip,hashrate\na,{TEXAS},104\nb,{QUEBEC},3.4 PH/s\n"
    as_json = (
        f'{{"ip":"{TEXAS}","hashrate":104,"worker":"a"}}\n'
        f'\n{{"hashrate":"3.4 PH/s","ip":" {QUEBEC} "}}\n'
    )
    found = [
        aggregate(io.StringIO(text), lambda _: Location("NO"), "TH/s") for text in (as_csv, as_json)
    ]
    assert found[0] == found[1]
    assert found[0].located["NO"].hashrate == 104e12 + 3.4e15


def test_json_lines_may_name_places() -> None:
    text = '{"place":"US-TX","hashrate":1e15}\n{"place":"Norway","hashrate":"2 PH/s"}'
    assert records(text) == [
        (1, {"place": "US-TX", "hashrate": "1000000000000000.0"}),
        (2, {"place": "Norway", "hashrate": "2 PH/s"}),
    ]


@all_cases(
    ("line", "error"),
    [
        ('{"ip":"%s"}', "line 2: expected a JSON object with hashrate, and ip or place"),
        ('{"ip":["%s"],"hashrate":1}', "line 2: expected a JSON object with hashrate, and ip or"),
        (
            '{"ip":"%s","hashrate":1',
            "line 2: expected a JSON object with hashrate, and ip or place",
        ),
        ("%s,1", "line 2: expected a JSON object with hashrate, and ip or place"),
        ('{"ip":"%s","place":"US","hashrate":1}', "line 2: expected either ip or place"),
        ('{"hashrate":1,"address":"%s"}', "line 2: expected either ip or place"),
    ],
)
def test_a_line_that_is_no_miner_is_named_without_its_content(line: str, error: str) -> None:
    with pytest.raises(TableError) as caught:
        records('{"place":"US","hashrate":1}\n' + line % TEXAS)
    assert str(caught.value).startswith(error)
    assert TEXAS not in str(caught.value)


@all_cases(
    ("text", "found"),
    [
        (f"{TEXAS},104\n", "none"),
        (f"{QUEBEC},104\n", "none"),
        (f"worker,{TEXAS},104\n", "worker"),
        (f"ip;{TEXAS}\n", "none"),
        ("ip;hash_rate\n", "ip;hash_rate"),
    ],
)
def test_the_first_line_of_a_list_without_a_header_is_not_quoted(text: str, found: str) -> None:
    with pytest.raises(TableError) as caught:
        records(text)
    assert caught.value.errors == (f"line 1: missing column hashrate; found {found}",)


PIECES = [TEXAS, QUEBEC, "ip", "hashrate", "place", ",", "\n", '"', "{", "}", ":", "1", ";", "é"]


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_no_error_contains_an_address_whatever_the_list_looks_like(text: str) -> None:
    try:
        found = aggregate(io.StringIO(text, newline=""), lambda _: None, "H/s")
    except TableError as error:
        said = " ".join(error.errors)
        assert TEXAS not in said
        assert QUEBEC not in said
    else:
        assert not found.located or all(code.isupper() for code in found.located)

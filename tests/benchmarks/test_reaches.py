"""Figures are found in printed tables, and compared with what is to be reached."""

from __future__ import annotations

from benchmarks.reaches import Reach, measured, rows

PRINTED = """
**A table of something else**

| worker | CPU |
|---|---:|
| ours | 12 |

**Throughput**

| worker | by | ratio | 99 %, ms |
|---|---|---:|---:|
| ours | HTTP | 1.00 | 1,234.5 |
| theirs | HTTP | 1.25 (1.20 to 1.31) | 7 % |
| theirs | HTTPS | 0.50 |  |

| ratio |
|---|
| 3 |
"""


def reach(row: tuple[str, ...], column: str, aim: float = 1.0, *, at_least: bool = False) -> Reach:
    return Reach("what", "throughput", row, column, aim, at_least)


def test_a_figure_is_found_by_its_row_and_column() -> None:
    assert measured(PRINTED, reach(("theirs",), "ratio")) == 1.25
    assert measured(PRINTED, reach(("theirs", "HTTPS"), "ratio")) == 0.5
    assert measured(PRINTED, reach(("ours",), "99 %, ms")) == 1234.5
    assert measured(PRINTED, reach(("ours",), "CPU")) == 12


def test_what_was_not_printed_is_not_measured() -> None:
    assert measured(PRINTED, reach(("nobody",), "ratio")) is None
    assert measured(PRINTED, reach(("theirs", "HTTPS"), "99 %, ms")) is None
    assert measured("", reach(("ours",), "ratio")) is None


def test_a_row_says_whether_it_is_reached_or_by_how_much_it_is_missed() -> None:
    found = rows(
        {"throughput": PRINTED},
        [
            reach(("theirs",), "ratio", 1.25, at_least=True),
            reach(("theirs",), "ratio", 2.5, at_least=True),
            reach(("ours",), "99 %, ms", 2000),
            reach(("ours",), "99 %, ms", 1000),
            reach(("nobody",), "ratio"),
            reach(("nobody",), "ratio")._replace(benchmark="one that did not run"),
        ],
    )
    assert [row[1:] for row in found] == [
        ("≥ 1.25", "1.25", "reached"),
        ("≥ 2.5", "1.25", "**missed**: 0.50 of it"),
        ("≤ 2,000", "1,234.5", "reached"),
        ("≤ 1,000", "1,234.5", "**missed**: 1.23 of it"),
        ("≤ 1", "-", "not measured"),
    ]

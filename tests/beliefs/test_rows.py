"""What is believed on a day, as rows, and the page of all beliefs."""

from __future__ import annotations

import tomllib
from datetime import date
from typing import TYPE_CHECKING

import msgspec
import pytest

from streams.beliefs import BeliefsDocument, beliefs_of
from streams.beliefs.documents import SHIPPED, periods, read
from streams.beliefs.markdown import figures, page
from streams.beliefs.rows import all_rows, rows_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from miningmap.api.models import BeliefRow

DOCUMENT = msgspec.convert(
    tomllib.loads("""
[[network]]
id = "network/n"
source = "https://n.example"
publisher = "N"
note = "of all"
[[network.series]]
from = 2025-01-01
weights = { US = 1, CA = 3 }
[[network.series]]
from = 2025-04-01
until = 2025-06-01
weights = { US = 1 }
source = "https://other.example"
primary = false

[[pools]]
id = "pools/first"
pool = "foundryusa"
kind = "prior"
source = "s"
series = [{ from = 2025-01-01, until = 2025-02-01, weights = { US-TX = 2 } }]
[[pools]]
id = "pools/second"
pool = "foundryusa"
kind = "prior"
source = "s"
series = [{ from = 2025-01-15, weights = { US-TX = 2 } }]

[[claims]]
id = "claims/c"
subject = "C"
source = "s"
place = "US-TX"
at_least = 1.5e19
from = 2025-01-31
until = 2025-05-31
pools = ["foundryusa"]

[[annotations]]
id = "annotations/a"
text = "It happens."
source = "s"
places = ["US-TX", "US-OK"]
pools = ["luxor"]
zone = "America/Chicago"
first_day = "06-01"
last_day = "09-30"
from_hour = 15
until_hour = 19
weekdays = ["monday", "tuesday"]
from = 2025-02-01
until = 2025-05-31

[part_of]
luxor-account = "luxor"

[[rules]]
id = "rule"
source = "s"
place = "CN-ZJ"
applies_to = "*"
"""),
    BeliefsDocument,
)


def ids(rows: Sequence[BeliefRow]) -> list[str]:
    return [row.id for row in rows]


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        ("2024-12-31", []),
        ("2025-01-01", ["network/n", "pools/first"]),
        ("2025-01-31", ["network/n", "pools/first", "claims/c"]),
        ("2025-02-01", ["network/n", "pools/second", "claims/c"]),
        ("2025-05-31", ["network/n", "pools/second"]),
        ("2025-06-01", ["pools/second"]),
    ],
)
def test_the_rows_of_a_day_are_what_counts_then(day: str, expected: list[str]) -> None:
    rows = rows_on(DOCUMENT, date.fromisoformat(day))
    annotations = ["annotations/a"] if "2025-02-01" <= day < "2025-05-31" else []
    assert ids(rows) == [*expected, "rule", "part_of/luxor-account", *annotations]


def test_the_rows_agree_with_what_the_method_uses() -> None:
    for document in (DOCUMENT, read(SHIPPED)):
        beliefs = beliefs_of(document)
        for n in range(0, 2600, 13):
            day = date.fromordinal(date(2020, 1, 1).toordinal() + n)
            used = beliefs.on((day - date(1970, 1, 1)).days)
            found = {row.id for row in rows_on(document, day) if row.kind in {"prior", "declared"}}
            assert found == {
                *(each.id for each in used.network),
                *(each.id for each in (*used.declared.values(), *used.priors.values())),
                *(amount.id for group in used.claims for amount in group.amounts),
            }


def test_an_entry_has_its_own_days_and_citation_and_else_that_of_the_distribution() -> None:
    first, second = (row for row in all_rows(DOCUMENT) if row.id == "network/n")
    assert (first.start, first.until) == (date(2025, 1, 1), date(2025, 4, 1))
    assert (second.start, second.until) == (date(2025, 4, 1), date(2025, 6, 1))
    assert (first.source, first.primary) == ("https://n.example", None)
    assert (second.source, second.primary) == ("https://other.example", False)
    assert {row.publisher for row in (first, second)} == {"N"}
    assert first.figures == {"US": 0.25, "CA": 0.75}
    assert (first.kind, first.unit, first.pools) == ("prior", "ratio", None)


def test_each_kind_of_belief_has_its_fields() -> None:
    rows = {row.id: row for row in rows_on(DOCUMENT, date(2025, 2, 1))}
    claim = rows["claims/c"]
    assert (claim.kind, claim.unit, claim.place) == ("declared", "H/s", "US-TX")
    assert (claim.figures, claim.pools, claim.subject) == ({"US-TX": 1.5e19}, ("foundryusa",), "C")
    rule, part = rows["rule"], rows["part_of/luxor-account"]
    assert (rule.kind, rule.place, rule.pools, rule.unit) == ("rule", "CN-ZJ", None, None)
    assert (part.kind, part.pools, part.part_of) == ("part", ("luxor-account",), "luxor")
    annotation = rows["annotations/a"]
    assert (annotation.kind, annotation.unit, annotation.figures) == ("annotation", None, {})
    assert (annotation.places, annotation.pools) == (("US-TX", "US-OK"), ("luxor",))
    assert annotation.text == "It happens."
    assert annotation.subject == "Texas, Oklahoma, Luxor"
    assert annotation.calendar == ("06-01 to 09-30, 15 to 19 h, monday tuesday, America/Chicago")
    assert (claim.places, claim.calendar, claim.text) == (None, None, None)
    assert rows["pools/second"].subject == "Foundry USA"
    assert rows["network/n"].subject == "The network"
    assert all(row.source for row in rows.values())


def test_figures_are_written_in_a_line() -> None:
    rows = {row.id: figures(row) for row in rows_on(DOCUMENT, date(2025, 2, 1))}
    assert rows == {
        "network/n": "US 25 %, CA 75 %",
        "pools/second": "US-TX 100 %",
        "claims/c": "US-TX 15 EH/s",
        "rule": "CN-ZJ at all pools",
        "part_of/luxor-account": "luxor-account is part of luxor",
        "annotations/a": (
            "US-TX US-OK luxor 06-01 to 09-30, 15 to 19 h, monday tuesday, America/Chicago"
        ),
    }


def test_the_days_of_entries_do_not_overlap() -> None:
    series = DOCUMENT.network[0].series
    assert [(p.start, p.until) for p in periods([*series[::-1], series[0]])] == [
        (date(2025, 1, 1), date(2025, 4, 1)),
        (date(2025, 4, 1), date(2025, 6, 1)),
    ]


def test_the_page_lists_every_belief_with_its_source() -> None:
    document = read(SHIPPED)
    text = page(document)
    for cited in document.cited():
        assert f"| `{cited.id}` |" in text
        assert f"]({cited.source})" in text
    for part, whole in document.part_of.items():
        assert f"| `{part}` | `{whole}` |" in text

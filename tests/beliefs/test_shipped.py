"""The shipped files: complete citations, and figures that follow from what is stated."""

from __future__ import annotations

import re
import tomllib
from datetime import date, datetime
from pathlib import Path
from typing import Final

import pytest

from collector.registry import discover
from collector.sources.base import PoolSource
from launch.cli.beliefs import known_pools
from streams.beliefs import BeliefsDocument, beliefs_of
from streams.beliefs.check import check
from streams.beliefs.documents import SHIPPED, SeriesEntry, read
from streams.beliefs.rows import all_rows, rows_on

ROOT: Final = Path(__file__).parents[2]
DOCUMENT: Final = read(SHIPPED)
EH: Final = 1e18


def test_the_shipped_beliefs_have_no_findings() -> None:
    assert check(SHIPPED, pools=known_pools(), others=BeliefsDocument()) == []


def test_the_example_of_the_settings_page_is_sound(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "settings.md").read_text()
    (example,) = re.findall(r"^```toml\n(\[\[network.*?)^```$", text, re.DOTALL | re.MULTILINE)
    (tmp_path / "own.toml").write_text(example)
    assert check(tmp_path, pools={"ocean", "ocean-account"}, others=BeliefsDocument()) == []
    assert set(tomllib.loads(example)) == set(BeliefsDocument.__struct_fields__)


def test_every_belief_says_who_published_what_and_how_it_was_converted() -> None:
    for row in all_rows(DOCUMENT):
        if row.kind == "part":
            continue
        assert row.source.startswith("https://"), row.id
        assert row.publisher, row.id
        assert row.stated, row.id
        assert row.converted, row.id
        assert row.primary is not None, row.id
        assert row.published is not None, row.id
        assert row.subject, row.id
        assert row.kind == "rule" or row.checked is not None, row.id


def test_distributions_in_percent_add_up_to_a_hundred() -> None:
    for distribution in (*DOCUMENT.network, DOCUMENT.pools[0]):
        for entry in distribution.series:
            assert sum(entry.weights.values()) == pytest.approx(100), distribution.id


def test_the_default_is_hashrate_index_and_the_survey_an_alternative() -> None:
    assert [each.id for each in DOCUMENT.network] == [
        "network/hashrate-index",
        "network/ccaf-survey-2024",
    ]


def test_no_claim_counts_for_longer_than_its_rule_allows() -> None:
    """12 months after its date; 15 if it is of an annual filing; more if it was restated."""
    for claim in DOCUMENT.claims:
        years, more = claim.until.year - claim.start.year, claim.until.month - claim.start.month
        note = claim.note.lower()
        allowed = 15 if "annual" in note else 24 if "restated" in note else 12
        assert 12 * years + more <= allowed, claim.id


def test_iren_is_not_believed_after_its_decommissioning() -> None:
    claims = [claim for claim in DOCUMENT.claims if claim.id.startswith("claims/iren")]
    assert claims
    assert all(claim.until < date(2026, 1, 1) for claim in claims)


def test_a_company_counts_once_beside_its_sites() -> None:
    day = (date(2026, 11, 27) - date(1970, 1, 1)).days
    (group,) = (
        g for g in beliefs_of(DOCUMENT).on(day).claims if g.pools == frozenset({"foundryusa"})
    )
    amounts = [a.hashrate for a in group.amounts if a.id.startswith("claims/cleanspark")]
    assert len(amounts) == 5
    assert sum(amounts) == pytest.approx(41 * EH)


def test_the_us_part_of_foundry_is_the_same_in_each_of_its_maps() -> None:
    (foundry,) = (each for each in DOCUMENT.pools if each.pool == "foundryusa")

    def us_part(entry: SeriesEntry) -> float:
        return sum(w for code, w in entry.weights.items() if code.startswith("US"))

    assert foundry.kind == "prior"
    assert [us_part(entry) for entry in foundry.series] == pytest.approx([76, 76, 76])


def test_parts_are_those_that_the_sources_declare() -> None:
    sources = [source for source in discover() if isinstance(source, PoolSource)]
    declared = {source.pool: source.part_of for source in sources if source.part_of}
    assert declared == DOCUMENT.part_of
    assert {source.slug for source in sources if source.scope == "account"} == {
        source.slug for source in sources if source.part_of
    }


def test_every_publisher_is_credited() -> None:
    text = (ROOT / "SOURCES.md").read_text()
    published = {row.publisher for row in all_rows(DOCUMENT) if row.kind != "part"}
    assert {publisher for publisher in published if publisher not in text} == set()


@pytest.mark.parametrize(
    ("place", "at", "id_"),
    [
        ("US-TX", "2026-07-10T21:30:00Z", "annotations/ercot-4cp"),  # 16:30 in Texas
        ("US-TX", "2026-07-10T17:30:00Z", None),
        ("CN-SC", "2026-04-30T16:00:00Z", "annotations/sichuan-wet-season"),  # 1 May in China
        ("CN-YN", "2026-10-31T15:59:00Z", "annotations/sichuan-wet-season"),
        ("CN-XJ", "2026-07-10T12:00:00Z", None),
        ("RU-BU", "2026-01-01T00:00:00Z", "annotations/buryatia-heating-season"),
        ("RU-IRK", "2025-11-20T00:00:00Z", None),  # banned all year round by then
        ("RU-ZAB", "2026-03-15T15:00:00Z", None),  # the next day there
        ("KZ", "2022-01-24T00:00:00Z", "annotations/kazakhstan-2022-01"),
        ("IR", "2021-09-22T20:00:00Z", "annotations/iran-2021-summer"),
    ],
)
def test_annotations_are_on_when_their_sources_say_so(place: str, at: str, id_: str | None) -> None:
    time = datetime.fromisoformat(at)
    on = [
        annotation.id
        for annotation in beliefs_of(DOCUMENT).annotations
        if annotation.names_place(place) and annotation.is_on(time)
    ]
    assert on == ([] if id_ is None else [id_])


def test_something_is_believed_today() -> None:
    assert len(rows_on(DOCUMENT, date(2026, 11, 27))) > 15

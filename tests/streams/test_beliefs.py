"""Beliefs from files: how they are read, merged and refused."""

from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import pytest
from structlog.testing import capture_logs

from miningmap.settings import Method
from streams import beliefs
from streams.beliefs import BeliefsError
from streams.method.annotations import Annotation, DayOfYear, Hours, Season
from streams.method.beliefs import Beliefs, Claim, Document, Entry, Rule
from streams.service import configured_beliefs
from tests.beliefs.documents import claim, network
from tests.cases import all_cases

if TYPE_CHECKING:
    from pathlib import Path

JANUARY, JULY = ((date(2026, month, 1) - date(1970, 1, 1)).days for month in (1, 7))

TOML = """
[[network]]
id = "network/n"
source = "https://example.org"
[[network.series]]
from = 2026-01-01
until = 2026-07-01
weights = {US = 3, CA = 1}
[[network.series]]
from = 2026-07-01
weights = {OTHER = 2.5}

[[pools]]
id = "pools/a"
pool = "a"
kind = "declared"
series = [{from = 2026-01-01, weights = {US-TX = 0.5}}]

[[pools]]
id = "pools/b"
pool = "b"
kind = "prior"
series = []

[[claims]]
id = "claims/us"
place = "US"
at_least = 3e18
from = 2026-01-01
until = 2026-07-01

[[claims]]
id = "claims/tx"
place = "US-TX"
at_least = 2e18
from = 2026-01-01
until = 2026-07-01
pools = ["a", "b"]
within = "claims/us"

[part_of]
a-account = "a"

[[rules]]
id = "zj"
place = "CN-ZJ"
applies_to = "*"

[[rules]]
id = "sc"
place = "CN-SC"
applies_to = ["a"]

[[annotations]]
id = "annotations/a"
text = "The grid is full on summer afternoons."
places = ["US-TX"]
zone = "America/Chicago"
first_day = "06-01"
last_day = "09-30"
from_hour = 15
until_hour = 19
weekdays = ["monday", "sunday"]
until = 2027-01-01
"""
LOADED = Beliefs(
    network=[
        Document(
            "network/n",
            [
                Entry(JANUARY, {"US": 0.75, "CA": 0.25}, until=JULY),
                Entry(JULY, {"OTHER": 1.0}),
            ],
        )
    ],
    pools=[
        Document("pools/a", [Entry(JANUARY, {"US-TX": 1.0})], "a", declared=True),
        Document("pools/b", [], "b"),
    ],
    claims=[
        Claim("claims/us", "US", 3e18, JANUARY, JULY),
        Claim("claims/tx", "US-TX", 2e18, JANUARY, JULY, frozenset("ab"), "claims/us"),
    ],
    part_of={"a-account": "a"},
    rules=[Rule("sc", "CN-SC", frozenset("a")), Rule("zj", "CN-ZJ", None)],
    annotations=[
        Annotation(
            "annotations/a",
            ZoneInfo("America/Chicago"),
            places=frozenset({"US-TX"}),
            season=Season(DayOfYear(6, 1), DayOfYear(9, 30)),
            hours=Hours(15, 19),
            weekdays=frozenset({0, 6}),
            until=date(2027, 1, 1),
        )
    ],
)
NONE = Beliefs([], [], [], {}, [], [])


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


UNKNOWN: Final = {
    "pools": [{**network("pools/f"), "pool": "foundry", "kind": "prior"}],
    "claims": [claim(pools=["my-farm", "f2pool-account"])],
    "part_of": {"viabct": "antpool"},
    "rules": [{"id": "x", "place": "CN-ZJ", "applies_to": ["cbeci-sample"]}],
}


def test_a_file_has_all_kinds_of_beliefs(tmp_path: Path) -> None:
    assert beliefs.load_only(write(tmp_path / "all.toml", TOML)) == LOADED


def test_a_folder_is_all_of_its_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    write(tmp_path / "20.json", {"network": [network("second")], "part_of": {"a": "b"}})
    write(tmp_path / "10.toml", '[[network]]\nid = "first"\nseries = []\n')
    write(tmp_path / "15" / "inner.json", {"network": [network("inner")], "part_of": {"b": "c"}})
    write(tmp_path / "README.md", "not a document")
    loaded = beliefs.load_only(tmp_path)
    assert [document.id for document in loaded.network] == ["first", "inner", "second"]
    assert loaded.part_of == {"a": "b", "b": "c"}


def test_an_empty_file_has_no_beliefs(tmp_path: Path) -> None:
    assert beliefs.load_only(write(tmp_path / "none.json", {})) == NONE


def test_the_shipped_network_prior_and_rule_are_used_unless_they_are_turned_off() -> None:
    shipped = beliefs.load(Method())
    assert shipped.network[0].id == "network/hashrate-index"
    assert "cn-zhejiang" in {rule.id for rule in shipped.rules}
    assert beliefs.load(Method(shipped_beliefs=False)) == NONE


def test_the_operators_beliefs_come_first_and_replace_the_shipped_ones(tmp_path: Path) -> None:
    own = {
        "network": [network("network/own"), network("network/hashrate-index", KZ=1)],
        "rules": [{"id": "cn-zhejiang", "place": "CN-ZJ", "applies_to": "*"}],
    }
    loaded = beliefs.load(Method(beliefs=write(tmp_path / "own.json", own)))
    assert [document.id for document in loaded.network[:2]] == [
        "network/own",
        "network/hashrate-index",
    ]
    assert loaded.network[1].series == [Entry(JANUARY, {"KZ": 1.0})]
    assert loaded.rules == [Rule("cn-zhejiang", "CN-ZJ", None)]
    assert len({document.id for document in loaded.network}) == len(loaded.network)


def test_places_inside_another_subdivision_count_as_the_outermost_one(tmp_path: Path) -> None:
    own = {
        "network": [network(**{"FR-75C": 1, "FR-78": 2, "FR-IDF": 4, "FR": 8, "US": 1})],
        "claims": [claim("outer", place="FR-IDF"), claim(place="FR-75C", within="outer")],
        "rules": [{"id": "x", "place": "GB-OXF", "applies_to": "*"}],
    }
    loaded = beliefs.load_only(write(tmp_path / "own.json", own))
    assert loaded.network[0].series[0].weights == {"FR-IDF": 7 / 16, "FR": 8 / 16, "US": 1 / 16}
    assert [each.place for each in loaded.claims] == ["FR-IDF", "FR-IDF"]
    assert [rule.place for rule in loaded.rules] == ["GB-ENG"]


def test_rules_are_in_the_order_of_their_ids_over_all_documents(tmp_path: Path) -> None:
    own = {"rules": [{"id": f"{n}", "place": "CN-SC", "applies_to": "*"} for n in "zb"]}
    loaded = beliefs.load(Method(beliefs=write(tmp_path / "own.json", own)))
    ids = [rule.id for rule in loaded.rules]
    assert ids == sorted(ids)
    assert {"b", "cn-zhejiang", "z"} <= set(ids)


@all_cases(
    ("content", "why"),
    [
        ("{", "truncated"),
        ([], "Expected `object`"),
        ({"networks": []}, "networks"),
        ({"network": [network(XX=1)]}, "network/n: 'XX' is not a place"),
        ({"network": [network(US=-1)]}, "Expected `float` >= 0"),
        ({"network": [network(US=0)]}, "2026-01-01 on must add up to more than 0"),
        ({"network": [network(), network()]}, "the id network/n occurs twice"),
        ({"network": [{"id": "network/n"}]}, "series"),
        ({"pools": [{**network(), "pool": "A B", "kind": "prior"}]}, "pool"),
        ({"pools": [{**network(), "pool": "a", "kind": "measured"}]}, "kind"),
        ({"claims": [claim(place="XX")]}, "'XX' is not a place"),
        ({"claims": [claim(place="OTHER")]}, "claims/c: a claim needs a place, and OTHER is none"),
        ({"claims": [claim(place="CN-OTHER")]}, "a claim needs a place"),
        ({"claims": [claim(pools=[])]}, "claims/c: pools is empty"),
        ({"claims": [claim(until="soon")]}, "until"),
        ({"claims": [claim(at_least=-1)]}, "at_least"),
        ({"claims": [claim(within="claims/x")]}, "within claims/x, which is not a claim"),
        ({"claims": [claim(within="claims/c")]}, "claims/c: is within itself"),
        (
            {"claims": [claim("a", within="b"), claim("b", within="a")]},
            "is within itself, by way of",
        ),
        (
            {"claims": [claim("a", place="CA"), claim("b", within="a")]},
            "b: within a, but US is not in CA",
        ),
        (
            {"claims": [claim("a", place="US-TX"), claim("b", within="a")]},
            "US is not in US-TX",
        ),
        ({"part_of": {"a": "a"}}, "part_of: a is a part of itself"),
        ({"part_of": {"a": "b", "b": "c", "c": "a"}}, "is a part of itself, by way of"),
        ({"rules": [{"id": "x", "place": "CN", "applies_to": "*"}]}, "'CN' is not a subdivision"),
        ({"rules": [{"id": "x", "place": "CN-ZJ", "applies_to": "a"}]}, "applies_to"),
        ({"rules": [{"id": "x", "place": "CN-ZJ"}]}, "applies_to"),
        ({"rules": [{"id": "x", "place": "CN-ZJ", "applies_to": []}]}, "applies_to is empty"),
        ({"network": [network(**{"US-PR": 1})]}, "'US-PR' is not a place: use the country code PR"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, content: object, why: str) -> None:
    path = write(tmp_path / "file.json", content)
    with pytest.raises(BeliefsError) as caught:
        beliefs.load_only(path)
    assert why in str(caught.value)


@all_cases(
    ("name", "content"), [("file.toml", "[["), ("file.json", "{"), ("file.toml", "network = 1")]
)
def test_a_file_that_is_no_document_is_named(tmp_path: Path, name: str, content: str) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(BeliefsError, match=name):
        beliefs.load_only(path)


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "file.toml"
    path.write_bytes(b"\xff")
    with pytest.raises(BeliefsError, match=r"file\.toml"):
        beliefs.load_only(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BeliefsError, match=r"none\.json: No such file"):
        beliefs.load(Method(beliefs=tmp_path / "none.json"))


def test_pools_that_nobody_knows_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "own.json", UNKNOWN)
    assert beliefs.unknown_pools(beliefs.load(Method(beliefs=path))) == [
        "unknown pool 'foundry'; near matches: foundryusa (Foundry USA)",
        "unknown pool 'my-farm'",
        "unknown pool 'viabct'; near matches: viabtc (ViaBTC)",
    ]
    assert beliefs.unknown_pools(beliefs.load(Method())) == []


def test_pools_that_nobody_knows_are_logged_once_when_the_service_starts(tmp_path: Path) -> None:
    path = write(tmp_path / "own.json", UNKNOWN)
    with capture_logs() as logs:
        configured_beliefs(Method(beliefs=path))
    (line,) = logs
    assert (line["event"], line["log_level"]) == ("beliefs_name_unknown_pools", "warning")
    assert len(line["errors"]) == 3
    with capture_logs() as logs:
        configured_beliefs(Method())
    assert logs == []

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from miningmap.settings import Method
from streams import beliefs
from streams.beliefs import BeliefsError
from streams.method.placing import Rule
from streams.service import configured_beliefs

if TYPE_CHECKING:
    from pathlib import Path


def write(folder: Path, content: object) -> Path:
    path = folder / "file.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_the_shipped_prior_is_for_pools_without_their_own() -> None:
    loaded = beliefs.load(Method())
    prior = loaded.prior_of("some-pool")
    assert prior is not None
    assert prior["US"] == 36.7
    assert sum(prior.values()) == pytest.approx(100)
    assert loaded.rules == []


def test_the_shipped_prior_can_be_turned_off() -> None:
    assert beliefs.load(Method(default_prior=False)).prior_of("some-pool") is None


def test_the_published_rule_applies_to_the_configured_pools() -> None:
    loaded = beliefs.load(Method(zhejiang_pools=["viabtc"]))
    assert loaded.rules == [Rule("cn-zhejiang", "CN-ZJ", frozenset({"viabtc"}))]


def test_a_prior_may_have_a_source_or_be_weights_alone(tmp_path: Path) -> None:
    declared = {"a": {"weights": {"US": 1}, "source": "its site", "date": "2026-01-01"}}
    path = write(tmp_path, declared | {"b": {"CA": 0.5, "OTHER": 0.5}})
    loaded = beliefs.load(Method(priors_file=path))
    assert loaded.prior_of("a") == {"US": 1}
    assert loaded.prior_of("b") == {"CA": 0.5, "OTHER": 0.5}


def test_a_rule_applies_to_all_pools_or_to_some(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        [
            {"id": "x", "place": "CN-ZJ", "applies_to": "*"},
            {"id": "y", "place": "US-OTHER", "applies_to": ["a"]},
        ],
    )
    assert beliefs.read_rules(path) == [
        Rule("x", "CN-ZJ", None),
        Rule("y", "US-OTHER", frozenset({"a"})),
    ]


def test_a_prior_that_names_nested_subdivisions_is_added_up_at_the_outermost(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, {"a": {"FR-75C": 1, "FR-78": 2, "FR-IDF": 4, "FR": 8, "US": 16}})
    loaded = beliefs.load(Method(priors_file=path))
    assert loaded.prior_of("a") == {"FR-IDF": 7, "FR": 8, "US": 16}


def test_a_rule_at_a_nested_subdivision_is_about_the_outermost(tmp_path: Path) -> None:
    path = write(tmp_path, [{"id": "x", "place": "GB-OXF", "applies_to": "*"}])
    assert beliefs.read_rules(path) == [Rule("x", "GB-ENG", None)]


def test_a_rule_at_a_subdivision_that_is_a_country_is_refused_with_its_code(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, [{"id": "x", "place": "US-PR", "applies_to": "*"}])
    with pytest.raises(BeliefsError, match=r"not a subdivision: use the country code PR$"):
        beliefs.read_rules(path)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "file.json"),
        ([], "Expected `object`"),
        ({"a": {"XX": 1}}, "a: 'XX' is not a place"),
        ({"a": {"US-PR": 1}}, "a: 'US-PR' is not a place: use the country code PR"),
        ({"a": {"US": -1}}, "Expected `float` >= 0"),
        ({"a": {"US": 0}}, "a: the weights must add up to more than 0"),
        ({"a": {}}, "a: the weights must add up to more than 0"),
        ({"a": {"weights": {"US": 1}}}, "source"),
        ({"A B": {"US": 1}}, "file.json"),
    ],
)
def test_an_invalid_prior_is_named(tmp_path: Path, content: object, why: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(BeliefsError) as caught:
        beliefs.load(Method(priors_file=path))
    assert str(path) in str(caught.value)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        [{"id": "x", "place": "CN", "applies_to": "*"}],
        [{"id": "x", "place": "CN-ZJ", "applies_to": "a"}],
        [{"id": "x", "place": "CN-ZJ"}],
        {},
    ],
)
def test_an_invalid_rule_is_named(tmp_path: Path, content: object) -> None:
    path = write(tmp_path, content)
    with pytest.raises(BeliefsError, match=r"file\.json"):
        beliefs.load(Method(rules_file=path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BeliefsError, match="No such file"):
        beliefs.load(Method(rules_file=tmp_path / "none.json"))


def test_pools_that_nobody_knows_are_named(tmp_path: Path) -> None:
    priors = {"foundry": {"US": 1}, "cbeci-sample": {"US": 1}, "f2pool-account": {"US": 1}}
    rules = tmp_path / "rules.json"
    rules.write_text(
        json.dumps(
            [
                {"id": "x", "place": "CN-ZJ", "applies_to": "*"},
                {"id": "y", "place": "CN-ZJ", "applies_to": ["my-farm", "antpool"]},
            ]
        )
    )
    method = Method(
        priors_file=write(tmp_path, priors), rules_file=rules, zhejiang_pools=["viabct", "viabtc"]
    )
    assert beliefs.unknown_pools(beliefs.load(method)) == [
        "unknown pool 'foundry'; near matches: foundryusa (Foundry USA)",
        "unknown pool 'my-farm'",
        "unknown pool 'viabct'; near matches: viabtc (ViaBTC)",
    ]
    assert beliefs.unknown_pools(beliefs.load(Method())) == []


def test_pools_that_nobody_knows_are_logged_once_when_the_service_starts(tmp_path: Path) -> None:
    path = write(tmp_path, {"foundry": {"US": 1}, "my-farm": {"US": 1}, "ocean": {"US": 1}})
    with capture_logs() as logs:
        loaded = configured_beliefs(Method(priors_file=path))
    assert set(loaded.priors) == {"foundry", "my-farm", "ocean"}
    assert logs == [
        {
            "event": "beliefs_name_unknown_pools",
            "log_level": "warning",
            "errors": [
                "unknown pool 'foundry'; near matches: foundryusa (Foundry USA)",
                "unknown pool 'my-farm'",
            ],
        }
    ]
    with capture_logs() as logs:
        configured_beliefs(Method())
    assert logs == []

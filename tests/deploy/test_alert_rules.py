"""The alert rules are complete and tested, and the metrics that they use exist."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from tests.conftest import missing
from tests.test_docs import anchors
from tools.metrics import metrics_by_service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SEVERITIES: Final = {"info", "warning", "critical"}
AREAS: Final = {"swings", "figures", "sources", "partners", "pipeline"}
PARTS: Final = {"meaning", "look at", "do"}
RECORDED: Final = re.compile(r"\b[a-z_]+:miningmap_\w+:\w+")
METRIC: Final = re.compile(r"(?<![:\w])miningmap_[a-z0-9_]+")
SELECTOR: Final = re.compile(r"(?<![:\w])(miningmap_[a-z0-9_]+)\{([^}]*)\}")
LABEL: Final = re.compile(r"(\w+)(?:=|!=|=~|!~)['\"%]")


def _groups(root: Path) -> Iterator[dict[str, Any]]:
    for file in sorted((root / "deploy/prometheus/rules").glob("*.yml")):
        yield from yaml.safe_load(file.read_text())["groups"]


@pytest.fixture(scope="module")
def rules(root: Path) -> list[dict[str, Any]]:
    """All rules, recording ones included."""
    return [rule for group in _groups(root) for rule in group["rules"]]


@pytest.fixture(scope="module")
def alerts(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rules of alerts."""
    return [rule for rule in rules if "alert" in rule]


@pytest.fixture(scope="module")
def tested(root: Path) -> list[dict[str, Any]]:
    """The groups of the unit tests."""
    files = sorted((root / "tests/deploy/rules").glob("*.yml"))
    return [group for file in files for group in yaml.safe_load(file.read_text())["tests"]]


@pytest.fixture(scope="module")
def checked(root: Path) -> subprocess.CompletedProcess[str]:
    """What ``tools/check-alerts.sh`` says."""
    return subprocess.run(
        [root / "tools/check-alerts.sh"], check=False, capture_output=True, text=True
    )


@pytest.mark.integration
@pytest.mark.parametrize("tool", ["promtool", "amtool"])
def test_the_tools_of_prometheus_accept_rules_and_configuration(
    checked: subprocess.CompletedProcess[str], tool: str
) -> None:
    """``make check`` skips what a machine without these tools cannot check; CI must have them."""
    if shutil.which(tool) is None:
        raise missing(f"there is no {tool}", os.environ.get("CI", ""))
    assert checked.returncode == 0, checked.stderr
    assert tool not in checked.stderr


def test_every_issue_that_an_operator_waits_for_has_an_alert(alerts: list[dict[str, Any]]) -> None:
    assert {alert["alert"] for alert in alerts} == {
        "PlaceSwing",
        "PoolSwing",
        "CoverageDrop",
        "MeasuredCoverageDrop",
        "DeclaredCoverageDrop",
        "CoverageUnknown",
        "EvidenceLow",
        "ReportedGap",
        "BeliefExpiring",
        "PoolDown",
        "SourceFailing",
        "NetworkSourcesDown",
        "ImplausibleReadings",
        "IntakeFailing",
        "IntakeRejecting",
        "PartnerSilent",
        "ServiceDown",
        "DependencyDown",
        "SnapshotStale",
        "SnapshotMissing",
        "SwingsNotEvaluated",
        "SwingsNeverEvaluated",
        "ConsumerLag",
        "RewindLong",
        "RedisNearlyFull",
        "RedisEvicts",
        "DeadLetters",
    }


def test_every_alert_has_all_fields(alerts: list[dict[str, Any]]) -> None:
    for alert in alerts:
        name, labels, notes = alert["alert"], alert["labels"], alert["annotations"]
        assert labels["severity"] in SEVERITIES, name
        assert labels["area"] in AREAS, name
        assert {"summary", "description", "runbook_url"} <= notes.keys(), name
        # The figures: the value, or what a query finds. Of a service that is down there are none.
        assert (
            re.search(r"\$value|\| query|with query", notes["description"]) or name == "ServiceDown"
        )


def test_alerts_of_swings_carry_what_moved_and_why(alerts: list[dict[str, Any]]) -> None:
    swings = [alert for alert in alerts if alert["labels"]["area"] == "swings"]
    assert {alert["alert"] for alert in swings} == {"PlaceSwing", "PoolSwing"}
    for alert in swings:
        assert "size" in alert["annotations"]
        assert "muted == 1" in alert["expr"]
        assert alert["keep_firing_for"] == "5m"
        if alert["alert"] == "PlaceSwing":
            assert 'driver="own"' in alert["expr"]
            assert "by (country, subdivision, pair, driver)" in alert["expr"]
            assert "place" in alert["labels"]
            assert "miningmap_swing_contribution_ratio" in alert["annotations"]["pools"]


def test_every_alert_has_a_section_of_the_runbook(root: Path, alerts: list[dict[str, Any]]) -> None:
    sections = anchors(root / "docs/runbook.md")
    for alert in alerts:
        page, _, section = alert["annotations"]["runbook_url"].partition("#")
        assert page == "docs/runbook.md"
        assert section == alert["alert"].lower()
        assert section in sections, alert["alert"]


def test_every_section_of_the_runbook_says_what_it_means_and_what_to_do(
    root: Path, alerts: list[dict[str, Any]]
) -> None:
    text = (root / "docs/runbook.md").read_text()
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL))
    assert sections.keys() == {alert["alert"] for alert in alerts}
    for name, section in sections.items():
        assert {part.lower() for part in re.findall(r"\*\*([\w ]+)\.\*\*", section)} == PARTS, name


def test_every_alert_is_tested(alerts: list[dict[str, Any]], tested: list[dict[str, Any]]) -> None:
    """It fires, it does not fire, and stale and missing samples were thought of."""
    by_name = {group["name"]: group for group in tested}
    for name in {alert["alert"] for alert in alerts}:
        group = by_name[name]
        checks = [check for check in group["alert_rule_test"] if check["alertname"] == name]
        assert any(check["exp_alerts"] for check in checks), name
        assert any(not check["exp_alerts"] for check in checks), name
        values = " ".join(series["values"] for series in group["input_series"])
        assert "stale" in values.split(), name
        assert re.search(r"(?:^| )_", values), name


def test_rules_use_existing_metrics_and_their_labels(rules: list[dict[str, Any]]) -> None:
    labels: dict[str, set[str]] = {}
    for metrics in metrics_by_service().values():
        for metric in metrics:
            labels.setdefault(metric.name, {"job", "instance"}).update(metric.labels)
    text = "\n".join(_queries(rules))
    used = set(METRIC.findall(text))
    assert used
    assert used - labels.keys() == set()
    for name, selected in SELECTOR.findall(text):
        assert set(LABEL.findall(selected)) <= labels[name], name


def test_recorded_series_are_used_and_used_ones_are_recorded(rules: list[dict[str, Any]]) -> None:
    recorded = {rule["record"] for rule in rules if "record" in rule}
    assert set(RECORDED.findall("\n".join(_queries(rules)))) == recorded


def _queries(rules: list[dict[str, Any]]) -> Iterator[str]:
    for rule in rules:
        yield rule["expr"]
        yield from (note for note in rule.get("annotations", {}).values() if "query" in note)

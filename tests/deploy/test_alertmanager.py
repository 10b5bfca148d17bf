"""The Alertmanager's configuration: which alert goes to whom, and what holds it back."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

from tests.conftest import launched, missing
from tests.servers import AlertmanagerServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Services = dict[str, dict[str, Any]]

WITHIN_S = 30
POLL_S = 0.05


@pytest.fixture(scope="module")
def configuration(root: Path) -> dict[str, Any]:
    """The content of deploy/alertmanager/alertmanager.yml."""
    text = (root / "deploy/alertmanager/alertmanager.yml").read_text()
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


@pytest.fixture(scope="module")
def amtool(root: Path) -> list[str]:
    """The command that asks where an alert goes; its further arguments are labels."""
    if shutil.which("amtool") is None:
        reason = "there is no amtool: install it (Debian: apt-get install prometheus-alertmanager)"
        raise missing(reason, os.environ.get("CI", ""))
    file = root / "deploy/alertmanager/alertmanager.yml"
    return ["amtool", "config", "routes", "test", f"--config.file={file}"]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ("alertname=PlaceSwing area=swings severity=info country=US", "swings"),
        ("alertname=PlaceSwing area=swings severity=critical country=US", "swings"),
        ("alertname=PoolSwing area=swings severity=warning pool=foundryusa", "swings"),
        ("alertname=SnapshotStale area=pipeline severity=critical", "urgent"),
        ("alertname=NetworkSourcesDown area=sources severity=critical", "urgent"),
        ("alertname=PoolDown area=sources severity=warning pool=ocean", "operators"),
        ("alertname=BeliefExpiring area=figures severity=info", "operators"),
        ("alertname=OfYourOwn", "operators"),
    ],
)
def test_alerts_go_to_their_receiver(amtool: list[str], labels: str, receiver: str) -> None:
    found = subprocess.run([*amtool, *labels.split()], check=True, capture_output=True, text=True)
    assert found.stdout.split() == [receiver]


def test_every_area_and_severity_of_the_rules_is_known_to_the_routes(
    root: Path, configuration: dict[str, Any]
) -> None:
    names, labels = set(), set()
    for file in (root / "deploy/prometheus/rules").glob("*.yml"):
        for group in yaml.safe_load(file.read_text())["groups"]:
            for rule in group["rules"]:
                names.add(rule.get("alert"))
                labels |= set(rule.get("labels", {}).values())
    for rule in configuration["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            label, operator, value = re.fullmatch(r'(\w+) (=~?) "(.+)"', matcher).groups()  # type: ignore[union-attr]
            known = {
                "alertname": names,
                "job": {"collector", "streams", "endpoint"},
                "dependency": {"kafka", "redis"},
            }
            for each in value.split("|") if operator == "=~" else [value]:
                found = [k for k in known.get(label, labels) if k and re.fullmatch(each, k)]
                assert found, matcher


# Which alerts a firing one holds back, and which it does not: name of the alert, further labels.
HELD_BACK = [
    (
        "SnapshotStale",
        ["PlaceSwing", "PoolSwing", "CoverageDrop", "EvidenceLow", "PartnerSilent"],
        ["PoolDown", "SourceFailing", "IntakeFailing", "DeadLetters"],
    ),
    (
        "SnapshotMissing",
        ["PlaceSwing", "CoverageUnknown", "PartnerSilent", "SwingsNotEvaluated"],
        ["PoolDown", "ConsumerLag", "DeadLetters"],
    ),
    ("SwingsNotEvaluated", ["PlaceSwing", "PoolSwing"], ["CoverageDrop"]),
    ("SwingsNeverEvaluated", ["PlaceSwing", "PoolSwing"], ["CoverageDrop"]),
    (
        "RewindLong",
        ["CoverageDrop", "CoverageUnknown", "EvidenceLow", "PartnerSilent"],
        ["PlaceSwing", "ReportedGap"],
    ),
    (
        "ConsumerLag",
        [
            "CoverageDrop",
            "MeasuredCoverageDrop",
            "DeclaredCoverageDrop",
            "CoverageUnknown",
            "EvidenceLow",
            "PartnerSilent",
        ],
        ["PlaceSwing", "ReportedGap"],
    ),
    (
        "ServiceDown job=collector",
        ["CoverageDrop", "PoolDown", "PartnerSilent"],
        ["PlaceSwing", "DeadLetters"],
    ),
    (
        "ServiceDown job=streams",
        ["PlaceSwing", "CoverageDrop", "SnapshotStale", "SwingsNotEvaluated", "ConsumerLag"],
        ["PoolDown", "IntakeFailing"],
    ),
    (
        "ServiceDown job=endpoint",
        ["PoolSwing", "CoverageDrop", "SnapshotMissing", "SwingsNeverEvaluated", "PartnerSilent"],
        ["PoolDown", "DeadLetters"],
    ),
    (
        "DependencyDown job=streams dependency=kafka",
        ["PlaceSwing", "CoverageDrop", "SnapshotStale", "SwingsNotEvaluated", "ConsumerLag"],
        ["PoolDown", "IntakeFailing"],
    ),
    (
        "DependencyDown job=endpoint dependency=redis",
        ["PlaceSwing", "CoverageDrop", "SnapshotMissing"],
        ["PoolDown", "IntakeFailing"],
    ),
    (
        "DependencyDown job=collector dependency=redis",
        ["IntakeFailing"],
        ["PlaceSwing", "CoverageDrop", "PartnerSilent"],
    ),
    (
        "DependencyDown job=collector dependency=kafka",
        ["IntakeFailing", "CoverageDrop", "PartnerSilent"],
        ["PlaceSwing", "PoolDown"],
    ),
    ("NetworkSourcesDown", ["CoverageUnknown"], ["CoverageDrop", "PoolDown"]),
    (
        "PlaceSwing severity=critical country=US pair=1h/24h",
        [
            "PlaceSwing severity=warning country=US pair=1h/24h",
            "PlaceSwing severity=info country=US pair=1h/24h",
        ],
        [
            "PlaceSwing severity=warning country=US pair=24h/7d",
            "PlaceSwing severity=warning country=US subdivision=US-TX pair=1h/24h",
            "PoolSwing severity=warning pool=foundryusa source=foundry pair=1h/24h",
        ],
    ),
    (
        "PoolSwing severity=warning pool=foundryusa source=foundry pair=1h/24h",
        ["PoolSwing severity=info pool=foundryusa source=foundry pair=1h/24h"],
        ["PoolSwing severity=info pool=foundryusa source=mempool pair=1h/24h"],
    ),
]


@pytest.fixture
def alertmanager(configuration: dict[str, Any]) -> Iterator[AlertmanagerServer]:
    """A running Alertmanager with the configuration."""
    server = launched(AlertmanagerServer)
    try:
        server.configure(configuration)
        yield server
    finally:
        server.close()


@pytest.mark.integration
@pytest.mark.parametrize(
    ("firing", "held_back", "others"), HELD_BACK, ids=[case[0] for case in HELD_BACK]
)
def test_what_follows_from_an_alert_is_held_back_and_nothing_else(
    root: Path,
    alertmanager: AlertmanagerServer,
    firing: str,
    held_back: list[str],
    others: list[str],
) -> None:
    sent = {name: _labels(root, name) for name in (firing, *held_back, *others)}
    alerts = [{"labels": labels} for labels in sent.values()]
    with httpx.Client(base_url=f"{alertmanager.url}/api/v2", timeout=30) as client:
        client.post("/alerts", json=alerts).raise_for_status()
        deadline = time.monotonic() + WITHIN_S
        while True:
            listed = client.get("/alerts").json()
            suppressed = [a["labels"] for a in listed if a["status"]["state"] == "suppressed"]
            if len(listed) == len(sent) and len(suppressed) >= len(held_back):
                break
            assert time.monotonic() < deadline, suppressed
            time.sleep(POLL_S)
    assert [name for name, labels in sent.items() if labels in suppressed] == held_back


def _labels(root: Path, text: str) -> dict[str, str]:
    """Return the labels of an alert: those of its rule, and those that follow its name."""
    name, *added = text.split()
    for file in (root / "deploy/prometheus/rules").glob("*.yml"):
        for group in yaml.safe_load(file.read_text())["groups"]:
            for rule in group["rules"]:
                if rule.get("alert") == name:
                    own = {key: rule["labels"][key] for key in ("area", "severity")}
                    extra = dict(label.split("=", 1) for label in added)
                    return {"alertname": name, **own, **extra}
    raise AssertionError(f"no alert is named {name}")


def test_nobody_is_notified_before_receivers_are_set(configuration: dict[str, Any]) -> None:
    assert configuration["receivers"] == [
        {"name": name} for name in ("operators", "urgent", "swings")
    ]


@pytest.mark.integration
def test_the_receivers_of_the_guide_are_valid(
    root: Path, tmp_path: Path, configuration: dict[str, Any], amtool: list[str]
) -> None:
    guide = (root / "docs/deploy.md").read_text()
    [block] = re.findall(r"^    receivers:\n(?:^ {4,}.*\n)+", guide, re.MULTILINE)
    receivers = yaml.safe_load(block)["receivers"]
    assert [receiver["name"] for receiver in receivers] == [
        receiver["name"] for receiver in configuration["receivers"]
    ]
    file = tmp_path / "local.yml"
    file.write_text(yaml.safe_dump(configuration | {"receivers": receivers}))
    checked = subprocess.run(
        [amtool[0], "check-config", file], check=False, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr


def test_prometheus_sends_alerts_to_the_alertmanager(root: Path, services: Services) -> None:
    config = yaml.safe_load((root / "deploy/prometheus/prometheus.yml").read_text())
    assert config["alerting"]["alertmanagers"] == [
        {"static_configs": [{"targets": ["alertmanager:9093"]}]}
    ]
    assert set(services["prometheus"]["networks"]) & set(services["alertmanager"]["networks"])


def test_the_alertmanager_reads_the_mounted_file(services: Services) -> None:
    alertmanager = services["alertmanager"]
    assert "--config.file=/etc/miningmap/alertmanager.yml" in alertmanager["command"]
    assert "./deploy/alertmanager:/etc/miningmap:ro" in alertmanager["volumes"]


def test_git_ignores_the_operators_own_configuration(root: Path) -> None:
    assert (root / "deploy/alertmanager/.gitignore").read_text().split() == ["local.yml"]

"""Real Prometheus and Alertmanager with the files of ``deploy/``: from metrics to a webhook.

Only the addresses and the waiting times of the files are replaced. The metrics are those of a small
server that shows what a test needs, or those of the running demo.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from launch.local.embedded import LOOPBACK
from tests.conftest import launched
from tests.demo import running_demo
from tests.servers import AlertmanagerServer, PrometheusServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping
    from pathlib import Path

    Alert = dict[str, Any]

pytestmark = pytest.mark.integration

WITHIN_S: Final = 60
# An evaluated minute ended 90 s ago, and the storm resolves up to 4 minutes after the demo's start.
RESOLVED_S: Final = 480
POLL_S: Final = 0.1
JOBS: Final = ("collector", "streams", "endpoint")
WAITING: Final = ("for", "keep_firing_for", "group_wait", "group_interval")

TEXAS: Final = 'country="US",subdivision="US-TX",pair="1h/24h"'
SWINGS: Final = f"""\
miningmap_swing_active{{country="US",subdivision="",pair="1h/24h",driver="own"}} 3
miningmap_swing_active{{{TEXAS},driver="own"}} 5
miningmap_swing_active{{country="CA",subdivision="",pair="1h/24h",driver="others"}} 1
miningmap_swing_delta_ratio{{country="US",subdivision="",pair="1h/24h"}} -0.034
miningmap_swing_delta_ratio{{{TEXAS}}} -0.0512
miningmap_swing_contribution_ratio{{{TEXAS},pool="luxor"}} -0.01
miningmap_swing_contribution_ratio{{{TEXAS},pool="foundryusa"}} -0.0412
"""


@dataclass
class Exporter:
    """Serves metrics over HTTP in place of all services."""

    swings: str = ""
    snapshot_age_s: float = 0

    async def metrics(self, _: web.Request) -> web.Response:
        now = time.time()
        text = (
            f"{self.swings}"
            f"miningmap_snapshot_timestamp_seconds {now - self.snapshot_age_s}\n"
            f"miningmap_swing_evaluated_timestamp_seconds {now - self.snapshot_age_s - 90}\n"
            'miningmap_coverage_ratio{window="1h"} 0.9\n'
        )
        return web.Response(text=text)


@dataclass
class Stack:
    """The running servers, and what the receivers got: (receiver, notification), oldest first."""

    alertmanager: AlertmanagerServer
    session: ClientSession
    received: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def receivers_of(self, alertname: str) -> set[str]:
        """Return who was notified of an alert."""
        return {to for to, sent in self.received if sent["groupLabels"]["alertname"] == alertname}

    async def alerts(self) -> list[Alert]:
        """Return what the API of the Alertmanager lists, suppressed alerts included."""
        async with self.session.get(f"{self.alertmanager.url}/api/v2/alerts") as response:
            assert response.status == 200
            listed: list[Alert] = await response.json()
        return listed

    async def until(
        self, condition: Callable[[list[Alert]], bool], within_s: float = WITHIN_S
    ) -> list[Alert]:
        """Wait until the listed alerts meet a condition, and return them."""
        listed: list[Alert] = []
        try:
            async with asyncio.timeout(within_s):
                while True:
                    listed = await self.alerts()
                    if condition(listed):
                        return listed
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            pytest.fail(f"listed: {listed}; received: {self.received}")

    async def until_received(
        self, receiver: str, status: str, within_s: float = WITHIN_S, **labels: str
    ) -> dict[str, Any]:
        """Wait for a notification of a group with these labels, and return the first one."""
        try:
            async with asyncio.timeout(within_s):
                while True:
                    for to, notification in self.received:
                        if (to, notification["status"]) == (receiver, status) and (
                            labels.items() <= notification["groupLabels"].items()
                        ):
                            return notification
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            pytest.fail(f"received: {self.received}")


def shortened(value: Any) -> Any:
    """Return a configuration in which nothing waits longer than a second.

    So every service counts as down until its first scrape.
    """
    if isinstance(value, dict):
        return {key: "1s" if key in WAITING else shortened(inner) for key, inner in value.items()}
    return [shortened(inner) for inner in value] if isinstance(value, list) else value


def prometheus_configuration(
    root: Path, folder: Path, targets: Mapping[str, str], alertmanager: AlertmanagerServer
) -> dict[str, Any]:
    """Return the file of ``deploy/`` with other addresses and waiting times, rules included."""
    configuration = yaml.safe_load((root / "deploy/prometheus/prometheus.yml").read_text())
    (folder / "rules").mkdir()
    for file in (root / "deploy/prometheus/rules").glob("*.yml"):
        rules = shortened(yaml.safe_load(file.read_text()))
        (folder / "rules" / file.name).write_text(yaml.safe_dump(rules))
    configuration["global"] = dict.fromkeys(("scrape_interval", "evaluation_interval"), "1s")
    configuration["rule_files"] = [f"{folder}/{name}" for name in configuration["rule_files"]]
    [discovered] = configuration["alerting"]["alertmanagers"]
    discovered["static_configs"] = [{"targets": [alertmanager.url.removeprefix("http://")]}]
    jobs = {job["job_name"]: job for job in configuration["scrape_configs"]}
    configuration["scrape_configs"] = [
        jobs[name] | {"static_configs": [{"targets": [target]}]} for name, target in targets.items()
    ]
    return dict(configuration)


def alertmanager_configuration(root: Path, webhook: str) -> dict[str, Any]:
    """Return the file of ``deploy/`` with webhooks for receivers, and shorter waiting times."""
    text = (root / "deploy/alertmanager/alertmanager.yml").read_text()
    configuration: dict[str, Any] = shortened(yaml.safe_load(text))
    for receiver in configuration["receivers"]:
        receiver["webhook_configs"] = [{"url": f"{webhook}{receiver['name']}"}]
    return configuration


@pytest.fixture
def servers() -> Iterator[tuple[PrometheusServer, AlertmanagerServer]]:
    prometheus = launched(PrometheusServer)
    try:
        alertmanager = launched(AlertmanagerServer)
        try:
            yield prometheus, alertmanager
        finally:
            alertmanager.close()
    finally:
        prometheus.close()


@asynccontextmanager
async def alerting(
    servers: tuple[PrometheusServer, AlertmanagerServer],
    root: Path,
    folder: Path,
    targets: Mapping[str, str],
) -> AsyncIterator[Stack]:
    """Run the stack over targets, ``HOST:PORT`` by job, until the end of the block."""
    prometheus, alertmanager = servers
    received: list[tuple[str, dict[str, Any]]] = []

    async def receive(request: web.Request) -> web.Response:
        received.append((request.match_info["receiver"], await request.json()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/{receiver}", receive)
    async with TestServer(app) as webhook, ClientSession() as session:
        alertmanager.configure(alertmanager_configuration(root, str(webhook.make_url("/"))))
        prometheus.configure(prometheus_configuration(root, folder, targets, alertmanager))
        yield Stack(alertmanager, session, received)


@pytest.fixture
async def exporter() -> Exporter:
    return Exporter()


@pytest.fixture
async def exported(exporter: Exporter) -> AsyncIterator[str]:
    """The address of the exporter."""
    app = web.Application()
    app.router.add_get("/metrics", exporter.metrics)
    async with TestServer(app) as server:
        yield f"{server.host}:{server.port}"


@pytest.fixture
async def stack(
    servers: tuple[PrometheusServer, AlertmanagerServer],
    root: Path,
    tmp_path: Path,
    exported: str,
) -> AsyncIterator[Stack]:
    """The stack over the exporter."""
    async with alerting(servers, root, tmp_path, dict.fromkeys(JOBS, exported)) as running:
        yield running


def names(alerts: list[Alert], state: str = "active") -> set[str]:
    return {a["labels"]["alertname"] for a in alerts if a["status"]["state"] == state}


def down(alerts: list[Alert]) -> set[str]:
    """The services that are down."""
    return {a["labels"]["job"] for a in alerts if a["labels"]["alertname"] == "ServiceDown"}


def places(notification: Mapping[str, Any]) -> set[tuple[str, str]]:
    """(place, status) of the alerts in a notification."""
    return {(alert["labels"]["place"], alert["status"]) for alert in notification["alerts"]}


async def test_a_country_and_its_states_are_one_notification_when_they_fire_and_when_they_resolve(
    exporter: Exporter, stack: Stack
) -> None:
    exporter.swings = SWINGS

    # Of each place the highest severity is active; lower ones are held back.
    listed = await stack.until(
        lambda alerts: sum(a["status"]["state"] == "suppressed" for a in alerts) == 3
    )
    active = {a["labels"]["place"]: a for a in listed if a["status"]["state"] == "active"}
    assert {place: a["labels"]["severity"] for place, a in active.items()} == {
        "US": "warning",
        "US-TX": "critical",
    }
    assert active["US-TX"]["annotations"]["size"] == "-5.12 percentage points"
    assert active["US-TX"]["annotations"]["pools"] == "foundryusa -4.12, luxor -1.00"
    assert active["US-TX"]["labels"]["driver"] == "own"

    fired = await stack.until_received("swings", "firing", alertname="PlaceSwing")
    assert fired["groupLabels"] == {"alertname": "PlaceSwing", "country": "US"}
    assert places(fired) == {("US", "firing"), ("US-TX", "firing")}

    exporter.swings = ""
    await stack.until(lambda alerts: not alerts)
    resolved = await stack.until_received("swings", "resolved", alertname="PlaceSwing")
    assert places(resolved) == {("US", "resolved"), ("US-TX", "resolved")}
    assert stack.receivers_of("PlaceSwing") == {"swings"}


async def test_an_old_snapshot_holds_back_the_swings_that_it_shows(
    exporter: Exporter, stack: Stack
) -> None:
    exporter.snapshot_age_s = 3600
    await stack.until_received("urgent", "firing", alertname="SnapshotStale")
    exporter.swings = SWINGS

    await stack.until(lambda alerts: "PlaceSwing" in names(alerts, "suppressed"))
    listed = await stack.until(lambda alerts: names(alerts) == {"SnapshotStale"})

    assert names(listed, "suppressed") == {"PlaceSwing", "SwingsNotEvaluated"}
    assert stack.receivers_of("PlaceSwing") == set()


async def test_a_service_that_is_down_is_reported_in_place_of_what_follows(
    exporter: Exporter,
    servers: tuple[PrometheusServer, AlertmanagerServer],
    root: Path,
    tmp_path: Path,
    exported: str,
    unused_tcp_port: int,
) -> None:
    exporter.snapshot_age_s = 3600
    targets = dict.fromkeys(JOBS, exported)
    targets |= {"streams": f"127.0.0.1:{unused_tcp_port}"}
    async with alerting(servers, root, tmp_path, targets) as stack:
        listed = await stack.until(
            lambda alerts: (
                down(alerts) == {"streams"}
                and names(alerts, "suppressed") == {"SnapshotStale", "SwingsNotEvaluated"}
            )
        )
        assert names(listed) == {"ServiceDown"}
        notification = await stack.until_received("urgent", "firing", alertname="ServiceDown")
        assert "streams" in {alert["labels"]["job"] for alert in notification["alerts"]}


# --- the demo -------------------------------------------------------------------------------------


@asynccontextmanager
async def alerting_on_demo(
    servers: tuple[PrometheusServer, AlertmanagerServer],
    root: Path,
    folder: Path,
    *options: str,
) -> AsyncIterator[Stack]:
    """Run the demo, and the stack over its services, until the end of the block."""
    (folder / "demo").mkdir()
    with running_demo(folder / "demo", *options) as demo:
        targets = {job: f"{LOOPBACK}:{port}" for job, port in demo.metrics_ports.items()}
        async with alerting(servers, root, folder, targets) as running:
            yield running


def of_united_states(alerts: list[Alert]) -> list[Alert]:
    return [a for a in alerts if a["labels"].get("place") == "US"]


async def test_the_swing_of_the_demo_fires(
    servers: tuple[PrometheusServer, AlertmanagerServer], root: Path, tmp_path: Path
) -> None:
    async with alerting_on_demo(servers, root, tmp_path) as stack:
        listed = of_united_states(await stack.until(lambda a: bool(of_united_states(a))))
        notification = await stack.until_received("swings", "firing", country="US")

    for alert in (*listed, *notification["alerts"]):
        assert alert["labels"]["alertname"] == "PlaceSwing"
        assert alert["labels"]["driver"] == "own"
        assert re.fullmatch(r"-\d+\.\d\d percentage points", alert["annotations"]["size"])
        assert re.match(r"foundryusa -\d+\.\d\d, ", alert["annotations"]["pools"])


@pytest.mark.skipif("SLOW" not in os.environ, reason="takes up to eight minutes: make stories")
async def test_the_swing_of_a_storm_that_is_over_fires_and_resolves(
    servers: tuple[PrometheusServer, AlertmanagerServer], root: Path, tmp_path: Path
) -> None:
    async with alerting_on_demo(servers, root, tmp_path, "--scenario", "storm") as stack:
        await stack.until(lambda alerts: bool(of_united_states(alerts)))
        await stack.until_received("swings", "firing", country="US")

        await stack.until(lambda alerts: not of_united_states(alerts), RESOLVED_S)
        notification = await stack.until_received("swings", "resolved", country="US")

    assert places(notification) == {("US", "resolved")}

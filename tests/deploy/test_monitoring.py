"""Prometheus scrapes the services that have metrics, and Grafana finds it and the dashboards.

``test_alert_rules.py`` and ``test_alertmanager.py`` are about alerts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from miningmap.settings import Collector, Streams
from tools.dashboards import ask

Services = dict[str, dict[str, Any]]

SCRAPED = {
    "collector": f"collector:{Collector().metrics_port}",
    "streams": f"streams:{Streams().metrics_port}",
    "endpoint": "endpoint:9104",
}


def test_prometheus_scrapes_the_services_that_have_metrics(root: Path, services: Services) -> None:
    config = yaml.safe_load((root / "deploy/prometheus/prometheus.yml").read_text())
    jobs = {job["job_name"]: job["static_configs"] for job in config["scrape_configs"]}

    assert jobs.pop("prometheus") == [{"targets": ["localhost:9090"]}]
    assert jobs.pop("alertmanager") == [{"targets": ["alertmanager:9093"]}]
    assert jobs == {name: [{"targets": [target]}] for name, target in SCRAPED.items()}
    for name in SCRAPED:
        assert set(services["prometheus"]["networks"]) & set(services[name]["networks"]), name


def test_prometheus_reads_the_mounted_file(services: Services) -> None:
    prometheus = services["prometheus"]
    assert "--config.file=/etc/miningmap/prometheus.yml" in prometheus["command"]
    assert "./deploy/prometheus:/etc/miningmap:ro" in prometheus["volumes"]


def test_prometheus_is_a_data_source_of_grafana(root: Path, services: Services) -> None:
    folder = root / "deploy/grafana/provisioning"
    [source] = yaml.safe_load((folder / "datasources/prometheus.yml").read_text())["datasources"]
    url = urlsplit(source["url"])

    assert (source["type"], url.hostname, url.port) == ("prometheus", "prometheus", 9090)
    assert set(services["grafana"]["networks"]) & set(services["prometheus"]["networks"])


def test_grafana_finds_the_dashboards(root: Path, services: Services) -> None:
    folder = root / "deploy/grafana/provisioning"
    [provider] = yaml.safe_load((folder / "dashboards/miningmap.yml").read_text())["providers"]
    path = provider["options"]["path"]

    assert f"./deploy/grafana/dashboards:{path}:ro" in services["grafana"]["volumes"]
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert Path(home).parent == Path(path)
    assert (root / "deploy/grafana/dashboards" / Path(home).name).is_file()


def test_dashboards_choose_the_provisioned_source_first(root: Path) -> None:
    file = root / "deploy/grafana/provisioning/datasources/prometheus.yml"
    [source] = yaml.safe_load(file.read_text())["datasources"]
    for dashboard in ask.dashboards():
        [first, *_] = dashboard["templating"]["list"]
        assert (first["name"], first["query"]) == ("datasource", source["type"])
        assert first["current"]["value"] == source["uid"]

"""``miningmap demo`` as a user runs it: a process, requests to it, Ctrl-C."""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from playwright.sync_api import sync_playwright
from prometheus_client.parser import text_string_to_metric_families

from launch.local.embedded import LOOPBACK
from launch.simulation import simulated_sources
from launch.simulation.partner import PUSHED_POOL
from streams.method.windows import ROLLING
from tests.browser import ARGUMENTS, chromium
from tests.demo import END_S, POLL_S, Demo, running_demo
from tests.promtool import faults
from tools.metrics import metrics_by_service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

pytestmark = pytest.mark.integration

# A poll that fails, on a machine that is busy with other tests, is repeated after a minute.
POLLED_S: Final = 180
SWINGS_S: Final = 60


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running_demo(tmp_path_factory.mktemp("demo")) as started:
        yield started


def test_the_demo_prints_its_url_and_that_it_is_simulated(demo: Demo) -> None:
    address = re.escape(f"http://{LOOPBACK}:{demo.port}")
    assert re.search(
        rf"^ready after \d+ s: {address} \(simulated; Ctrl-C ends it\)$", demo.output, re.MULTILINE
    )
    assert demo.text("/readyz")
    assert "<html" in demo.text("/")


def test_the_curtailment_in_texas_is_a_swing_of_the_united_states(demo: Demo) -> None:
    deadline = time.monotonic() + SWINGS_S
    while not (swings := demo.json("/api/v1/swings?state=firing")["swings"]):
        assert time.monotonic() < deadline, "nothing swings"
        time.sleep(POLL_S)
    (found,) = (s for s in swings if s.get("place") == "US" and s["pair"] == "1h/24h")
    assert found["delta"] < 0
    assert found["driver"] == "own"
    assert found["pools"][0]["pool"] == "foundryusa"
    assert found["simulated"]


def test_there_are_shares_of_at_least_five_countries(demo: Demo) -> None:
    answer = demo.json("/api/v1/shares?window=now")
    assert len(answer["shares"]) >= 5
    assert answer["network"]["hashrate"] > 0


@pytest.mark.parametrize("window", ROLLING)
def test_every_window_has_shares_that_are_marked_as_simulated(demo: Demo, window: str) -> None:
    answer = demo.json(f"/api/v1/shares?window={window}")
    assert answer["simulated"] is True
    assert answer["coverage"] > 0
    assert sum(row["share"] for row in answer["shares"]) == pytest.approx(1, abs=1e-9)


def test_the_partner_pushes_live_rows_so_that_now_and_the_last_hour_are_measured(
    demo: Demo,
) -> None:
    for window in ("now", "1h"):
        answer = demo.json(f"/api/v1/shares?window={window}")
        assert {"pool": PUSHED_POOL, "source": "partner"} in answer["cohort"]
        assert answer["measured_coverage"] > 0.05
    # One accepted request has the rows of a day; the others have live rows.
    sample = re.compile(
        r'^miningmap_intake_requests_total\{.*\bstatus="200"\} (\d+)\.0$', re.MULTILINE
    )
    deadline = time.monotonic() + POLLED_S
    while not any(
        int(n) > 1 for n in sample.findall(demo.text("/metrics", demo.metrics_ports["collector"]))
    ):
        assert time.monotonic() < deadline
        time.sleep(POLL_S)


@pytest.mark.parametrize("country", ["CN", "US"])
def test_provinces_and_states_have_shares(demo: Demo, country: str) -> None:
    answer = demo.json(f"/api/v1/shares?window=24h&level=subdivision&country={country}")
    assert answer["simulated"] is True
    assert len(answer["shares"]) >= 3
    assert {row["code"].partition("-")[0] for row in answer["shares"]} == {country}


def test_every_pool_is_simulated_and_some_are_live(demo: Demo) -> None:
    pools = demo.json("/api/v1/pools")["pools"]
    assert {pool["simulated"] for pool in pools} == {True}
    assert "live" in {pool["state"] for pool in pools}


def test_all_sources_are_up(demo: Demo) -> None:
    wanted = {source.slug: "1.0" for source in simulated_sources()}
    sample = re.compile(r'^miningmap_pool_up\{.*\bsource="(\w+)".*\} (\S+)$', re.MULTILINE)
    deadline = time.monotonic() + POLLED_S
    while (
        up := dict(sample.findall(demo.text("/metrics", demo.metrics_ports["collector"])))
    ) != wanted:
        assert time.monotonic() < deadline, up
        time.sleep(POLL_S)


@pytest.mark.parametrize("service", ["endpoint", "collector", "streams"])
def test_every_service_shows_its_metrics_and_promtool_finds_no_fault(
    demo: Demo, service: str
) -> None:
    port = demo.metrics_ports[service]
    listed = {metric.name: metric for metric in metrics_by_service()[service]}
    # They have samples as soon as the service does anything.
    wanted = {"miningmap_http_requests_total", "miningmap_redis_request_duration_seconds"}
    if service != "endpoint":
        wanted.add("miningmap_kafka_request_duration_seconds")
    deadline = time.monotonic() + POLLED_S
    while True:
        text = demo.text("/metrics", port)
        families = {_shown_name(each): each for each in text_string_to_metric_families(text)}
        if all(families[name].samples for name in wanted):
            break
        assert time.monotonic() < deadline
        time.sleep(POLL_S)
    own = {name: family for name, family in families.items() if name.startswith("miningmap_")}
    assert own.keys() == listed.keys()
    for name, family in own.items():
        assert (family.type, family.documentation) == (listed[name].type, listed[name].text)
        for sample in family.samples:
            assert sample.labels.keys() - {"le"} == set(listed[name].labels), name
    assert "python_info" in families
    if sys.platform == "linux":
        assert "process_cpu_seconds_total" in families
    assert faults(text) == ""


def _shown_name(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def test_the_page_shows_the_figures_of_the_demo(demo: Demo) -> None:
    path = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        page = browser.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"http://{LOOPBACK}:{demo.port}/?window=24h")
        page.locator("#rows [data-place=US]").click()
        page.locator("#why tbody tr").first.wait_for()  # the pools that the share consists of
        page.wait_for_function("() => document.getElementById('map').chart")
        shown = page.evaluate(
            "document.getElementById('map').chart.getOption().series[0].data"
            ".filter(({row}) => row).map(({name}) => name)"
        )
        listed = [row["code"] for row in demo.json("/api/v1/shares?window=24h")["shares"]]
        assert {"US", "CN", "RU"} <= set(shown) <= set(listed)
        assert page.locator("#simulated").is_visible()
        assert errors == []
        browser.close()


def test_other_commands_find_the_demo(demo: Demo, tmp_path: Path) -> None:
    table = tmp_path / "mining_countries.csv"
    table.write_text(
        "date,country,monthly_hashrate_%,monthly_absolute_hashrate_EH/S\n"
        "2021-06-01,United States,75.00%,90.00\n2021-06-01,Namibia,25.00%,30.00\n"
    )
    demo.run("import-history", "--demo", str(table))
    history = "/api/v1/history?code=NA&step=month&from=2021-06&to=2021-07"
    deadline = time.monotonic() + POLLED_S
    while (share := demo.json(history)["points"][0]["share"]) is None:
        assert time.monotonic() < deadline
        time.sleep(POLL_S)
    assert share == pytest.approx(0.25)
    exported = demo.run("export", "--demo", "--to", "2021-07-01T00:00:00Z").stdout.splitlines()
    assert [json.loads(line)["pool"] for line in exported] == ["cbeci-sample"]


def test_the_printed_addresses_reach_broker_redis_and_intake(demo: Demo) -> None:
    found = re.findall(
        r"^  (?:broker|Redis|intake) .*?127\.0\.0\.1:(\d+)", demo.output, re.MULTILINE
    )
    assert len(found) == 3
    for port in found:
        socket.create_connection((LOOPBACK, int(port)), timeout=5).close()


def test_ctrl_c_ends_all_processes_and_removes_all_files(demo: Demo) -> None:
    processes = _descendants(demo.process.pid)
    assert len(processes) >= 6, "broker, Redis, pools, streams, endpoint, collector"
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(END_S) == 0
    assert [pid for pid, born in processes.items() if _birth(pid) == born] == []
    assert "Traceback" not in demo.output
    assert (demo.folder / "stdout").read_text() == ""
    assert list((demo.folder / "cwd").iterdir()) == []
    # Faust always creates this folder.
    assert {path.name for path in (demo.folder / "tmp").iterdir()} <= {"miningmap-faust"}


def _descendants(pid: int) -> dict[int, str]:
    """Return the descendants of a process and their start times, because pids are reused."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("only Linux tells in /proc who started whom")
    parents = {int(path.name): _stat(int(path.name))[1] for path in Path("/proc").glob("[0-9]*")}
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in map(str, found)} - found:
        found |= more
    return {child: _birth(child) for child in found - {pid}}


def _birth(pid: int) -> str:
    return _stat(pid)[19]


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on; empty ones if it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return [""] * 50

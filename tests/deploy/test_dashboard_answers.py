"""Every question of every dashboard has an answer: a real Prometheus scrapes the running demo."""

from __future__ import annotations

import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Final

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from launch.local.embedded import LOOPBACK
from streams.method.windows import ROLLING
from tests.conftest import launched
from tests.demo import running_demo
from tests.servers import PrometheusServer
from tools.dashboards import ask
from tools.metrics import metrics_by_service

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = pytest.mark.integration

# Polls and evaluations are a minute apart, and rates need two scrapes with what they count.
ANSWERED_S: Final = 240
POLL_S: Final = 0.5
RATES: Final = {"__rate_interval": "2m"}

# What the demo has not: it believes in no distribution of the whole network, no subdivision of it
# swings, none of its requests fails, and this Prometheus has no rules.
TEXAS: Final = 'country="US",subdivision="US-TX"'
RANGES: Final = [
    f'miningmap_share_belief_{end}_ratio{{{place},window="{window}"}} 0.4\n'
    for end in ("low", "high")
    for place in ('country="US",subdivision=""', TEXAS)
    for window in ROLLING
]
MADE_UP: Final = f"""\
miningmap_swing_active{{{TEXAS},pair="1h/24h",driver="own"}} 5
miningmap_http_requests_total{{route="/api/v1/shares",method="GET",status="503"}} 2
ALERTS{{alertname="SnapshotStale",severity="critical",alertstate="firing"}} 1
ALERTS_FOR_STATE{{alertname="SnapshotStale",severity="critical"}} 1700000000
{"".join(RANGES)}"""

ALL: Final = [
    question for dashboard in ask.dashboards() for question in ask.questions(dashboard, RATES)
]


class Exporter(BaseHTTPRequestHandler):
    """Serves what the demo has not."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(MADE_UP.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def exporter() -> Iterator[int]:
    """The port of an exporter of what the demo has not."""
    with ThreadingHTTPServer((LOOPBACK, 0), Exporter) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def prometheus(exporter: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A Prometheus that scrapes the running demo."""
    server = launched(PrometheusServer)
    try:
        with (
            running_demo(tmp_path_factory.mktemp("demo")) as demo,
            httpx.Client(base_url=server.url, timeout=30) as client,
        ):
            server.configure(scraping({**demo.metrics_ports, "exporter": exporter}))
            yield client
    finally:
        server.close()


def scraping(ports: Mapping[str, int]) -> dict[str, object]:
    """A configuration that scrapes services at these ports every second."""
    return {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [f"{LOOPBACK}:{port}"]}]}
            for job, port in ports.items()
        ],
    }


@pytest.fixture(scope="module")
def deadline(prometheus: httpx.Client) -> float:  # noqa: ARG001 - it runs from then on
    """The time until which all questions must have an answer."""
    return time.monotonic() + ANSWERED_S


@pytest.mark.parametrize("question", ALL, ids=lambda asked: f"{asked.dashboard}: {asked.asker}")
def test_every_question_has_an_answer(
    prometheus: httpx.Client, deadline: float, question: ask.Question
) -> None:
    while ask.ask(prometheus, question) is None:
        assert time.monotonic() < deadline, question.expr
        time.sleep(POLL_S)


@pytest.mark.parametrize("window", ROLLING)
def test_every_window_has_shares(prometheus: httpx.Client, deadline: float, window: str) -> None:
    [shares] = [each for each in ask.dashboards() if each["title"] == "Shares"]
    for question in ask.questions(shares, RATES | {"window": window, "country": "US"}):
        test_every_question_has_an_answer(prometheus, deadline, question)


def test_a_question_that_has_no_answer_is_noticed(prometheus: httpx.Client) -> None:
    question = ALL[0]._replace(asker="a panel", expr="miningmap_of_another_world")
    assert ask.ask(prometheus, question) is None


def test_what_is_made_up_has_the_labels_of_the_real_metrics() -> None:
    real = {metric.name: metric for service in metrics_by_service().values() for metric in service}
    for family in text_string_to_metric_families(MADE_UP):
        for sample in family.samples:
            if not sample.name.startswith("ALERTS"):  # Prometheus makes them
                assert sample.labels.keys() == set(real[sample.name].labels)

"""schemathesis against the real intake, by docs/intake.yaml."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry

from collector.intake.app import intake_app
from collector.intake.ledger import Ledger
from collector.intake.partners import Partner, Partners
from collector.intake.rate_limit import RateLimiter
from collector.metrics import Metrics
from miningmap import settings as config
from tests.api_fuzzer import finds_nothing
from tests.collector.intake.fakes import HEADER, NOW, TOKEN, Kafka, Past

if TYPE_CHECKING:
    from aiohttp import web
    from redis.asyncio import Redis

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs/intake.yaml"
EXAMPLES = 10
# That valid rows are taken, no schema can say: most places and times are impossible.
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance,response_headers_conformance"
)


def test_the_document_is_valid_and_has_the_paths_of_the_app() -> None:
    validator = Path(sys.executable).with_name("openapi-spec-validator")
    subprocess.run([validator, DOCUMENT], check=True, capture_output=True)
    document = yaml.safe_load(DOCUMENT.read_text())
    app = _app(None, Kafka())
    served = {route.resource.canonical for route in app.router.routes() if route.resource}
    assert set(document["paths"]) <= served


def _app(store: Redis | None, kafka: Kafka) -> web.Application:
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    return intake_app(
        Partners([(Partner("partner-1", "foundryusa", 7), digest)]).authenticate,
        kafka.publish,
        Ledger(store),  # type: ignore[arg-type] # not used without a store
        RateLimiter([]),
        known=Past().known_past,
        retention=config.Retention(),
        metrics=Metrics(CollectorRegistry()),
        simulated=True,
        now=lambda: NOW,
    )


@pytest.mark.integration
@pytest.mark.parametrize("header", [HEADER, "Authorization: Bearer wrong"])
async def test_schemathesis_finds_nothing(header: str, store: Redis, tmp_path: Path) -> None:
    async with TestServer(_app(store, Kafka())) as server:
        await finds_nothing(
            *("run", str(DOCUMENT), "--url", str(server.make_url("/"))),
            *("--header", header, "--checks", CHECKS),
            examples=EXAMPLES,
            folder=tmp_path,
        )

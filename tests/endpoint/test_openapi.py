"""``/openapi.json`` agrees with the service."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from endpoint.routes import descriptions, openapi
from endpoint.service import application
from miningmap import __version__
from miningmap import settings as config
from miningmap.messages import Located
from miningmap.redis_client import connect
from streams.method.beliefs import Beliefs
from streams.method.cells import claims_of
from streams.redis.store import Store
from tests.api_fuzzer import finds_nothing
from tests.endpoint import schemathesis_hooks
from tests.endpoint.conftest import EH, report
from tests.endpoint.swings import ago, lost, place_swing, pool_swing, write_events

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.endpoint.conftest import Client

ROOT = Path(__file__).resolve().parents[2]
NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
EXAMPLES = 30 if NIGHTLY else 2


def test_the_document_is_valid_openapi() -> None:
    import openapi_spec_validator  # noqa: PLC0415 - takes seconds, in every process that runs tests

    described = openapi.document(descriptions.DESCRIBED)
    assert described["openapi"].startswith("3.1")
    assert described["info"]["version"] == __version__
    openapi_spec_validator.validate(described)


def test_a_served_path_without_a_description_is_an_error() -> None:
    with pytest.raises(ValueError, match="not described for OpenAPI: /api/v1/nothing"):
        openapi.document(["/healthz", "/api/v1/nothing"])


def test_a_described_path_that_is_not_served_is_left_out() -> None:
    assert openapi.document(["/healthz"])["paths"].keys() == {"/healthz"}


async def described(client: Client) -> Any:
    async with client.get("/openapi.json") as answer:
        assert answer.status == 200
        assert answer.content_type == "application/json"
        return await answer.json()


@pytest.mark.integration
async def test_it_has_exactly_the_routes_with_their_methods(client: Client) -> None:
    routes: dict[str, set[str]] = {}
    for route in client.app.router.routes():
        assert route.resource is not None
        routes.setdefault(route.resource.canonical, set()).add(route.method.lower())
    paths = (await described(client))["paths"]
    assert {path: set(item) for path, item in paths.items()} == routes


@pytest.fixture
async def offline(
    serve: Callable[[Store], Awaitable[Client]], unused_tcp_port: int
) -> AsyncIterator[Client]:
    """The service while Redis is not running."""
    url = SecretStr(f"redis://127.0.0.1:{unused_tcp_port}/0")
    redis = connect(config.Redis(url=url), patient=False)
    yield await serve(Store(redis, config.Retention()))
    await redis.aclose()


async def test_without_redis_exactly_the_described_paths_are_503(
    offline: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("endpoint.routes.stream.CATCH_UP_S", 0.1)
    paths = (await described(offline))["paths"]
    assert "503" in paths["/api/v1/shares"]["get"]["responses"]
    for path, item in paths.items():
        query = {p["name"]: p["schema"]["examples"][0] for p in needed(item["get"])}
        version = query.pop("version", "")
        expected = 503 if "503" in item["get"]["responses"] else 200
        for method in ("get", "head"):
            async with offline.request(
                method, path.format(version=version), params=query
            ) as answer:
                assert answer.status == expected, path
                if expected == 503:
                    assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.usefixtures("snapshots")
async def test_beyond_the_limit_exactly_the_described_paths_are_429(
    serve: Callable[..., Awaitable[Client]], store: Store
) -> None:
    client = await serve(store, rate_limit=1, limit_loopback=True)
    paths = (await described(client))["paths"]
    assert "429" not in paths["/readyz"]["get"]["responses"]
    for path, item in paths.items():
        for method, operation in item.items():
            described_429 = operation["responses"].get("429")
            async with client.request(method, path) as answer:
                assert (answer.status == 429) is (described_429 is not None), path
                assert (
                    described_429 is None
                    or described_429["headers"].keys() <= answer.headers.keys()
                )


def needed(operation: Any) -> list[Any]:
    return [parameter for parameter in operation["parameters"] if parameter.get("required")]


@pytest.fixture
async def month(store: Store, snapshots: dict[str, bytes]) -> None:  # noqa: ARG001 - written in addition
    """A past month, so that CBECI's charts have points."""
    start, end = datetime(2021, 6, 1, tzinfo=UTC), datetime(2021, 7, 1, tzinfo=UTC)
    places = (
        Located("CN-SC", 3 * EH, "measured"),
        Located("US-GA", 2 * EH, "measured"),
        Located("OTHER", 1 * EH, "measured"),
    )
    message = report("alpha", start, end, 6 * EH, places)
    await store.writer.write([(message, claims_of(message))])


@pytest.fixture
async def swings(store: Store) -> None:
    """Swings of both kinds, one of which is over."""
    fell, pool = place_swing(annotations=("annotations/storm",), muted=True), pool_swing()
    await write_events(store.swings, fell, pool, lost(fell, ago(hours=1)))


@pytest.mark.integration
@pytest.mark.usefixtures("month", "swings")
async def test_schemathesis_finds_nothing(client: Client, tmp_path: Path) -> None:
    async with client.get("/cbeci/api/charts/mining_provinces") as answer:
        assert (await answer.json())["data"]
    await finds_nothing(
        *("--config-file", str(ROOT / "schemathesis.toml")),
        *("run", str(client.make_url("/openapi.json"))),
        examples=EXAMPLES,
        folder=tmp_path,
        environment={
            "PYTHONPATH": str(ROOT),
            "SCHEMATHESIS_HOOKS": schemathesis_hooks.__name__,
        },
    )


@pytest.fixture
def unused() -> Store:
    """A store that is not read."""
    return Store(connect(config.Redis(), patient=False), config.Retention())


def test_the_service_does_not_start_with_an_undescribed_path(
    unused: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(descriptions.DESCRIBED, "/metrics")
    with pytest.raises(ValueError, match="/metrics"):
        application(unused, Beliefs(), config.Endpoint())

from __future__ import annotations

import asyncio
import json
import zlib
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from miningmap import live_rows
from miningmap import messages as wire
from miningmap.cbeci.contribution import PATH
from miningmap.messages import Located, Report
from miningmap.places import OTHER, all_places, is_locatable, outermost
from miningmap.rows import MAX_BODY
from tests.collector.intake.fakes import (
    AUTHORIZATION,
    DAILY_VALUES,
    HEADER,
    NOW,
    PROBLEM,
    TOKEN,
    Kafka,
    Past,
    head,
    status_of,
)
from tests.streams.fixtures import network, report

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from aiohttp import ClientResponse
    from aiohttp.test_utils import TestClient
    from prometheus_client import CollectorRegistry

# The example of CBECI's documentation.
SICHUAN: dict[str, object] = {
    "period_start_date": "2020-01-01",
    "period": "weekly",
    "country": "China",
    "province": "Sichuan",
    "average_hashrate": 5230.7,
    "unit": "ph/s",
}
STATES: dict[str, object] = {
    "period_start_date": "2020-01-01",
    "period": "weekly",
    "country": "United States",
    "province": None,
    "average_hashrate": 0.94,
    "unit": "eh/s",
}


def is_outermost(code: str) -> bool:
    return is_locatable(code) and outermost(code) == code and not code.endswith(OTHER)


async def push(
    client: TestClient[Any, Any],
    document: object,
    headers: Mapping[str, str] = AUTHORIZATION,
) -> ClientResponse:
    return await client.post(PATH, json=document, headers=headers)


async def push_bytes(client: TestClient[Any, Any], body: bytes, **headers: str) -> ClientResponse:
    sent = {"Content-Type": "application/json", **AUTHORIZATION} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return await client.post(PATH, data=body, headers=sent)


async def test_rows_are_published_and_echoed_with_the_tokens_id(
    client: TestClient[Any, Any], kafka: Kafka, counted: Any
) -> None:
    response = await push(client, {"data": [SICHUAN, STATES]})

    assert response.status == 200
    assert response.content_type == "application/json"
    assert await response.json() == {
        "data": [SICHUAN | {"api_token_id": 7}, STATES | {"api_token_id": 7}],
        "status": "success",
    }
    assert kafka.messages == [
        Report(
            pool="foundryusa",
            source="partner",
            start=datetime(2020, 1, 1, tzinfo=UTC),
            end=datetime(2020, 1, 8, tzinfo=UTC),
            hold_s=0,
            hashrate=6.1707e18,
            places=(
                Located("CN-SC", 5.2307e18, "measured"),
                Located("US", 0.94e18, "measured"),
            ),
            fetched_at=NOW,
            simulated=True,
        )
    ]
    assert counted("accepted") == 2
    assert counted("rejected") is None


async def test_what_is_published_decodes_as_a_valid_report(
    client: TestClient[Any, Any], kafka: Kafka
) -> None:
    await push(client, {"data": [SICHUAN, STATES]})
    assert [wire.decode(wire.encode(message)) for message in kafka.messages] == kafka.messages


async def test_the_response_waits_for_kafka(client: TestClient[Any, Any], kafka: Kafka) -> None:
    kafka.acknowledge.clear()
    request = asyncio.create_task(push(client, {"data": [SICHUAN]}))
    done, _ = await asyncio.wait({request}, timeout=0.1)
    assert not done
    kafka.acknowledge.set()
    assert (await request).status == 200
    assert len(kafka.messages) == 1


async def test_a_retry_publishes_the_same_report_again_and_later(
    client: TestClient[Any, Any], kafka: Kafka
) -> None:
    for _ in range(2):
        assert (await push(client, {"data": [SICHUAN, STATES]})).status == 200
    first, second = kafka.messages
    assert first.fetched_at < second.fetched_at
    assert msgspec.structs.replace(second, fetched_at=first.fetched_at) == first


async def test_no_rows_are_a_success_that_publishes_nothing(
    client: TestClient[Any, Any], kafka: Kafka
) -> None:
    kafka.failures = 1
    response = await push(client, {"data": []})
    assert response.status == 200
    assert await response.json() == {"data": [], "status": "success"}
    assert kafka.messages == []


async def test_unknown_keys_are_echoed_and_ignored(
    client: TestClient[Any, Any], kafka: Kafka
) -> None:
    row = SICHUAN | {"comment": "estimated", "api_token_id": 1}
    response = await push(client, {"data": [row], "version": 2})
    assert response.status == 200
    assert (await response.json())["data"] == [row | {"api_token_id": 7}]
    assert len(kafka.messages) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
    ],
)
async def test_without_a_known_token_it_is_401(
    client: TestClient[Any, Any], kafka: Kafka, headers: dict[str, str]
) -> None:
    response = await push(client, {"data": [SICHUAN]}, headers)
    assert response.status == 401
    assert await response.json() == {"error": "Invalid bearer token"}
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert kafka.messages == []


async def test_a_wrong_token_is_rejected_before_the_body_arrives(
    client: TestClient[Any, Any],
) -> None:
    assert await status_of(client, head(PATH, "Content-Length: 100")) == 401


async def test_the_scheme_is_bearer_in_any_case(client: TestClient[Any, Any]) -> None:
    response = await push(client, {"data": [SICHUAN]}, {"Authorization": f"bearer {TOKEN}"})
    assert response.status == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_other_methods_are_405_as_a_problem_document(
    client: TestClient[Any, Any], method: str
) -> None:
    response = await client.request(method, PATH)
    assert (response.status, response.content_type) == (405, PROBLEM)
    assert response.headers["Allow"] == "POST"
    document = await response.json(content_type=PROBLEM)
    assert document["status"] == 405
    assert "allowed: POST" in document["detail"]


async def test_other_paths_are_404_as_a_problem_document(client: TestClient[Any, Any]) -> None:
    response = await client.get("/api/contribute/miners_geo_distribution")
    assert (response.status, response.content_type) == (404, PROBLEM)
    assert (await response.json(content_type=PROBLEM))["status"] == 404


async def test_one_bad_row_rejects_all_and_every_error_is_listed(
    client: TestClient[Any, Any], kafka: Kafka, counted: Any
) -> None:
    bad = SICHUAN | {"period_start_date": "01.01.2020", "unit": "H/s"}
    response = await push(client, {"data": [STATES, bad, SICHUAN | {"country": "Chnia"}]})

    assert response.status == 422
    document = await response.json()
    assert document["error"] == 'date should be in "YYYY-MM-DD" format'
    assert [(error["index"], error["field"]) for error in document["errors"]] == [
        (1, "period_start_date"),
        (1, "unit"),
        (2, "country"),
    ]
    assert "China (CN)" in document["errors"][2]["error"]
    assert kafka.messages == []
    assert counted("rejected") == 3
    assert counted("accepted") is None


async def test_a_missing_key_is_422_not_200(client: TestClient[Any, Any]) -> None:
    row = {key: value for key, value in SICHUAN.items() if key != "province"}
    response = await push(client, {"data": [row]})
    assert response.status == 422
    assert (await response.json())["error"] == "Missing key: province"


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({}, "Missing key: data"),
        ([SICHUAN], "Missing key: data"),
        (None, "Missing key: data"),
        ({"data": SICHUAN}, "data should be a list of rows"),
        ({"data": None}, "data should be a list of rows"),
    ],
)
async def test_json_of_another_shape_is_422(
    client: TestClient[Any, Any], document: object, error: str
) -> None:
    response = await push_bytes(client, json.dumps(document).encode())
    assert response.status == 422
    assert await response.json() == {"error": error}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"data=1",
        b"\xff",
        b'{"data":[{"country":"\xff"}]}',
        b'{"data":[{"average_hashrate":NaN}]}',
        b"[" * 100_000,
    ],
)
async def test_what_is_not_json_is_400(client: TestClient[Any, Any], body: bytes) -> None:
    response = await push_bytes(client, body)
    assert response.status == 400
    assert (await response.json())["error"].startswith("the body is not JSON")


async def test_a_number_that_no_float_holds_is_422(client: TestClient[Any, Any]) -> None:
    body = json.dumps({"data": [SICHUAN]}).replace("5230.7", "1e400").encode()
    response = await push_bytes(client, body)
    assert response.status == 422
    assert (await response.json())["error"] == (
        "data[0].average_hashrate: the number is out of range; expected a finite number"
    )


@pytest.mark.parametrize(
    ("body", "position"),
    [
        (b"[-1e400]", "[0]"),
        (b"1e400", "the body"),
        (b'{"data": [1, {"unit": [2, 1e999]}]}', "data[1].unit[1]"),
        (b'{"data": [' + b"1" * 5000 + b"]}", "data[0]"),
        (b'{"data": [1e999, ' + b"[" * 100_000, "the body"),
    ],
)
async def test_a_number_out_of_range_is_named_by_its_position(
    client: TestClient[Any, Any], body: bytes, position: str
) -> None:
    response = await push_bytes(client, body)
    error = (await response.json())["error"]
    assert (response.status, error.partition(":")[0]) == (422, position)


async def test_another_content_type_is_415(client: TestClient[Any, Any]) -> None:
    response = await client.post(PATH, data={"data": "[]"}, headers=AUTHORIZATION)
    assert response.status == 415
    assert "application/json" in (await response.json())["error"]


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_over_the_limit_is_413(
    client: TestClient[Any, Any], kafka: Kafka, *, announced: bool
) -> None:
    body = json.dumps({"data": [SICHUAN]}).encode()
    body += b" " * (MAX_BODY + 1 - len(body))

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    headers = {"Content-Type": "application/json", **AUTHORIZATION}
    response = await client.post(
        PATH, data=BytesIO(body) if announced else chunks(), headers=headers
    )
    assert response.status == 413
    assert str(MAX_BODY) in (await response.json())["error"]
    assert kafka.messages == []


async def test_a_body_declared_too_large_is_rejected_before_it_arrives(
    client: TestClient[Any, Any],
) -> None:
    announced = head(PATH, HEADER, f"Content-Length: {MAX_BODY + 1}")
    assert await status_of(client, announced) == 413


async def test_a_body_of_exactly_the_limit_is_accepted(client: TestClient[Any, Any]) -> None:
    body = json.dumps({"data": [SICHUAN]}).encode()
    response = await push_bytes(client, body + b" " * (MAX_BODY - len(body)))
    assert response.status == 200


async def test_the_limit_applies_to_the_decompressed_body(
    client: TestClient[Any, Any],
) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "deflate", **AUTHORIZATION}
    response = await client.post(PATH, data=zlib.compress(b" " * (4 * MAX_BODY)), headers=headers)
    assert response.status == 413


async def test_a_body_that_cannot_be_decompressed_is_400(client: TestClient[Any, Any]) -> None:
    reader, writer = await asyncio.open_connection(client.host, client.port)
    packed = head(PATH, HEADER, "Content-Encoding: gzip", "Content-Length: 8")
    writer.write(packed + b"no gzip!")
    response = await asyncio.wait_for(reader.readuntil(b"}"), timeout=5)
    writer.close()
    await writer.wait_closed()
    assert response.split()[1] == b"400"
    assert b'{"error":"the body could not be read' in response


async def test_a_client_that_disconnects_early_is_one_line_in_the_log(
    app: web.Application, kafka: Kafka, caplog: pytest.LogCaptureFixture
) -> None:
    # A runner as in production. TestServer would cancel the handler when the client disconnects.
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    with capture_logs() as logs:
        _, writer = await asyncio.open_connection(host, port)
        writer.write(head(PATH, HEADER, "Content-Length: 100") + b'{"data":')
        await writer.drain()
        writer.close()
        async with asyncio.timeout(5):
            while not logs:  # noqa: ASYNC110 - a list has no event to wait for
                await asyncio.sleep(0.001)
    await runner.cleanup()

    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("intake_rejected", "warning")
    ]
    assert "could not be read" in logs[0]["error"]
    assert kafka.messages == []
    assert caplog.records == []


async def test_logs_name_the_partner_and_never_the_token(client: TestClient[Any, Any]) -> None:
    with capture_logs() as logs:
        await push(client, {"data": [SICHUAN]})
        await push(client, {"data": [SICHUAN | {"unit": "h/s"}]})
    assert [(entry["event"], entry["partner"], entry["rows"]) for entry in logs] == [
        ("intake_accepted", "partner-1", 1),
        ("intake_rejected", "partner-1", 1),
    ]
    assert TOKEN not in str(logs)


async def test_rows_that_kafka_does_not_acknowledge_are_503_and_can_be_sent_again(
    client: TestClient[Any, Any], kafka: Kafka, counted: Any
) -> None:
    kafka.failures = 1
    response = await push(client, {"data": [SICHUAN]})
    assert response.status == 503
    assert int(response.headers["Retry-After"]) > 0
    assert "again" in (await response.json())["error"]
    assert counted("accepted") is None

    assert (await push(client, {"data": [SICHUAN]})).status == 200
    assert len(kafka.messages) == 1
    assert counted("accepted") == 1


async def test_a_token_used_too_often_is_429_with_cbecis_error_before_the_body_arrives(
    client: TestClient[Any, Any], kafka: Kafka, registry: CollectorRegistry
) -> None:
    for _ in range(20):
        assert (await push(client, {"data": []})).status == 200
    response = await push(client, {"data": [SICHUAN]})
    assert response.status == 429
    document = await response.json()
    assert document["error"] == "Too many requests from your IP, try again later"
    assert document["detail"].startswith(
        "each token is allowed 20 requests in 3600 s, and this one has the id 7; try again in "
    )
    assert 0 < int(response.headers["Retry-After"]) <= 3600
    assert kafka.messages == []
    assert await status_of(client, head(PATH, HEADER)) == 429

    def counted(status: str) -> float | None:
        labels = {"partner": "partner-1", "status": status}
        return registry.get_sample_value("miningmap_intake_requests_total", labels)

    assert (counted("200"), counted("429"), counted("401")) == (20, 2, None)


async def test_wrong_tokens_make_no_series(
    client: TestClient[Any, Any], registry: CollectorRegistry
) -> None:
    for number in range(5):
        wrong = {"Authorization": f"Bearer partner-{number}"}
        assert (await push(client, {"data": [SICHUAN]}, wrong)).status == 401
    by_partner = [
        sample
        for family in registry.collect()
        for sample in family.samples
        if "partner" in sample.labels
    ]
    assert by_partner == []
    labels = {"route": PATH, "method": "POST", "status": "401"}
    assert registry.get_sample_value("miningmap_http_requests_total", labels) == 5


async def test_wrong_tokens_do_not_count_towards_the_limit(client: TestClient[Any, Any]) -> None:
    for _ in range(30):
        assert (await push(client, {"data": []}, {"Authorization": "Bearer no"})).status == 401
    assert (await push(client, {"data": []})).status == 200


# --- more than the pool can have had --------------------------------------------------------------

DAY_ONE = datetime(2020, 1, 1, tzinfo=UTC)
# In eh/s in place of ph/s, when the network had 100 EH/s.
WRONG_UNIT = [
    SICHUAN | {"average_hashrate": 20000, "unit": "eh/s"},
    STATES | {"average_hashrate": 10000, "unit": "eh/s"},
]


@pytest.fixture
def network_of_2020(past: Past) -> None:
    past.known.add(network(100e18, start=DAY_ONE))
    past.known.add(network(950e18, start=NOW))


@pytest.mark.usefixtures("network_of_2020")
async def test_a_wrong_unit_is_422_with_the_network_of_that_time_and_the_unit_that_would_fit(
    client: TestClient[Any, Any], kafka: Kafka, counted: Any
) -> None:
    response = await push(client, {"data": WRONG_UNIT})
    assert response.status == 422
    limit = "more than twice the network's 100 EH/s at that time; is the unit ph/s?"
    first, second = (f"{figure} eh/s is {limit}" for figure in (20000, 10000))
    assert await response.json() == {
        "error": first,
        "errors": [
            {"index": 0, "field": "average_hashrate", "error": first},
            {"index": 1, "field": "average_hashrate", "error": second},
        ],
    }
    assert kafka.messages == []
    assert counted("rejected") == 2
    right = [row | {"unit": "ph/s"} for row in WRONG_UNIT]
    assert (await push(client, {"data": right})).status == 200
    assert [message.hashrate for message in kafka.messages] == [30e18]  # the ledger has no other


@pytest.mark.usefixtures("network_of_2020")
async def test_rows_of_several_requests_count_together(
    client: TestClient[Any, Any], kafka: Kafka
) -> None:
    china = SICHUAN | {"average_hashrate": 150, "unit": "eh/s"}
    states = STATES | {"average_hashrate": 60, "unit": "eh/s"}
    assert (await push(client, {"data": [china]})).status == 200
    response = await push(client, {"data": [states]})
    assert response.status == 422
    assert "the pool has 210 EH/s in this period" in (await response.json())["error"]
    assert len(kafka.messages) == 1
    # A row replaces the earlier one of its place.
    corrected = china | {"average_hashrate": 15}
    assert (await push(client, {"data": [corrected, states]})).status == 200


async def test_more_than_five_times_what_the_pool_mined_is_422(
    client: TestClient[Any, Any], past: Past
) -> None:
    mined = report("foundryusa", hashrate=10e18, start=DAY_ONE)
    past.known.add(msgspec.structs.replace(mined, blocks=144, basis="mined"))
    too_much = STATES | {"average_hashrate": 51}
    response = await push(client, {"data": [too_much]})
    assert response.status == 422
    assert (await response.json())["error"] == (
        "51 eh/s is more than five times the 10 EH/s that its blocks show; is the unit ph/s?"
    )
    assert (await push(client, {"data": [too_much | {"average_hashrate": 50}]})).status == 200


async def test_without_any_knowledge_of_that_time_rows_are_accepted(
    client: TestClient[Any, Any], past: Past
) -> None:
    past.known.add(network(950e18, start=NOW))
    assert (await push(client, {"data": WRONG_UNIT})).status == 200


async def test_rows_wait_until_the_past_is_known(
    client: TestClient[Any, Any], past: Past, kafka: Kafka
) -> None:
    """Else a row that comes while the collector starts would be accepted whatever it says."""
    past.read.clear()
    request = asyncio.create_task(push(client, {"data": WRONG_UNIT}))
    done, _ = await asyncio.wait({request}, timeout=0.1)
    assert not done
    past.known.add(network(100e18, start=DAY_ONE))
    past.read.set()
    assert (await request).status == 422
    assert kafka.messages == []


def rows_of(codes: list[str], **changes: object) -> list[dict[str, object]]:
    return [
        STATES | {"country": code[:2], "province": code if "-" in code else None} | changes
        for code in codes
    ]


async def test_rows_that_would_fill_redis_are_refused_with_the_limit(
    client: TestClient[Any, Any], kafka: Kafka
) -> None:
    month = {"period": "monthly", "unit": "th/s", "average_hashrate": 1}
    codes = [p.code for p in all_places() if p.code.isascii() and is_outermost(p.code)]
    error = (
        "monthly rows of 2020-01-01: a total and 1,400 places in 744 hours are 1,042,344 values; a "
        "report has at most 1,000,000: send fewer places or shorter periods"
    )

    refused = await push(client, {"data": [STATES, *rows_of(codes[:1400], **month)]})
    assert refused.status == 422
    document = await refused.json()
    assert document["errors"] == [{"index": 1400, "field": None, "error": error}]

    # All rows of a period count together, also those of an earlier request.
    assert (await push(client, {"data": rows_of(codes[:700], **month)})).status == 200
    later = await push(client, {"data": [STATES, *rows_of(codes[600:1400], **month)]})
    assert later.status == 422
    assert (await later.json())["errors"] == [{"index": 800, "field": None, "error": error}]
    assert len(kafka.messages) == 1


async def test_rows_beyond_the_budget_of_a_pool_are_refused_until_it_is_refilled(
    client: TestClient[Any, Any],
) -> None:
    week = {"period": "weekly", "unit": "th/s", "average_hashrate": 1}
    codes = [p.code for p in all_places() if p.code.isascii() and is_outermost(p.code)][:1000]
    rows = rows_of(codes, **week, period_start_date="2020-02-10")
    for _ in range(DAILY_VALUES // (168 * 1001)):
        assert (await push(client, {"data": rows})).status == 200

    refused = await push(client, {"data": rows})
    assert refused.status == 429
    assert 0 < int(refused.headers["Retry-After"]) < 86_400
    document = await refused.json()
    assert document["error"] == "Too many requests from your IP, try again later"
    assert document["detail"].startswith(f"these rows claim {168 * 1001:,} values, ")
    assert f"a pool may claim {DAILY_VALUES:,} a day" in document["detail"]

    live = {  # both forms of rows share the budget
        "start": "2020-02-01T00:00:00Z",
        "end": "2020-03-01T00:00:00Z",
        "hashrate": 1e18,
        "places": [{"code": code, "hashrate": 1e12} for code in codes],
    }
    assert (await client.post(live_rows.PATH, json=live, headers=AUTHORIZATION)).status == 429

"""Live rows over real HTTP: what is accepted, what is published, and how each error looks."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from collector.intake.handler import Gate
from collector.intake.live import LiveHandler
from collector.intake.partners import Partner, Partners
from collector.intake.rate_limit import RateLimiter
from collector.metrics import Metrics
from launch.local.embedded import free_port
from miningmap import messages as wire
from miningmap.cbeci import contribution
from miningmap.http.connections import Deadlines, Limits
from miningmap.http.server import serving
from miningmap.live_rows import MAX_HOLD_S, PATH
from miningmap.messages import Located, Report
from miningmap.places import all_places, is_locatable, outermost
from miningmap.rows import MAX_BODY, MAX_ERRORS, InvalidRowsError, RowError
from miningmap.settings import Retention
from miningmap.times import rfc3339
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
    from collections.abc import Mapping

    from aiohttp import ClientResponse, web
    from aiohttp.test_utils import TestClient

    from miningmap.messages import Message

    Client = TestClient[Any, Any]

JSON = {"Content-Type": "application/json", **AUTHORIZATION}
OUTERMOST = [p for p in all_places() if is_locatable(p.code) and outermost(p.code) == p.code]
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def row(ago: timedelta = MINUTE, length: timedelta = MINUTE, **changes: object) -> dict[str, Any]:
    """Return a row that begins some time ago."""
    start = NOW - ago
    return {
        "start": rfc3339(start),
        "end": rfc3339(start + length),
        "hashrate": 3e18,
        "places": [{"code": "US-TX", "hashrate": 2e18}, {"code": "CN", "hashrate": 0.5e18}],
    } | changes


def placed(*codes: str) -> list[dict[str, Any]]:
    return [{"code": code, "hashrate": 1e17} for code in codes]


async def push(
    client: Client, document: object, headers: Mapping[str, str] = AUTHORIZATION
) -> ClientResponse:
    return await client.post(PATH, json=document, headers=headers)


async def push_bytes(client: Client, body: bytes, kind: str) -> ClientResponse:
    return await client.post(PATH, data=body, headers={"Content-Type": kind, **AUTHORIZATION})


async def problem(response: ClientResponse) -> dict[str, Any]:
    assert response.content_type == PROBLEM
    document: dict[str, Any] = await response.json(content_type=PROBLEM)
    assert document["status"] == response.status
    return document


async def errors(client: Client, *rows: object) -> list[tuple[int, str | None, str]]:
    response = await push(client, list(rows))
    assert response.status == 422
    document = await problem(response)
    first = document["errors"][0]
    assert document["detail"].startswith(f"row {first['index']}: ")
    assert first["error"] in document["detail"]
    return [(error["index"], error["field"], error["error"]) for error in document["errors"]]


async def test_a_row_is_published_as_a_measured_report_of_the_tokens_pool(
    client: Client, kafka: Kafka, counted: Any
) -> None:
    with capture_logs() as logs:
        response = await push(client, row(hold_s=300))

    assert (response.status, await response.json()) == (200, {"accepted": 1})
    assert kafka.messages == [
        Report(
            pool="foundryusa",
            source="partner",
            start=NOW - MINUTE,
            end=NOW,
            hold_s=300,
            hashrate=3e18,
            places=(Located("CN", 0.5e18, "measured"), Located("US-TX", 2e18, "measured")),
            fetched_at=NOW,
            simulated=True,
        )
    ]
    assert counted("accepted") == 1
    assert [(entry["event"], entry["partner"]) for entry in logs] == [
        ("intake_accepted", "partner-1")
    ]
    assert TOKEN not in str(logs)


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/jsonl"])
async def test_rows_come_as_an_array_or_as_lines(client: Client, kafka: Kafka, kind: str) -> None:
    rows = [row(2 * MINUTE), row(MINUTE)]
    assert (await push(client, rows)).status == 200
    lines = "\n\r\n".join(json.dumps(one) for one in rows)
    response = await push_bytes(client, lines.encode(), kind)
    assert await response.json() == {"accepted": 2}
    assert kafka.messages[:2] == kafka.messages[2:]


@pytest.mark.parametrize(
    ("length", "held"),
    [(MINUTE, 120), (59 * MINUTE, 59 * 120), (90.5 * timedelta(seconds=1), 181), (HOUR, 0)],
)
async def test_a_row_without_hold_s_is_held_for_twice_its_length_if_it_claims_minutes(
    client: Client, kafka: Kafka, length: timedelta, held: int
) -> None:
    assert (await push(client, row(length, length))).status == 200
    (published,) = kafka.messages
    assert published.hold_s == held <= MAX_HOLD_S


async def test_inner_subdivisions_count_at_the_outermost(client: Client, kafka: Kafka) -> None:
    assert (await push(client, row(places=placed("FR-75C", "FR-IDF")))).status == 200
    (published,) = kafka.messages
    assert isinstance(published, Report)
    assert published.places == (Located("FR-IDF", 2e17, "measured"),)


async def test_the_response_waits_for_kafka(client: Client, kafka: Kafka) -> None:
    kafka.acknowledge.clear()
    request = asyncio.create_task(push(client, row()))
    done, _ = await asyncio.wait({request}, timeout=0.1)
    assert not done
    kafka.acknowledge.set()
    assert (await request).status == 200


async def test_one_wrong_row_rejects_all_and_every_error_is_listed(
    client: Client, kafka: Kafka, counted: Any
) -> None:
    wrong = row(start="yesterday", hold_s=1.5, hold=3, places=[{"code": "CN-HK"}, 7])
    late = row(36 * DAY, hashrate=2e23, places=placed("US-PR"))
    with capture_logs() as logs:
        found = await errors(client, row(), wrong, row(2 * MINUTE, hashrate=-1), 7, late)
    assert [(index, field) for index, field, _ in found] == [
        (1, "hold"),
        (1, "start"),
        (1, "hold_s"),
        (1, "places[0].hashrate"),
        (1, "places[0].code"),
        (1, "places[1]"),
        (2, "hashrate"),
        (3, None),
        (4, "end"),
        (4, "hashrate"),
        (4, "places[0].code"),
    ]
    assert kafka.messages == []
    assert (counted("rejected"), counted("accepted")) == (5, None)
    assert [(entry["event"], entry["errors"]) for entry in logs] == [("intake_rejected", 11)]


@pytest.mark.parametrize(
    ("wrong", "field", "text"),
    [
        (row(length=-MINUTE), "end", "at least a minute after start"),
        (row(length=timedelta(seconds=59)), "end", "at least a minute after start"),
        (row(2 * HOUR, 90 * MINUTE), None, "whole hours"),
        (row(HOUR, HOUR, hold_s=60), None, "hold_s must be 0"),
        (row(hold_s=MAX_HOLD_S + 1), "hold_s", f"0 to {MAX_HOLD_S}"),
        (row(places=placed("UNKNOWN")), "places[0].code", "UNKNOWN"),
        (row(places=placed("US-PR")), "places[0].code", "use the country code PR"),
        (row(places=placed("KZ-AKM")), "places[0].code", "use KZ-11"),
        (row(places=placed("CN", "CN")), None, "CN is listed twice"),
        (row(hashrate=1e17, places=placed("CN", "US")), None, "places add up to 2e+17 H/s"),
        (
            row(hashrate=2e17 - 1e9, places=placed("CN", "US")),
            None,
            "places add up to 2e+17 H/s, more than the 1.99999999e+17 H/s",
        ),
        (row(places=[7]), "places[0]", "a place is an object with code, hashrate"),
        (row(hashrate=0, places=[]), None, "a total of 0 H/s says nothing"),
        (row(pool="ocean"), "pool", "the token decides the pool"),
        (row(-5 * MINUTE), "end", "more than 5 minutes after"),
        (row(49 * HOUR, 30 * MINUTE, hold_s=1800), "end", "minutes that old are not kept"),
        (row(36 * DAY, HOUR), "end", "hours that old are not kept"),
        (row(hashrate=2e23), "hashrate", "is the unit right?"),
    ],
)
async def test_a_row_that_could_become_no_cell_is_refused_with_the_reason(
    client: Client, kafka: Kafka, wrong: dict[str, Any], field: str | None, text: str
) -> None:
    ((index, found, error),) = await errors(client, wrong)
    assert (index, found) == (0, field)
    assert text in error
    assert kafka.messages == []


@pytest.mark.parametrize(
    "old",
    [
        row(48 * HOUR),  # the hour that is kept began before
        row(36 * DAY + 12 * HOUR, 36 * HOUR),  # covers a whole day, which has a cell of its own
    ],
)
async def test_a_row_of_which_a_part_is_kept_is_accepted(
    client: Client, old: dict[str, Any]
) -> None:
    assert (await push(client, old)).status == 200


async def test_more_than_the_network_or_the_blocks_show_is_refused(
    client: Client, kafka: Kafka, past: Past
) -> None:
    past.known.add(network(100e18, start=NOW - DAY))
    mined = report("foundryusa", hashrate=10e18, start=NOW - HOUR)
    past.known.add(msgspec.structs.replace(mined, blocks=144, basis="mined"))
    found = await errors(client, row(hashrate=51e18), row(2 * MINUTE, hashrate=201e18))
    assert [(index, field) for index, field, _ in found] == [(0, "hashrate"), (1, "hashrate")]
    assert "more than five times the 10 EH/s that its blocks show" in found[0][2]
    assert kafka.messages == []


async def test_rows_wait_until_the_past_is_known(client: Client, past: Past) -> None:
    past.read.clear()
    request = asyncio.create_task(push(client, row(hashrate=201e18)))
    done, _ = await asyncio.wait({request}, timeout=0.1)
    assert not done
    past.known.add(network(100e18, start=NOW - DAY))
    past.read.set()
    assert (await request).status == 422


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (row(2 * MINUTE, 2 * MINUTE), row(MINUTE)),
        (row(HOUR, HOUR), row(HOUR, HOUR, hashrate=4e18)),
    ],
)
async def test_two_rows_of_which_the_larger_would_win_contradict_each_other(
    client: Client, kafka: Kafka, first: dict[str, Any], second: dict[str, Any]
) -> None:
    ((index, field, error),) = await errors(client, first, second)
    assert (index, field) == (1, "end")
    assert error.startswith("rows 0 and 1 ")
    assert kafka.messages == []


@pytest.mark.parametrize(
    "second",
    [
        row(),  # the same
        row() | {"places": row()["places"][::-1]},
        row(2 * MINUTE, 90 * timedelta(seconds=1)),  # the later end wins
        row(2 * HOUR, 2 * HOUR),  # minutes and hours are different cells
    ],
)
async def test_rows_about_the_same_minutes_are_accepted_if_a_rule_decides(
    client: Client, second: dict[str, Any]
) -> None:
    assert (await push(client, [row(), second])).status == 200


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"hashrate":NaN}', b"[" * 100_000])
async def test_what_is_not_json_is_400(client: Client, body: bytes) -> None:
    response = await push_bytes(client, body, "application/json")
    assert response.status == 400
    assert (await problem(response))["detail"].startswith("the body is not JSON")


async def test_a_line_that_cannot_be_read_is_named_by_its_number(client: Client) -> None:
    good = json.dumps(row()).encode()
    response = await push_bytes(client, good + b"\n\n{", "application/jsonl")
    assert response.status == 400
    assert (await problem(response))["detail"].startswith("line 3 is not JSON")
    response = await push_bytes(client, good.replace(b"3e+18", b"1e400"), "application/jsonl")
    assert response.status == 422
    assert (await problem(response))["detail"].startswith("line 1: hashrate: the number")


async def test_no_rows_are_a_success_that_publishes_nothing(client: Client, kafka: Kafka) -> None:
    kafka.failures = 1
    response = await push(client, [])
    assert (response.status, await response.json()) == (200, {"accepted": 0})


async def test_without_a_known_token_it_is_401_before_the_body_arrives(client: Client) -> None:
    response = await push(client, row(), {"Authorization": "Bearer nonsense"})
    assert response.status == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    await problem(response)
    assert await status_of(client, head(PATH, "Content-Length: 100")) == 401


async def test_other_methods_are_405(client: Client) -> None:
    response = await client.get(PATH, headers=AUTHORIZATION)
    assert (response.status, response.headers["Allow"]) == (405, "POST")
    await problem(response)


async def test_a_body_over_the_limit_is_413_before_it_arrives(client: Client) -> None:
    assert await status_of(client, head(PATH, HEADER, f"Content-Length: {MAX_BODY + 1}")) == 413
    response = await client.post(PATH, data=BytesIO(b" " * (MAX_BODY + 1)), headers=JSON)
    assert response.status == 413
    await problem(response)


async def test_a_body_that_does_not_arrive_in_time_is_408(
    app: web.Application, kafka: Kafka
) -> None:
    port = free_port()
    limits = Limits(connections=9, per_client=9, deadlines=Deadlines(body_s=0.1))
    async with serving(app, "127.0.0.1", port, "INTAKE__PORT", limits=limits):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head(PATH, HEADER, "Content-Length: 100") + b"[")
        async with asyncio.timeout(5):
            response = await reader.read()
        writer.close()
    assert response.startswith(b"HTTP/1.1 408 ")
    assert b"the body did not arrive within 0.1 s; send it again" in response
    assert kafka.messages == []


@pytest.mark.parametrize("path", [PATH, contribution.PATH])
async def test_of_very_many_errors_the_first_are_listed(client: Client, path: str) -> None:
    rows: list[object] = [{}] * 10_000
    document = rows if path == PATH else {"data": rows}
    response = await client.post(path, json=document, headers=AUTHORIZATION)
    assert response.status == 422
    listed = (await response.json(content_type=None))["errors"]
    assert len(listed) == MAX_ERRORS
    assert [error["index"] for error in listed] == sorted(error["index"] for error in listed)


async def test_another_content_type_is_415_with_those_that_are_read(client: Client) -> None:
    response = await push_bytes(client, b"[]", "text/csv")
    assert response.status == 415
    assert "application/json or application/x-ndjson" in (await problem(response))["detail"]


async def test_a_token_used_too_often_is_429_whichever_form_it_sent(
    client: Client, registry: CollectorRegistry
) -> None:
    for _ in range(20):
        assert (await push(client, [])).status == 200
    response = await push(client, row())
    assert response.status == 429
    assert 0 < int(response.headers["Retry-After"]) <= 3600
    assert "20 requests in 3600 s" in (await problem(response))["detail"]
    labels = {"partner": "partner-1", "status": "429"}
    assert registry.get_sample_value("miningmap_intake_requests_total", labels) == 1


async def test_rows_that_kafka_does_not_acknowledge_are_503_and_can_be_sent_again(
    client: Client, kafka: Kafka, counted: Any
) -> None:
    kafka.failures = 1
    response = await push(client, row())
    assert response.status == 503
    assert int(response.headers["Retry-After"]) > 0
    await problem(response)
    assert counted("accepted") is None
    assert (await push(client, row())).status == 200
    assert len(kafka.messages) == 1


# --- any rows -------------------------------------------------------------------------------------

MINUTES = st.integers(-10, 60 * 24 * 40).map(lambda minutes: rfc3339(NOW - minutes * MINUTE))
LENGTHS = st.sampled_from([MINUTE / 2, MINUTE, 10 * MINUTE, HOUR, DAY])
CODES = st.sampled_from(
    ["US", "US-TX", "FR-75C", "FR-IDF", "CN-OTHER", "OTHER", "UNKNOWN", "US-PR"]
)
HASHRATES = st.sampled_from([0, 1e18, 2e18, 1e23, 2e23, 1e300, -1, None])
PLACES = st.lists(st.fixed_dictionaries({"code": CODES, "hashrate": HASHRATES}), max_size=3)
PLAUSIBLE = st.builds(
    row, st.integers(1, 3000).map(lambda minutes: minutes * MINUTE), LENGTHS, places=PLACES
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
ANY_ROW = st.one_of(
    PLAUSIBLE,
    st.fixed_dictionaries(
        {
            "start": MINUTES | ANY_JSON,
            "end": MINUTES | ANY_JSON,
            "hashrate": HASHRATES | ANY_JSON,
            "places": PLACES | ANY_JSON,
        },
        optional={"hold_s": st.integers(-1, MAX_HOLD_S + 1) | ANY_JSON, "pool": ANY_JSON},
    ),
    ANY_JSON,
)


async def stored(rows: list[object]) -> tuple[tuple[RowError, ...], list[Message]]:
    """Return the errors of rows, and what was published."""
    kafka = Kafka()
    gate = Gate(Partners().authenticate, RateLimiter([]), Metrics(CollectorRegistry()))
    handler = LiveHandler(
        gate, kafka.publish, Past().known_past, Retention(), lambda: NOW, simulated=True
    )
    try:
        await handler.store(Partner("partner-1", "foundryusa", 7), rows)
    except InvalidRowsError as error:
        return error.errors, kafka.messages
    return (), kafka.messages


@given(st.lists(PLAUSIBLE, max_size=3) | st.lists(ANY_ROW, max_size=4))
def test_any_rows_are_published_as_valid_reports_or_not_at_all(rows: list[object]) -> None:
    errors, published = asyncio.run(stored(rows))
    assert {error.index for error in errors} <= set(range(len(rows)))
    assert len(published) == (0 if errors else len(rows))
    for message in published:
        assert wire.decode(wire.encode(message)) == message
        assert isinstance(message, Report)
        assert {place.kind for place in message.places} <= {"measured"}


async def test_a_row_that_would_fill_redis_is_refused_with_the_limit(
    client: Client, kafka: Kafka
) -> None:
    places = [{"code": place.code, "hashrate": 1e12} for place in OUTERMOST[:1500]]
    month = row(31 * DAY + 12 * HOUR, 31 * DAY, places=places)
    many = row(
        2 * MINUTE, places=[{"code": place.code, "hashrate": 1e12} for place in OUTERMOST[:2001]]
    )

    assert await errors(client, row(), month, many) == [
        (
            1,
            None,
            (
                "a total and 1,500 places in 744 hours are 1,116,744 values; a report has at most "
                "1,000,000: send fewer places or shorter periods"
            ),
        ),
        (2, None, "2,001 places; a report has at most 2,000"),
    ]
    assert kafka.messages == []


async def test_rows_beyond_the_budget_of_a_pool_are_refused_until_it_is_refilled(
    client: Client, kafka: Kafka
) -> None:
    places = [{"code": place.code, "hashrate": 1e12} for place in OUTERMOST[:700]]
    month = row(31 * DAY + 12 * HOUR, 31 * DAY, places=places)
    assert (await push(client, month)).status == 200
    published = len(kafka.messages)

    with capture_logs() as logs:
        again = await push(client, month)
    assert again.status == 429
    assert 0 < int(again.headers["Retry-After"]) < 86_400
    assert (await problem(again))["detail"].startswith(
        f"these rows claim {744 * 701:,} values, their totals and places once for each minute, "
        f"hour or day; a pool may claim {DAILY_VALUES:,} a day; try again in "
    )
    assert [log["event"] for log in logs] == ["intake_over_budget"]
    assert (await push(client, row())).status == 200  # what is left is enough for it

    other = row(32 * DAY + 12 * HOUR, 31 * DAY, places=places)
    both = await push(client, [month, other, row(70 * DAY + 12 * HOUR, 31 * DAY, places=places)])
    assert both.status == 413
    assert (await problem(both))["detail"].endswith(" a day; send the rows in several requests")
    assert len(kafka.messages) == published + 1

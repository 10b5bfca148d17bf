"""Decoding of bodies and envelopes: the policy that all sources share."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

import pytest

from collector.sources import decoding
from collector.sources.base import CredentialsError, PermanentError, SourceError, TransientError
from collector.sources.envelope import Envelope
from collector.sources.located import by_place
from miningmap.messages import Located
from tests.cases import all_cases


def encoded(body: object) -> bytes:
    return json.dumps(body).encode()


@all_cases(
    ("error", "text"),
    [
        ("try again", "try again"),
        ({"code": -28, "message": "Loading"}, "-28 Loading"),
        ({"message": "Loading", "data": 1}, "Loading"),
        ({"status": 500}, '{"status":500}'),
        (["busy"], '["busy"]'),
        (True, "true"),
        (7, "7"),
    ],
)
def test_a_body_that_reports_an_error_is_refused_with_its_text(error: object, text: str) -> None:
    with pytest.raises(TransientError) as caught:
        decoding.decode(encoded({"hashrate": 1.0, "error": error}), dict)
    assert caught.value.reason == "refused"
    assert str(caught.value) == f"the server reported {text!r}"


@all_cases("nothing", [None, "", False, 0, {}, []])
def test_an_empty_error_is_not_an_error(nothing: object) -> None:
    body = {"hashrate": 1.0, "error": nothing}
    assert decoding.decode(encoded(body), dict) == body


def test_a_message_is_an_error_only_if_the_shape_is_unexpected() -> None:
    body = encoded({"message": "OK", "hashrate": 1.0})
    assert decoding.decode(body, dict)["hashrate"] == 1.0
    with pytest.raises(TransientError, match="reported 'OK'"):
        decoding.decode(body, float)


@all_cases(
    "body",
    [
        b"",
        b"{",
        b'{"a": "\xff"}',
        b'{"error": "no"',
        pytest.param(b'{"a":' * 100_000, id="nested too deeply"),
    ],
)
def test_invalid_json_is_a_transient_error(body: bytes) -> None:
    with pytest.raises(TransientError) as caught:
        decoding.decode(body, dict)
    assert caught.value.reason == "not_json"


@all_cases(
    "seconds",
    [
        *(sign * 10**power for power in range(12, 24) for sign in (1, -1)),
        *(1_787_472_180 * unit for unit in (10**3, 10**6, 10**9)),
        *(2**63, 10**400, -(10**400), 1e300, math.inf, -math.inf, math.nan),
    ],
)
def test_a_time_out_of_range_is_a_shape_error(seconds: float) -> None:
    with pytest.raises(PermanentError) as caught:
        decoding.unix_time(seconds)
    assert caught.value.reason == "shape"
    assert len(str(caught.value)) < 100


def test_times_are_seconds_since_1970() -> None:
    assert decoding.unix_time(1_795_359_600.5) == datetime(
        2026, 11, 22, 15, 0, 0, 500_000, tzinfo=UTC
    )


@all_cases(
    ("figure", "error"),
    [
        (None, None),
        (-1, None),
        (0, None),
        (1e15, None),
        (1e18, None),
        (1e14, "unit"),
        (2e18, "unit"),
    ],
)
def test_a_figure_out_of_bounds_is_a_unit_error(figure: float | None, error: str | None) -> None:
    """0 and unknown are never out of bounds."""
    try:
        decoding.hashrate(figure, least=1e15, most=1e18)
        reason = None
    except PermanentError as caught:
        reason = caught.reason
    assert reason == error


def test_a_figure_with_a_unit_is_refused_in_words() -> None:
    with pytest.raises(PermanentError) as caught:
        decoding.decode(encoded({"hashrate": "250 EH/s"}), dict[str, decoding.Figure])
    expected = "unexpected shape: Expected a number without a unit - at `$[...]`"
    assert str(caught.value) == expected


@all_cases(
    ("figure", "hashrate"),
    [
        (2.5e20, 2.5e20),
        (250, 250.0),
        ("250", 250.0),
        ("2.5e+20", 2.5e20),
        ("2.5E20", 2.5e20),
        ("0", 0.0),
        *((unknown, None) for unknown in (None, "", "?", "-", -1, "-1", -2.0, "-2.0")),
    ],
)
def test_a_figure_is_a_number_or_text_that_is_one(figure: object, hashrate: float | None) -> None:
    found = decoding.decode(encoded([figure]), list[decoding.Figure | None])
    assert decoding.hashrate(found[0]) == hashrate


@all_cases(
    "other", ["250 EH/s", "1,5", "1_000", "250\n", " ", "-3", "nan", "inf", "0x1", True, [], {}]
)
def test_other_text_is_not_a_figure(other: object) -> None:
    with pytest.raises(PermanentError) as caught:
        decoding.decode(encoded([other]), list[decoding.Figure | None])
    assert caught.value.reason == "shape"


@all_cases(
    ("value", "network", "hashrate"),
    [
        (1e18, 1e21, 1e18),
        ("1e18", "1e21", 1e18),
        (None, 1e21, None),
        (-1, 0, None),
        (0, 0, 0.0),
    ],
)
def test_a_pool_is_part_of_the_network(
    value: float | str | None, network: float | str, hashrate: float | None
) -> None:
    assert decoding.part_of_network(value, network) == hashrate


def test_a_pool_above_the_network_is_a_unit_error() -> None:
    with pytest.raises(PermanentError, match="has the unit changed") as caught:
        decoding.part_of_network(1e18, 946.0)
    assert caught.value.reason == "unit"


@all_cases("network", [0, "0", None, -1])
def test_a_pool_cannot_be_checked_without_the_networks_hashrate(network: float | None) -> None:
    with pytest.raises(TransientError) as caught:
        decoding.part_of_network(1e18, network)
    assert caught.value.reason == "refused"
    assert str(caught.value) == (
        "1e+18 H/s cannot be checked: the response has no hashrate of the network"
    )


@all_cases("name", ["BTC", "btc", "Btc", " BTC "])
def test_entries_of_lists_are_found_in_upper_or_lower_case(name: str) -> None:
    assert decoding.entry(["LTC", name], "BTC", str) == name


@all_cases("names", [[], ["LTC", "DOGE"], ["BTCV"], ["x" * 10_000]])
def test_a_list_that_lacks_the_entry_is_a_shape_error(names: list[str]) -> None:
    with pytest.raises(PermanentError, match=r"^BTC is not in the list, which has ") as caught:
        decoding.entry(names, "BTC", str)
    assert caught.value.reason == "shape"
    assert len(str(caught.value)) < 200


def test_a_sum_with_an_unknown_part_is_unknown() -> None:
    assert decoding.sum_or_unknown([1.0, 2.0]) == 3.0
    assert decoding.sum_or_unknown([1.0, None, 2.0]) is None
    assert decoding.sum_or_unknown([]) == 0.0


def test_parts_are_added_up_by_place_and_parts_without_one_left_out() -> None:
    parts = [("US", 1.0), (None, 5.0), ("CA", 2.0), ("US", 3.0), ("AU", None)]
    assert by_place(parts, "estimated") == (
        Located("CA", 2.0, "estimated"),
        Located("US", 4.0, "estimated"),
    )


ENVELOPE = Envelope(unauthorized={7: "the key is wrong"})


@all_cases(
    ("body", "reason"),
    [
        ({"code": 0, "data": 1.5}, None),
        ({"data": 1.5}, "shape"),
        ({"data": 1.5, "message": "busy"}, "refused"),
        ({"code": None, "data": 1.5}, "shape"),
        ({"code": False, "data": 1.5}, "shape"),
        ({"code": 0.0, "data": 1.5}, "shape"),
        ({"code": 1, "message": "busy", "data": 1.5}, "refused"),
        ({"code": "0", "data": 1.5}, "shape"),
        ({"code": [0], "data": 1.5}, "shape"),
        ({"code": 0, "error": "busy", "data": 1.5}, "refused"),
        ({"code": 0, "data": {"error": "busy"}}, "refused"),
        ({"code": 7, "data": 1.5}, "unauthorized"),
        ({"code": 0}, "shape"),
        ({"code": 0, "data": "1.5"}, None),
        ({"code": 0, "data": "1.5 EH/s"}, "shape"),
        ({}, "shape"),
        ([0, 1.5], "shape"),
    ],
)
def test_an_envelope_has_data_or_an_error(body: object, reason: str | None) -> None:
    try:
        assert ENVELOPE.decode(encoded(body), float) == 1.5
        got = None
    except SourceError as error:
        got = error.reason
    assert got == reason


@all_cases("status", ["ok", "OK", "Ok"])
def test_an_envelopes_code_may_be_in_upper_or_lower_case(status: str) -> None:
    envelope = Envelope(code="status", ok=("ok",))
    assert envelope.decode(encoded({"status": status, "data": 1.5}), float) == 1.5


@all_cases(
    ("code", "reason"),
    [
        *((ok, None) for ok in (True, "true", "True", 1, "1")),
        *((failed, "refused") for failed in (False, "false", 0, "0")),
        *((other, "shape") for other in (None, "yes", 2)),
    ],
)
def test_an_envelopes_boolean_code_may_be_text_or_a_number(code: object, reason: str) -> None:
    envelope = Envelope(code="success", ok=(True,))
    try:
        assert envelope.decode(encoded({"success": code, "data": 1.5}), float) == 1.5
        got = None
    except SourceError as error:
        got = error.reason
    assert got == reason


@all_cases("body", [{"data": 1.5}, {"code": None, "data": 1.5}, {"code": 0, "data": 1.5}])
def test_an_envelope_can_declare_that_only_errors_have_a_code(body: object) -> None:
    assert Envelope(ok=(None, 0)).decode(encoded(body), float) == 1.5


def test_an_envelope_without_a_code_has_only_its_data_checked() -> None:
    assert Envelope(code=None).decode(encoded({"code": 1, "data": 1.5}), float) == 1.5


def test_an_envelopes_error_names_the_code() -> None:
    with pytest.raises(CredentialsError, match=r"^code 7: the key is wrong$"):
        ENVELOPE.decode(encoded({"code": 7}), float)
    with pytest.raises(TransientError, match=r"^the server reported '1 busy'$"):
        ENVELOPE.decode(encoded({"code": 1, "message": "busy"}), float)

"""Messages: violations of each rule, and valid messages that are encoded and decoded."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miningmap import messages
from miningmap.messages import (
    BASES,
    KINDS,
    InvalidMessageError,
    Located,
    Message,
    Network,
    Published,
    Report,
    check_key,
    decode,
    decode_lines,
    encode,
    key,
)
from miningmap.places import OTHER, all_places
from miningmap.unambiguous import check_unambiguous
from tests.cases import all_cases

REPORT: dict[str, Any] = {
    "schema": "report/1",
    "pool": "foundryusa",
    "source": "partner",
    "start": "2026-11-22T14:59:00Z",
    "end": "2026-11-22T15:00:00Z",
    "hold_s": 300,
    "hashrate": 2.3e20,
    "places": [
        {"code": "US-TX", "hashrate": 1.0e20, "kind": "measured"},
        {"code": "CA", "hashrate": 0.2e20, "kind": "measured"},
    ],
    "fetched_at": "2026-11-22T15:00:02Z",
    "simulated": False,
}
NETWORK: dict[str, Any] = {
    "schema": "network/1",
    "source": "mempool",
    "start": "2026-11-22T14:55:00Z",
    "end": "2026-11-22T15:00:00Z",
    "hold_s": 1800,
    "hashrate": 9.46e20,
    "fetched_at": "2026-11-22T15:00:02Z",
    "simulated": False,
}
INSTANTS = ("start", "end", "fetched_at")
TOTAL = 2.3e20
BRACKETS = 100_000


def raw(fields: dict[str, Any] = REPORT, /, **changes: Any) -> bytes:
    return json.dumps(fields | changes).encode()


def place(code: str = "US", hashrate: float = 1.0, kind: str = "measured") -> dict[str, Any]:
    return {"code": code, "hashrate": hashrate, "kind": kind}


def hours(start: str, end: str, hold_s: int = 0) -> bytes:
    return raw(start=f"2026-{start}Z", end=f"2026-{end}Z", hold_s=hold_s)


def with_literal(literal: str, name: str = "hashrate") -> bytes:
    """A report with a number that no JSON library would write."""
    return raw(**{name: "HERE"}).replace(b'"HERE"', literal.encode())


def report(message: bytes) -> Report:
    decoded = decode(message)
    assert isinstance(decoded, Report)
    return decoded


def refusal(message: bytes) -> tuple[str, str]:
    with pytest.raises(InvalidMessageError) as caught:
        decode(message)
    return caught.value.reason, str(caught.value)


def test_a_report() -> None:
    assert decode(raw()) == Report(
        pool="foundryusa",
        source="partner",
        start=datetime(2026, 11, 22, 14, 59, tzinfo=UTC),
        end=datetime(2026, 11, 22, 15, 0, tzinfo=UTC),
        hold_s=300,
        hashrate=2.3e20,
        places=(Located("US-TX", 1.0e20, "measured"), Located("CA", 0.2e20, "measured")),
        fetched_at=datetime(2026, 11, 22, 15, 0, 2, tzinfo=UTC),
        simulated=False,
    )


def test_a_network_message() -> None:
    assert decode(raw(NETWORK)) == Network(
        source="mempool",
        start=datetime(2026, 11, 22, 14, 55, tzinfo=UTC),
        end=datetime(2026, 11, 22, 15, 0, tzinfo=UTC),
        hold_s=1800,
        hashrate=9.46e20,
        fetched_at=datetime(2026, 11, 22, 15, 0, 2, tzinfo=UTC),
        simulated=False,
    )


@all_cases("fields", [REPORT, NETWORK])
def test_unknown_extra_fields_are_ignored(fields: dict[str, Any]) -> None:
    assert decode(raw(fields, comment="hello", nested={"a": [1, None]})) == decode(raw(fields))


def test_unknown_extra_fields_of_a_place_are_ignored() -> None:
    extra = [entry | {"city": "Rockdale"} for entry in REPORT["places"]]
    assert decode(raw(places=extra)) == decode(raw())


@all_cases(
    ("message", "text"),
    [
        pytest.param(b"", "truncated", id="nothing"),
        pytest.param(raw()[:-1], "truncated", id="cut short"),
        pytest.param(b"<html>", "invalid character", id="HTML"),
        pytest.param(b"\xff\xfe\x00", "invalid character", id="binary"),
        pytest.param(b'\xff{"schema":"report/1"}', "invalid character", id="not UTF-8"),
        pytest.param(BOM_UTF8 * 2 + raw(), "invalid character", id="two byte order marks"),
        pytest.param(raw() + raw(), "trailing characters", id="two in one"),
        pytest.param(with_literal("NaN"), "invalid character", id="NaN"),
        pytest.param(with_literal("Infinity"), "invalid character", id="Infinity"),
        pytest.param(with_literal("-Infinity"), "invalid character", id="-Infinity"),
        pytest.param(
            with_literal("[" * BRACKETS + "]" * BRACKETS, "extra"), "recursion", id="nested deeply"
        ),
    ],
)
def test_anything_but_json_is_undecodable(message: bytes, text: str) -> None:
    reason, error = refusal(message)
    assert reason == "undecodable"
    assert text in error


@all_cases("fields", [REPORT, NETWORK])
def test_a_byte_order_mark_says_nothing(fields: dict[str, Any]) -> None:
    assert decode(BOM_UTF8 + raw(fields)) == decode(raw(fields))


def test_a_byte_order_mark_may_begin_any_line() -> None:
    """Files that each begin with one may have been joined."""
    lines = [BOM_UTF8 + raw(), b"", BOM_UTF8, raw(NETWORK), BOM_UTF8 + raw(NETWORK)]
    wanted = [decode(raw()), decode(raw(NETWORK)), decode(raw(NETWORK))]
    assert list(decode_lines(line + b"\n" for line in lines)) == wanted


@all_cases(
    ("text", "at"),
    [
        ("2026-11-22T14:59:60Z", None),
        ("2026-11-22T15:00", None),
        ("2026-11-22t15:00:00z", datetime(2026, 11, 22, 15, tzinfo=UTC)),
        ("2026-11-22T15:00:00.123456789Z", datetime(2026, 11, 22, 15, 0, 0, 123_457, UTC)),
        ("2026-11-22T15:00:00,5Z", datetime(2026, 11, 22, 15, 0, 0, 500_000, UTC)),
        ("2026-11-22T15:00Z", datetime(2026, 11, 22, 15, tzinfo=UTC)),
        ("2026-11-22T23:59:60Z", datetime(2026, 11, 23, tzinfo=UTC)),
        ("2026-11-22T23:59:60.75Z", datetime(2026, 11, 23, 0, 0, 0, 750_000, UTC)),
    ],
)
@all_cases("name", ["end", "fetched_at"])
def test_times_are_read_like_all_others(name: str, text: str, at: datetime | None) -> None:
    message = raw(**({"start": "2026-11-22T14:59:30Z", "hold_s": 0, "places": []} | {name: text}))
    if name == "end" and at is not None and at.day > 22:
        message = message.replace(b"T14:59:30Z", b"T23:59:00Z")
    if at is None:
        assert refusal(message)[0] == "invalid"
    else:
        assert getattr(report(message), name) == at


def test_the_error_beside_a_time_that_msgspec_does_not_read_is_named() -> None:
    reason, error = refusal(raw(fetched_at="2026-11-22T23:59:60Z", hashrate="much"))
    assert (reason, error) == ("invalid", "Expected `float`, got `str` - at `$.hashrate`")


@all_cases(
    ("message", "text"),
    [
        pytest.param(b"[]", "no schema: Expected `object`, got `array`", id="array"),
        pytest.param(b"null", "no schema: Expected `object`, got `null`", id="null"),
        pytest.param(b"{}", "missing required field `schema`", id="missing"),
        pytest.param(raw(schema=None), "Expected `str`, got `null`", id="null schema"),
        pytest.param(raw(schema=1), "Expected `str`, got `int`", id="number"),
        pytest.param(raw(schema="report/2"), "unknown schema 'report/2'", id="newer"),
        pytest.param(raw(schema="swing/1"), "expected one of: report/1, ", id="not an input"),
        pytest.param(raw(schema="REPORT/1"), "unknown schema 'REPORT/1'", id="upper case"),
    ],
)
def test_a_missing_or_unknown_schema_has_the_reason_schema(message: bytes, text: str) -> None:
    reason, error = refusal(message)
    assert reason == "schema"
    assert text in error


@all_cases("fields", [REPORT, NETWORK])
@all_cases("name", ["source", "start", "end", "hold_s", "hashrate", "fetched_at"])
def test_a_missing_field_is_named(fields: dict[str, Any], name: str) -> None:
    without = {key: value for key, value in fields.items() if key != name}
    assert refusal(raw(without)) == ("invalid", f"Object missing required field `{name}`")


@all_cases("name", ["pool", "places", "simulated"])
def test_a_missing_field_of_a_report_is_named(name: str) -> None:
    without = {key: value for key, value in REPORT.items() if key != name}
    assert refusal(raw(without)) == ("invalid", f"Object missing required field `{name}`")


@all_cases(
    ("message", "text"),
    [
        pytest.param(with_literal("1e999"), "out of range - at `$.hashrate`", id="1e999"),
        pytest.param(with_literal("1" + "0" * 400), "out of range", id="400 digits"),
        pytest.param(raw(hashrate=1e31), "<= 1e+30 - at `$.hashrate`", id="absurd"),
        pytest.param(raw(hashrate=-1), ">= 0.0 - at `$.hashrate`", id="negative"),
        pytest.param(raw(hashrate=None), "got `null` - at `$.hashrate`", id="unknown"),
        pytest.param(raw(hashrate="2.3e20"), "got `str` - at `$.hashrate`", id="text"),
        pytest.param(raw(hashrate=True), "got `bool` - at `$.hashrate`", id="true"),
        pytest.param(
            raw(places=[place()]).replace(b"1.0", b"1e999"),
            "out of range - at `$.places[0].hashrate`",
            id="place 1e999",
        ),
        pytest.param(
            raw(places=[place("US"), place("CA", -1)]),
            ">= 0.0 - at `$.places[1].hashrate`",
            id="place negative",
        ),
    ],
)
def test_an_invalid_hashrate(message: bytes, text: str) -> None:
    reason, error = refusal(message)
    assert reason == "invalid"
    assert text in error


@all_cases(
    ("message", "text"),
    [
        pytest.param(raw(pool=""), "`$.pool`", id="empty pool"),
        pytest.param(raw(pool="Foundry USA"), "`$.pool`", id="a name"),
        pytest.param(raw(pool="foundryusa\n"), "`$.pool`", id="a line's end"),
        pytest.param(raw(pool="-foundry"), "`$.pool`", id="begins with a dash"),
        pytest.param(raw(pool="f" * 65), "`$.pool`", id="too long"),
        pytest.param(raw(pool=None), "`$.pool`", id="null pool"),
        pytest.param(raw(source="a/b"), "`$.source`", id="source"),
        pytest.param(raw(hold_s=-1), ">= 0 - at `$.hold_s`", id="negative hold"),
        pytest.param(raw(hold_s=86_401), "<= 86400 - at `$.hold_s`", id="hold longer than a day"),
        pytest.param(raw(hold_s=1.5), "Expected `int`", id="half a second"),
        pytest.param(raw(simulated="false"), "`$.simulated`", id="simulated"),
        pytest.param(raw(places=None), "`$.places`", id="null places"),
        pytest.param(raw(places=[place(kind="guessed")]), "`$.places[0].kind`", id="kind"),
        pytest.param(raw(places=[{"code": "US"}]), "field `hashrate`", id="incomplete place"),
        pytest.param(
            raw().replace(b"foundryusa", b"\xff"), "utf-8", id="not UTF-8 in a known field"
        ),
    ],
)
def test_an_invalid_field(message: bytes, text: str) -> None:
    reason, error = refusal(message)
    assert reason == "invalid"
    assert text in error


@all_cases("name", INSTANTS)
@all_cases(
    ("at", "text"),
    [
        ("2026-11-22T14:59:00", "Expected `datetime` with a timezone component"),
        ("2026-11-22", "Invalid RFC3339"),
        ("2026-02-29T00:00:00Z", "Invalid RFC3339"),
        ("2026-11-22T24:00:00Z", "Invalid RFC3339"),
        ("yesterday", "Invalid RFC3339"),
        (1_795_000_000, "got `int`"),
        (None, "got `null`"),
        ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00+14:00 is out of range"),
        ("9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59-14:00 is out of range"),
    ],
)
def test_an_invalid_time(name: str, at: object, text: str) -> None:
    reason, error = refusal(raw(**{name: at}))
    assert reason == "invalid"
    assert text in error


@all_cases(
    "at",
    [
        "2026-11-22T15:59:00+01:00",
        "2026-11-22T20:29:00+05:30",
        "2026-11-21T23:59:00-15:00",
        "2026-11-22T14:59:00.000000Z",
        "2026-11-22T14:59:00-00:00",
    ],
)
def test_a_time_with_another_offset_is_encoded_as_utc(at: str) -> None:
    message = decode(raw(start=at))
    assert message == decode(raw())
    assert json.loads(encode(message))["start"] == "2026-11-22T14:59:00Z"


@all_cases(
    ("message", "text"),
    [
        pytest.param(
            hours("11-22T15:00:00", "11-22T15:00:00"), "start is not before end", id="empty"
        ),
        pytest.param(
            hours("11-22T15:00:00", "11-22T14:59:00"), "start is not before end", id="backwards"
        ),
        pytest.param(hours("11-22T14:01:00", "11-22T15:01:00"), "whole hours", id="an hour, later"),
        pytest.param(hours("11-22T14:00:00", "11-22T15:30:00"), "whole hours", id="90 minutes"),
        pytest.param(
            hours("11-22T13:59:59.999999", "11-22T15:00:00"), "whole hours", id="a microsecond more"
        ),
        pytest.param(
            hours("11-22T14:00:00", "11-22T15:00:00", 300), "hold_s must be 0", id="held hour"
        ),
        pytest.param(
            raw(start="2025-11-21T14:00:00Z", hold_s=0), "longer than 366 days", id="over a year"
        ),
    ],
)
def test_an_invalid_interval(message: bytes, text: str) -> None:
    reason, error = refusal(message)
    assert reason == "invalid"
    assert text in error


@all_cases(
    "message",
    [
        pytest.param(hours("11-22T14:00:00", "11-22T15:00:00"), id="an hour"),
        pytest.param(hours("10-01T00:00:00", "11-01T00:00:00"), id="a month"),
        pytest.param(hours("11-22T14:00:00.000001", "11-22T15:00:00", 300), id="a bit less"),
        pytest.param(hours("11-22T14:13:07.5", "11-22T14:59:59.25", 86_400), id="any minutes"),
        pytest.param(raw(start="2025-11-21T15:00:00Z", hold_s=0), id="366 days"),
        pytest.param(
            raw(start="2026-11-22T19:30:00+05:30", hold_s=0),
            id="whole hours in UTC only",
        ),
    ],
)
def test_a_valid_interval_is_whole_hours_or_less_than_an_hour(message: bytes) -> None:
    assert report(message).length_s > 0


@all_cases(
    ("code", "hint"),
    [
        ("UNKNOWN", "leave out hashrate that is not located"),
        ("CN-HK", "use the country code HK"),
        ("CN-MO", "use the country code MO"),
        ("CN-TW", "use the country code TW"),
        ("US-PR", "use the country code PR"),
        ("FR-974", "use the country code RE"),
        ("KZ-AKM", "a former code; use KZ-11"),
        ("US-TEX", "near matches: US-TX"),
        ("ZZ", "expected an ISO 3166-1 or 3166-2 code, OTHER, or XX-OTHER"),
        ("", "expected an ISO 3166-1 or 3166-2 code, OTHER, or XX-OTHER"),
        ("ZZ-OTHER", "expected an ISO 3166-1 or 3166-2 code, OTHER, or XX-OTHER"),
    ],
)
def test_an_unknown_place_is_rejected_with_a_hint(code: str, hint: str) -> None:
    reason, error = refusal(raw(places=[place(code)]))
    assert reason == "invalid"
    assert error.startswith(f"{code!r} is not a place: ")
    assert hint in error


@all_cases("code", ["US", "US-TX", "OTHER", "CN-OTHER", "HK", "TW", "XK"])
def test_countries_subdivisions_and_others_are_places(code: str) -> None:
    assert [located.code for located in report(raw(places=[place(code)])).places] == [code]


def places_of(*listed: dict[str, Any]) -> dict[tuple[str, str], float]:
    found = report(raw(places=list(listed))).places
    assert len(found) == len({(entry.code, entry.kind) for entry in found})
    return {(entry.code, entry.kind): entry.hashrate for entry in found}


def test_nested_subdivisions_are_added_up_at_the_outermost() -> None:
    assert places_of(place("FR-75C", 1), place("FR-78", 2), place("FR-IDF", 4)) == {
        ("FR-IDF", "measured"): 7
    }
    assert places_of(place("GB-OXF", 1), place("GB", 2), place("GB-SCT", 4)) == {
        ("GB-ENG", "measured"): 1,
        ("GB", "measured"): 2,
        ("GB-SCT", "measured"): 4,
    }


def test_nested_subdivisions_are_added_up_by_kind() -> None:
    listed = [place("FR-75C", 1), place("FR-78", 2, "estimated"), place("FR-IDF", 4, "estimated")]
    assert places_of(*listed) == {("FR-IDF", "measured"): 1, ("FR-IDF", "estimated"): 6}


@given(st.permutations([("FR-75C", 0.1), ("FR-77", 0.2), ("FR-78", 0.3), ("FR-IDF", 1e17)]))
def test_the_sum_at_the_outermost_depends_on_no_order(listed: list[tuple[str, float]]) -> None:
    found = report(raw(places=[place(code, hashrate) for code, hashrate in listed]))
    assert found.places == report(encode(found)).places
    assert found.places == report(raw(places=[place(*entry) for entry in sorted(listed)])).places


def test_a_nested_subdivision_may_be_listed_once() -> None:
    twice = [place("FR-75C", 1), place("FR-75C", 2)]
    assert refusal(raw(places=twice)) == ("invalid", "FR-75C is listed twice as measured")


def test_a_place_may_be_listed_once_per_kind() -> None:
    twice = [place("US", 1), place("CA", 1), place("US", 2)]
    assert refusal(raw(places=twice)) == ("invalid", "US is listed twice as measured")
    each = [place("US", 1, kind) for kind in KINDS]
    assert [located.kind for located in report(raw(places=each)).places] == list(KINDS)


def test_places_must_not_add_up_to_more_than_the_total() -> None:
    reason, error = refusal(raw(places=[place("US", 1.3e20), place("CA", 1.1e20)]))
    assert reason == "invalid"
    assert error == "places add up to 2.4e+20 H/s, more than the 2.3e+20 H/s"


@all_cases("places", [[], [place("US", TOTAL)], [place("US", 0)]])
def test_places_may_add_up_to_less_than_the_total(places: list[dict[str, Any]]) -> None:
    assert len(report(raw(places=places)).places) == len(places)


def test_places_may_exceed_the_total_by_rounding() -> None:
    assert 0.1 + 0.2 > 0.3
    assert report(raw(hashrate=0.3, places=[place("US", 0.1), place("CA", 0.2)])).hashrate == 0.3
    assert report(raw(places=[place("US", TOTAL * (1 + 0.9e-9))])).hashrate == TOTAL
    assert refusal(raw(places=[place("US", TOTAL * (1 + 1.1e-9))]))[0] == "invalid"
    assert refusal(raw(hashrate=0, places=[place("US", 1e-300)]))[0] == "invalid"


def published(**line: object) -> dict[str, Any]:
    """A report of June 2021 with its published table."""
    return REPORT | {
        "start": "2021-06-01T00:00:00Z",
        "end": "2021-07-01T00:00:00Z",
        "hold_s": 0,
        "published": [{"code": "CN", "share": "50.00"} | line, {"code": "IE", "share": "0.0"}],
    }


def test_published_lines_are_kept_as_printed() -> None:
    message = decode(raw(published(share="1.50", hashrate="2e1")))
    assert isinstance(message, Report)
    assert message.published == (Published("CN", "1.50", "2e1"), Published("IE", "0.0"))
    assert decode(encode(message)) == message


def test_a_report_without_published_lines_has_no_such_field() -> None:
    assert b"published" not in encode(decode(raw()))


NO_FIGURE = (
    "Expected a figure as a table prints it, such as 12.5 or 2e1 - at `$.published[0].share`"
)


@all_cases(
    ("message", "text"),
    [
        (published(code="IE"), "IE is published twice"),
        (published(code="XX"), "'XX' is not a place"),
        (published(share=None), "neither share nor hashrate is published for CN"),
        (published(share="50%"), NO_FIGURE),
        (published(share="-1"), NO_FIGURE),
        (published(share="nan"), NO_FIGURE),
        (published(share="1\n"), NO_FIGURE),
        (published(share="1" * 65), "length"),
        (published(share=50.0), "Expected `str | null`"),
        (
            published() | {"end": "2021-07-02T00:00:00Z"},
            "need the start and end of one",
        ),
        (published() | {"start": "2021-06-02T00:00:00Z"}, "one calendar month"),
        (
            published() | {"start": "2021-06-01T01:00:00Z", "end": "2021-07-01T01:00:00Z"},
            "one calendar month",
        ),
        (published() | {"end": "2021-08-01T00:00:00Z"}, "one calendar month"),
    ],
)
def test_invalid_published_lines(message: dict[str, Any], text: str) -> None:
    reason, error = refusal(raw(message))
    assert reason == "invalid"
    assert text in error


@all_cases(
    "message",
    [
        pytest.param(raw(schema="x" * 10_000), id="schema"),
        pytest.param(raw(places=[place("x" * 10_000)]), id="place"),
        pytest.param(raw(pool="x" * 10_000), id="pool"),
        pytest.param(raw(start="x" * 10_000), id="time"),
    ],
)
def test_the_text_of_an_error_is_short(message: bytes) -> None:
    assert len(refusal(message)[1]) < 300


@all_cases(
    ("fields", "basis"),
    [
        ({}, "reported"),
        ({"blocks": 3}, "mined"),
        ({"blocks": None}, "reported"),
        ({"blocks": 0, "basis": "mined"}, "mined"),
        ({"basis": "reported"}, "reported"),
        ({"basis": "relayed"}, "relayed"),
        ({"basis": "mined"}, "mined"),
    ],
)
def test_the_basis_follows_from_the_blocks_unless_it_is_given(
    fields: dict[str, Any], basis: str
) -> None:
    decoded = report(raw(**fields))
    assert decoded.basis == basis
    assert json.loads(encode(decoded))["basis"] == basis


@all_cases(
    ("fields", "text"),
    [
        (
            {"basis": "reported", "blocks": 3},
            "basis is reported, but a figure from blocks is mined",
        ),
        ({"basis": "relayed", "blocks": 0}, "basis is relayed, but a figure from blocks is mined"),
        ({"basis": "guessed"}, "Invalid enum value 'guessed' - at `$.basis`"),
        ({"basis": ""}, "Invalid enum value '' - at `$.basis`"),
        ({"basis": None}, "Expected `str`, got `null` - at `$.basis`"),
    ],
)
def test_an_invalid_basis(fields: dict[str, Any], text: str) -> None:
    assert refusal(raw(**fields)) == ("invalid", text)


def test_the_key_is_the_pool_or_bitcoin() -> None:
    assert key(decode(raw())) == b"foundryusa"
    assert key(decode(raw(NETWORK))) == b"bitcoin"


def test_constructors_check_the_rules() -> None:
    at = datetime(2026, 11, 22, 15, tzinfo=UTC)

    def make(start: datetime, hashrate: float = 1.0, located: float = 1.0) -> Report:
        return Report(
            pool="p",
            source="s",
            start=start,
            end=at,
            hold_s=0,
            hashrate=hashrate,
            places=(Located("US", located, "measured"),),
            fetched_at=at,
            simulated=False,
        )

    earlier = at - timedelta(minutes=1)
    assert make(earlier.astimezone(timezone(timedelta(hours=1)))) == make(earlier)
    with pytest.raises(ValueError, match="start is not before end"):
        make(at)
    with pytest.raises(ValueError, match="no time zone"):
        make(earlier.replace(tzinfo=None))
    for figure in (float("inf"), float("nan")):
        with pytest.raises(ValueError, match=r"^hashrate is not finite"):
            make(earlier, figure)
        with pytest.raises(ValueError, match="hashrate of US is not finite"):
            make(earlier, 1.0, figure)


# Properties of every message.

SLUGS = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True)
CODES = st.sampled_from([listed.code for listed in all_places()] + ["CN-OTHER", OTHER])
FIGURES = st.floats(0, 1e24)
HOUR = timedelta(hours=1)
HOURS = st.integers(0, 800_000).map(lambda n: datetime(2009, 1, 3, tzinfo=UTC) + n * HOUR)
SHORT = st.timedeltas(timedelta(microseconds=1), HOUR - timedelta(microseconds=1))
LENGTHS_H = st.integers(1, 366 * 24)
ANY_TIMES = st.datetimes(datetime(2009, 1, 3), datetime(2100, 1, 1)).map(  # noqa: DTZ001 - next
    lambda at: at.replace(tzinfo=UTC)
)


@st.composite
def claims(draw: st.DrawFn) -> dict[str, Any]:
    if draw(st.booleans()):
        start, hold_s = draw(HOURS), 0
        end = start + draw(LENGTHS_H) * HOUR
    else:
        start, hold_s = draw(ANY_TIMES), draw(st.integers(0, 86_400))
        end = start + draw(SHORT)
    fields = {"source": draw(SLUGS), "start": start, "end": end, "hold_s": hold_s}
    return fields | {"fetched_at": draw(ANY_TIMES), "simulated": draw(st.booleans())}


@st.composite
def reports(draw: st.DrawFn) -> Report:
    where = draw(st.lists(st.tuples(CODES, st.sampled_from(KINDS)), unique=True, max_size=8))
    located = tuple(Located(code, draw(FIGURES), kind) for code, kind in where)
    total = sum(one.hashrate for one in located) + draw(FIGURES)
    basis = draw(st.sampled_from(BASES))
    blocks = draw(st.none() | st.integers(0, 100_000)) if basis == "mined" else None
    return Report(
        pool=draw(SLUGS),
        places=located,
        hashrate=total,
        basis=basis,
        blocks=blocks,
        **draw(claims()),
    )


NETWORKS = st.builds(
    lambda fields, hashrate: Network(hashrate=hashrate, **fields), claims(), FIGURES
)


@given(reports() | NETWORKS)
def test_decode_reverses_encode(message: Message) -> None:
    wire = encode(message)
    assert decode(wire) == message
    assert json.loads(wire)["schema"] in {"report/1", "network/1"}
    assert all(json.loads(wire)[name].endswith("Z") for name in INSTANTS)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(
    st.binary(max_size=99)
    | VALUES.map(lambda value: json.dumps(value).encode())
    | st.builds(lambda name, value: raw(**{name: value}), st.sampled_from(sorted(REPORT)), VALUES)
    | st.builds(lambda at: raw()[:at], st.integers(0, len(raw())))
)
def test_arbitrary_bytes_are_decoded_or_rejected(message: bytes) -> None:
    decoded: Message | None = None
    reason = ""
    try:
        decoded = decode(message)
    except InvalidMessageError as error:
        reason = error.reason
    assert decoded is not None or reason in {"undecodable", "schema", "invalid"}


def test_what_encode_writes_needs_no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """All producers of this software write it, so it costs an encoding."""
    monkeypatch.setattr(messages, "check_unambiguous", None)
    for fields in (REPORT, NETWORK):
        canonical = encode(decode_unchecked(raw(fields)))
        assert encode(decode(canonical)) == canonical


def decode_unchecked(message: bytes) -> Message:
    return messages._decode(message)


REPEATED = [
    raw().replace(b'"pool"', b'"pool": "b", "pool"'),
    raw().replace(b'"pool"', b'"p\\u006fol": "b", "pool"'),
    raw().replace(b'"schema"', b'"schema": "report/9", "schema"'),
    raw().replace(b'"simulated": false', b'"simulated": true, "simulated": false'),
    raw().replace(b'{"code"', b'{"code": "KZ", "code"'),
    raw().replace(b'{"code"', b'{"code" \n:"KZ", "code"'),
    raw(comment={"a": [[{"b": 1}]]}).replace(b'{"b": 1', b'{"b": 2, "b": 1'),
    raw(comment='":').replace(b'"pool"', b'"pool": "b", "pool"'),
    raw(comment='":').replace(b'"pool"', b'"pool": "b", "pool"'),
    # As many keys as the encoded message has, which names the basis that this one leaves out.
    encode(decode_unchecked(raw()))
    .replace(b'"basis":"reported"', b'"pool":"foundryusa"')
    .replace(b',"places"', b',"places"'),
]


@all_cases("message", REPEATED)
def test_a_repeated_key_is_invalid(message: bytes) -> None:
    reason, error = refusal(message)
    assert (reason, "is repeated" in error) == ("invalid", True), error


NOT_UNICODE = [
    raw(comment="HERE").replace(b"HERE", b"\xff"),
    raw(comment="HERE").replace(b"HERE", b"\xed\xa0\x80"),  # a surrogate as if it were a character
    raw(comment="HERE").replace(b"HERE", rb"\ud800"),
    raw(comment="HERE").replace(b"HERE", rb"\udc00"),
    raw(HERE=1).replace(b"HERE", b"\xff"),
    raw(HERE=1).replace(b"HERE", rb"\ud800"),
    raw(pool="HERE").replace(b"HERE", b"\xff"),
    raw(pool="HERE").replace(b"HERE", rb"\ud800"),
    raw(schema="HERE").replace(b"HERE", b"\xff"),
    raw(schema="HERE").replace(b"HERE", rb"\udfff"),
]


@all_cases("message", NOT_UNICODE)
def test_text_that_is_not_unicode_is_invalid(message: bytes) -> None:
    assert refusal(message)[0] == "invalid"


@all_cases("text", ['":', '"', "\\", "\x00", "\U0001f600", "Ωμέγα", '{"a":1,"a":2}'])
def test_any_text_in_an_unknown_field_is_valid(text: str) -> None:
    assert decode(raw(comment={text: [text]})) == decode(raw())
    unescaped = json.dumps(REPORT | {"comment": {text: [text]}}, ensure_ascii=False)
    assert decode(unescaped.encode()) == decode(raw())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(json_values, st.booleans())
def test_any_json_of_a_library_is_unambiguous(value: object, escaped: bool) -> None:  # noqa: FBT001
    check_unambiguous(json.dumps(value, ensure_ascii=escaped).encode())


@given(st.dictionaries(st.text(), json_values, min_size=1, max_size=3), json_values, st.booleans())
def test_any_repeated_key_is_found(
    fields: dict[str, object],
    other: object,
    escaped: bool,  # noqa: FBT001
) -> None:
    name = next(iter(fields))
    twice = (
        f"{{{json.dumps(name)}:{json.dumps(other)},{json.dumps(fields, ensure_ascii=escaped)[1:]}"
    )
    nested = f'{{"x":[{twice}]}}'
    for text in (twice, nested):
        with pytest.raises(ValueError, match="is repeated"):
            check_unambiguous(text.encode())


def test_a_message_has_the_key_of_its_pool_or_of_the_network() -> None:
    check_key(decode(raw()), b"foundryusa")
    check_key(decode(raw(NETWORK)), b"bitcoin")


@all_cases("found", [None, b"", b"antpool", b"\xff" * 100, b"foundryusa\n"])
def test_another_key_or_none_is_refused(found: bytes | None) -> None:
    for fields in (REPORT, NETWORK):
        with pytest.raises(InvalidMessageError) as caught:
            check_key(decode(raw(fields)), found)
        assert caught.value.reason == "key"
        assert len(str(caught.value)) < 500

"""Hashrates in all spellings that pools use."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from miningmap.units import PREFIXES, HashrateError, format_hashrate, parse_hashrate, scale
from tests.cases import all_cases

FACTORS = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "P": 10**15,
    "E": 10**18,
    "Z": 10**21,
}
# From 0 (never -0.0) to a million times the network of 2026.
HASHRATES = st.floats(0, 1e27).map(abs)


def test_prefixes_are_decimal() -> None:
    assert {prefix: int(factor) for prefix, factor in PREFIXES.items()} == FACTORS


# All spellings in pools' responses: numbers and texts, with or without the unit in the text.
@all_cases(
    ("value", "unit", "hashrate"),
    [
        pytest.param("173.25 EH/s", "H/s", 173.25e18, id="antpool poolcoins"),
        pytest.param("173250000000000000000", "H/s", 173.25e18, id="antpool poolStats"),
        pytest.param("103000000", "MH/s", 1.03e14, id="antpool workers"),
        pytest.param(233712345678, "GH/s", 2.33712345678e20, id="foundry pool_stats"),
        pytest.param("172571468492", "GH/s", 1.72571468492e20, id="foundry pool_hashrate"),
        pytest.param(13712345678.1, "Gh/s", 1.37123456781e19, id="braiins, its unit's spelling"),
        pytest.param(1001.23, "EH/s", 1.00123e21, id="braiins insights"),
        pytest.param(955.6, "PH/s", 9.556e17, id="braiins hashpower"),
        pytest.param("945812345678.9", "GH/s", 9.458123456789e20, id="blockchain.info q"),
        pytest.param("9.458123456789e+11", "GH/s", 9.458123456789e20, id="its other notation"),
        pytest.param(912345678.1, "TH/s", 9.123456781e20, id="blockchain.info chart"),
        pytest.param(9.3e20, "H/s", 9.3e20, id="bitcoin core"),
        pytest.param(907782986431433900000, "H/s", 9.077829864314339e20, id="mempool"),
        pytest.param("126P", "H/s", 126e15, id="ckpool"),
        pytest.param("1.23E", "H/s", 1.23e18, id="ckpool, exa"),
        pytest.param("3.92e3", "H/s", 3920, id="ckpool, small"),
        pytest.param("3.92e3T", "H/s", 3.92e15, id="ckpool, an exponent and a prefix"),
        pytest.param("0", "H/s", 0, id="ckpool, nothing"),
        pytest.param("479.14PH/s", "H/s", 479.14e15, id="sigmapool, no space"),
        pytest.param("105.68 EH/s", "H/s", 105.68e18, id="sigmapool, space"),
        pytest.param("14212345678901234567", "H/s", 1.4212345678901234567e19, id="ocean"),
        pytest.param("3012345678901234567.0", "H/s", 3.012345678901234567e18, id="whitepool"),
        pytest.param("23649083578790024.000000", "H/s", 2.3649083578790024e16, id="kanopool"),
        pytest.param("3.80", "E", 3.8e18, id="btc.com, a letter as a unit"),
        pytest.param(3.165, "P", 3.165e15, id="btc.com, a number"),
        pytest.param(0.138, "ph", 1.38e14, id="miningrigrentals"),
        pytest.param("137.137", "th", 1.37137e14, id="miningrigrentals, text"),
        pytest.param(Decimal("0.0016217"), "EH", 1.6217e15, id="nicehash"),
        pytest.param(5230.7, "ph/s", 5.2307e18, id="ccaf push"),
        pytest.param(6.1e15, "H/s", 6.1e15, id="public-pool"),
        pytest.param(" 12 Ghps ", "H/s", 12e9, id="hps, spaces around"),
        pytest.param("12 kh/s", "H/s", 12e3, id="small k"),
        pytest.param("12KH/s", "H/s", 12e3, id="capital K"),
        pytest.param("1.5Hs", "TH/s", 1.5, id="the unit in the text wins"),
        pytest.param("173.25\N{NO-BREAK SPACE}EH/s", "H/s", 173.25e18, id="no-break space"),
    ],
)
def test_spellings_of_pools(value: Any, unit: str, hashrate: float) -> None:
    assert parse_hashrate(value, unit) == hashrate


@all_cases("value", [-0.0, "-0", "-0.0 EH/s", Decimal("-0")])
def test_a_negative_zero_becomes_zero(value: Any) -> None:
    hashrate = parse_hashrate(value)
    assert hashrate == 0
    assert math.copysign(1, hashrate) == 1


@all_cases("value", ["?", "", " ", "-", "n/a", "N/A", "null", "None", -1, -2, -1.0, "-1", "-2.0"])
def test_unknown_is_none_and_not_zero(value: Any) -> None:
    assert parse_hashrate(value) is None
    assert parse_hashrate(value, "EH/s") is None


@all_cases(
    "value",
    [
        *("EH/s", "e", "x", "12 X", "12 XH/s", "12 EH/h", "12 H/s/s", "12 EH /s", "12 B/s"),
        *("1,234", "1.2.3", "1 234", "0x10", "1_000", "12 34E", ".", "1e", "5e", "e5", "--1"),
        *("\N{ARABIC-INDIC DIGIT ONE}", "12\nP3", "<html>", "NaN", "inf", "Infinity EH/s"),
        *("-3", "-0.5", "-1P", "-2 EH/s", -3, -0.5, Decimal(-3)),
        *(math.nan, math.inf, -math.inf, True, False),
        *(Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("1e999999999")),
        *("1e999999999", "-1e999999999", "1e" + "9" * 30, "1e308 EH/s", "9" * 400),
    ],
)
def test_other_values_are_rejected(value: Any) -> None:
    with pytest.raises(HashrateError, match="not a hashrate"):
        parse_hashrate(value)


@all_cases("power", [400, 5_000, 1_000_000])
@all_cases("sign", [1, -1])
def test_huge_integers_are_rejected_at_once(power: int, sign: int) -> None:
    with pytest.raises(HashrateError, match="not a hashrate: an integer too large"):
        parse_hashrate(sign * (1 << 4 * power))


@all_cases("text", ["9" * 100_000, "x" * 100_000, "1e" + "9" * 100_000])
def test_an_error_quotes_only_the_beginning_of_a_long_text(text: str) -> None:
    with pytest.raises(HashrateError) as caught:
        parse_hashrate(text)
    assert len(str(caught.value)) < 100


@all_cases("text", ["0." + "0" * 100_000, "1e-999999999"])
def test_a_hashrate_below_every_float_is_zero(text: str) -> None:
    assert parse_hashrate(text) == 0


@all_cases(
    ("unit", "factor"),
    [
        *[(f"{prefix}H/s", factor) for prefix, factor in FACTORS.items()],
        *[(f"{prefix}h/s".lower(), factor) for prefix, factor in FACTORS.items()],
        *[(f"{prefix}H", factor) for prefix, factor in FACTORS.items()],
        *[(prefix, factor) for prefix, factor in FACTORS.items() if prefix],
        ("Gh/s", 10**9),
        ("GHs", 10**9),
        ("Ghps", 10**9),
        ("KH/S", 10**3),
        ("e", 10**18),
        (" TH/s ", 10**12),
    ],
)
def test_factors_of_units(unit: str, factor: int) -> None:
    assert scale(unit) == factor


@all_cases(
    "unit", ["", " ", "X", "B/s", "/s", "HH", "EEH/s", "EH/h", "EH /s", "1", ".5", "e3", "5 T", "?"]
)
def test_an_unknown_unit_is_rejected(unit: str) -> None:
    with pytest.raises(HashrateError, match="unknown unit of hashrate"):
        scale(unit)
    with pytest.raises(HashrateError, match="unknown unit of hashrate"):
        parse_hashrate(12, unit)


@given(HASHRATES)
@example(0.0)
@example(5e-324)
@example(9.46e20)
def test_format_and_parse_give_the_same_number(hashrate: float) -> None:
    assert parse_hashrate(format_hashrate(hashrate, digits=None)) == hashrate


@given(st.floats(min_value=0, allow_infinity=False).map(abs))
def test_format_and_parse_any_float(hashrate: float) -> None:
    assert parse_hashrate(format_hashrate(hashrate, digits=None)) == hashrate


# The ways to write a number and a unit.
NUMBERS = st.sampled_from(["{:f}", "{:e}", "{:E}", "{}"])
SPACES = st.sampled_from(["", " ", "\t", "  "])
HASHES = st.sampled_from(["H/s", "h/s", "H/S", "Hs", "hps", "HPS", "H", "h"])
PREFIX = st.sampled_from(sorted(FACTORS))


@given(
    hashrate=HASHRATES,
    number=NUMBERS,
    space=SPACES,
    prefix=PREFIX,
    hashes=HASHES | st.just(""),
    small=st.booleans(),
)
def test_every_spelling_of_a_number_parses_to_it(
    hashrate: float, number: str, space: str, prefix: str, hashes: str, *, small: bool
) -> None:
    exact = Decimal(repr(hashrate)) / FACTORS[prefix]
    unit = (prefix.lower() if small and hashes else prefix) + hashes
    text = f"{space}{number.format(exact)}{space}{unit}{space}"
    assert parse_hashrate(text) == hashrate


@given(HASHRATES, PREFIX, HASHES)
def test_a_unit_may_be_separate_or_in_the_text(hashrate: float, prefix: str, hashes: str) -> None:
    unit = prefix + hashes
    assert parse_hashrate(hashrate, unit) == parse_hashrate(f"{hashrate!r} {unit}")
    assert parse_hashrate(str(hashrate), unit) == parse_hashrate(Decimal(str(hashrate)), unit)


@given(st.text(max_size=30) | st.floats() | st.integers() | st.decimals() | st.booleans())
def test_any_value_is_a_hashrate_or_unknown_or_rejected(value: Any) -> None:
    try:
        hashrate = parse_hashrate(value)
    except HashrateError:
        return
    assert hashrate is None or (math.isfinite(hashrate) and math.copysign(1, hashrate) == 1)


@all_cases(
    ("hashrate", "text"),
    [
        (0, "0 H/s"),
        (999, "999 H/s"),
        (1000, "1 kH/s"),
        (9.46e20, "946 EH/s"),
        (9.46123e20, "946.1 EH/s"),
        (1.0061e21, "1.006 ZH/s"),
        (-5e18, "-5 EH/s"),
    ],
)
def test_format_for_display(hashrate: float, text: str) -> None:
    assert format_hashrate(hashrate) == text


@all_cases("hashrate", [math.nan, math.inf, -math.inf])
@all_cases("digits", [4, None])
def test_formatting_a_number_that_is_not_finite_fails(hashrate: float, digits: int | None) -> None:
    with pytest.raises(HashrateError, match="not a hashrate"):
        format_hashrate(hashrate, digits)

from __future__ import annotations

import re

import pytest

from miningmap.messages import SLUG
from miningmap.pool_names import _ALIASES, _NAMES, pool_name, pool_slug


@pytest.mark.parametrize("slug", _NAMES)
def test_a_pool_is_known_by_its_own_name_and_by_its_slug(slug: str) -> None:
    assert pool_slug(pool_name(slug)) == slug
    assert pool_slug(slug) == slug


@pytest.mark.parametrize(
    ("label", "slug"),
    [
        ("Foundry USA", "foundryusa"),
        (" foundry usa ", "foundryusa"),
        ("AntPool", "antpool"),
        ("SBI-Crypto", "sbicrypto"),
        ("Solo CKPool", "solock"),
        ("Mara Pool", "marapool"),
        ("SlushPool", "braiinspool"),
        ("BTC.com", "btccom"),
        ("btc.com", "btccom"),
        ("f2pool.com", "f2pool"),
        ("foundrydigital.com", "foundryusa"),
        ("solo.ckpool.org", "solock"),
        ("kano.is", "kanopool"),
        ("pool.binance.com", "binancepool"),
    ],
)
def test_others_names_of_a_pool_lead_to_its_slug(label: str, slug: str) -> None:
    assert pool_slug(label) == slug


@pytest.mark.parametrize(
    ("label", "slug"),
    [
        ("New Pool 7", "newpool7"),
        ("new-pool-7.example.org", "newpool7example"),
        ("Mr. New", "mrnew"),
        ("x" * 100, "x" * 64),
    ],
)
def test_a_pool_that_nobody_knows_gets_a_slug_of_its_own(label: str, slug: str) -> None:
    assert pool_slug(label) == slug
    assert re.match(SLUG, slug)


@pytest.mark.parametrize("label", ["Unknown", "unknown", "Other", "Others", "", " ", "鱼池", "?"])
def test_what_names_nobody_is_no_pool(label: str) -> None:
    assert pool_slug(label) is None


def test_every_alias_is_written_plainly_and_is_of_a_pool_that_has_a_name() -> None:
    assert all(alias.isalnum() and alias == alias.lower() for alias in _ALIASES)
    assert set(_ALIASES.values()) <= set(_NAMES)

"""Names and slugs of pools."""

from __future__ import annotations

import re

from miningmap.messages import SLUG
from miningmap.pool_names import (
    _ALIASES,
    _NAMES,
    is_known_pool,
    named_pools,
    pool_name,
    pool_slug,
    unknown_pool,
)
from tests.cases import all_cases


@all_cases("slug", _NAMES)
def test_a_pool_is_found_by_its_name_and_by_its_slug(slug: str) -> None:
    assert pool_slug(pool_name(slug)) == slug
    assert pool_slug(slug) == slug


@all_cases(
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
        ("solopool.com", "solopoolcom"),
        ("btc.solopool.com", "solopoolcom"),
        ("btc.solopool.org", "solopool"),
        ("CKPool", "ckpool"),
        ("ckpool.org", "ckpool"),
        ("mining.luxor.tech", "luxor"),
        ("luxor.tech", "luxor"),
        ("Luxor Tech", "luxor"),
        ("whitebit.com", "whitepool"),
        ("WhiteBIT", "whitepool"),
        ("pool.emcd.io", "emcdpool"),
        ("pool.kryptex.com", "kryptex"),
        ("solo-btc.2miners.com", "2miners"),
        ("Marathon", "marapool"),
        ("Braiins Solo", "braiinssolo"),
        ("solo.braiins.com", "braiinssolo"),
        ("pool.noderunners.network", "noderunners"),
        ("DMND", "dmnd"),
        ("Demand Pool", "dmnd"),
        ("BTC.TOP", "btctop"),
        ("btc.top", "btctop"),
        ("www.btc.top", "btctop"),
        ("pool.pega", "pegapool"),
        ("PEGA Pool", "pegapool"),
        ("pega-pool.com", "pegapool"),
        *((f"{region}solo.ckpool.org", "solock") for region in ("au", "eu", "sg", "ue", "uw")),
        ("stratum.solo.ckpool.org", "solock"),
        ("www.f2pool.com", "f2pool"),
        ("https://www.f2pool.com/", "f2pool"),
        ("stratum+tcp://ss.antpool.com:3333", "antpool"),
        ("viabtc.com.", "viabtc"),
        ("ss.antpool.com", "antpool"),
        ("Marathon Digital Holdings", "marapool"),
        ("Marathon Digital Holdings, Inc.", "marapool"),
        ("MARA Holdings", "marapool"),
        ("Luxor Technology", "luxor"),
        ("Luxor Technologies Corporation", "luxor"),
        ("SBI Crypto Co., Ltd.", "sbicrypto"),
    ],
)
def test_other_names_of_a_pool(label: str, slug: str) -> None:
    assert pool_slug(label) == slug


@all_cases(
    ("label", "slug"),
    [
        ("New Pool 7", "newpool7"),
        ("new-pool-7.example.org", "newpool7example"),
        ("Mr. New", "mrnew"),
        ("www.new-pool-7.com", "newpool7"),
        ("https://new-pool-7.com/btc", "newpool7"),
        # As at mempool.space: these are names, not hosts.
        ("Huobi.pool", "huobipool"),
        ("Portland.HODL", "portlandhodl"),
        ("Bitcoin.com", "bitcoincom"),
        ("Sigmapool.com", "sigmapoolcom"),
        ("Lubian.com", "lubiancom"),
        ("WAYI.CN", "wayicn"),
        ("GHash.IO", "ghashio"),
        ("okpool.top", "okpooltop"),
        ("Holdings", "holdings"),
        ("New Holdings Ltd", "newholdingsltd"),
        ("x" * 100, "x" * 64),
    ],
)
def test_an_unknown_pool_gets_a_slug_from_its_label(label: str, slug: str) -> None:
    assert pool_slug(label) == slug
    assert re.match(SLUG, slug)


@all_cases(
    "label",
    [
        *(
            "Unknown",
            "unknown",
            "UNKNOWN",
            "Unknown Pool",
            "unknown-pool",
            "(unknown)",
            "unknown.com",
        ),
        *("null", "NULL", "NaN", "nan", "(null)", "None", "nil", "undefined"),
        *("Unknown miner", "Other", "Others", "Other pools", "N/A", "", " ", "鱼池", "?"),
    ],
)
def test_labels_without_a_slug(label: str) -> None:
    assert pool_slug(label) is None


def test_every_alias_is_normalised_and_of_a_pool_with_a_name() -> None:
    assert all(alias.isalnum() and alias == alias.lower() for alias in _ALIASES)
    assert set(_ALIASES.values()) <= set(_NAMES)


@all_cases(
    ("text", "error"),
    [
        ("foundry", "unknown pool 'foundry'; near matches: foundryusa (Foundry USA)"),
        ("Foundry USA", "unknown pool 'Foundry USA'; near matches: foundryusa (Foundry USA)"),
        ("antpol", "unknown pool 'antpol'; near matches: antpool (AntPool)"),
        ("viabct", "unknown pool 'viabct'; near matches: viabtc (ViaBTC)"),
        ("mempool", "unknown pool 'mempool'"),  # a source of many pools
        ("zzz", "unknown pool 'zzz'"),
        ("x" * 1000, f"unknown pool {'x' * 64!r}"),
    ],
)
def test_an_unknown_pool_is_named_with_near_matches(text: str, error: str) -> None:
    assert unknown_pool(text, named_pools()) == error


def test_pools_with_a_name_and_accounts_at_them_are_known() -> None:
    assert set(named_pools()) == set(_NAMES)
    assert all(map(is_known_pool, [*named_pools(), "f2pool-account"]))
    assert not any(map(is_known_pool, ["foundry", "", "-account", "cbeci-sample"]))

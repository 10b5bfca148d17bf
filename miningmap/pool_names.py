"""What pools call themselves, by slug (mempool's slugs, so that all sources of a pool meet)."""

from __future__ import annotations

from typing import Final

_NAMES: Final[dict[str, str]] = {
    "antpool": "AntPool",
    "binancepool": "Binance Pool",
    "braiinspool": "Braiins Pool",
    "btccom": "BTC.com",
    "emcdpool": "EMCD",
    "f2pool": "F2Pool",
    "foundryusa": "Foundry USA",
    "innopolistech": "Innopolis Tech",
    "kanopool": "KanoPool",
    "luxor": "Luxor",
    "marapool": "MARA Pool",
    "miningsquared": "Mining Squared",
    "nicehash": "NiceHash",
    "ocean": "OCEAN",
    "poolin": "Poolin",
    "publicpool": "Public Pool",
    "redrockpool": "RedRock Pool",
    "sbicrypto": "SBI Crypto",
    "secpool": "SECPOOL",
    "solock": "Solo CK",
    "spiderpool": "SpiderPool",
    "ultimuspool": "ULTIMUS Pool",
    "viabtc": "ViaBTC",
    "whitepool": "WhitePool",
}

# What an operator's own account has at a pool is listed beside the pool, under a slug of its own.
_ACCOUNT: Final = "-account"


def pool_name(slug: str) -> str:
    """The pool's own name; the slug where it is not known. ``POOL-account`` is told apart."""
    if slug.endswith(_ACCOUNT):
        return f"{pool_name(slug.removesuffix(_ACCOUNT))}, own account"
    return _NAMES.get(slug, slug)

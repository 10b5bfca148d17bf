"""What pools call themselves, by slug (mempool's slugs, so that all sources of a pool meet)."""

from __future__ import annotations

import re
from typing import Final

_NAMES: Final[dict[str, str]] = {
    "2miners": "2Miners",
    "antpool": "AntPool",
    "binancepool": "Binance Pool",
    "braiinspool": "Braiins Pool",
    "btccom": "BTC.com",
    "emcdpool": "EMCD",
    "f2pool": "F2Pool",
    "foundryusa": "Foundry USA",
    "innopolistech": "Innopolis Tech",
    "kanopool": "KanoPool",
    "kryptex": "Kryptex",
    "luxor": "Luxor",
    "marapool": "MARA Pool",
    "miningrigrentals": "MiningRigRentals",
    "miningsquared": "Mining Squared",
    "nicehash": "NiceHash",
    "nicehash-market": "NiceHash, market",
    "ocean": "OCEAN",
    "parasite": "Parasite",
    "poolin": "Poolin",
    "publicpool": "Public Pool",
    "redrockpool": "RedRock Pool",
    "sbicrypto": "SBI Crypto",
    "secpool": "SECPOOL",
    "solock": "Solo CK",
    "solopool": "SoloPool.org",
    "spiderpool": "SpiderPool",
    "ultimuspool": "ULTIMUS Pool",
    "viabtc": "ViaBTC",
    "whitepool": "WhitePool",
}

# What an operator's own account has at a pool is listed beside the pool, under a slug of its own.
_ACCOUNT: Final = "-account"


# What others call them, where neither slug nor name says it. As _plain leaves it.
_ALIASES: Final[dict[str, str]] = {
    "binance": "binancepool",
    "braiins": "braiinspool",
    "ckpool": "solock",
    "cloverpool": "btccom",
    "foundry": "foundryusa",
    "foundrydigital": "foundryusa",
    "foundryusapool": "foundryusa",
    "innopolis": "innopolistech",
    "kano": "kanopool",
    "mara": "marapool",
    "poolbinance": "binancepool",
    "poolbraiins": "braiinspool",
    "redrock": "redrockpool",
    "slush": "braiinspool",
    "slushpool": "braiinspool",
    "solockpool": "solock",
    "ultimus": "ultimuspool",
}

# The blocks or the hashrate of nobody in particular.
_NOBODY: Final = frozenset({"unknown", "other", "others"})
_HOST: Final = re.compile(r"([a-z0-9.-]+)\.[a-z]{2,}")
_LONGEST: Final = 64


def pool_name(slug: str) -> str:
    """The pool's own name; the slug where it is not known. ``POOL-account`` is told apart."""
    if slug.endswith(_ACCOUNT):
        return f"{pool_name(slug.removesuffix(_ACCOUNT))}, own account"
    return _NAMES.get(slug, slug)


def pool_slug(label: str) -> str | None:
    """The slug of the pool that a relay or a block explorer calls so; ``None`` for no pool.

    A pool that nobody here knows gets a slug of its own, made from the label. Of a host's name the
    ending says nothing, unless it is part of the pool's name: ``f2pool.com``, but ``BTC.com``.
    """
    spellings = [_plain(label)]
    if host := _HOST.fullmatch(label.strip().lower()):
        spellings.append(_plain(host[1]))
    known = next((_SLUGS[spelling] for spelling in spellings if spelling in _SLUGS), None)
    slug = known or spellings[-1][:_LONGEST]
    return None if slug in _NOBODY else slug or None


def _plain(label: str) -> str:
    """Letters and digits alone, so that "SBI Crypto", "SBI-Crypto" and "SBICrypto" are one."""
    return re.sub(r"[^a-z0-9]", "", label.lower())


_SLUGS: Final[dict[str, str]] = {
    **{_plain(name): slug for slug, name in _NAMES.items()},
    **{_plain(slug): slug for slug in _NAMES},
    **_ALIASES,
}

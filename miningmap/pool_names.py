"""Names of pools by slug; the slugs are mempool.space's, so that all sources of a pool agree."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

CBECI_SAMPLE: Final = "cbeci-sample"
"""The pool that stands for the pools of Cambridge's sample in imported months."""

_NAMES: Final[dict[str, str]] = {
    "2miners": "2Miners",
    "antpool": "AntPool",
    "binancepool": "Binance Pool",
    "braiinspool": "Braiins Pool",
    "braiinssolo": "Braiins Solo",
    "btccom": "BTC.com",
    "btctop": "BTC.TOP",
    "ckpool": "CKPool",
    "dmnd": "DMND",
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
    "noderunners": "Noderunners",
    "ocean": "OCEAN",
    "parasite": "Parasite",
    "pegapool": "PEGA Pool",
    "poolin": "Poolin",
    "publicpool": "Public Pool",
    "redrockpool": "RedRock Pool",
    "sbicrypto": "SBI Crypto",
    "secpool": "SECPOOL",
    "solock": "Solo CK",
    "solopool": "SoloPool.org",
    "solopoolcom": "SoloPool.com",
    "spiderpool": "SpiderPool",
    "ultimuspool": "ULTIMUS Pool",
    "viabtc": "ViaBTC",
    "whitepool": "WhitePool",
}

# An operator's own account at a pool is a pool with a slug of its own, such as f2pool-account.
_ACCOUNT: Final = "-account"

# Other names that match neither slug nor name, as _plain() writes them.
_ALIASES: Final[dict[str, str]] = {
    "ausolockpool": "solock",
    "binance": "binancepool",
    "braiins": "braiinspool",
    "cloverpool": "btccom",
    "demand": "dmnd",
    "demandpool": "dmnd",
    "eusolockpool": "solock",
    "foundry": "foundryusa",
    "foundrydigital": "foundryusa",
    "foundryusapool": "foundryusa",
    "innopolis": "innopolistech",
    "kano": "kanopool",
    "luxortech": "luxor",
    "mara": "marapool",
    "marathon": "marapool",
    "marathondigital": "marapool",
    "poolbinance": "binancepool",
    "pega": "pegapool",
    "poolbraiins": "braiinspool",
    "poolpega": "pegapool",
    "redrock": "redrockpool",
    "sgsolockpool": "solock",
    "slush": "braiinspool",
    "slushpool": "braiinspool",
    "solobraiins": "braiinssolo",
    "solockpool": "solock",
    "uesolockpool": "solock",
    "ultimus": "ultimuspool",
    "uwsolockpool": "solock",
    "whitebit": "whitepool",
}

# Labels for blocks or hashrate that belong to no particular pool, as _plain() writes them.
_NO_POOL: Final = re.compile(
    r"unknown.*|others?|otherpools?|na|nan|nil|none|null|unattributed|undefined|unidentified"
)
# Slugs of pools whose name at mempool.space is a host with its ending.
_NAMED_LIKE_HOSTS: Final = (
    *("bcpoolio", "bitcoincom", "ghashio", "lubiancom", "multicoinco", "okpooltop", "phashio"),
    *("purebtccom", "sigmapoolcom", "simplecoinus", "tigerpoolnet", "wayicn", "yourbtcnet"),
)
# The top-level domains under which pools are. All of two letters are those of countries.
_TOP_LEVEL: Final = (
    r"[a-z]{2}|app|biz|cash|club|cloud|com|dev|digital|energy|finance|global|info|life|live|money"
    r"|net|network|one|online|org|pro|site|space|systems|tech|top|vip|work|works|world|xyz|zone"
)
_HOST: Final = re.compile(
    rf"(?:[a-z+]+://)?(?:www\.)?((?:[a-z0-9-]+\.)+(?:{_TOP_LEVEL}))\.?(?::[0-9]+)?(?:/.*)?"
)
# What companies add to their names.
_COMPANY: Final = re.compile(
    r"(\W+(ag|co|company|corp|corporation|gmbh|group|holdings?|inc|limited|llc|ltd|plc"
    r"|technology|technologies)\b)+\W*$"
)
_LONGEST: Final = 64
_NEAR: Final = 3  # how many near matches an error names
_ALIKE: Final = 0.75  # how alike a near match is at least


def pool_name(slug: str) -> str:
    """The pool's name, or the slug if it is unknown; ``POOL-account`` is "NAME, own account"."""
    if slug.endswith(_ACCOUNT):
        return f"{pool_name(slug.removesuffix(_ACCOUNT))}, own account"
    return _NAMES.get(slug, slug)


def named_pools() -> tuple[str, ...]:
    """The slugs of all pools that have a name here, in their order; accounts are not listed."""
    return tuple(sorted(_NAMES))


def is_known_pool(slug: str) -> bool:
    """Whether a pool of this slug has a name here, or is an account at one that has."""
    return slug.removesuffix(_ACCOUNT) in _NAMES


def unknown_pool(text: str, known: Iterable[str]) -> str:
    """The error for a text that is the slug of no pool, with near matches among the known ones."""
    spellings = {_plain(word): slug for slug in known for word in (slug, pool_name(slug))}
    alike = difflib.get_close_matches(_plain(text), spellings, 2 * _NEAR, cutoff=_ALIKE)
    similar = [word for word in alike if difflib.get_close_matches(_own(text), [_own(word)])]
    near = dict.fromkeys(spellings[word] for word in similar)
    if alias := _ALIASES.get(_plain(text)):
        near = {alias: None} | near
    listed = ", ".join(f"{slug} ({pool_name(slug)})" for slug in list(near)[:_NEAR])
    error = f"unknown pool {text[:_LONGEST]!r}"
    return f"{error}; near matches: {listed}" if listed else error


def _own(label: str) -> str:
    """What is left of a name without "pool", which makes many pools similar."""
    plain = _plain(label)
    return plain.replace("pool", "") or plain


def pool_slug(label: str) -> str | None:
    """The slug of the pool with this label; ``None`` if the label names no pool.

    An unknown pool gets a slug made from its label. A host is found by the longest part of its name
    that is a known name: ``pool.f2pool.com`` is F2Pool, but ``BTC.com`` is BTC.com. A company is
    found without its legal form.

    Args:
        label: as relays and block explorers write it.
    """
    text = label.strip().lower()
    spellings = [text, _COMPANY.sub("", text)]
    name = text
    if host := _HOST.fullmatch(text):
        labels = host[1].split(".")
        name = ".".join(labels[:-1])
        spellings += [
            ".".join(labels[first:last]) for first in range(len(labels) - 1) for last in (None, -1)
        ]
    known = next((_SLUGS[plain] for plain in map(_plain, spellings) if plain in _SLUGS), None)
    slug = known or _plain(name)[:_LONGEST]
    return None if _NO_POOL.fullmatch(slug) else slug or None


def _plain(label: str) -> str:
    """Letters and digits only: "SBI Crypto", "SBI-Crypto" and "SBICrypto" are the same."""
    return re.sub(r"[^a-z0-9]", "", label.lower())


_SLUGS: Final[dict[str, str]] = {
    **{_plain(name): slug for slug, name in _NAMES.items()},
    **{_plain(slug): slug for slug in _NAMES},
    **{slug: slug for slug in _NAMED_LIKE_HOSTS},
    **_ALIASES,
}

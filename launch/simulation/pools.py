"""The pools of the simulated world: their sizes and the true places of their miners.

Sizes follow the shares of blocks in 2026, and slugs are mempool's. The places are invented but
typical: American pools with their states, Chinese pools with provinces and much hashrate abroad.
None of it was reported by a real pool.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from miningmap.places import OTHER

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Pool:
    """One simulated pool.

    Attributes:
        slug: as in mempool.
        name: as in mempool.
        share: of the network's hashrate; all pools together are 1.
        places: the true weights, which add up to 1. Only the partner rows of a measured pool show
            them. Such a pool has no country beside subdivisions of that country, because the intake
            rejects such rows.
        measured_lag_d: how many days a partner's daily rows are late (1: yesterday's are there), or
            ``None`` if nobody measures the pool.
        prior: the operator's prior for a pool that nobody measures, if there is one.
    """

    slug: str
    name: str
    share: float
    places: Mapping[str, float]
    measured_lag_d: int | None = None
    prior: Mapping[str, float] | None = None


# Yesterday's rows represent their pool in the 24h window until noon (method.md 4). If a scenario
# moves a pool's hashrate within the day, its rows come two days late, so that both windows of the
# pair 1h/24h see the pool by the same source at every time of day.
_LATE: Final = 2
_YESTERDAY: Final = 1

UNATTRIBUTED: Final = "unknown"
"""The slug under which mempool lists the blocks of unknown finders."""

POOLS: Final = (
    Pool(
        "foundryusa",
        "Foundry USA",
        0.29,
        {
            "US-TX": 0.32,
            "US-GA": 0.09,
            "US-NY": 0.08,
            "US-KY": 0.07,
            "US-ND": 0.05,
            "US-OH": 0.05,
            "US-PA": 0.05,
            "US-TN": 0.04,
            "US-WA": 0.03,
            "US-OTHER": 0.12,
            "CA": 0.10,
        },
        measured_lag_d=_LATE,
    ),
    Pool(
        "antpool",
        "AntPool",
        0.18,
        {
            "CN-SC": 0.12,
            "CN-XJ": 0.12,
            "CN-NM": 0.06,
            "CN-YN": 0.05,
            "CN": 0.06,
            "US-TX": 0.05,
            "US": 0.09,
            "RU": 0.17,
            "ET": 0.08,
            "AE": 0.06,
            "PY": 0.05,
            "KZ": 0.04,
            "MY": 0.03,
            "OTHER": 0.02,
        },
        prior={
            "CN-SC": 0.15,
            "CN-XJ": 0.15,
            "CN": 0.12,
            "US": 0.14,
            "RU": 0.18,
            "ET": 0.09,
            "AE": 0.07,
            "PY": 0.05,
            "KZ": 0.05,
        },
    ),
    Pool(
        "f2pool",
        "F2Pool",
        0.13,
        {
            "CN-SC": 0.14,
            "CN-XJ": 0.11,
            "CN-YN": 0.08,
            "CN-NM": 0.06,
            "CN-GZ": 0.04,
            "CN-GS": 0.03,
            "RU": 0.17,
            "ET": 0.12,
            "US-TX": 0.04,
            "US-OTHER": 0.09,
            "AE": 0.05,
            "MY": 0.04,
            "KZ": 0.03,
        },
        measured_lag_d=_YESTERDAY,
    ),
    Pool(
        "viabtc",
        "ViaBTC",
        0.095,
        {
            "CN-SC": 0.15,
            "CN-XJ": 0.11,
            "CN-YN": 0.07,
            "CN-NM": 0.05,
            "CN-GD": 0.03,
            "CN-ZJ": 0.12,  # no mines are there: the exits of a VPN, as CCAF found in 2020
            "CN-OTHER": 0.02,
            "RU": 0.18,
            "KZ": 0.14,
            "IR": 0.04,
            "US": 0.04,
            "MY": 0.03,
            "HK": 0.02,
        },
        measured_lag_d=_YESTERDAY,
    ),
    Pool(
        "spiderpool",
        "SpiderPool",
        0.09,
        {
            "CN-XJ": 0.20,
            "CN-SC": 0.20,
            "CN": 0.15,
            "RU": 0.20,
            "ET": 0.10,
            "US": 0.10,
            "KZ": 0.05,
        },
        prior={"CN": 0.60, "RU": 0.20, "ET": 0.10, "US": 0.10},
    ),
    Pool(
        "marapool",
        "MARA Pool",
        0.052,
        {
            "US-TX": 0.35,
            "US-ND": 0.15,
            "US-OH": 0.14,
            "US-NE": 0.08,
            "US": 0.13,
            "AE": 0.10,
            "FI": 0.03,
            "PY": 0.02,
        },
        prior={"US-TX": 0.40, "US-ND": 0.20, "US-OH": 0.20, "AE": 0.20},
    ),
    Pool(
        "secpool",
        "SECPOOL",
        0.05,
        {
            "RU": 0.40,
            "CN": 0.15,
            "CN-XJ": 0.10,
            "US": 0.10,
            "KZ": 0.10,
            "AE": 0.08,
            "PY": 0.07,
        },
        prior={"RU": 0.45, "CN": 0.30, "US": 0.10, "KZ": 0.15},
    ),
    Pool(
        "luxor",
        "Luxor",
        0.031,
        {
            "US-TX": 0.38,
            "US-GA": 0.12,
            "US-KY": 0.10,
            "US-NY": 0.08,
            "US-WY": 0.05,
            "US-OTHER": 0.12,
            "CA": 0.15,
        },
        measured_lag_d=_LATE,
    ),
    Pool(
        "binancepool",
        "Binance Pool",
        0.018,
        {"CN": 0.35, "RU": 0.20, "US": 0.15, "KZ": 0.10, "AE": 0.10, "BR": 0.10},
        prior={"CN": 0.40, "RU": 0.20, "US": 0.20, "KZ": 0.10, "AE": 0.10},
    ),
    Pool(
        "braiinspool",
        "Braiins Pool",
        0.016,
        {
            "PY": 0.20,
            "NO": 0.18,
            "OM": 0.14,
            "AE": 0.12,
            "DE": 0.12,
            "SE": 0.10,
            "BR": 0.08,
            "IE": 0.06,
        },
        measured_lag_d=_YESTERDAY,
    ),
    Pool(
        "ocean",
        "OCEAN",
        0.014,
        {"US": 0.40, "US-TX": 0.20, "CA": 0.10, "NO": 0.10, "DE": 0.10, "AU": 0.10},
        prior={"US": 0.60, "CA": 0.10, "NO": 0.10, "DE": 0.10, "AU": 0.10},
    ),
    # There is no prior for these: their hashrate stays unlocated.
    Pool("sbicrypto", "SBI Crypto", 0.013, {"US": 0.50, "RU": 0.30, "JP": 0.20}),
    Pool("whitepool", "WhitePool", 0.004, {"UA": 0.50, "PL": 0.30, "DE": 0.20}),
    Pool("publicpool", "Public Pool", 0.0001, {"US": 0.40, "DE": 0.35, "AU": 0.25}),
    Pool("solopool", "SoloPool.org", 0.00013, {"RU": 0.60, "DE": 0.40}),
    Pool("2miners", "2Miners", 0.00002, {"DE": 0.50, "US": 0.50}),
    Pool(UNATTRIBUTED, "Unknown", 0.01635, {"OTHER": 1.0}),
    # It has a server in each of these places, so the totals of the servers locate it.
    Pool("solock", "Solo CK", 0.0004, {"US": 0.60, "OTHER": 0.25, "AU": 0.15}),
)

BY_SLUG: Final[Mapping[str, Pool]] = {pool.slug: pool for pool in POOLS}

_UNLISTED_SHARE: Final = 2e-5

MEASURED: Final = tuple(pool for pool in POOLS if pool.measured_lag_d is not None)
"""The pools whose partners send daily rows."""


def pool_of(slug: str) -> Pool:
    """Return the pool of that slug; one that is not listed is small and in no listed country."""
    return BY_SLUG.get(slug) or Pool(slug, slug, _UNLISTED_SHARE, {OTHER: 1.0})


_BELIEVED_FROM: Final = "2020-01-01"


def beliefs(corrected: str) -> dict[str, object]:
    """Return what is believed of this world, as a document of beliefs: priors of pools, and a rule.

    There is no prior of the network, so that pools without a prior visibly stay unlocated.

    Args:
        corrected: the pool to which the rule for Zhejiang applies.
    """
    pools = [
        {
            "id": f"pools/{pool.slug}",
            "pool": pool.slug,
            "kind": "prior",
            "source": "simulated",
            "series": [{"from": _BELIEVED_FROM, "weights": dict(pool.prior)}],
        }
        for pool in POOLS
        if pool.prior
    ]
    rule = {"id": "cn-zhejiang", "source": "simulated", "place": "CN-ZJ"}
    return {"pools": pools, "rules": [{**rule, "applies_to": [corrected]}]}

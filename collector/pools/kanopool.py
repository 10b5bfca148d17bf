"""KanoPool, as the pool reports itself to holders of an account."""

from __future__ import annotations

import msgspec

from collector.sources import decoding
from collector.sources.authorisation import credentials_in
from collector.sources.base import Credential, PoolSource, Request
from collector.sources.envelope import Envelope
from collector.sources.single import single_pool


class _Home(msgspec.Struct):
    stamp: float = msgspec.field(name="STAMP")
    p_hashrate5m: decoding.Figure | None


# The pool's average over 5 minutes, in H/s. Fields whose name starts with "u_" are the user's own.
parse = single_pool(
    "kanopool",
    _Home,
    lambda home: home.p_hashrate5m,
    # The only error: {"nil":"0"}, for a user that the pool does not know.
    envelope=Envelope(
        code="nil", ok=(None,), data=None, unauthorized={"0": "user or key is wrong"}
    ),
    observed_at=lambda home: decoding.unix_time(home.stamp),
)


SOURCE = PoolSource(
    slug="kanopool",
    name="KanoPool",
    home="https://kano.is",
    docs=None,
    terms="for holders of an account; the API accepts the key only in the URL",
    credentials=(
        Credential("user", "the account's user name"),
        Credential("key", "the account's API key"),
    ),
    requests=(Request("https://kano.is/index.php?k=api&json=y"),),
    authorise=credentials_in(query={"username": "{user}", "api": "{key}"}),
    poll_s=60,
    poll_reason="The figure is an average over 5 minutes; no limit is documented.",
    averaging_s=300,
    # The figure's own time can be as old as the average is long.
    hold_s=600,
    confidence="medium",
    unsure=(
        "It is not known whether the pool still responds as its published code does. The response"
        " nil may also mean that the pool's database is not available."
    ),
    default=False,
    pool="kanopool",
    parse=parse,
)

"""One's own Bitcoin Core node: where it is, how it is asked, what its answers and errors mean.

Shared by the sources that ask one. A node on a test chain, or one that is still catching up, knows
a hashrate that is not the network's of today; so each of them asks for the chain first.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from yarl import URL

from collector.sources import decoding
from collector.sources.base import Credential, PermanentError, Request
from collector.sources.credentials import setting
from miningmap.settings import SettingsError

if TYPE_CHECKING:
    from datetime import datetime

    from collector.sources.base import NetworkSource, Secrets

T = TypeVar("T")

HOME: Final = "https://bitcoincore.org"
TERMS: Final = "one's own node"
# The node averages over as many blocks if told so, and by itself. 10 minutes each.
BLOCKS: Final = 120
AVERAGING_S: Final = BLOCKS * 600
POLL_S: Final = 30
POLL_REASON: Final = "one's own node, which answers from memory; a new block changes the figure"

CREDENTIALS: Final = (
    Credential("url", "address of its JSON-RPC, like http://127.0.0.1:8332/"),
    Credential("user", "of rpcauth or rpcuser; goes with password", required=False),
    Credential("password", "of rpcauth or rpcpassword; goes with user", required=False),
    Credential(
        "cookie",
        "the content of the node's file .cookie, in place of user and password; better its path as"
        " cookie_file, as each start of the node writes another",
        required=False,
    ),
)

_DEFAULT_URL: Final = "http://127.0.0.1:8332/"
_MAIN: Final = "main"


class _Error(msgspec.Struct):
    code: int
    message: str


class _Answer(msgspec.Struct):
    result: msgspec.Raw
    error: _Error | None = None


class _Chain(msgspec.Struct):
    chain: str
    initialblockdownload: bool


def call(method: str, *params: int) -> Request:
    """The request that calls a method of the node."""
    # By version 1.0 an error is no 200: 401 for wrong credentials, 500 while the node starts.
    said = {"jsonrpc": "1.0", "id": "miningmap", "method": method, "params": params}
    return Request(
        _DEFAULT_URL,
        method="POST",
        headers={"Content-Type": "application/json"},
        body=msgspec.json.encode(said),
    )


CHAIN: Final = call("getblockchaininfo")


def result(answer: bytes, shape: type[T]) -> T:
    """What the method returned.

    Raises:
        TransientError: an error of the node that came as a 200, or no JSON.
        PermanentError: another shape.
    """
    said = decoding.decode(answer, _Answer)
    if said.error is not None:
        raise decoding.refused(f"{said.error.code} {said.error.message}")
    return decoding.decode(bytes(said.result), shape)


def knows_today(answer: bytes) -> bool:
    """Whether the node, by its answer to :data:`CHAIN`, has caught up with the network.

    Raises:
        TransientError: an error of the node that came as a 200, or no JSON.
        PermanentError: it follows another chain than Bitcoin's, or the answer has another shape.
    """
    said = result(answer, _Chain)
    check_chain(said.chain)
    return not said.initialblockdownload


def check_chain(chain: str) -> None:
    """Make sure that it is Bitcoin's.

    Raises:
        PermanentError: it is a test chain.
    """
    if chain != _MAIN:
        text = f"the node follows the chain {chain[:16]!r}, not {_MAIN!r}"
        raise PermanentError(text, reason="shape")


def at(source: NetworkSource, secrets: Secrets) -> NetworkSource:
    """The source, asked at the operator's node.

    Raises:
        SettingsError: the address is none, or carries a user and a password: addresses are shown.
    """
    name = setting(source.slug, "url")
    try:
        url = URL(secrets["url"])
    except ValueError:
        url = URL()
    if url.scheme not in {"http", "https"} or not url.host:
        raise SettingsError(f"{name}: must be like {_DEFAULT_URL}")
    if url.user is not None or url.password is not None:
        user, password = setting(source.slug, "user"), setting(source.slug, "password")
        raise SettingsError(f"{name}: must not carry credentials; set {user} and {password}")
    requests = tuple(replace(request, url=str(url)) for request in source.requests)
    return replace(source, requests=requests)


def authorise(request: Request, secrets: Secrets, _now: datetime) -> Request:
    """The request with the credentials of the node's operator.

    Raises:
        SettingsError: there are none.
    """
    if {"user", "password"} <= secrets.keys():
        pair = f"{secrets['user']}:{secrets['password']}"
    elif "cookie" in secrets:
        pair = secrets["cookie"]
    else:
        raise SettingsError("the node wants credentials: set user and password, or cookie_file")
    basic = f"Basic {b64encode(pair.encode()).decode()}"
    return replace(request, headers={**request.headers, "Authorization": basic})

"""The operator's own Bitcoin Core node: its address, its credentials and its responses.

The sources that ask a node share this declaration. Each first requests the chain: a node on a test
chain, or one that has not caught up yet, does not know the network's present hashrate.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from yarl import URL

from collector.sources import decoding
from collector.sources.base import Credential, NetworkSource, PermanentError, Request
from collector.sources.credentials import setting
from collector.sources.envelope import Envelope
from collector.sources.single import network_reading
from miningmap.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from collector.sources.base import NetworkReading, Secrets
    from collector.sources.decoding import Figure

T = TypeVar("T")

# The number of blocks that a node averages over by itself; a block takes 10 minutes.
BLOCKS: Final = 120

_CREDENTIALS: Final = (
    Credential("url", "the address of the node's JSON-RPC, like http://127.0.0.1:8332/"),
    Credential("user", "the user of rpcauth or rpcuser, used with the password", required=False),
    Credential("password", "the password of rpcauth or rpcpassword", required=False),
    Credential(
        "cookie",
        "the content of the node's file .cookie, instead of user and password. The node writes a"
        " new cookie at each start, so set the path of that file, as cookie_file",
        required=False,
    ),
)

_DEFAULT_URL: Final = "http://127.0.0.1:8332/"
_MAIN: Final = "main"
# A node reports an error in the field "error", which decoding checks.
_ENVELOPE: Final = Envelope(code=None, data="result")


class _Chain(msgspec.Struct):
    chain: str
    initialblockdownload: bool


def node_source(
    *,
    slug: str,
    name: str,
    docs: str,
    request: Request,
    shape: type[T],
    figure: Callable[[T], Figure | None],
) -> NetworkSource:
    """Return the source that gets the network's hashrate by one call to the operator's node.

    Args:
        slug: of the source.
        name: of the source, for people.
        docs: URL of the documentation of the call.
        request: the call, see :func:`call`.
        shape: the type of its result.
        figure: gets the hashrate (H/s) from the result.
    """

    def parse(bodies: Sequence[bytes]) -> list[NetworkReading]:
        chain, answer = bodies
        is_synced = _is_synced(_ENVELOPE.decode(chain, _Chain))
        hashrate = decoding.hashrate(figure(_ENVELOPE.decode(answer, shape)))
        return network_reading(hashrate) if is_synced else []

    def configure(secrets: Secrets) -> NetworkSource:
        return _at(source, secrets)

    source = NetworkSource(
        slug=slug,
        name=name,
        home="https://bitcoincore.org",
        docs=docs,
        terms="the operator's own node",
        credentials=_CREDENTIALS,
        requests=(call("getblockchaininfo"), request),
        authorise=_authorise,
        configure=configure,
        own_server=True,
        poll_s=30,
        poll_reason="The operator's own node answers from memory; the figure changes with each"
        " block.",
        averaging_s=BLOCKS * 600,
        hold_s=600,
        confidence="high",
        default=False,
        parse=parse,
    )
    return source


def call(method: str, *params: int) -> Request:
    """Return the request that calls a method of the node."""
    # In version 1.0 an error has a status of its own: 401 for wrong credentials, 500 while the node
    # starts.
    body = {"jsonrpc": "1.0", "id": "miningmap", "method": method, "params": params}
    return Request(
        _DEFAULT_URL,
        method="POST",
        headers={"Content-Type": "application/json"},
        body=msgspec.json.encode(body),
    )


def check_chain(chain: str) -> None:
    """Raise if a chain is not Bitcoin's.

    Raises:
        PermanentError: it is a test chain.
    """
    if not decoding.is_named(chain, _MAIN):
        text = f"the node follows the chain {chain[:16]!r}, not {_MAIN!r}"
        raise PermanentError(text, reason="shape")


def _is_synced(info: _Chain) -> bool:
    check_chain(info.chain)
    return not info.initialblockdownload


def _at(source: NetworkSource, secrets: Secrets) -> NetworkSource:
    """Return the source with the address of the operator's node.

    Raises:
        SettingsError: this is not an address, or it has a user and a password in it, which would
            then show wherever the address does.
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


def _authorise(request: Request, secrets: Secrets, _now: datetime) -> Request:
    """Return the request with the operator's credentials.

    Raises:
        SettingsError: there are none.
    """
    if {"user", "password"} <= secrets.keys():
        pair = f"{secrets['user']}:{secrets['password']}"
    elif "cookie" in secrets:
        pair = secrets["cookie"]
    else:
        raise SettingsError("the node needs credentials: set user and password, or cookie_file")
    basic = f"Basic {b64encode(pair.encode()).decode()}"
    return replace(request, headers={**request.headers, "Authorization": basic})

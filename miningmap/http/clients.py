"""Who a client is: its address, as it connects or as trusted proxies forward it.

A client is an IPv4 address or an IPv6 network with a prefix of 64 bits, the smallest network that a
customer gets.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web
    from multidict import MultiMapping

Network: TypeAlias = IPv4Network | IPv6Network
Address: TypeAlias = IPv4Address | IPv6Address

FORWARDED: Final = "X-Forwarded-For"

_IPV6_BITS: Final = 64
_MOST_KEPT: Final = 256
"""How long what proxies forward can be, of which the client is remembered; clients choose it."""
_LOCAL: Final = "127.0.0.1"  # for clients on a Unix socket, which have no address
_PORT: Final = ":[0-9]{1,5}"
# Some proxies add the client's port. Only in brackets can a port follow an IPv6 address.
_WITH_PORT: Final = re.compile(rf"([0-9.]+){_PORT}|\[([0-9A-Fa-f:.]+)\](?:{_PORT})?")


def parse_address(text: str) -> Address:
    """Return the address; an IPv4 address that is mapped into IPv6 is returned as IPv4.

    Args:
        text: an address, or one with a port: ``192.0.2.1:567``, ``[2001:db8::1]:99``.

    Raises:
        ValueError: the text is neither.
    """
    if match := _WITH_PORT.fullmatch(text):
        text = match[1] or match[2]
    address = ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address


class Clients:
    """Identifies the client of a connection or request.

    Args:
        trusted: the proxies whose ``X-Forwarded-For`` is used; anyone else could forge it.
        loopback: whether clients on this machine are limited too.
    """

    def __init__(self, trusted: Sequence[Network] = (), *, loopback: bool = True) -> None:
        self._trusted = trusted
        self._loopback = loopback
        self._direct = lru_cache(maxsize=4096)(self._bucket)
        self._forwarded = lru_cache(maxsize=4096)(self._bucket_behind)
        self._connected = lru_cache(maxsize=4096)(self._peer)

    def bucket(self, remote: str, headers: MultiMapping[str]) -> str | None:
        """Return the client of a request, or ``None`` if the client is not limited.

        Args:
            remote: the address of the other end of the connection.
            headers: the headers of the request.
        """
        if self._trusted and FORWARDED in headers:
            hops = ",".join(headers.getall(FORWARDED))
            known = len(hops) <= _MOST_KEPT
            return self._forwarded(remote, hops) if known else self._bucket_behind(remote, hops)
        return self._direct(remote)

    def of(self, request: web.Request) -> str | None:
        """Return the client of a request, or ``None`` if the client is not limited."""
        return self.bucket(request.remote or _LOCAL, request.headers)

    def peer(self, remote: str) -> str | None:
        """Return the client at the other end of a connection, or ``None`` if it is not limited.

        A trusted proxy is not: it has the connections of all its clients.
        """
        return self._connected(remote)

    def _peer(self, remote: str) -> str | None:
        return None if self._trusts(remote) else self._bucket(remote)

    def _bucket(self, remote: str) -> str | None:
        address = parse_address(remote)
        if address.is_loopback and not self._loopback:
            return None
        if isinstance(address, IPv6Address):
            return str(IPv6Network((int(address), _IPV6_BITS), strict=False))
        return str(address)

    def _bucket_behind(self, remote: str, hops: str) -> str | None:
        return self._bucket(self._behind(remote, hops.split(",")))

    def _behind(self, remote: str, hops: list[str]) -> str:
        """Return the nearest address that is not a trusted proxy: those behind it can be forged.

        A hop that is no address ends the search, so the proxy that sent it counts as the client.
        """
        while hops and self._trusts(remote):
            hop = hops.pop().strip()
            try:
                parse_address(hop)
            except ValueError:
                break
            remote = hop
        return remote

    def _trusts(self, remote: str) -> bool:
        address = parse_address(remote)
        return any(address in network for network in self._trusted)

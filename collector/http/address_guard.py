"""Address checks: requests go over HTTPS to public addresses only, whatever a name resolves to."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Final

from aiohttp.abc import AbstractResolver

from collector.sources.base import PermanentError

if TYPE_CHECKING:
    from aiohttp.abc import ResolveResult
    from yarl import URL


# Mapped, compatible and translated addresses, and NAT64 (RFC 4291, 2765, 6052).
_ENDS_WITH_IPV4: Final = tuple(
    map(ipaddress.IPv6Network, ("::ffff:0:0/96", "::/96", "::ffff:0:0:0/96", "64:ff9b::/96"))
)
# NAT64 of a network's own (RFC 8215), which decides where in it the IPv4 address is.
_LOCAL_NAT64: Final = ipaddress.IPv6Network("64:ff9b:1::/48")
_NOWHERE: Final = ipaddress.IPv4Address(0)


class PublicResolver(AbstractResolver):
    """A resolver that rejects private addresses.

    The check is part of name resolution, so the connection goes to the very address that was
    checked; a second look-up could return another one.
    """

    def __init__(self, resolver: AbstractResolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host.

        Raises:
            PermanentError: one of them is not public.
        """
        found = await self._resolver.resolve(host, port, family)
        for address in found:
            _reject_private(address["host"])
        return found

    async def close(self) -> None:
        """Close the wrapped resolver."""
        await self._resolver.close()


def reject_unsafe(url: URL) -> None:
    """Reject URLs that the resolver cannot check: plain HTTP, and private addresses as hosts.

    Raises:
        PermanentError: the URL is one of these.
    """
    if url.scheme != "https":
        raise PermanentError("is not HTTPS", reason="address")
    host = url.host or ""
    # A host without a letter is an address: aiohttp and the system take "2130706433" for one and
    # connect to 127.0.0.1.
    if ":" in host or not any(map(str.isalpha, host)):
        _reject_private(host)


def _reject_private(address: str) -> None:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        raise PermanentError("is neither a name nor an address", reason="address") from None
    reached = _embedded_in(ip) or ip
    if not reached.is_global or reached.is_multicast:
        raise PermanentError(
            f"is at {address}, not a public address; MININGMAP_COLLECTOR__ALLOW_PRIVATE=true allows"
            " it",
            reason="address",
        )


def _embedded_in(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that packets to an IPv6 address reach, by way of a gateway."""
    if isinstance(ip, ipaddress.IPv4Address):
        return None
    if ip in _LOCAL_NAT64:
        return _NOWHERE
    if any(ip in network for network in _ENDS_WITH_IPV4):
        return ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.sixtofour

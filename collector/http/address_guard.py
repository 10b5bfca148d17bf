"""Address checks: requests go over HTTPS to public addresses only, whatever a name resolves to."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

from aiohttp.abc import AbstractResolver

from collector.sources.base import PermanentError

if TYPE_CHECKING:
    from aiohttp.abc import ResolveResult
    from yarl import URL


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
    if isinstance(ip, ipaddress.IPv6Address):
        # Packets to 6to4 and IPv4-mapped addresses reach the IPv4 address that is embedded in them.
        ip = ip.ipv4_mapped or ip.sixtofour or ip
    if not ip.is_global or ip.is_multicast:
        raise PermanentError(
            f"is at {address}, not a public address; MININGMAP_COLLECTOR__ALLOW_PRIVATE=true allows"
            " it",
            reason="address",
        )

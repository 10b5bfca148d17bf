"""Which addresses may be asked: HTTPS, and public ones only, whatever a name resolves to."""

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
    """Resolves names, but not to addresses inside: the connection goes to what was checked here."""

    def __init__(self, resolver: AbstractResolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host.

        Raises:
            PermanentError: one of them is not public.
        """
        found = await self._resolver.resolve(host, port, family)
        for address in found:
            _refuse_private(address["host"])
        return found

    async def close(self) -> None:
        """Close the resolver behind this one."""
        await self._resolver.close()


def refuse_unsafe(url: URL) -> None:
    """Refuse what never comes to the resolver: plain HTTP, and addresses in place of names.

    Raises:
        PermanentError: it is one of those.
    """
    if url.scheme != "https":
        raise PermanentError("is not HTTPS", reason="address")
    host = url.host or ""
    # What has no letter is no name: aiohttp takes "2130706433" for an address, and so does the
    # system, which then connects to 127.0.0.1.
    if ":" in host or not any(map(str.isalpha, host)):
        _refuse_private(host)


def _refuse_private(address: str) -> None:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        raise PermanentError("is neither a name nor an address", reason="address") from None
    if isinstance(ip, ipaddress.IPv6Address):
        # 6to4 and mapped addresses lead to the IPv4 address that they carry.
        ip = ip.ipv4_mapped or ip.sixtofour or ip
    if not ip.is_global or ip.is_multicast:
        raise PermanentError(
            f"is at {address}, not a public address; MININGMAP_COLLECTOR__ALLOW_PRIVATE=true allows"
            " it",
            reason="address",
        )

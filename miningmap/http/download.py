"""A file from an address that the user names: over HTTP, up to a size and for a time."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import aiohttp

from miningmap import __version__

TIMEOUT: Final = aiohttp.ClientTimeout(total=60, sock_connect=10, sock_read=30)
_CHUNK: Final = 1 << 16


class DownloadError(Exception):
    """There is no file at the address, or not in time; the text is one line and names it."""


async def download(
    address: str, *, max_bytes: int, within: aiohttp.ClientTimeout = TIMEOUT
) -> bytes:
    """What is at an ``http`` or ``https`` address, whatever type it is said to be.

    Args:
        address: redirects of it are followed.
        max_bytes: of the body, decompressed.
        within: in all, and for each step.

    Raises:
        DownloadError: no such address, no answer in time, not a 200, or a body larger than that.
    """
    headers = {"User-Agent": f"miningmap/{__version__}", "Accept": "text/csv, */*;q=0.1"}
    try:
        async with (
            aiohttp.ClientSession(headers=headers, timeout=within) as session,
            session.get(address) as response,
        ):
            if response.status != HTTPStatus.OK:
                raise DownloadError(f"{address}: HTTP {response.status}")
            body = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK):
                body += chunk
                if len(body) > max_bytes:
                    raise DownloadError(f"{address}: more than {max_bytes} bytes")
            return bytes(body)
    except TimeoutError:
        raise DownloadError(f"{address}: no answer in time") from None
    except aiohttp.InvalidURL:
        raise DownloadError(f"{address}: is no address") from None
    except aiohttp.ClientError as error:
        raise DownloadError(f"{address}: {str(error) or repr(error)}") from None

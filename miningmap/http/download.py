"""Download a file from an address that the user gives, up to a size and within a time."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import aiohttp

from miningmap import __version__

TIMEOUT: Final = aiohttp.ClientTimeout(total=60, sock_connect=10, sock_read=30)
_CHUNK: Final = 1 << 16


class DownloadError(Exception):
    """The file cannot be downloaded; the text is one line that starts with the address."""


async def download(
    address: str, *, max_bytes: int, within: aiohttp.ClientTimeout = TIMEOUT
) -> bytes:
    """The body at an ``http`` or ``https`` address, whatever its content type.

    Args:
        address: of the file; redirects are followed.
        max_bytes: the largest accepted body, decompressed.
        within: time limits, of the whole download and of each step.

    Raises:
        DownloadError: the address is invalid, the server did not respond in time or with 200, or
            the body is too large.
    """
    headers = {"User-Agent": f"miningmap/{__version__}", "Accept": "text/csv, */*;q=0.1"}
    try:
        async with (
            aiohttp.ClientSession(headers=headers, timeout=within) as session,
            session.get(address) as response,
        ):
            if response.status != HTTPStatus.OK:
                raise DownloadError(f"{address}: the server responded with HTTP {response.status}")
            body = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK):
                body += chunk
                if len(body) > max_bytes:
                    raise DownloadError(f"{address}: larger than {max_bytes} bytes")
            return bytes(body)
    except TimeoutError:
        raise DownloadError(f"{address}: no response within the time limit") from None
    except aiohttp.InvalidURL:
        raise DownloadError(f"{address}: not an address; expected http(s)://HOST/PATH") from None
    except aiohttp.ClientError as error:
        raise DownloadError(f"{address}: {str(error) or repr(error)}") from None

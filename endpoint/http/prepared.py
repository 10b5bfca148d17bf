"""Responses whose bytes are made before they are asked for, for what is asked for most.

aiohttp puts the head of each response together anew, in a third of the time that a small response
takes. The head of a snapshot changes once a second, with its ``Date``.
"""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING, Final, NamedTuple

from aiohttp import HttpVersion11, hdrs, web

from endpoint.http.headers import QUOTA

if TYPE_CHECKING:
    from collections.abc import Mapping
    from http import HTTPStatus

    from aiohttp.abc import AbstractStreamWriter

_NEW_LINE: Final = b"\r\n"


class Message(NamedTuple):
    """A response as it is sent: the same for all clients, but for their quotas.

    Attributes:
        status: that in the first line.
        head: the first line and the headers, without the empty line.
        body: what follows the empty line.
        whole: all of it.
    """

    status: HTTPStatus
    head: bytes
    body: bytes
    whole: bytes

    @classmethod
    def of(
        cls, status: HTTPStatus, headers: Mapping[str, str], body: bytes | None, at_s: int
    ) -> Message:
        """Return the message.

        Args:
            status: without a body, of one that never has any (304).
            headers: all but ``Content-Length`` and ``Date``.
            body: may be ``None``.
            at_s: the ``Date``, as Unix time.
        """
        lines = [f"HTTP/1.1 {status.value} {status.phrase}\r\n", _lines(headers)]
        if body is not None:
            lines.append(_lines({hdrs.CONTENT_LENGTH: str(len(body))}))
        lines.append(_lines({hdrs.DATE: formatdate(at_s, usegmt=True)}))
        head = "".join(lines).encode()
        return cls(status, head, body or b"", b"".join((head, _NEW_LINE, body or b"")))

    def with_headers(self, more: Mapping[str, str]) -> bytes:
        """Return the bytes with further headers."""
        return b"".join((self.head, _lines(more).encode(), _NEW_LINE, self.body))


def _lines(headers: Mapping[str, str]) -> str:
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()])


def takes_messages(request: web.Request) -> bool:
    """Return whether a :class:`Message` can answer a request, as nearly all: others get its parts.

    It has a body, which ``HEAD`` must not get, and says nothing about the connection, which stays.
    """
    return (
        request.method == hdrs.METH_GET and request.keep_alive and request.version == HttpVersion11
    )


class PreparedResponse(web.Response):
    """A response that sends the same message to all clients, and keeps nothing of any of them.

    Nothing can be added to it, not even by aiohttp's signals.
    """

    def __init__(self, message: Message) -> None:
        super().__init__(status=message.status)
        self._to_send = message

    @property
    def keep_alive(self) -> bool:
        """Whether the connection stays, which is so: see :func:`takes_messages`."""
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Send everything, with the headers of the client's quota if it has one."""
        message, quota = self._to_send, request.get(QUOTA)
        await request.writer.write_eof(message.with_headers(quota) if quota else message.whole)
        return request.writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: everything is sent."""

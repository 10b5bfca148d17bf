"""The envelope in which many APIs wrap data: ``{"code": 0, "message": "OK", "data": ...}``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import msgspec

from collector.sources import decoding
from collector.sources.base import CredentialsError

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """The declaration of an envelope.

    Attributes:
        code: the field that says whether the request succeeded.
        ok: the value of ``code`` in a response that succeeded; with any other it is ``refused``. A
            response without a code succeeded if its data has the expected shape.
        message: the field that explains an error.
        data: the field that holds the data; ``None`` if the data is beside the code.
        unauthorized: the codes for what only the owner of the credentials can put right, each with
            what is wrong.
    """

    code: str = "code"
    ok: object = 0
    message: str = "message"
    data: str | None = "data"
    unauthorized: Mapping[object, str] = field(default_factory=dict)

    def decode(self, body: bytes, shape: type[T]) -> T:
        """Return the data as ``shape``.

        Raises:
            TransientError: the body is not JSON, or the code is that of an error.
            CredentialsError: the code is one of ``unauthorized``.
            PermanentError: the body or its data has another shape.
        """
        fields = decoding.decode(body, dict[str, msgspec.Raw])
        if self.code in fields:
            self._check(msgspec.json.decode(fields[self.code]), fields)
        if self.data is None:
            return decoding.decode(body, shape)
        return decoding.decode(bytes(fields.get(self.data, b"null")), shape)

    def _check(self, code: object, fields: Mapping[str, msgspec.Raw]) -> None:
        if isinstance(code, int | str) and code in self.unauthorized:
            text = f"{self.code} {code}: {self.unauthorized[code]}"
            raise CredentialsError(text, reason="unauthorized")
        if code != self.ok:
            raise decoding.refused(code, msgspec.json.decode(fields.get(self.message, b"null")))

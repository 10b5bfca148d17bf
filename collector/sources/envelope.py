"""The envelope in which many APIs wrap data: ``{"code": 0, "message": "OK", "data": ...}``."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from collector.sources import decoding
from collector.sources.base import CredentialsError
from miningmap.inputs import decode_json

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

_NULL: Final = msgspec.Raw(b"null")


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """The declaration of an envelope.

    Attributes:
        code: the field that says whether the request succeeded; ``None`` if the API has no such
            field.
        ok: the codes of a response that succeeded; with any other code it is ``refused``. A code is
            compared with its type, and text without regard to case. A Boolean may be written as
            text or a number, if all codes are Booleans. A response without a code has the code
            ``None``.
        message: the field that explains an error.
        data: the field that holds the data; ``None`` if the data is beside the code.
        unauthorized: the codes for what only the owner of the credentials can put right, each with
            what is wrong.
    """

    code: str | None = "code"
    ok: tuple[object, ...] = (0,)
    message: str = "message"
    data: str | None = "data"
    unauthorized: Mapping[object, str] = field(default_factory=dict)

    def decode(self, body: bytes, shape: type[T]) -> T:
        """Return the data as ``shape``.

        Raises:
            TransientError: the body is not JSON, or the code is that of an error.
            CredentialsError: the code is one of ``unauthorized``.
            PermanentError: the body, its code or its data has another shape.
        """
        fields = decoding.decode(body, dict[str, msgspec.Raw])
        if self.code is not None:
            self._check(self.code, body, fields)
        if self.data is None:
            return decoding.decode(body, shape)
        return decoding.decode(bytes(fields.get(self.data, _NULL)), shape)

    def _check(self, name: str, body: bytes, fields: Mapping[str, msgspec.Raw]) -> None:
        code = self._code(bytes(fields.get(name, _NULL)))
        # To Python, false and 0.0 equal 0: an API whose code has another type has changed.
        if type(code) not in map(type, (*self.ok, *self.unauthorized)):
            found = f"the code {code!r:.40}" if name in fields else "no code"
            raise decoding.unexpected(body, f"{found} in the field {name!r}")
        if code in self.unauthorized:
            text = f"{name} {code}: {self.unauthorized[code]}"
            raise CredentialsError(text, reason="unauthorized")
        if _folded(code) not in map(_folded, self.ok):
            raise decoding.refused(
                code, decode_json(bytes(fields.get(self.message, _NULL)), object)
            )

    def _code(self, raw: bytes) -> object:
        if set(map(type, (*self.ok, *self.unauthorized))) == {bool}:
            with suppress(msgspec.ValidationError):
                return decode_json(raw, bool, strict=False)
        return decode_json(raw, object)


def _folded(code: object) -> object:
    return code.casefold() if isinstance(code, str) else code

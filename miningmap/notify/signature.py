"""Signatures by the specification Standard Webhooks (HMAC-SHA256). Pure."""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode, b64encode
from hashlib import sha256
from typing import Final

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"

MIN_KEY_BYTES: Final = 24
_PREFIX: Final = "whsec_"


def key_of(secret: str) -> bytes:
    """Return the key of a secret.

    Args:
        secret: at least 24 bytes in base64; ``whsec_`` in front of it is allowed.

    Raises:
        ValueError: it is no such text; the error does not contain it.
    """
    try:
        key = b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) < MIN_KEY_BYTES:
        raise ValueError(
            f"expected at least {MIN_KEY_BYTES} bytes in base64, as `openssl rand -base64 32` "
            "prints them"
        )
    return key


def headers_of(id_: str, timestamp: int, body: bytes, key: bytes | None) -> dict[str, str]:
    """Return the headers that identify a request and sign it.

    Args:
        id_: of the event.
        timestamp: of the request, in seconds since the Unix epoch.
        body: of the request.
        key: without one there is no signature.
    """
    headers = {ID: id_, TIMESTAMP: str(timestamp)}
    if key is not None:
        signed = f"{id_}.{timestamp}.".encode() + body
        signature = b64encode(hmac.digest(key, signed, sha256)).decode()
        headers[SIGNATURE] = f"v1,{signature}"
    return headers

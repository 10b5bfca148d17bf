"""Whom a client of Kafka or Redis trusts, and the certificate that it shows."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Protocol

from miningmap.settings import PREFIX, SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import SecretStr


class Certificates(Protocol):
    """The settings of a client's certificates."""

    ca_file: Path | None
    certificate_file: Path | None
    key_file: Path | None
    key_password: SecretStr | None


def context_of(settings: Certificates, section: str) -> ssl.SSLContext:
    """Return the context of a client. The names in a server's certificate are always checked.

    Args:
        settings: the files, in PEM.
        section: of the settings, for errors, such as ``KAFKA``.

    Raises:
        SettingsError: a file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except (ssl.SSLError, OSError) as error:
        text = f"{PREFIX}{section}__CA_FILE: has no certificates in PEM: {reason_of(error)}"
        raise SettingsError(text) from None
    if settings.certificate_file is not None:
        try:
            context.load_cert_chain(
                settings.certificate_file, settings.key_file, key_password_of(settings)
            )
        except (ssl.SSLError, OSError) as error:
            text = f"cannot be used with its key and its password: {reason_of(error)}"
            raise SettingsError(f"{PREFIX}{section}__CERTIFICATE_FILE: {text}") from None
    return context


def key_password_of(settings: Certificates) -> str:
    """Return the password of the key. Without any, OpenSSL would ask for it at the terminal."""
    return settings.key_password.get_secret_value() if settings.key_password else ""


def reason_of(error: OSError) -> str:
    """Return what went wrong in words, without the position in the source of OpenSSL."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return error.strerror or str(error)

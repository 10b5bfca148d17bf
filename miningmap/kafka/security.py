"""How every Kafka client proves who it is and whom it trusts, and why a broker refuses one.

aiokafka does not tell why it could not connect, so a client that failed asks again by itself.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from miningmap.kafka.errors import CONNECT_S, BrokerError, broker_errors
from miningmap.settings import PREFIX, SettingsError
from miningmap.tls import context_of, reason_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from miningmap.settings import Kafka

_SETTING: Final = f"{PREFIX}KAFKA__"
# TLS 1.3 tells a client only after the handshake that its certificate is missing or refused.
_HANDSHAKE_S: Final = 1.0
_OTHER_PROTOCOL: Final = (
    f"if this lasts, check {_SETTING}BOOTSTRAP_SERVERS, and that {_SETTING}SECURITY_PROTOCOL is "
    "what the broker expects there"
)


class RefusedError(BrokerError, SettingsError):
    """The broker works, but the settings do not let this client in; the text begins with one."""

    def __init__(self, setting: str, servers: str, problem: str) -> None:
        line = " ".join(problem.split())
        super().__init__(f"{_SETTING}{setting}: Kafka at {servers}: {line}", retriable=False)


def client_options(kafka: Kafka) -> dict[str, Any]:
    """Return the arguments that every client of aiokafka needs: its servers and its security.

    Raises:
        SettingsError: a file of a certificate or key cannot be used.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": kafka.bootstrap_servers,
        "security_protocol": kafka.security_protocol,
        "ssl_context": tls(kafka),
    }
    if kafka.security_protocol == "SASL_SSL":
        options |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.username,
            "sasl_plain_password": password_of(kafka),
        }
    return options


def password_of(kafka: Kafka) -> str | None:
    """Return the password, for the library that sends it."""
    return kafka.password.get_secret_value() if kafka.password else None


def tls(kafka: Kafka) -> ssl.SSLContext | None:
    """Return whom a client trusts and what it shows; ``None`` without TLS.

    The names in certificates are always checked.

    Raises:
        SettingsError: a file of a certificate or key cannot be used.
    """
    if kafka.security_protocol == "PLAINTEXT":
        return None
    return context_of(kafka, "KAFKA")


@asynccontextmanager
async def connecting(kafka: Kafka, timeout_s: float = CONNECT_S) -> AsyncIterator[None]:
    """Convert aiokafka's errors, and find out whether the broker refuses this client.

    Args:
        kafka: how to reach the broker.
        timeout_s: how long the block may take, in seconds.

    Raises:
        RefusedError: it does, because of a setting.
        BrokerError: the broker is unavailable.
    """
    try:
        async with broker_errors(kafka.bootstrap_servers, timeout_s):
            yield
    except BrokerError as error:
        if refusal := await _refusal(kafka):
            raise refusal from error
        if isinstance(error.__cause__, KafkaConnectionError) and await _is_listening(kafka):
            raise BrokerError.at(
                kafka.bootstrap_servers, "closes the connection at once", _OTHER_PROTOCOL
            ) from error
        raise


async def _refusal(kafka: Kafka) -> RefusedError | None:
    """Connect to the servers, one after another, until one tells why it refuses this client."""
    if kafka.security_protocol == "PLAINTEXT":
        return None
    for host, port, _ in collect_hosts(kafka.bootstrap_servers, randomize=False):
        if reason := await _reason(kafka, host, port):
            setting, problem = reason
            return RefusedError(setting, f"{host}:{port}", problem)
    return None


async def _reason(kafka: Kafka, host: str, port: int) -> tuple[str, str] | None:
    """Return the setting because of which a server refuses this client, and what it says."""
    options = client_options(kafka)
    del options["bootstrap_servers"]
    try:
        async with asyncio.timeout(CONNECT_S):
            connection = await create_conn(host, port, **options)
        connection.close()
    except ssl.SSLCertVerificationError as error:
        return "CA_FILE", f"its certificate is not trusted: {reason_of(error)}"
    except ssl.SSLError as error:
        return "SECURITY_PROTOCOL", f"cannot agree on TLS: {reason_of(error)}"
    except UnsupportedSaslMechanismError as error:
        return "SASL_MECHANISM", str(error)
    except (SaslAuthenticationFailed, AuthenticationFailedError) as error:
        return "PASSWORD", f"refuses the user {kafka.username}: {error}"
    except (KafkaError, OSError):  # a TimeoutError is an OSError
        return await _late_alert(kafka, host, port)
    return None


async def _is_listening(kafka: Kafka) -> bool:
    """Return whether a server takes connections, of whatever protocol."""
    for host, port, _ in collect_hosts(kafka.bootstrap_servers, randomize=False):
        with suppress(OSError):  # a TimeoutError is one
            async with asyncio.timeout(_HANDSHAKE_S):
                _, writer = await asyncio.open_connection(host, port)
                writer.close()
                return True
    return False


async def _late_alert(kafka: Kafka, host: str, port: int) -> tuple[str, str] | None:
    """Return what the broker says of this client's certificate after the handshake, if it does."""
    try:
        async with asyncio.timeout(_HANDSHAKE_S):
            reader, writer = await asyncio.open_connection(host, port, ssl=tls(kafka))
            try:
                await reader.read(1)
            finally:
                writer.close()
    except ssl.SSLError as error:
        return "CERTIFICATE_FILE", f"refuses the certificate of this client: {reason_of(error)}"
    except OSError:
        return None
    return None

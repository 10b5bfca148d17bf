"""Kafka and Redis as they are secured in production: TLS, users, and rules of what these may do."""

from __future__ import annotations

import argparse
import datetime as dt
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import redis
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int8, Int16, Int32, Schema, String
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from launch.local.embedded import LOOPBACK, free_port
from miningmap.settings import Kafka
from tests.servers import ROOT, KafkaServer, RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_DEPLOY: Final = (ROOT / "docs/deploy.md").read_text()
ADMIN: Final = "admin"
ADMIN_PASSWORD: Final = "admin-secret"
USERS: Final = ("collector", "streams", "notify", "operator", "nobody")


@dataclass(frozen=True)
class Signed:
    """A certificate and its key as files in PEM, one by one and together."""

    certificate: Path
    key: Path
    both: Path


class Authority:
    """A certificate authority that exists for one test run."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        extension = x509.BasicConstraints(ca=True, path_length=0)
        certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(extension, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def signed(self, name: str, *, password: str | None = None, at: str = "localhost") -> Signed:
        """A certificate for a server at a host, or for a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        alternatives = x509.SubjectAlternativeName([x509.DNSName(at)])
        certificate = (
            self._builder(subject, key.public_key())
            .add_extension(alternatives, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        encryption = (
            serialization.BestAvailableEncryption(password.encode())
            if password
            else serialization.NoEncryption()
        )
        pem = serialization.Encoding.PEM
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, encryption)
        public = certificate.public_bytes(pem)
        files = Signed(
            *(self._folder / f"{name}-{kind}.pem" for kind in ("certificate", "key", "both"))
        )
        files.certificate.write_bytes(public)
        files.key.write_bytes(private)
        files.both.write_bytes(private + public)
        return files

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        day = dt.timedelta(days=1)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - day)
            .not_valid_after(now + day)
        )


class SecureKafka(KafkaServer):
    """A real Apache Kafka with users, access rules and TLS.

    Its plain address, which only the tests use, is that of a superuser.
    """

    def __init__(self, folder: Path, ports: list[int]) -> None:
        super().__init__(folder, ports)
        self.authority = Authority(folder, "authority")
        self.users = f"localhost:{free_port()}"
        """Where users log in with SCRAM-SHA-512 or PLAIN."""
        self.certificates = f"localhost:{free_port()}"
        """Where a certificate is needed instead of a user."""
        self._server = self.authority.signed("server")

    def passwords(self) -> dict[str, str]:
        return {
            name: f"{name}-secret"
            for name in ("collector", "streams", "notify", "operator", "none")
        }

    def _settings(self) -> dict[str, str]:
        plain = f"PLAINTEXT://{self.bootstrap_servers}"
        outer = f"SASL_SSL://{self.users},SSL://{self.certificates}"
        users = " ".join(f'user_{n}="{p}"' for n, p in self.passwords().items())
        login = "org.apache.kafka.common.security"
        return super()._settings() | {
            "listeners": f"{plain},{outer},CONTROLLER://{LOOPBACK}:{self.ports[1]}",
            "advertised.listeners": f"{plain},{outer}",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": (
                "PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL,CONTROLLER:PLAINTEXT"
            ),
            "sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": (
                f"{login}.scram.ScramLoginModule required;"
            ),
            "listener.name.sasl_ssl.plain.sasl.jaas.config": (
                f"{login}.plain.PlainLoginModule required {users};"
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self._server.both),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.authority.file),
            "listener.name.ssl.ssl.client.auth": "required",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS;User:CN=operator",
        }

    def _format_options(self) -> list[str]:
        return [
            f"--add-scram=SCRAM-SHA-512=[name={name},password={password}]"
            for name, password in self.passwords().items()
        ]

    async def allow(self, rules: Iterable[str]) -> None:
        """Add access rules as the superuser.

        Args:
            rules: arguments of Kafka's own kafka-acls.sh, which the jars of the tests lack.
        """
        client = AIOKafkaClient(bootstrap_servers=self.bootstrap_servers)
        await client.bootstrap()
        try:
            request = _CreateAcls([rule for text in rules for rule in _parsed(text)])
            answer = await client.send(client.get_random_node(), request)
        finally:
            await client.close()
        assert all(not code for code, _ in answer.results), answer.results


def _parsed(arguments: str) -> Iterator[tuple[object, ...]]:
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--allow-principal", required=True)
    parser.add_argument("--operation", required=True, choices=_OPERATIONS)
    parser.add_argument("--topic", action="append", default=[])
    parser.add_argument("--group", action="append", default=[])
    parser.add_argument("--resource-pattern-type", default="literal", choices=_PATTERNS)
    rule = parser.parse_args(shlex.split(arguments))
    any_host, allow = "*", 3
    for kind, names in ((2, rule.topic), (3, rule.group)):
        for name in names:
            pattern, operation = _PATTERNS[rule.resource_pattern_type], _OPERATIONS[rule.operation]
            yield kind, name, pattern, rule.allow_principal, any_host, operation, allow


# The numbers of Kafka's protocol.
_OPERATIONS: Final = {"All": 2, "Read": 3, "Write": 4, "Create": 5, "Describe": 8}
_PATTERNS: Final = {"literal": 3, "prefixed": 4}


class _CreateAclsResponse(Response):  # type: ignore[misc] # aiokafka has no types
    API_KEY: ClassVar[int] = 30
    API_VERSION: ClassVar[int] = 1
    SCHEMA: ClassVar[Schema] = Schema(
        ("throttle_time_ms", Int32),
        ("results", Array(("error_code", Int16), ("error_message", String("utf-8")))),
    )


class _CreateAclsStruct(RequestStruct):  # type: ignore[misc]
    API_KEY: ClassVar[int] = 30
    API_VERSION: ClassVar[int] = 1
    RESPONSE_TYPE: ClassVar[type[Response]] = _CreateAclsResponse
    SCHEMA: ClassVar[Schema] = Schema(
        (
            "creations",
            Array(
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
                ("resource_pattern_type", Int8),
                ("principal", String("utf-8")),
                ("host", String("utf-8")),
                ("operation", Int8),
                ("permission_type", Int8),
            ),
        )
    )


class _CreateAcls(Request[_CreateAclsStruct]):  # type: ignore[misc]
    API_KEY: ClassVar[int] = 30

    def __init__(self, rules: list[tuple[object, ...]]) -> None:
        self._rules = rules

    def build(self, request_struct_class: type[_CreateAclsStruct]) -> _CreateAclsStruct:
        return request_struct_class(self._rules)


class SecureRedis(RedisServer):
    """A real Redis with users, access rules and TLS, and without a plain port."""

    def __init__(self, folder: Path, ports: list[int]) -> None:
        super().__init__(folder, ports)
        self.authority = Authority(folder, "authority")
        self._server = self.authority.signed("server")
        self.url = f"rediss://localhost:{ports[0]}/0"
        self.certificate_port = ports[1]

    def admin(self) -> redis.Redis:
        """A client that may do everything."""
        return redis.Redis.from_url(
            self.url,
            username=ADMIN,
            password=ADMIN_PASSWORD,
            ssl_ca_certs=str(self.authority.file),
        )

    def set_user(self, name: str, *rules: str) -> None:
        """Create a user, whose password is `NAME-secret`, or replace it."""
        with self.admin() as client:
            client.execute_command("ACL", "SETUSER", name, "reset", "on", f">{name}-secret", *rules)

    def denied(self) -> list[str]:
        """What Redis has refused to its users since the last call."""
        with self.admin() as client:
            entries = client.acl_log()
            client.acl_log_reset()
        return [f"{e['username']}: {e['reason']} {e['object']}" for e in entries]

    def _command(self) -> list[str]:
        options = {
            "port": "0",
            "tls-port": str(self.ports[0]),
            "tls-cert-file": str(self._server.certificate),
            "tls-key-file": str(self._server.key),
            "tls-ca-cert-file": str(self.authority.file),
            "tls-auth-clients": "optional",
        }
        command = super()._command()
        command[command.index("--port") + 1] = "0"
        extra = [word for key, value in options.items() for word in (f"--{key}", value)]
        return [
            *command,
            *extra,
            *("--user", ADMIN, "on", f">{ADMIN_PASSWORD}", "~*", "&*", "+@all"),
            *("--user", "default", "off"),
        ]

    def _responds(self) -> bool:
        try:
            with self.admin() as client:
                return bool(client.info("server")["process_id"] == self.pid)
        except redis.ConnectionError:  # not listening yet
            return False


def user(broker: SecureKafka, name: str, **changes: object) -> Kafka:
    """The settings of one user, who has the consumer group of the service of this name."""
    values = {
        "bootstrap_servers": broker.users,
        "security_protocol": "SASL_SSL",
        "username": name,
        "password": f"{name}-secret",
        "ca_file": broker.authority.file,
        "group": f"miningmap-{name}",
    }
    return Kafka.model_validate(values | changes)


def kafka_rules() -> list[str]:
    """The access rules of docs/deploy.md, as arguments of kafka-acls.sh."""
    return re.findall(r"^    acl (--allow-principal .+)$", _DEPLOY, re.MULTILINE)


def redis_rules() -> dict[str, list[str]]:
    """The access rules of docs/deploy.md, by user, without their passwords."""
    found = re.findall(r"^    user (\w+) on >PASSWORD (.+)$", _DEPLOY, re.MULTILINE)
    return {name: rules.split() for name, rules in found}

"""Every client of a real Kafka with TLS, users and access rules, and what it says when refused."""

from __future__ import annotations

import asyncio
import re
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

import pytest
from pydantic import SecretStr

from miningmap.kafka.access import Access, require_access
from miningmap.kafka.admin import check_topics
from miningmap.kafka.errors import BrokerError
from miningmap.kafka.lag import lag_of
from miningmap.kafka.producer import Publisher, Record
from miningmap.kafka.reader import open_reader
from miningmap.kafka.security import RefusedError, client_options
from miningmap.kafka.topics import DEAD_LETTERS, NETWORK, REPORTS, SHARES, SWINGS
from miningmap.settings import Kafka, SettingsError
from streams.worker.group_reader import GroupReader
from tests.secure_servers import Authority, SecureKafka, user
from tests.servers import ROOT, kafka_at

if TYPE_CHECKING:
    from pathlib import Path

    from miningmap.settings import Settings

pytestmark = pytest.mark.integration

DEADLINE_S: Final = 60


async def refused(kafka: Kafka) -> str:
    """The line of a client that may not connect; it has no secret in it."""
    with pytest.raises(SettingsError) as caught:
        await check_topics(kafka)
    line = str(caught.value)
    assert "\n" not in line
    assert "secret" not in line
    return line


# --- connecting -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
async def test_a_user_with_the_right_password_connects(broker: SecureKafka, mechanism: str) -> None:
    states = await check_topics(user(broker, "operator", sasl_mechanism=mechanism))
    assert {state for _, state in states} == {"ok"}


async def test_a_client_with_a_certificate_connects(broker: SecureKafka) -> None:
    operator = broker.authority.signed("operator", password="of-the-key")
    kafka = Kafka(
        bootstrap_servers=broker.certificates,
        security_protocol="SSL",
        ca_file=broker.authority.file,
        certificate_file=operator.certificate,
        key_file=operator.key,
        key_password=SecretStr("of-the-key"),
    )
    assert {state for _, state in await check_topics(kafka)} == {"ok"}
    without_password = kafka.model_copy(update={"key_password": None})
    expected = "^MININGMAP_KAFKA__CERTIFICATE_FILE: cannot be used with its key"
    with pytest.raises(SettingsError, match=expected):
        client_options(without_password)


async def test_a_missing_certificate_of_the_client_is_said(broker: SecureKafka) -> None:
    kafka = Kafka(
        bootstrap_servers=broker.certificates,
        security_protocol="SSL",
        ca_file=broker.authority.file,
    )
    assert await refused(kafka) == (
        f"MININGMAP_KAFKA__CERTIFICATE_FILE: Kafka at {broker.certificates}: refuses the "
        "certificate of this client: sslv3 alert bad certificate"
    )


async def test_a_wrong_password_is_said(broker: SecureKafka) -> None:
    line = await refused(user(broker, "collector", password="a-wrong-secret"))
    assert line.startswith(
        f"MININGMAP_KAFKA__PASSWORD: Kafka at {broker.users}: refuses the user collector: "
    )


async def test_a_mechanism_that_the_broker_lacks_is_said(broker: SecureKafka) -> None:
    line = await refused(user(broker, "collector", sasl_mechanism="SCRAM-SHA-256"))
    assert line.startswith(f"MININGMAP_KAFKA__SASL_MECHANISM: Kafka at {broker.users}: ")


async def test_a_certificate_of_another_authority_is_not_trusted(
    broker: SecureKafka, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other")
    line = await refused(user(broker, "collector", ca_file=other.file))
    assert line.startswith(
        f"MININGMAP_KAFKA__CA_FILE: Kafka at {broker.users}: its certificate is not trusted: "
    )


async def test_a_certificate_for_another_name_is_not_trusted(broker: SecureKafka) -> None:
    by_number = broker.users.replace("localhost", "127.0.0.1")
    line = await refused(user(broker, "collector", bootstrap_servers=by_number))
    assert line == (
        f"MININGMAP_KAFKA__CA_FILE: Kafka at {by_number}: its certificate is not trusted: "
        "IP address mismatch, certificate is not valid for '127.0.0.1'."
    )


async def test_another_protocol_is_said(broker: SecureKafka) -> None:
    """It is not told from a broker that starts, so a service goes on trying."""
    for kafka in (
        user(broker, "collector", bootstrap_servers=broker.bootstrap_servers),
        kafka_at(broker.users),
    ):
        with pytest.raises(BrokerError) as caught:
            await check_topics(kafka)
        assert str(caught.value) == (
            f"Kafka at {kafka.bootstrap_servers}: closes the connection at once; if this lasts, "
            "check MININGMAP_KAFKA__BOOTSTRAP_SERVERS, and that MININGMAP_KAFKA__SECURITY_PROTOCOL "
            "is what the broker expects there"
        )


# --- access rules ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "access"),
    [
        (
            "collector",
            Access(
                frozenset({NETWORK, REPORTS}), frozenset({REPORTS, NETWORK, DEAD_LETTERS}), None
            ),
        ),
        (
            "streams",
            Access(
                frozenset({REPORTS, NETWORK, DEAD_LETTERS, SWINGS}),
                frozenset({DEAD_LETTERS, SHARES, SWINGS}),
                "miningmap-streams",
            ),
        ),
        ("notify", Access(frozenset({SWINGS}), frozenset(), "miningmap-notify")),
    ],
)
async def test_the_documented_rules_are_enough(
    broker: SecureKafka, name: str, access: Access
) -> None:
    async with asyncio.timeout(DEADLINE_S):
        await require_access(user(broker, name), access)


async def test_missing_permissions_are_all_said_in_one_line(broker: SecureKafka) -> None:
    access = Access(frozenset({NETWORK}), frozenset({REPORTS, SHARES}), "miningmap-notify")
    with pytest.raises(RefusedError) as caught:
        async with asyncio.timeout(DEADLINE_S):
            await require_access(user(broker, "collector"), access)
    assert str(caught.value) == (
        f"MININGMAP_KAFKA__USERNAME: Kafka at {broker.users}: the user collector lacks Write on "
        "the topic miningmap.shares, Read on the group miningmap-notify; docs/deploy.md lists "
        "what each service needs"
    )


async def test_a_topic_that_does_not_exist_is_no_missing_permission(broker: SecureKafka) -> None:
    async with asyncio.timeout(DEADLINE_S):
        await require_access(
            user(broker, "operator"), Access(writes=frozenset({"miningmap.later"}))
        )


# --- every client ---------------------------------------------------------------------------------


async def test_each_kind_of_client_uses_the_security(
    broker: SecureKafka, settings_of_streams: Settings
) -> None:
    """Producer, groupless consumer, administration, and the member of a group."""
    collector, streams = user(broker, "collector"), settings_of_streams.kafka
    async with asyncio.timeout(DEADLINE_S):
        async with Publisher(collector, frozenset({REPORTS, NETWORK})) as publisher:
            await publisher.connected()
            await publisher.publish([Record(REPORTS, b"pool", b"one")])
        async with open_reader(collector, [REPORTS]) as reader:
            read = [value async for values in reader.batches() for value in values]
        assert b"one" in read
        group = GroupReader(
            streams, streams.group, [REPORTS], limit=100, between_fetches=nullcontext
        )
        async with group.joined():
            async for fetch in group.fetches():
                if b"one" in {message.value for message in fetch.messages}:
                    break
        async with lag_of(streams, streams.group, [REPORTS]) as lag:
            assert await lag()


@pytest.fixture
def settings_of_streams(broker: SecureKafka) -> Settings:
    from miningmap.settings import load  # noqa: PLC0415 - after the environment was emptied

    return load().model_copy(update={"kafka": user(broker, "streams")})


def test_no_client_is_made_without_the_security() -> None:
    """One place gives all clients their options, so none can forget them."""
    folders = ("miningmap", "collector", "streams", "endpoint", "launch")
    makers = re.compile(r"(AIOKafkaConsumer|AIOKafkaProducer|AIOKafkaAdminClient|AIOKafkaClient)\(")
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        text = path.read_text()
        made = [match.end() for match in makers.finditer(text) if "class" not in match[0]]
        for end in made:
            assert re.match(r"\s*\*\*client_options\(", text[end:]), f"{path}: {text[end:][:60]}"

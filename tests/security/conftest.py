"""Kafka and Redis with TLS, users and the access rules of docs/deploy.md."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from miningmap.kafka.admin import ensure_topics
from tests.conftest import launched
from tests.secure_servers import SecureKafka, SecureRedis, kafka_rules, redis_rules
from tests.servers import kafka_at

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def broker() -> Iterator[SecureKafka]:
    """Kafka with the project's topics, and the access rules as they are documented."""
    server = launched(SecureKafka)
    try:
        asyncio.run(ensure_topics(kafka_at(server.bootstrap_servers)))
        rules = kafka_rules()
        users = {rule.split()[1].removeprefix("User:") for rule in rules}
        assert users == {"collector", "streams", "notify", "operator", "keda"}
        asyncio.run(server.allow(rules))
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def store() -> Iterator[SecureRedis]:
    """Redis with the access rules as they are documented."""
    server = launched(SecureRedis)
    try:
        rules = redis_rules()
        assert rules.keys() == {"collector", "streams", "endpoint"}
        for name, of_user in rules.items():
            server.set_user(name, *of_user)
        yield server
    finally:
        server.close()

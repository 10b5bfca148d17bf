"""``docs/asyncapi.yaml``, and its check with AsyncAPI's parser."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from miningmap.kafka.topics import DEAD_LETTERS, NETWORK, REPORTS, SHARES, SWINGS, TOPICS
from miningmap.swings import encode_swing
from tests.streams.fixtures import place_swing, pool_swing
from tools import asyncapi

if TYPE_CHECKING:
    from collections.abc import Iterator

    from miningmap.swings import Swing

ROOT = Path(__file__).resolve().parents[1]
COMMITTED = ROOT / "docs" / "asyncapi.yaml"
SAMPLES = ROOT / "tests" / "compat" / "0.1.0"
OF_TOPIC = {REPORTS: ("report",), NETWORK: ("network",), SHARES: ("shares", "subdivisions")}
"""The files of sample messages of each topic."""


def test_the_committed_document_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    asyncapi.main()
    assert capsys.readouterr().out == COMMITTED.read_text()


def test_every_topic_is_a_channel_with_its_settings() -> None:
    channels = yaml.safe_load(COMMITTED.read_text())["channels"]
    assert list(channels) == [topic.name for topic in TOPICS]
    for topic in TOPICS:
        kafka = channels[topic.name]["bindings"]["kafka"]
        assert kafka["partitions"] == topic.partitions
        assert kafka["topicConfiguration"].keys() == topic.config.keys()


def samples() -> Iterator[tuple[str, Any]]:
    for topic, names in OF_TOPIC.items():
        for name in names:
            for line in (SAMPLES / f"{name}.jsonl").read_text().splitlines():
                yield topic, json.loads(line)


def validator_of(topic: str) -> Any:
    """A validator of the payloads of a topic."""
    import jsonschema  # noqa: PLC0415 - takes seconds, in every process that runs tests

    schema, described = payload_of(topic)
    return jsonschema.Draft7Validator(schema | {"components": described["components"]})


@pytest.mark.parametrize(("topic", "message"), list(samples()))
def test_sample_messages_match_their_schema(topic: str, message: Any) -> None:
    validator_of(topic).validate(message)


@pytest.mark.parametrize("swing", [place_swing(), pool_swing()])
def test_events_of_swings_match_their_schema(swing: Swing) -> None:
    validator = validator_of(SWINGS)
    message = json.loads(encode_swing(swing))
    validator.validate(message)
    del message["started"]
    assert not validator.is_valid(message)


def test_an_invalid_payload_does_not_match() -> None:
    validator = validator_of(SHARES)
    (message, *_) = (message for topic, message in samples() if topic == SHARES)
    message["shares"][0]["belief"].append(0.5)
    assert not validator.is_valid(message)


def payload_of(topic: str) -> tuple[Any, Any]:
    described = yaml.safe_load(COMMITTED.read_text())
    (message,) = described["channels"][topic]["messages"]
    return described["components"]["messages"][message]["payload"], described


def test_dead_letters_have_headers_for_origin_and_reason() -> None:
    described = yaml.safe_load(COMMITTED.read_text())
    assert described["channels"][DEAD_LETTERS]["messages"].keys() == {"deadLetter"}
    headers = described["components"]["messages"]["deadLetter"]["headers"]
    assert headers["required"] == ["reason", "error", "topic", "at"]
    assert headers["properties"].keys() > {"partition", "offset", "source"}


def test_without_npm_the_check_is_skipped_with_a_message(tmp_path: Path) -> None:
    for name in ("bash", "dirname"):
        (tmp_path / name).symlink_to(shutil.which(name) or name)
    done = subprocess.run(
        [ROOT / "tools" / "check-asyncapi.sh"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "is not checked with AsyncAPI's parser: there is no npm" in done.stderr

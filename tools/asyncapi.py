"""Prints ``docs/asyncapi.yaml``: the topics and their messages, as the code has them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import msgspec
import yaml

from miningmap import __version__
from miningmap.api.models import Answer, SubdivisionAnswer
from miningmap.api.schemas import ref, schemas
from miningmap.kafka.dead_letters import DeadLetter, record_of
from miningmap.kafka.topics import DEAD_LETTERS, NETWORK, REPORTS, SHARES, SWINGS, TOPICS, Topic
from miningmap.messages import NETWORK_KEY, Network, Report, Slug
from streams.method.windows import ROLLING

Json: TypeAlias = Mapping[str, Any]

_ABOUT: Final = """\
What miningmap's services say to each other over Kafka. Messages are JSON in UTF-8: times are
RFC 3339 with `Z`, hashrates are in H/s, `null` is unknown. Readers ignore fields that they do not
know; a message of an unknown `schema` becomes a dead letter.
"""
_TOPICS: Final = {
    REPORTS: "What sources say of pools: the truth from which all else can be made again.",
    NETWORK: "What sources say of the whole network's hashrate.",
    SHARES: "The snapshots that `/api/v1/shares` serves, the newest by key.",
    SWINGS: "Places whose share moves. The topic is made; nothing is written to it yet.",
    DEAD_LETTERS: "What could not be used, as it came, with whence and why.",
}
_NUMBERS: Final = ("retention.ms", "max.message.bytes")


def document() -> Json:
    """The document."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "miningmap",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in TOPICS},
        "operations": _operations(),
        "components": {"messages": _messages(), "schemas": _schemas()},
    }


def _channel(topic: Topic) -> Json:
    messages = {REPORTS: "report", NETWORK: "network", SHARES: "shares", DEAD_LETTERS: "deadLetter"}
    name = messages.get(topic.name)
    config = {
        key: [value] if key == "cleanup.policy" else int(value) if key in _NUMBERS else value
        for key, value in topic.config.items()
    }
    return {
        "address": topic.name,
        "description": _TOPICS[topic.name],
        "messages": {name: {"$ref": f"#/components/messages/{name}"}} if name else {},
        "bindings": {"kafka": {"partitions": topic.partitions, "topicConfiguration": config}},
    }


def _operations() -> Json:
    said = (
        ("send", "collector", "Reports", REPORTS, "What was polled, or pushed by a partner."),
        ("send", "collector", "Network", NETWORK, "What was polled."),
        ("receive", "streams", "Reports", REPORTS, "Into cells."),
        ("receive", "streams", "Network", NETWORK, "Into cells."),
        ("send", "streams", "Shares", SHARES, "Every few seconds, what changed."),
        ("send", "services", "DeadLetters", DEAD_LETTERS, "By the collector and by streams."),
        ("receive", "streams", "DeadLetters", DEAD_LETTERS, "To show them beside their pools."),
    )
    return {
        f"{who}{action.capitalize()}{what}": {
            "action": action,
            "channel": {"$ref": f"#/channels/{topic}"},
            "summary": summary,
        }
        for action, who, what, topic, summary in said
    }


def _messages() -> Json:
    name = f"^(?:{'|'.join(ROLLING)})/(?:country|subdivision/[A-Z]{{2}})$"
    return {
        "report": _message("Report", "report/1", ref(Report), _schema(Slug)),
        "network": _message("Network", "network/1", ref(Network), {"const": NETWORK_KEY}),
        "shares": _message(
            "Shares",
            "A snapshot: a window's shares by country, or by a country's subdivisions.",
            {"anyOf": [ref(SubdivisionAnswer), ref(Answer)]},
            {"type": "string", "pattern": name},
        ),
        "deadLetter": {
            **_message(
                "Dead letter",
                "The bytes as they came, or would have gone.",
                {"description": "Anything, JSON or not."},
                {"type": "string", "description": "As it came: a pool's slug, or nothing."},
            ),
            "contentType": "application/octet-stream",
            "headers": _dead_letter_headers(),
        },
    }


def _message(title: str, summary: str, payload: Json, key: Json) -> Json:
    return {
        "title": title,
        "summary": summary,
        "payload": payload,
        "bindings": {"kafka": {"key": key}},
    }


def _dead_letter_headers() -> Json:
    least = DeadLetter(None, b"", "invalid", "", datetime(2026, 1, 1, tzinfo=UTC), REPORTS)
    most = DeadLetter(b"", b"", "invalid", "", least.at, REPORTS, 0, 0, "mempool")
    properties: dict[str, Any] = {name: {"type": "string"} for name, _ in record_of(most).headers}
    properties["reason"]["description"] = "From the short list in architecture.md."
    properties["at"]["format"] = "date-time"
    required = [name for name, _ in record_of(least).headers]
    return {"type": "object", "properties": properties, "required": required}


# --- schemas --------------------------------------------------------------------------------------


def _schema(kind: Any) -> Json:  # noqa: ANN401 - any type that msgspec knows
    (schema,), _ = msgspec.json.schema_components([kind])
    return schema


def _schemas() -> Json:
    kinds = (Report, Network, Answer, SubdivisionAnswer)
    return {name: _draft_07(schema) for name, schema in schemas(kinds).items()}


def _draft_07(schema: Any) -> Any:  # noqa: ANN401 - JSON
    """A schema in AsyncAPI's dialect, where tuples are written otherwise."""
    match schema:
        case {"prefixItems": items, "items": False}:
            rest = {k: v for k, v in schema.items() if k not in {"prefixItems", "items"}}
            return _draft_07(rest) | {"items": _draft_07(items), "additionalItems": False}
        case dict():
            return {key: _draft_07(value) for key, value in schema.items()}
        case list():
            return [_draft_07(value) for value in schema]
        case _:
            return schema


# --- YAML -----------------------------------------------------------------------------------------


class _Dumper(yaml.SafeDumper):
    """Writes every value where it is used, and text of several lines as such."""

    def ignore_aliases(self, _data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def main() -> None:
    """Print the document."""
    sys.stdout.write("# Made from the code by `make docs`.\n")
    text = yaml.dump(document(), Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()

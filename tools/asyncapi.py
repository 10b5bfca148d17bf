"""Print ``docs/asyncapi.yaml``: the Kafka topics and their messages, generated from the code."""

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
from miningmap.cbeci.contribution_rows import ROWS_HEADER
from miningmap.kafka.dead_letters import DeadLetter, record_of
from miningmap.kafka.topics import DEAD_LETTERS, NETWORK, REPORTS, SHARES, SWINGS, TOPICS, Topic
from miningmap.messages import NETWORK_KEY, Network, Report, Slug
from miningmap.swings import PlaceSwing, PoolSwing
from streams.method.windows import ROLLING

Json: TypeAlias = Mapping[str, Any]

_ABOUT: Final = """\
The messages that miningmap's services exchange over Kafka. Messages are JSON in UTF-8: times are
RFC 3339 with `Z`, hashrates are in H/s, and `null` means unknown. Readers ignore unknown fields; a
message with an unknown `schema` becomes a dead letter.
"""
_TOPICS: Final = {
    REPORTS: "Reports about pools. With `miningmap.network`, all else can be rebuilt from them.",
    NETWORK: "Messages about the whole network's hashrate.",
    SHARES: "The snapshots that `/api/v1/shares` serves; the newest of each key is kept.",
    SWINGS: (
        "The events of swings, in order. An event can be there twice: repeats have the same pair, "
        "place or pool and source, `started`, `at` and `state`."
    ),
    DEAD_LETTERS: "Messages that could not be used, unchanged, with their origin and the reason.",
}
_MESSAGES: Final = {
    REPORTS: "report",
    NETWORK: "network",
    SHARES: "shares",
    SWINGS: "swing",
    DEAD_LETTERS: "deadLetter",
}
_NUMBERS: Final = ("retention.ms", "max.message.bytes")


def document() -> Json:
    """The AsyncAPI document."""
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
    name = _MESSAGES[topic.name]
    config = {
        key: [value] if key == "cleanup.policy" else int(value) if key in _NUMBERS else value
        for key, value in topic.config.items()
    }
    return {
        "address": topic.name,
        "description": _TOPICS[topic.name],
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
        "bindings": {"kafka": {"partitions": topic.partitions, "topicConfiguration": config}},
    }


def _operations() -> Json:
    operations = (
        (
            "send",
            "collector",
            "Reports",
            REPORTS,
            "Reports polled from a source or pushed by a partner.",
        ),
        ("send", "collector", "Network", NETWORK, "The network's hashrate, polled from a source."),
        ("receive", "streams", "Reports", REPORTS, "Read to write cells."),
        ("receive", "streams", "Network", NETWORK, "Read to write cells."),
        ("send", "streams", "Shares", SHARES, "The answers that have changed, every few seconds."),
        (
            "send",
            "streams",
            "Swings",
            SWINGS,
            "Sent when a swing starts, becomes more severe, resolves or is lost.",
        ),
        ("send", "services", "DeadLetters", DEAD_LETTERS, "Sent by the collector and by streams."),
        ("receive", "streams", "DeadLetters", DEAD_LETTERS, "Read to list them with their pools."),
    )
    return {
        f"{service}{action.capitalize()}{messages}": {
            "action": action,
            "channel": {"$ref": f"#/channels/{topic}"},
            "summary": summary,
        }
        for action, service, messages, topic, summary in operations
    }


def _messages() -> Json:
    name = f"^(?:{'|'.join(ROLLING)})/(?:country|subdivision/[A-Z]{{2}})$"
    return {
        "report": {
            **_message("Report", "report/1", ref(Report), _schema(Slug)),
            "headers": {"type": "object", "properties": {ROWS_HEADER: _ROWS}},
        },
        "network": _message("Network", "network/1", ref(Network), {"const": NETWORK_KEY}),
        "shares": _message(
            "Shares",
            "An answer of a snapshot: a window's shares by country, or by subdivision.",
            {"anyOf": [ref(SubdivisionAnswer), ref(Answer)]},
            {"type": "string", "pattern": name},
        ),
        "swing": _message(
            "Swing",
            "swing/1: an event of the share of a place, or of the hashrate of a pool.",
            {"anyOf": [ref(PlaceSwing), ref(PoolSwing)]},
            {"type": "string", "description": "The code of the place, or the slug of the pool."},
        ),
        "deadLetter": {
            **_message(
                "Dead letter",
                "The bytes of a message that arrived, or that would have been sent.",
                {"description": "Any bytes, JSON or not."},
                {
                    "type": "string",
                    "description": "The key of the message: a pool's slug, or none.",
                },
            ),
            "contentType": "application/octet-stream",
            "headers": _dead_letter_headers(),
        },
    }


_ROWS: Json = {
    "type": "string",
    "description": "Only where several rows of a partner share a code: the rows that the report "
    "was made from, as JSON, H/s by place. The place is a code, or `OTHER/` and a name.",
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
    properties["reason"]["description"] = "One of the reasons in architecture.md."
    properties["at"]["format"] = "date-time"
    required = [name for name, _ in record_of(least).headers]
    return {"type": "object", "properties": properties, "required": required}


# --- schemas --------------------------------------------------------------------------------------


def _schema(kind: Any) -> Json:  # noqa: ANN401 - any type that msgspec knows
    (schema,), _ = msgspec.json.schema_components([kind])
    return schema


def _schemas() -> Json:
    kinds = (Report, Network, Answer, SubdivisionAnswer, PlaceSwing, PoolSwing)
    return {name: _draft_07(schema) for name, schema in schemas(kinds).items()}


def _draft_07(schema: Any) -> Any:  # noqa: ANN401 - JSON
    """A schema in AsyncAPI's dialect (draft 7), which writes tuples differently."""
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
    """Write values without references, and text of several lines as a block."""

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

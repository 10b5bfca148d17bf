"""Settings: environment ``MININGMAP_SECTION__NAME``, secrets from files, a TOML file; all checked.

One place for every default. What wins: environment, then secrets (``MININGMAP_SECRETS_DIR``), then
the TOML file of ``--config``, then the defaults here.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import pydantic
import pydantic_settings
from pydantic import BaseModel, Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

PREFIX: Final = "MININGMAP_"
SECRETS_DIR: Final = "MININGMAP_SECRETS_DIR"

Port = Annotated[int, Field(ge=0, le=65535)]


class SettingsError(Exception):
    """A setting is missing or wrong; the text is one line and names it."""


class _Section(BaseModel):
    model_config = {"extra": "forbid"}


class Kafka(_Section):
    """How to reach the broker."""

    bootstrap_servers: str = "127.0.0.1:9092"
    group: str = Field(default="miningmap-streams", description="consumer group of the streams")
    session_timeout_s: float = Field(
        default=45, ge=6, description="a silent member of the group loses its partitions after this"
    )
    idempotent: bool = Field(
        default=True,
        description="off only for brokers that cannot: a retry may repeat a message",
    )


class Redis(_Section):
    """How to reach Redis. The URL may carry a password: it is never logged."""

    url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    password: SecretStr | None = Field(default=None, description="wins over one in the URL")


class Endpoint(_Section):
    """The public HTTP service."""

    host: str = "127.0.0.1"
    port: Port = 8080
    fresh_s: float = Field(default=60, gt=0, description="an older snapshot is not fit to serve")


class Intake(_Section):
    """The partners' HTTP service, part of the collector."""

    host: str = "127.0.0.1"
    port: Port = 8081
    partners_file: Path | None = Field(
        default=None,
        description='JSON: [{"partner": NAME, "pool": SLUG, "token_sha256": HEX}, ...]',
    )


class Collector(_Section):
    """Polling other people's servers."""

    metrics_host: str = "127.0.0.1"
    metrics_port: Port = 9101
    sources: list[str] | None = Field(
        default=None, description="slugs to poll; unset polls all that are on by default"
    )
    poll_s: float | None = Field(
        default=None, gt=0, description="instead of each source's own interval"
    )
    upstream: str | None = Field(
        default=None,
        description="send every request to this server, as /HOST/PATH: simulated pools, a mirror",
    )
    allow_private: bool = Field(
        default=False, description="allow sources at private and loopback addresses"
    )
    contact: str = Field(
        default="", description="a mail or web address in the User-Agent, for the pools' operators"
    )
    simulated: bool = Field(default=False, description="mark every report as simulated")


class Streams(_Section):
    """Kafka to Redis, and the snapshots."""

    metrics_host: str = "127.0.0.1"
    metrics_port: Port = 9102
    batch: int = Field(default=500, ge=1)
    batch_within_s: float = Field(default=0.5, gt=0, le=2)
    snapshot_s: float = Field(default=5, gt=0)
    stalled_s: float = Field(
        default=120, gt=0, description="messages wait and none was processed for so long: exit"
    )


class Retention(_Section):
    """How long Redis keeps what (method.md 3). Days are kept for ever."""

    minutes_h: int = Field(default=48, ge=2)
    hours_d: int = Field(default=35, ge=31)


class Method(_Section):
    """What interprets the messages: the operator's own priors and rules."""

    priors_file: Path | None = None
    rules_file: Path | None = None
    default_prior: bool = Field(
        default=True, description="spread pools that declare no prior by the shipped estimate"
    )


class Log(_Section):
    """Logs go to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


class Settings(BaseSettings):
    """All settings of all services. Made by :func:`load`."""

    kafka: Kafka = Kafka()
    redis: Redis = Redis()
    endpoint: Endpoint = Endpoint()
    intake: Intake = Intake()
    collector: Collector = Collector()
    streams: Streams = Streams()
    retention: Retention = Retention()
    method: Method = Method()
    log: Log = Log()

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid")


def load(config: Path | None = None) -> Settings:
    """The settings of this process: environment, secrets, ``config`` (TOML), defaults.

    Raises:
        SettingsError: something is missing or wrong; one line that names the setting.
    """
    _refuse_unknown_sections(os.environ)
    if config is not None and not config.is_file():
        raise SettingsError(f"--config: no such file: {config}")
    secrets = os.environ.get(SECRETS_DIR) or None

    class Loaded(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - nothing is passed
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - there is no .env file
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            nested = NestedSecretsSettingsSource(
                file_secret_settings,
                secrets_dir=secrets,
                secrets_dir_missing="error" if secrets else "ok",
                secrets_prefix=PREFIX,
                secrets_nested_delimiter="__",
            )
            return env_settings, nested, TomlConfigSettingsSource(settings_cls, toml_file=config)

    try:
        return Loaded()
    except pydantic.ValidationError as error:
        raise SettingsError("; ".join(map(_line, error.errors()))) from None
    except (pydantic_settings.SettingsError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(str(error).replace("\n", " ")) from None


def _line(error: ErrorDetails) -> str:
    name = PREFIX + "__".join(str(part).upper() for part in error["loc"])
    return f"{name}: {error['msg']}"


def _refuse_unknown_sections(environ: Mapping[str, str]) -> None:
    """A misspelt section would otherwise be ignored, and a default used in its place."""
    known = sorted(Settings.model_fields)
    for name in environ:
        if name.startswith(PREFIX) and name != SECRETS_DIR:
            section = name.removeprefix(PREFIX).partition("__")[0].lower()
            if section not in known:
                raise SettingsError(f"{name}: no such section; there are {', '.join(known)}")

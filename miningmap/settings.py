"""The settings of all services, with their defaults, and how they are loaded and checked.

In order of precedence: the environment (``MININGMAP_SECTION__NAME``), files of secrets (in
``MININGMAP_SECRETS_DIR``), the TOML file of ``--config``, and the defaults here. docs/settings.md
documents each setting.
"""

from __future__ import annotations

import math
import os
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

import pydantic
import pydantic_settings
from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    FilePath,
    IPvAnyNetwork,
    PlainValidator,
    PositiveInt,
    SecretStr,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from miningmap.inputs import MARK, decode_toml, read_text
from miningmap.messages import SLUG
from miningmap.partner import PARTNER_TOKEN
from miningmap.private_files import ExposedFileError, require_private

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

PREFIX: Final = "MININGMAP_"
MB: Final = 10**6
SECRETS_DIR: Final = "MININGMAP_SECRETS_DIR"
HOSTS_SETTING: Final = f"{PREFIX}COLLECTOR__HOSTS"
SERVERS_SETTING: Final = f"{PREFIX}KAFKA__BOOTSTRAP_SERVERS"

_CREDENTIAL: Final = f"{PREFIX}CREDENTIALS__SOURCE__NAME"
_UNDERSCORES: Final = re.compile("_+")

PAIRS: Final = ("1h/24h", "24h/7d")
"""The names of the pairs of windows that swings compare."""

_NO_CHANGE: Final = PydanticCustomError(
    "change", 'expected a number more than 0, or a table of them by pair, as in {"1h/24h": 0.02}'
)

_HIGHEST_PORT: Final = 65535
_SERVER: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s,:/\[\]]+)(?::([0-9]{1,5}))?")

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")


def _check_servers(text: str) -> str:
    servers = [_SERVER.fullmatch(server) for server in text.split(",")]
    if not all(server and int(server[1] or 1) in range(1, _HIGHEST_PORT + 1) for server in servers):
        raise PydanticCustomError(
            "servers",
            "expected HOST:PORT with a port from 1 to 65535, or several separated by commas",
        )
    return text


def _check_host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise PydanticCustomError("host", "expected HOST or HOST:PORT, without https:// and path")
    return text


def _least_change(value: object) -> float | dict[str, float]:
    if isinstance(value, dict):
        if value and value.keys() <= set(PAIRS):
            return {pair: _positive(change) for pair, change in value.items()}
        raise _NO_CHANGE
    return _positive(value)


def _positive(value: object) -> float:
    try:
        number = float(value) if isinstance(value, int | float | str) else math.nan
    except (ValueError, OverflowError):  # an integer can be too large
        number = math.nan
    if isinstance(value, bool) or not 0 < number < math.inf:
        raise _NO_CHANGE
    return number


def _check_subjects(names: dict[str, Any]) -> dict[str, Any]:
    from miningmap import places  # noqa: PLC0415 - takes time that few need

    for name in names:
        if places.is_locatable(name) and places.outermost(name) != name:
            problem = f"counts as a part of {places.outermost(name)}; use that code"
        elif places.is_locatable(name.upper()) and name != name.upper():
            problem = f"write {name.upper()}"
        elif places.is_locatable(name) or re.match(SLUG, name):
            continue
        else:
            problem = f"neither a pool's slug nor a place: {places.hint(name)}"
        raise PydanticCustomError("subject", "{problem}", {"problem": f"{name[:64]!r}: {problem}"})
    return names


def _in_its_section(name: str, problem: str) -> PydanticCustomError:
    """Return the error of one setting that only its whole section shows."""
    return PydanticCustomError("section", "{problem}", {"name": name, "problem": problem})


Port = Annotated[int, Field(ge=0, le=_HIGHEST_PORT)]
Servers = Annotated[str, AfterValidator(_check_servers)]
Host = Annotated[str, AfterValidator(_check_host)]
Rate = Annotated[list[PositiveInt], Field(min_length=2, max_length=2)]

LeastChange = Annotated[float | dict[str, float], PlainValidator(_least_change)]
LeastChanges = Annotated[dict[str, LeastChange], AfterValidator(_check_subjects)]


class SettingsError(Exception):
    """A setting is missing or invalid; the text is one line that starts with its name."""


class _Section(BaseModel):
    model_config = {"extra": "forbid", "allow_inf_nan": False}


# The certificates of a client, which Kafka and Redis have alike. A common class would list them
# before the address.
_CaFile = Annotated[
    FilePath | None,
    Field(description="PEM: who signs the server's certificate; unset: the system's"),
]
_CertificateFile = Annotated[
    FilePath | None,
    Field(description="PEM: the certificate of this client, and its key if not KEY_FILE"),
]
_KeyFile = Annotated[FilePath | None, Field(description="PEM: the key of the certificate")]
_KeyPassword = Annotated[SecretStr | None, Field(description="of an encrypted key")]


def _check_files(section: Kafka | Redis, lacks: tuple[str, str] | None) -> None:
    """Reject files of certificates that would not be used.

    Args:
        section: has the files.
        lacks: if there is no TLS: the setting that decides that, and what it has to be.

    Raises:
        PydanticCustomError: there are files that would not be used.
    """
    for name in ("ca_file", "certificate_file", "key_file"):
        if lacks and getattr(section, name) is not None:
            setting, expected = lacks
            raise _in_its_section(setting, f"expected {expected} with a {name}")
    if section.key_file is not None and section.certificate_file is None:
        raise _in_its_section("certificate_file", "a key_file needs it")


class Kafka(_Section):
    """How to reach the broker, and how to prove to it who this is."""

    bootstrap_servers: Servers = "127.0.0.1:9092"
    group: str = Field(default="miningmap-streams", description="consumer group of the streams")
    session_timeout_s: float = Field(
        default=45,
        ge=6,
        description="seconds after which a silent group member loses its partitions",
    )
    idempotent: bool = Field(
        default=True,
        description="false only for brokers without support: a retry may then repeat a message",
    )
    compression: Literal["gzip", "none"] = Field(
        default="gzip",
        description="how messages are compressed; gzip takes a third of the bytes or less",
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="by Kafka's names: SSL is TLS, SASL a user with a password"
    )
    sasl_mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] = "SCRAM-SHA-512"
    username: str | None = None
    password: SecretStr | None = None
    ca_file: _CaFile = None
    certificate_file: _CertificateFile = None
    key_file: _KeyFile = None
    key_password: _KeyPassword = None

    @model_validator(mode="after")
    def _security_is_complete(self) -> Self:
        """Reject what would leave a client less secure than its settings look."""
        has_user = self.security_protocol == "SASL_SSL"
        for name in ("username", "password"):
            if has_user and getattr(self, name) is None:
                raise _in_its_section(name, "SASL_SSL needs it")
            if not has_user and getattr(self, name) is not None:
                raise _in_its_section("security_protocol", f"expected SASL_SSL with a {name}")
        has_tls = self.security_protocol != "PLAINTEXT"
        _check_files(self, None if has_tls else ("security_protocol", "SSL or SASL_SSL"))
        return self


class Redis(_Section):
    """How to reach Redis. The URL can contain a password, so it is never logged."""

    url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    cluster: bool = Field(
        default=False,
        description="whether it is a Redis Cluster, of which the URL names any node",
    )
    username: str | None = Field(
        default=None, description="a user of Redis's access rules; takes precedence over the URL's"
    )
    password: SecretStr | None = Field(
        default=None, description="takes precedence over one in the URL"
    )
    ca_file: _CaFile = None
    certificate_file: _CertificateFile = None
    key_file: _KeyFile = None
    key_password: _KeyPassword = None

    @model_validator(mode="after")
    def _security_is_complete(self) -> Self:
        """Reject what would leave a client less secure than its settings look."""
        has_tls = self.url.get_secret_value().startswith("rediss://")
        _check_files(self, None if has_tls else ("url", "rediss://"))
        return self


class Endpoint(_Section):
    """The public HTTP service."""

    host: str = "127.0.0.1"
    port: Port = 8080
    fresh_s: float = Field(
        default=60, gt=0, description="age in seconds at which a snapshot is too old to be ready"
    )
    metrics_host: str = "127.0.0.1"
    metrics_port: Port | None = Field(
        default=None,
        description="a port of its own for metrics and health, which are on the other one too",
    )
    connections: int = Field(default=4096, ge=1, description="connections at a time")
    client_connections: int = Field(
        default=200, ge=1, description="connections that one client may have at a time"
    )
    reuse_port: bool = Field(
        default=False, description="share the port with other endpoint processes on this machine"
    )
    stream_clients: int = Field(
        default=2000,
        ge=0,
        description="clients that can be connected to the stream of one process at a time",
    )
    streams_per_address: int = Field(
        default=100,
        ge=0,
        description="stream clients of one process that may have the same address; 0 for no limit",
    )
    rate_limit: int = Field(
        default=600,
        ge=0,
        description="requests that one client may make in a minute; 0 for no limit",
    )
    limit_loopback: bool = Field(
        default=False, description="apply the limits of each client to those on this machine too"
    )
    trusted_proxies: list[IPvAnyNetwork] = Field(
        default=[], description="addresses or networks whose X-Forwarded-For is trusted"
    )


class Intake(_Section):
    """The partners' HTTP service, part of the collector."""

    host: str = "127.0.0.1"
    port: Port = 8081
    partners_file: Path | None = Field(
        default=None,
        description='JSON: [{"id": NUMBER, "partner": NAME, "pool": SLUG, "token_sha256": HEX}, …]',
    )
    rates: list[Rate] = Field(
        default=[[15, 10], [300, 600], [12_000, 86_400]],
        description="limits of each token: [requests, seconds]; CBECI's by default, [] for none",
    )
    daily_values: int = Field(
        default=20_000_000,
        ge=0,
        description="values that the rows of a pool may claim in a day; 0 for no limit",
    )
    connections: int = Field(default=1000, ge=1, description="connections at a time")
    client_connections: int = Field(
        default=50, ge=1, description="connections that one client may have at a time"
    )
    trusted_proxies: list[IPvAnyNetwork] = Field(
        default=[], description="addresses or networks whose X-Forwarded-For is trusted"
    )


class Collector(_Section):
    """Polling the sources."""

    metrics_host: str = "127.0.0.1"
    metrics_port: Port = 9101
    sources: list[str] | None = Field(
        default=None,
        description="sources to poll; unset: those on by default or with their credentials",
    )
    poll_s: float | None = Field(
        default=None, gt=0, description="seconds between polls, instead of each source's interval"
    )
    hosts: dict[str, Host] = Field(
        default={}, description="hosts of sources that moved, each with the host to ask instead"
    )
    upstream: str | None = Field(
        default=None,
        description="send every request to this server, as /HOST/PATH (simulated pools, a mirror)",
    )
    allow_private: bool = Field(
        default=False, description="allow sources at private and loopback addresses"
    )
    contact: str = Field(
        default="", description="a mail or web address in the User-Agent, for the pools' operators"
    )
    new_pools: int = Field(
        default=20,
        ge=0,
        description="pools of unknown name that one source of many may begin to list in a day",
    )
    simulated: bool = Field(default=False, description="mark every report as simulated")
    spool: Path | None = Field(
        default=None,
        description="folder for what was polled while Kafka was away; unset: kept in memory only",
    )
    spool_mb: int = Field(default=256, ge=4, description="size of that folder's content, in MB")


class Streams(_Section):
    """From Kafka to Redis, and the snapshots."""

    metrics_host: str = "127.0.0.1"
    metrics_port: Port = 9102
    batch: int = Field(
        default=5000, ge=1, description="the most messages that are written to Redis together"
    )
    snapshot_s: float = Field(
        default=0.25, gt=0, description="shortest time between two snapshots, in s"
    )
    publish_s: float = Field(
        default=5, ge=0, description="shortest time in s between snapshots sent to Kafka; 0: all"
    )
    pool_mb: int = Field(
        default=128,
        ge=0,
        description="megabytes of Redis that the cells of one pool may take; 0 for no limit",
    )
    stalled_s: float = Field(
        default=120, gt=0, description="exit if messages wait and none is committed for so many s"
    )


class Notify(_Section):
    """The events of swings, sent to a webhook."""

    webhook: SecretStr | None = Field(
        default=None, description="the URL of the receiver, which can contain a secret"
    )
    secret: SecretStr | None = Field(
        default=None,
        description="at least 24 bytes in base64: signs the requests; unset: no signature",
    )
    group: str = Field(
        default="miningmap-notify", description="consumer group; each receiver needs one of its own"
    )
    timeout_s: float = Field(
        default=10, gt=0, le=60, description="how long the receiver may take to answer, in s"
    )
    refused_s: float = Field(
        default=900, ge=0, description="how long an event is tried that the receiver refuses, in s"
    )
    metrics_host: str = "127.0.0.1"
    metrics_port: Port = 9103


class Retention(_Section):
    """How long Redis keeps cells (method.md 3), and swings. Days are kept for ever."""

    minutes_h: int = Field(default=48, ge=2)
    hours_d: int = Field(default=35, ge=31)
    swings_d: int = Field(
        default=366, ge=1, description="days for which a swing is kept after its last event"
    )


class Method(_Section):
    """How messages are interpreted."""

    beliefs: Path | None = Field(
        default=None,
        description="a file or folder of beliefs, added to the shipped ones; the same id replaces",
    )
    shipped_beliefs: bool = Field(default=True, description="use the beliefs of this package")


class Swings(_Section):
    """When swings fire, resolve and are lost (method.md 9)."""

    minutes: int = Field(
        default=10, ge=1, description="minutes for which a delta has to be large, or small"
    )
    noise: float = Field(
        default=4, ge=0, description="standard deviations of a subject's usual noise that fire"
    )
    resolved: float = Field(
        default=0.5, gt=0, le=1, description="part of the threshold below which a delta is small"
    )
    lost_after: int = Field(
        default=60, ge=1, description="minutes without a delta after which a swing is lost"
    )
    noise_hours: int = Field(
        default=168, ge=24, le=744, description="hours that tell the usual noise"
    )
    place: LeastChange = Field(
        default=0.01, description="least change of a share that fires; or by pair"
    )
    pool: LeastChange = Field(
        default=0.1, description="least change of a pool's hashrate that fires; or by pair"
    )
    overrides: LeastChanges = Field(
        default={}, description="other least changes of places and pools, by code or slug"
    )
    muted: list[str] = Field(
        default=[], description="annotations that mute the swings that they concern, by id"
    )


class Log(_Section):
    """Logs go to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


class Settings(BaseSettings):
    """All settings of all services; :func:`load` creates them."""

    kafka: Kafka = Kafka()
    redis: Redis = Redis()
    endpoint: Endpoint = Endpoint()
    intake: Intake = Intake()
    collector: Collector = Collector()
    streams: Streams = Streams()
    notify: Notify = Notify()
    retention: Retention = Retention()
    method: Method = Method()
    swings: Swings = Swings()
    credentials: dict[str, dict[str, SecretStr]] = Field(
        default={}, description="credentials of sources, by slug and name"
    )
    log: Log = Log()

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid")


class _Environment(EnvSettingsSource):
    """The environment, where a value that is not JSON stays text: its error names the setting."""

    def decode_complex_value(
        self,
        field_name: str,
        field: FieldInfo,
        value: Any,  # noqa: ANN401 - as pydantic declares it
    ) -> Any:  # noqa: ANN401 - as above
        try:
            return super().decode_complex_value(field_name, field, value)
        except (ValueError, RecursionError):  # nested too deeply
            return value


def load(config: Path | None = None) -> Settings:
    """Load and check the settings of this process.

    Args:
        config: a TOML file, if any.

    Raises:
        SettingsError: a setting is missing or invalid.
    """
    file = _TomlFile(config) if config else None
    secrets = _secrets_folder()
    names = _names(secrets)
    _reject_unknown_names(names)

    class Loaded(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - no settings are passed as arguments
            env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - replaced by _Environment
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - there is no .env file
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            nested = _SecretFiles(
                file_secret_settings,
                secrets_dir=secrets,
                secrets_prefix=PREFIX,
                secrets_nested_delimiter="__",
            )
            toml = InitSettingsSource(settings_cls, file.values if file else {})
            return _Environment(settings_cls), nested, toml

    try:
        return Loaded()
    except pydantic.ValidationError as error:
        lines = [_line(fault, _place_of(_keys(fault), file, names)) for fault in error.errors()]
        raise SettingsError("; ".join(lines)) from None
    except (pydantic_settings.SettingsError, UnicodeDecodeError) as error:
        raise SettingsError(f"{SECRETS_DIR}: {error}") from None


def in_its_place(error: SettingsError, config: Path | None) -> SettingsError:
    """Return an error in a loaded setting with the line of the TOML file that has the setting.

    Args:
        error: of a service; its text may begin with the name of a variable.
        config: the TOML file, if any.
    """
    name, separator, problem = str(error).partition(": ")
    if config is None or not separator or not name.startswith(PREFIX):
        return error
    keys = name.removeprefix(PREFIX).lower().split("__")
    place = _place_of(keys, _TomlFile(config), _names(_secrets_folder()))
    return SettingsError(f"{place}: {problem}")


def _names(secrets: Path | None) -> list[str]:
    """Return the names of all variables and secrets, which take precedence over the file."""
    return [*os.environ, *(path.name for path in secrets.iterdir())] if secrets else [*os.environ]


class _SecretFiles(NestedSecretsSettingsSource):
    """The files of the folder of secrets, which may begin with a byte order mark."""

    @classmethod
    def load_secrets(cls, path: Path) -> dict[str, str]:
        secrets = super().load_secrets(path)
        return {name: text.removeprefix(MARK).strip() for name, text in secrets.items()}


def _secrets_folder() -> Path | None:
    name = os.environ.get(SECRETS_DIR)
    if not name:
        return None
    folder = Path(name)
    if not folder.is_dir():
        raise SettingsError(f"{SECRETS_DIR}: not a folder: {name}")
    try:
        for file in folder.iterdir():
            if file.name.upper().startswith(PREFIX):
                require_private(file)
    except ExposedFileError as error:
        raise SettingsError(f"{SECRETS_DIR}: {error}") from None
    except OSError as error:
        raise SettingsError(f"{SECRETS_DIR}: {name}: {error.strerror}") from None
    return folder


class _TomlFile:
    """The file of ``--config``: its values, and the lines where they begin.

    Raises:
        SettingsError: it cannot be read, or is not TOML.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._text = read_text(path)
            self.values = decode_toml(self._text)
        except OSError as error:
            raise SettingsError(f"--config {path}: {error.strerror}") from None
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(f"--config {path}: {error}") from None

    def has(self, keys: Sequence[int | str]) -> bool:
        """Return whether there is a value at these keys and positions."""
        return _contains(self.values, keys)

    def line_of(self, keys: Sequence[int | str]) -> int:
        """Return the line where the value at these keys begins.

        It is the first line with which the file has that value. The parser tells no positions, so
        the beginnings of the file are parsed; those that end within a value are not TOML.
        """
        lines = self._text.splitlines(keepends=True)
        begins = 1
        for number in range(1, len(lines) + 1):
            try:
                values = decode_toml("".join(lines[:number]))
            except tomllib.TOMLDecodeError:
                continue
            if _contains(values, keys):
                return begins
            begins = number + 1
        return begins


def _contains(values: object, keys: Sequence[int | str]) -> bool:
    for key in keys:
        match values:
            case dict() if key in values:
                values = values[key]
            case list() if isinstance(key, int) and key < len(values):
                values = values[key]
            case _:
                return False
    return True


def _place_of(setting: Sequence[int | str], file: _TomlFile | None, names: Iterable[str]) -> str:
    """Return where the wrong setting is, by the name that it has there.

    Args:
        setting: its keys, and the positions in a list.
        file: the TOML file, if there is one.
        names: of variables and secrets, which take precedence over the file.
    """
    keys = [str(part) for part in setting]
    variable = _variable(keys)
    if (
        file is None
        or not file.has(setting)
        or any(f"{variable}__".startswith(f"{name.upper()}__") for name in names)
    ):
        # What is inside of a list or a table has no variable of its own, but for credentials.
        depth = 3 if keys[0] == "credentials" else 2
        return ": ".join((_variable(keys[:depth]), *keys[depth:]))
    return f"--config {file.path}, line {file.line_of(setting)}: {'.'.join(keys)}"


def _variable(keys: Iterable[str]) -> str:
    return PREFIX + "__".join(keys).upper()


def _keys(error: ErrorDetails) -> tuple[int | str, ...]:
    if error["type"] == "section":
        return (*error["loc"], error["ctx"]["name"])
    return error["loc"]


def _line(error: ErrorDetails, place: str) -> str:
    """One error, without the value, which can be a secret."""
    *section, _ = error["loc"]
    if error["type"] == "extra_forbidden":
        known = _settings_of(str(section[0])) if section else list(Settings.model_fields)
        return f"{place}: unknown setting; expected one of: {', '.join(known)}"
    if error["type"] == "model_type":
        return f"{place}: expected a table [{error['loc'][-1]}]"
    if error["type"] == "list_type":
        return f'{place}: expected a list, in the environment as JSON: ["…", "…"]'
    if error["type"] == "dict_type" and section == ["credentials"]:
        return f"{place}: expected credentials by name: {_CREDENTIAL}"
    if error["type"] == "dict_type":
        return f'{place}: expected a table, in the environment as JSON: {{"…": "…"}}'
    return f"{place}: {error['msg']}"


def _settings_of(section: str) -> list[str]:
    kind = Settings.model_fields[section].annotation
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, _Section) else []


def _reject_unknown_names(names: Iterable[str]) -> None:
    """Reject misspelt sections and separators, which pydantic would ignore or misread."""
    known = sorted(Settings.model_fields)
    for name in names:
        # In upper or lower case, as pydantic accepts them.
        prefix, _, rest = name.upper().partition(PREFIX)
        if prefix or not rest or name in {SECRETS_DIR, PARTNER_TOKEN}:
            continue
        if meant := _with_right_separators(name.upper()):
            raise SettingsError(f"{name}: unknown setting; did you mean {meant}?")
        section, separator, _ = rest.lower().partition("__")
        if section not in known:
            raise SettingsError(f"{name}: unknown section; expected one of: {', '.join(known)}")
        if not separator:
            if section == "credentials":
                raise SettingsError(f"{name}: is a section; its settings are {_CREDENTIAL}")
            settings = ", ".join(
                _variable([name[len(PREFIX) :], own]) for own in _settings_of(section)
            )
            raise SettingsError(f"{name}: is a section; its settings are {settings}")


def _with_right_separators(name: str) -> str | None:
    """Return the setting that differs from a name only in the number of underscores, if any."""
    collapsed = _UNDERSCORES.sub("_", name)
    if collapsed.startswith(f"{PREFIX}CREDENTIALS_"):  # their slugs and names are anybody's guess
        return None if name.startswith(f"{PREFIX}CREDENTIALS__") else _CREDENTIAL
    known = [SECRETS_DIR, PARTNER_TOKEN]
    for section in Settings.model_fields:
        known += [_variable([section, own]) for own in _settings_of(section)]
    meant = next((other for other in known if _UNDERSCORES.sub("_", other) == collapsed), None)
    return None if meant == name else meant

"""Settings: their sources, the precedence, and one clear line for each mistake."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from miningmap.settings import Settings, SettingsError, load
from tests.cases import all_cases

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import SecretStr

PASSWORD = "MININGMAP_REDIS__PASSWORD"
SECTIONS = (
    "collector, credentials, endpoint, intake, kafka, log, method, notify, redis, retention, "
    "streams, swings"
)


@pytest.fixture
def toml(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "miningmap.toml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of secrets, still empty."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    monkeypatch.setenv("MININGMAP_SECRETS_DIR", str(folder))
    return folder


def refusal(config: Path | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        load(config)
    line = str(caught.value)
    assert line
    assert "\n" not in line
    return line


def revealed(secret: SecretStr | None) -> str:
    assert secret is not None
    return secret.get_secret_value()


def test_the_defaults_are_the_documented_ones() -> None:
    settings = load()
    assert settings.kafka.bootstrap_servers == "127.0.0.1:9092"
    assert revealed(settings.redis.url) == "redis://127.0.0.1:6379/0"
    assert settings.endpoint.port == 8080
    assert settings.intake.port == 8081
    assert settings.collector.metrics_port == 9101
    assert settings.streams.metrics_port == 9102
    assert settings.retention.minutes_h == 48
    assert settings.retention.hours_d == 35
    assert settings.collector.sources is None


def test_the_environment_overrides_secrets_the_file_and_the_defaults(
    toml: Callable[[str], Path], secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load().redis.password is None
    config = toml('[redis]\npassword = "of the file"\nurl = "redis://file:1/0"')
    assert revealed(load(config).redis.password) == "of the file"
    (secrets / PASSWORD).write_text("of the secrets\n")
    assert revealed(load(config).redis.password) == "of the secrets"
    monkeypatch.setenv(PASSWORD, "of the environment")
    assert revealed(load(config).redis.password) == "of the environment"
    # A setting that only the file has is still taken from it.
    assert revealed(load(config).redis.url) == "redis://file:1/0"


def test_the_file_has_the_same_names(toml: Callable[[str], Path]) -> None:
    settings = load(
        toml(
            '[kafka]\nbootstrap_servers = "a:9092,b:9092"\n[endpoint]\nport = 8000\n'
            '[collector]\nsources = ["ocean"]\n[retention]\nminutes_h = 72\n'
        )
    )
    assert settings.kafka.bootstrap_servers == "a:9092,b:9092"
    assert settings.endpoint.port == 8000
    assert settings.endpoint.host == "127.0.0.1"
    assert settings.collector.sources == ["ocean"]
    assert settings.retention.minutes_h == 72


def test_a_list_is_json_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MININGMAP_COLLECTOR__SOURCES", '["ocean", "foundry"]')
    assert load().collector.sources == ["ocean", "foundry"]


def test_a_least_change_is_a_number_or_a_table_by_pair(
    monkeypatch: pytest.MonkeyPatch, toml: Callable[[str], Path]
) -> None:
    monkeypatch.setenv("MININGMAP_SWINGS__PLACE", "0.02")
    monkeypatch.setenv("MININGMAP_SWINGS__POOL", '{"24h/7d": 0.2}')
    overrides = '[swings.overrides]\n"US-TX" = 0.03\nfoundryusa = { "1h/24h" = 1 }'
    swings = load(toml(overrides)).swings
    assert swings.place == 0.02
    assert swings.pool == {"24h/7d": 0.2}
    assert swings.overrides == {"US-TX": 0.03, "foundryusa": {"1h/24h": 1.0}}


def test_settings_that_were_set_differ_from_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MININGMAP_REDIS__URL", "redis://127.0.0.1:6379/0")
    settings = load()
    assert "url" in settings.redis.model_fields_set
    assert "bootstrap_servers" not in settings.kafka.model_fields_set


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("MININGMAP_ENDPIONT__PORT", "1", f"unknown section; expected one of: {SECTIONS}"),
        ("MININGMAP_PORT", "1", f"unknown section; expected one of: {SECTIONS}"),
        ("MININGMAP_ENDPOINT_PORT", "1", "did you mean MININGMAP_ENDPOINT__PORT?"),
        ("MININGMAP_KAFKA_BOOTSTRAP_SERVERS", "x:1", "mean MININGMAP_KAFKA__BOOTSTRAP_SERVERS?"),
        ("MININGMAP_KAFKA__BOOTSTRAP__SERVERS", "x:1", "mean MININGMAP_KAFKA__BOOTSTRAP_SERVERS?"),
        ("miningmap__redis_url", "x", "did you mean MININGMAP_REDIS__URL?"),
        ("MININGMAP__SECRETS_DIR", "x", "did you mean MININGMAP_SECRETS_DIR?"),
        ("MININGMAP_PARTNER__TOKEN", "x", "did you mean MININGMAP_PARTNER_TOKEN?"),
        ("MININGMAP_CREDENTIALS_LUXOR_TOKEN", "x", "mean MININGMAP_CREDENTIALS__SOURCE__NAME?"),
        ("MININGMAP_CREDENTIALS__LUXOR_TOKEN", "x", "by name: MININGMAP_CREDENTIALS__SOURCE__NAME"),
        ("miningmap_endpiont__port", "1", f"unknown section; expected one of: {SECTIONS}"),
        (
            "MININGMAP_REDIS__PASSWROD",
            "x",
            "unknown setting; expected one of: url, cluster, username, ",
        ),
        ("MININGMAP_ENDPOINT__PROT", "1", "unknown setting; expected one of: host, port, fresh_s"),
        ("MININGMAP_ENDPOINT__", "1", "unknown setting; expected one of: host, port, fresh_s"),
        (
            "MININGMAP_REDIS",
            '{"password": "x"}',
            "is a section; its settings are MININGMAP_REDIS__URL, MININGMAP_REDIS__CLUSTER, ",
        ),
        ("MININGMAP_ENDPOINT__PORT", "http", "Input should be a valid integer"),
        ("MININGMAP_ENDPOINT__PORT", "", "Input should be a valid integer"),
        ("MININGMAP_ENDPOINT__PORT", "65536", "Input should be less than or equal to 65535"),
        ("MININGMAP_ENDPOINT__PORT", "-1", "Input should be greater than or equal to 0"),
        ("MININGMAP_KAFKA__IDEMPOTENT", "maybe", "Input should be a valid boolean"),
        ("MININGMAP_KAFKA__BOOTSTRAP_SERVERS", "", "expected HOST:PORT"),
        ("MININGMAP_KAFKA__BOOTSTRAP_SERVERS", "kafka:plaintext", "expected HOST:PORT"),
        ("MININGMAP_KAFKA__BOOTSTRAP_SERVERS", "kafka://a:9092", "expected HOST:PORT"),
        ("MININGMAP_KAFKA__BOOTSTRAP_SERVERS", "a:9092 b:9092", "expected HOST:PORT"),
        ("MININGMAP_KAFKA__BOOTSTRAP_SERVERS", "a:9092,", "expected HOST:PORT"),
        ("MININGMAP_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:99999", "a port from 1 to 65535"),
        ("MININGMAP_KAFKA__BOOTSTRAP_SERVERS", "a:9092,b:0", "a port from 1 to 65535"),
        ("MININGMAP_COLLECTOR__SOURCES", "ocean,foundry", "expected a list"),
        ("MININGMAP_COLLECTOR__HOSTS", "www.viabtc.net", "expected a table, in the environment as"),
        ("MININGMAP_COLLECTOR__HOSTS", '{"a.example": "https://b.example"}', "expected HOST or"),
        ("MININGMAP_INTAKE__RATES", "15/10s", "expected a list, in the environment as JSON"),
        ("MININGMAP_LOG__LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("MININGMAP_STREAMS__SNAPSHOT_S", "0", "greater than 0"),
        ("MININGMAP_STREAMS__SNAPSHOT_S", "nan", "finite number"),
        ("MININGMAP_STREAMS__SNAPSHOT_S", "inf", "finite number"),
        ("MININGMAP_RETENTION__MINUTES_H", "1", "greater than or equal to 2"),
        ("MININGMAP_RETENTION__HOURS_D", "30", "greater than or equal to 31"),
        ("MININGMAP_SWINGS__PLACE", "0", "expected a number more than 0, or a table of them by"),
        ("MININGMAP_SWINGS__PLACE", "1 %", 'by pair, as in {"1h/24h": 0.02}'),
        ("MININGMAP_SWINGS__PLACE", "true", "expected a number more than 0"),
        ("MININGMAP_SWINGS__PLACE", "1" + "0" * 400, "expected a number more than 0"),
        ("MININGMAP_SWINGS__POOL", "nan", "expected a number more than 0"),
        ("MININGMAP_SWINGS__POOL", '{"1h/7d": 0.1}', "expected a number more than 0"),
        ("MININGMAP_SWINGS__POOL", "{}", "expected a number more than 0"),
        ("MININGMAP_SWINGS__OVERRIDES", "US=1", "expected a table, in the environment as JSON"),
        ("MININGMAP_SWINGS__OVERRIDES", '{"US": 0}', "OVERRIDES: US: expected a number more than"),
        ("MININGMAP_SWINGS__OVERRIDES", '{"us-tx": 0.1}', "OVERRIDES: 'us-tx': write US-TX"),
        ("MININGMAP_SWINGS__OVERRIDES", '{"FR-75C": 0.1}', "counts as a part of FR-IDF"),
        ("MININGMAP_SWINGS__OVERRIDES", '{"US-PR": 0.1}', "use the country code PR"),
        ("MININGMAP_SWINGS__OVERRIDES", '{"A pool": 0.1}', "neither a pool's slug nor a place"),
        ("MININGMAP_SWINGS__RESOLVED", "1.5", "less than or equal to 1"),
        ("MININGMAP_SWINGS__NOISE_HOURS", "23", "greater than or equal to 24"),
    ],
)
def test_an_invalid_setting_is_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, error: str
) -> None:
    monkeypatch.setenv(name, value)
    line = refusal()
    assert line.startswith(f"{name}: ")
    assert error in line


@pytest.mark.parametrize(
    "servers", ["localhost", "10.0.0.1:9092", "[::1]:9092", "kafka-1.example:9092,kafka-2:9093"]
)
def test_addresses_of_brokers(monkeypatch: pytest.MonkeyPatch, servers: str) -> None:
    monkeypatch.setenv("MININGMAP_KAFKA__BOOTSTRAP_SERVERS", servers)
    assert load().kafka.bootstrap_servers == servers


def test_all_errors_are_listed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MININGMAP_ENDPOINT__PORT", "x")
    monkeypatch.setenv("MININGMAP_INTAKE__PORT", "y")
    assert "MININGMAP_ENDPOINT__PORT: " in refusal()
    assert "MININGMAP_INTAKE__PORT: " in refusal()


def test_other_variables_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MININGMAPS__PORT", "x")
    monkeypatch.setenv("ENDPOINT__PORT", "x")
    monkeypatch.setenv("OTHER_MININGMAP_ENDPOINT__PORT", "x")
    assert load().model_dump() == Settings().model_dump()


@all_cases(
    ("text", "error"),
    [
        ("[endpiont]\nport = 1", "line 1: endpiont: unknown setting; expected one of: kafka, "),
        (
            "# the page\n\n[endpoint]\nhost = '::1'\nprot = 1\nport = 1",
            "line 5: endpoint.prot: unknown setting; expected one of: host, port",
        ),
        ("[endpoint]\nport = 'x'", "line 2: endpoint.port: Input should be a valid integer"),
        ("endpoint.port = 'x'", "line 1: endpoint.port: Input should be a valid integer"),
        ("endpoint = { port = 'x' }", "line 1: endpoint.port: Input should be a valid integer"),
        ("endpoint = 8080", "line 1: endpoint: "),
        ("\nport = 8080", "line 2: port: unknown setting; expected one of: kafka, "),
        (
            "[intake]\nrates = [\n  [1, 1],\n  [1],\n]\nport = 1",
            "line 2: intake.rates.1: List should have at least 2 items",
        ),
        ("[collector]\nsources = 'ocean'", "line 2: collector.sources: expected a list"),
        ("[credentials]\nluxor = 'x'", "line 2: credentials.luxor: expected credentials by name"),
    ],
)
def test_an_invalid_setting_in_the_file_is_named_with_its_line(
    toml: Callable[[str], Path], text: str, error: str
) -> None:
    path = toml(text)
    assert refusal(path).startswith(f"--config {path}, {error}")


def test_an_invalid_variable_is_named_even_if_the_file_has_the_setting(
    toml: Callable[[str], Path], secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = toml("[endpoint]\nport = 1\n[intake]\nport = 'x'\n[collector]\nsources = ['a']")
    monkeypatch.setenv("miningmap_endpoint__port", "x")
    monkeypatch.setenv("MININGMAP_COLLECTOR__SOURCES", "[1]")
    (secrets / "MININGMAP_INTAKE__RATES").write_text("[[1]]")
    assert [line.partition(": ")[0] for line in refusal(path).split("; ")] == [
        "MININGMAP_ENDPOINT__PORT",
        f"--config {path}, line 4",
        "MININGMAP_INTAKE__RATES",
        "MININGMAP_COLLECTOR__SOURCES",
    ]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    assert refusal(path) == f"--config {path}: No such file or directory"
    assert refusal(tmp_path) == f"--config {tmp_path}: Is a directory"


def test_a_section_that_is_no_table_is_told_so(toml: Callable[[str], Path]) -> None:
    for text in ("kafka = 1", 'kafka = "a:9092"', "[[kafka]]\ngroup = 1"):
        path = toml(text)
        assert refusal(path) == f"--config {path}, line 1: kafka: expected a table [kafka]"


def test_a_file_that_is_not_toml_is_named_with_the_position(toml: Callable[[str], Path]) -> None:
    path = toml("[endpoint\nport = 1")
    line = refusal(path)
    assert line.startswith(f"--config {path}: ")
    assert "line 1, column 10" in line


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe")
    assert refusal(path).startswith(f"--config {path}: 'utf-8' codec")


def test_a_missing_folder_of_secrets_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for path in (tmp_path / "none", Path(__file__)):
        monkeypatch.setenv("MININGMAP_SECRETS_DIR", str(path))
        assert refusal() == f"MININGMAP_SECRETS_DIR: not a folder: {path}"


def test_a_folder_of_secrets_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MININGMAP_SECRETS_DIR", "")
    assert load().model_dump() == Settings().model_dump()


def test_a_misspelt_secret_is_named(secrets: Path) -> None:
    (secrets / "MININGMAP_REDIS__PASSWROD").write_text("geheim")
    assert refusal().startswith("MININGMAP_REDIS__PASSWROD: unknown setting")
    (secrets / "MININGMAP_REDSI__PASSWORD").write_text("geheim")
    assert refusal().startswith("MININGMAP_REDSI__PASSWORD: unknown section")


def test_a_secret_that_is_not_text_is_an_error(secrets: Path) -> None:
    (secrets / PASSWORD).write_bytes(b"geheim\xff")
    line = refusal()
    assert line.startswith("MININGMAP_SECRETS_DIR: ")
    assert "geheim" not in line


def test_other_files_among_the_secrets_are_ignored(secrets: Path) -> None:
    (secrets / "tls.key").write_text("of somebody else")
    assert load().model_dump() == Settings().model_dump()


def test_secrets_are_never_printed(
    secrets: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (secrets / PASSWORD).write_text("geheim")
    monkeypatch.setenv("MININGMAP_REDIS__URL", "redis://user:geheim@127.0.0.1/0")
    settings = load()
    with caplog.at_level(logging.INFO):
        logging.getLogger("test").info("%s %r", settings, settings.redis)
    shown = (repr(settings), str(settings.redis), settings.model_dump_json(), caplog.text)
    assert revealed(settings.redis.password) == "geheim"
    assert not [text for text in shown if "geheim" in text]


@pytest.mark.parametrize(
    "text",
    [
        '[redis]\nurl = ["geheim"]',
        '[redis]\npasswrd = "geheim"',
        '[redis]\npassword = "geheim',
        '[redis]\npassword = {value = "geheim"}',
        'redis = "geheim"',
    ],
)
def test_no_error_quotes_a_secret(toml: Callable[[str], Path], text: str) -> None:
    assert "geheim" not in refusal(toml(text))

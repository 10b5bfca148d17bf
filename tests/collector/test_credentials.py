from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from collector.network.mempool import SOURCE as NETWORK
from collector.registry import choose
from collector.sources.base import Credential, Request
from collector.sources.credentials import Credentials
from miningmap.settings import Collector, SettingsError, load
from tests.collector.conftest import Pools

if TYPE_CHECKING:
    from pathlib import Path

    from collector.sources.base import Secrets, Source

OPEN = replace(Pools.source(), slug="open")
KEYED = replace(
    Pools.source(),
    slug="keyed",
    default=False,
    credentials=(
        Credential("key", "a key of the account"),
        Credential("secret", "what signs requests"),
        Credential("coin", "which coin", required=False),
    ),
)
SOURCES: list[Source] = [KEYED, OPEN]
BOTH = {"key": "KEY-KEY", "secret": "SECRET"}


def given(slug: str = "keyed", **values: str) -> Credentials:
    return Credentials({slug: {name: SecretStr(value) for name, value in values.items()}})


def chosen(credentials: Credentials, *names: str) -> list[str]:
    settings = Collector(sources=list(names)) if names else Collector()
    return [source.slug for source in choose(SOURCES, settings, credentials)]


def test_a_source_is_on_once_its_required_credentials_are_set() -> None:
    assert chosen(Credentials({})) == ["open"]
    assert chosen(given(key="KEY")) == ["open"]
    assert chosen(given(**BOTH)) == ["keyed", "open"]
    assert chosen(given(**BOTH, coin="BTC")) == ["keyed", "open"]


def test_missing_credentials_are_named_by_their_settings() -> None:
    assert given(key="KEY").missing(KEYED) == ["MININGMAP_CREDENTIALS__KEYED__SECRET"]
    assert given(key="KEY", coin="BTC").lacking(KEYED) == ["secret"]
    assert given(key_file="/run/key", secret="SECRET").missing(KEYED) == []
    assert Credentials({}).missing(OPEN) == []


def test_a_selected_source_without_its_credentials_is_an_error() -> None:
    with pytest.raises(SettingsError) as caught:
        chosen(Credentials({}), "keyed")
    assert str(caught.value) == (
        "MININGMAP_CREDENTIALS__KEYED__KEY, MININGMAP_CREDENTIALS__KEYED__SECRET:"
        " not set, but keyed needs it"
    )
    assert chosen(given(**BOTH), "keyed") == ["keyed"]


@pytest.mark.parametrize(
    ("credentials", "error"),
    [
        (
            given("kyed", key="SECRET"),
            (
                "MININGMAP_CREDENTIALS__KYED: 'kyed' is not a source with credentials;"
                " expected one of: keyed"
            ),
        ),
        (
            given("open", key="SECRET"),
            (
                "MININGMAP_CREDENTIALS__OPEN: 'open' is not a source with credentials;"
                " expected one of: keyed"
            ),
        ),
        (
            given(kye="SECRET"),
            (
                "MININGMAP_CREDENTIALS__KEYED__KYE: unknown credential 'kye' for keyed;"
                " expected one of: key, secret, coin"
            ),
        ),
        (
            given(kye_file="SECRET"),
            (
                "MININGMAP_CREDENTIALS__KEYED__KYE_FILE: unknown credential 'kye_file' for keyed;"
                " expected one of: key, secret, coin"
            ),
        ),
    ],
)
def test_an_unknown_credential_is_named_without_its_value(
    credentials: Credentials, error: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        chosen(credentials)
    assert str(caught.value) == error


def test_a_pool_source_and_a_network_source_may_share_a_slug() -> None:
    network = replace(NETWORK, slug="keyed", credentials=(Credential("user", "a user"),))
    given(**BOTH, user="me").check([KEYED, network])


def test_files_are_read_at_each_use(tmp_path: Path) -> None:
    file = tmp_path / "key"
    credentials = given(key_file=str(file), coin="BTC")
    file.write_text("  KEY\n")
    assert credentials.of(KEYED) == {"key": "KEY", "coin": "BTC"}
    file.write_text("NEW\n")
    assert credentials.of(KEYED) == {"key": "NEW", "coin": "BTC"}
    assert Credentials({}).of(KEYED) == {}


def test_an_unreadable_file_is_named_and_not_quoted(tmp_path: Path) -> None:
    file = tmp_path / "key"
    name = f"MININGMAP_CREDENTIALS__KEYED__KEY_FILE: cannot read {file}: "
    credentials = given(key_file=str(file))
    with pytest.raises(SettingsError, match=f"^{name}No such file or directory$"):
        credentials.of(KEYED)
    file.write_bytes(b"SECRET\xff")
    with pytest.raises(SettingsError, match=f"^{name}is not UTF-8$"):
        credentials.of(KEYED)
    file.unlink()
    file.mkdir()
    with pytest.raises(SettingsError, match=f"^{name}Is a directory$"):
        credentials.of(KEYED)


def test_credentials_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MININGMAP_CREDENTIALS__KEYED__KEY", "KEY")
    monkeypatch.setenv("MININGMAP_CREDENTIALS__KEYED__SECRET_FILE", "/run/secret")
    credentials = Credentials(load().credentials)
    credentials.check(SOURCES)
    assert credentials.missing(KEYED) == []


def source_at(url: str, **changed: object) -> Source:
    """A source whose URL contains its key once it is configured."""

    def configure(secrets: Secrets) -> Source:
        return replace(KEYED, requests=(Request(url.format(**secrets)),))

    return replace(KEYED, configure=configure, **changed)  # type: ignore[arg-type]


def test_credentials_configure_the_requests_of_a_source() -> None:
    source = source_at("https://pool.example/{key}")
    (configured,) = choose([source], Collector(), given(**BOTH))
    assert [request.url for request in configured.requests] == ["https://pool.example/KEY-KEY"]
    assert given(key="KEY-KEY").configured(source) is source  # incomplete: left as it is


def test_credentials_cannot_lead_to_an_undeclared_host() -> None:
    source = source_at("https://{key}.example/")
    with pytest.raises(SettingsError) as caught:
        given(**BOTH).configured(source)
    assert str(caught.value) == (
        "MININGMAP_CREDENTIALS__KEYED: leads to a host that keyed does not declare"
    )
    own = given(**BOTH).configured(replace(source, own_server=True))
    assert [request.url for request in own.requests] == ["https://KEY-KEY.example/"]


@pytest.mark.parametrize("url", ["127.0.0.1:8332/SECRET", "http://me:SEC/RET@node/", "{key}"])
def test_an_invalid_url_of_an_own_server_is_not_quoted(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        given(**BOTH).configured(source_at(url, own_server=True))
    assert str(caught.value) == (
        "MININGMAP_CREDENTIALS__KEYED: not an address like https://HOST/PATH"
    )


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("SECRET is no number"), "MININGMAP_CREDENTIALS__KEYED: cannot be used: Value"),
        (SettingsError("MININGMAP_CREDENTIALS__KEYED__COIN: unknown"), "KEYED__COIN: unknown"),
    ],
)
def test_an_error_while_configuring_a_source_is_one_line(error: Exception, text: str) -> None:
    def fail(_secrets: Secrets) -> Source:
        raise error

    with pytest.raises(SettingsError, match=text) as caught:
        given(**BOTH).configured(replace(KEYED, configure=fail))
    assert "SECRET" not in str(caught.value)


def test_keys_are_masked_in_any_text(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("from/file\n")
    credentials = given(key="KEY/KEY", secret_file=str(file), coin="BTC")
    text = "BTC: wrong key KEY/KEY at /KEY%2FKEY?secret=from/file"
    assert credentials.masked(KEYED, text) == "BTC: wrong key *** at /***?secret=***"
    assert credentials.masked(OPEN, text) == text
    file.unlink()
    assert credentials.masked(KEYED, text) == "BTC: wrong key *** at /***?secret=from/file"

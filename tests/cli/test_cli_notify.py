"""``miningmap notify``: its options and settings, before anything is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Run

SETTING = "MININGMAP_NOTIFY__WEBHOOK"
EXPECTED = "expected the URL of the receiver, such as https://receiver.example/swings"


def test_without_a_webhook_the_setting_is_named(run: Run) -> None:
    result = run("notify")
    assert (result.exit_code, result.stderr) == (
        2,
        f"miningmap: {SETTING}: {EXPECTED}, or --webhook\n",
    )


@pytest.mark.parametrize(
    "url", ["", "receiver", "ftp://t0ken.example", "http://", "http://host:t0ken"]
)
def test_a_webhook_that_is_no_url_is_a_usage_error_without_it(
    run: Run, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv(SETTING, url)
    result = run("notify")
    assert (result.exit_code, result.stderr) == (2, f"miningmap: {SETTING}: {EXPECTED}\n")
    result = run("notify", "--webhook", url)
    assert result.exit_code == 2
    assert result.stderr.startswith("miningmap: --webhook: expected a URL")
    assert "t0ken" not in result.stderr


def test_a_secret_that_cannot_sign_is_a_usage_error_without_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MININGMAP_NOTIFY__SECRET", "hush")
    result = run("notify", "--webhook", "http://127.0.0.1:9/")
    assert result.exit_code == 2
    assert result.stderr.startswith("miningmap: MININGMAP_NOTIFY__SECRET: expected at least 24")
    assert "hush" not in result.stderr


@pytest.mark.parametrize(
    "option", [("--subject", "country"), ("--driver", "both"), ("--from", "2026-01-01")]
)
def test_a_wrong_choice_is_a_usage_error_in_one_line(run: Run, option: tuple[str, str]) -> None:
    result = run("notify", "--webhook", "http://127.0.0.1:9/", *option)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert option[0] in result.stderr

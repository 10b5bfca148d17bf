from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from collector.intake.partners import SETTING, Partner, Partners, PartnersError, PartnersFile

if TYPE_CHECKING:
    from pathlib import Path


def sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def entry(partner: str, pool: str, token: str, **more: object) -> dict[str, object]:
    return {"partner": partner, "pool": pool, "token_sha256": sha256(token)} | more


def write(path: Path, entries: object) -> Path:
    path.write_text(json.dumps(entries), encoding="utf-8")
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "partners.json"


def test_a_token_belongs_to_its_partner(file: Path) -> None:
    partners = Partners.load(
        write(file, [entry("one", "foundryusa", "token-1"), entry("two", "viabtc", "token-2")])
    )
    assert partners.authenticate("token-1") == Partner("one", "foundryusa", 1)
    assert partners.authenticate("token-2") == Partner("two", "viabtc", 2)


@pytest.mark.parametrize(
    "token", ["", "token-3", "token-1 ", "TOKEN-1", sha256("token-1"), "\udcff"]
)
def test_any_other_token_belongs_to_no_partner(file: Path, token: str) -> None:
    partners = Partners.load(write(file, [entry("one", "foundryusa", "token-1")]))
    assert partners.authenticate(token) is None


def test_without_a_file_there_are_no_partners() -> None:
    assert Partners().authenticate("token-1") is None


def test_an_empty_list_of_partners_is_valid(file: Path) -> None:
    assert Partners.load(write(file, [])).authenticate("token-1") is None


def test_hashes_may_be_written_in_capitals(file: Path) -> None:
    spelled = entry("one", "foundryusa", "token-1")
    spelled["token_sha256"] = str(spelled["token_sha256"]).upper()
    assert Partners.load(write(file, [spelled])).authenticate("token-1") is not None


def test_a_partner_may_have_an_old_and_a_new_token(file: Path) -> None:
    partners = Partners.load(
        write(file, [entry("one", "foundryusa", "old"), entry("one", "foundryusa", "new")])
    )
    assert partners.authenticate("old") == Partner("one", "foundryusa", 1)
    assert partners.authenticate("new") == Partner("one", "foundryusa", 2)


def test_an_entry_without_an_id_has_its_position(file: Path) -> None:
    entries = [entry("one", "foundryusa", "a", id=482913), entry("two", "viabtc", "b")]
    partners = Partners.load(write(file, entries))
    assert partners.authenticate("a") == Partner("one", "foundryusa", 482913)
    assert partners.authenticate("b") == Partner("two", "viabtc", 2)


@given(st.text())
def test_any_text_can_be_authenticated(token: str) -> None:
    partners = Partners([(Partner("one", "foundryusa", 1), sha256("token-1"))])
    assert (partners.authenticate(token) is not None) == (token == "token-1")


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({"partner": "one"}, "Expected `array`"),
        ([{"partner": "one", "pool": "foundryusa"}], "token_sha256"),
        (
            [{"partner": "one", "pool": "foundryusa", "token_sha256": "abc"}],
            "Expected 64 hex digits",
        ),
        ([entry("One", "foundryusa", "token-1")], "Expected a slug (lower-case letters, digits,"),
        ([entry("one", "Foundry USA", "token-1")], "pool"),
        ([entry("one two", "foundryusa", "token-1")], "partner"),
        ([entry("one", "foundryusa", "token-1") | {"token": "token-1"}], "unknown field `token`"),
        ([entry("one", "foundryusa", "")], "entry 1: this is the hash of an empty token"),
        (
            [entry("one", "foundryusa", "same"), entry("two", "viabtc", "same")],
            "entry 2: an earlier entry has the same token",
        ),
        ([entry("one", "foundryusa", "token-1", id=0)], "id (a number from 1)"),
        (
            [entry("one", "foundryusa", "token-1", id=2), entry("one", "foundryusa", "token-2")],
            "entry 2: an earlier entry has the id 2; give this one another",
        ),
        (
            [entry("one", "foundryusa", "token-1"), entry("one", "viabtc", "token-2")],
            "entry 2: one already serves foundryusa",
        ),
        (
            [entry("one", "foundryusa", "token-1"), entry("two", "foundryusa", "token-2")],
            "entry 2: foundryusa is already served by one",
        ),
    ],
)
def test_an_invalid_file_is_rejected_with_the_reason(
    file: Path, entries: object, reason: str
) -> None:
    with pytest.raises(PartnersError) as caught:
        Partners.load(write(file, entries))
    text = str(caught.value)
    assert text.startswith(f"{file}: ")
    assert reason in text
    assert "\n" not in text
    assert "token-1" not in text


@pytest.mark.parametrize("content", [b"", b"not JSON", b"\xff\xfe", b'[{"partner": "\xff"}]'])
def test_a_file_that_is_not_json_is_rejected(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(PartnersError, match=str(file)):
        Partners.load(file)


def test_a_missing_file_is_named(file: Path) -> None:
    with pytest.raises(PartnersError, match=r"cannot read .*partners.json: No such file"):
        Partners.load(file)


def test_the_setting_that_errors_name_exists() -> None:
    assert SETTING == "MININGMAP_INTAKE__PARTNERS_FILE"


# --- a file that changes --------------------------------------------------------------------------


def test_a_change_of_the_file_takes_effect_at_the_next_request(file: Path) -> None:
    partners = PartnersFile(write(file, [entry("one", "foundryusa", "token-1")]))
    assert partners.authenticate("token-1") == Partner("one", "foundryusa", 1)
    assert partners.authenticate("token-2") is None
    write(file, [entry("two", "viabtc", "token-2", id=5)])
    assert partners.authenticate("token-1") is None
    assert partners.authenticate("token-2") == Partner("two", "viabtc", 5)


def test_a_replaced_file_of_the_same_size_and_time_is_noticed(file: Path) -> None:
    partners = PartnersFile(write(file, [entry("one", "foundryusa", "token-1")]))
    was = file.stat()
    other = write(file.with_name("new"), [entry("two", "foundryusa", "token-2")])
    os.utime(other, ns=(was.st_atime_ns, was.st_mtime_ns))
    other.replace(file)
    assert file.stat().st_size == was.st_size
    assert partners.authenticate("token-2") == Partner("two", "foundryusa", 1)


@pytest.mark.parametrize("content", [b"", b"[", b'[{"partner": "one"}]', None])
def test_an_invalid_change_keeps_the_last_valid_content_and_is_logged_once(
    file: Path, content: bytes | None
) -> None:
    partners = PartnersFile(write(file, [entry("one", "foundryusa", "token-1")]))
    with capture_logs() as logs:
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)
        for _ in range(3):
            assert partners.authenticate("token-1") == Partner("one", "foundryusa", 1)
        write(file, [entry("one", "foundryusa", "token-2")])
        for _ in range(3):
            assert partners.authenticate("token-1") is None
    assert [(log["log_level"], log["event"]) for log in logs] == [
        ("error", "partners_file_invalid"),
        ("info", "partners_file_loaded"),
    ]
    assert str(file) in logs[0]["error"]
    assert sha256("token-1") not in str(logs)


def test_a_file_that_is_invalid_at_the_start_is_an_error(file: Path) -> None:
    file.write_bytes(b"[")
    with pytest.raises(PartnersError):
        PartnersFile(file)


def test_a_file_that_does_not_exist_yet_has_no_partners_until_it_appears(file: Path) -> None:
    file = file.parent / "later" / "partners.json"
    with capture_logs() as logs:
        partners = PartnersFile(file)
        for _ in range(3):
            assert partners.authenticate("token-1") is None
        file.parent.mkdir()
        write(file, [entry("one", "foundryusa", "token-1")])
        assert partners.authenticate("token-1") == Partner("one", "foundryusa", 1)
    assert logs == [
        {"event": "partners_file_missing", "log_level": "warning", "file": str(file)},
        {"event": "partners_file_loaded", "log_level": "info", "file": str(file)},
    ]

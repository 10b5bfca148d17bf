from __future__ import annotations

import json
import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from collector.intake.partners import Partner, Partners, PartnersError, hash_of
from collector.intake.tokens import add, listed, revoke

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "partners.json"


def test_an_added_token_works_and_only_its_hash_is_stored(file: Path) -> None:
    token, partner = add(file, "one", "foundryusa")
    assert re.fullmatch(r"[0-9a-f]{64}", token)
    assert Partners.load(file).authenticate(token) == partner
    assert partner == Partner("one", "foundryusa", partner.token_id)
    assert token not in file.read_text()
    (entry,) = json.loads(file.read_text())
    assert entry == {
        "id": partner.token_id,
        "partner": "one",
        "pool": "foundryusa",
        "token_sha256": hash_of(token),
    }


def test_tokens_and_ids_are_unique(file: Path) -> None:
    given = [add(file, "one", "foundryusa") for _ in range(5)]
    assert len({token for token, _ in given}) == 5
    assert len({partner.token_id for _, partner in given}) == 5
    assert listed(file) == [partner for _, partner in given]


def test_tokens_keep_their_ids_when_others_are_revoked(file: Path) -> None:
    kept, keeper = add(file, "two", "viabtc")
    add(file, "one", "foundryusa")
    last, owner = add(file, "three", "ocean")
    assert [partner.name for partner in revoke(file, "one")] == ["one"]
    partners = Partners.load(file)
    assert partners.authenticate(kept) == keeper
    assert partners.authenticate(last) == owner


def test_entries_without_an_id_keep_their_former_position_as_id(file: Path) -> None:
    entries = [
        {"partner": name, "pool": name, "token_sha256": hash_of(name)} for name in ("a", "b", "c")
    ]
    file.write_text(json.dumps(entries))
    revoke(file, "a")
    assert listed(file) == [Partner("b", "b", 2), Partner("c", "c", 3)]
    assert Partners.load(file).authenticate("c") == Partner("c", "c", 3)


def test_one_of_several_tokens_can_be_revoked(file: Path) -> None:
    old, before = add(file, "one", "foundryusa")
    new, after = add(file, "one", "foundryusa")
    assert revoke(file, "one", before.token_id) == [before]
    partners = Partners.load(file)
    assert partners.authenticate(old) is None
    assert partners.authenticate(new) == after


def test_without_an_id_all_tokens_of_a_partner_are_revoked(file: Path) -> None:
    given = [add(file, "one", "foundryusa")[1] for _ in range(2)]
    assert revoke(file, "one") == given
    assert listed(file) == []


@pytest.mark.parametrize(
    ("name", "pool", "reason"),
    [
        ("One", "viabtc", "NAME and pool must be slugs: lower-case letters"),
        ("", "viabtc", "NAME and pool must be slugs: lower-case letters"),
        ("two", "Via BTC", "NAME and pool must be slugs: lower-case letters"),
        ("two", "foundryusa", "foundryusa is already served by one"),
        ("one", "viabtc", "one already serves foundryusa"),
    ],
)
def test_an_invalid_addition_is_an_error_and_changes_nothing(
    file: Path, name: str, pool: str, reason: str
) -> None:
    add(file, "one", "foundryusa")
    before = file.read_bytes()
    with pytest.raises(PartnersError, match=f"^{reason}"):
        add(file, name, pool)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_an_unknown_token_is_named_with_the_known_ones(file: Path) -> None:
    _, one = add(file, "one", "foundryusa")
    before = file.read_bytes()
    with pytest.raises(PartnersError, match="unknown partner two; expected one of: one"):
        revoke(file, "two")
    with pytest.raises(
        PartnersError, match=f"unknown token 1 of one; expected one of: {one.token_id}"
    ):
        revoke(file, "one", 1)
    assert file.read_bytes() == before


def test_only_the_owner_can_read_a_new_file(file: Path) -> None:
    add(file, "one", "foundryusa")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_mode_and_owner_of_a_file_are_kept(file: Path) -> None:
    file.write_text("[]")
    file.chmod(0o440)
    if os.getuid() == 0:
        os.chown(file, 10001, 10001)
    before = file.stat()
    add(file, "one", "foundryusa")
    after = file.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )


def test_a_symbolic_link_is_kept(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    file.write_text("[]")
    link.symlink_to(file)
    add(link, "one", "foundryusa")
    assert link.is_symlink()
    assert len(listed(file)) == 1


def test_an_invalid_file_is_left_unchanged(file: Path) -> None:
    file.write_text("[")
    with pytest.raises(PartnersError, match=r"partners\.json: "):
        add(file, "one", "foundryusa")
    assert file.read_text() == "["


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(PartnersError, match=r"cannot write .*none/partners.json: No such file"):
        add(tmp_path / "none" / "partners.json", "one", "foundryusa")


def test_a_failed_write_leaves_the_file_unchanged_and_no_temporary_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(file, "one", "foundryusa")
    before = file.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PartnersError, match=r"cannot write .*: No space left on device"):
        add(file, "two", "viabtc")
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_concurrent_additions_are_not_lost(file: Path) -> None:
    names = [f"partner-{number}" for number in range(8)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda name: add(file, name, name), names))
    assert sorted(partner.name for partner in listed(file)) == sorted(names)

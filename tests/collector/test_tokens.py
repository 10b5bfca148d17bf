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


def test_a_token_that_is_given_works_and_is_kept_as_its_hash_alone(file: Path) -> None:
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


def test_no_two_tokens_or_ids_are_the_same(file: Path) -> None:
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


def test_entries_without_ids_keep_the_ones_that_they_had(file: Path) -> None:
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


def test_without_a_number_all_tokens_of_a_partner_go(file: Path) -> None:
    given = [add(file, "one", "foundryusa")[1] for _ in range(2)]
    assert revoke(file, "one") == given
    assert listed(file) == []


@pytest.mark.parametrize(
    ("name", "pool", "reason"),
    [
        ("One", "viabtc", "NAME and pool are slugs"),
        ("", "viabtc", "NAME and pool are slugs"),
        ("two", "Via BTC", "NAME and pool are slugs"),
        ("two", "foundryusa", "foundryusa is already served by one"),
        ("one", "viabtc", "one already serves foundryusa"),
    ],
)
def test_what_cannot_be_added_says_why_and_changes_nothing(
    file: Path, name: str, pool: str, reason: str
) -> None:
    add(file, "one", "foundryusa")
    before = file.read_bytes()
    with pytest.raises(PartnersError, match=f"^{reason}"):
        add(file, name, pool)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_who_cannot_be_revoked_is_named_with_those_who_can(file: Path) -> None:
    _, one = add(file, "one", "foundryusa")
    before = file.read_bytes()
    with pytest.raises(PartnersError, match="no partner two; there are one"):
        revoke(file, "two")
    with pytest.raises(PartnersError, match=f"one has no token 1; it has {one.token_id}"):
        revoke(file, "one", 1)
    assert file.read_bytes() == before


def test_a_new_file_is_for_its_owner_alone(file: Path) -> None:
    add(file, "one", "foundryusa")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_file_stays_readable_for_whom_it_was(file: Path) -> None:
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


def test_a_link_stays_one(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    file.write_text("[]")
    link.symlink_to(file)
    add(link, "one", "foundryusa")
    assert link.is_symlink()
    assert len(listed(file)) == 1


def test_a_broken_file_is_left_as_it_is(file: Path) -> None:
    file.write_text("[")
    with pytest.raises(PartnersError, match=r"partners\.json: "):
        add(file, "one", "foundryusa")
    assert file.read_text() == "["


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PartnersError, match=r"cannot write .*none/partners.json: No such file"):
        add(tmp_path / "none" / "partners.json", "one", "foundryusa")


def test_a_write_that_fails_leaves_the_file_as_it_was_and_nothing_beside_it(
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


def test_of_many_who_add_at_once_none_is_lost(file: Path) -> None:
    names = [f"partner-{number}" for number in range(20)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: add(file, name, name), names))
    assert sorted(partner.name for partner in listed(file)) == sorted(names)

"""Files with secrets that other users can read or change are refused, wherever they are used."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from collector.intake import tokens
from collector.intake.partners import Partner, PartnersError, PartnersFile
from launch.cli import main
from miningmap.private_files import ExposedFileError, require_private
from miningmap.settings import SettingsError, load

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that all users can enter: that of other tests they cannot."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture
def file(folder: Path) -> Path:
    path = folder / "secret"
    path.write_text("token")
    return path


@pytest.mark.parametrize(("mode", "can"), [(0o644, "read"), (0o604, "read"), (0o602, "change")])
def test_a_file_of_all_is_refused_with_what_to_do(file: Path, mode: int, can: str) -> None:
    file.chmod(mode)
    with pytest.raises(ExposedFileError) as refused:
        require_private(file)
    assert str(refused.value) == f"others can {can} {file}; run: chmod 600 {file}"


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440])
def test_a_file_of_its_owner_or_group_is_accepted(file: Path, mode: int) -> None:
    file.chmod(mode)
    require_private(file)


def test_a_file_in_a_folder_that_others_cannot_enter_is_accepted(folder: Path, file: Path) -> None:
    file.chmod(0o444)
    folder.chmod(0o700)
    require_private(file)
    folder.chmod(0o711)  # they can enter it, but not list it
    with pytest.raises(ExposedFileError):
        require_private(file)


def test_a_link_does_not_hide_what_it_leads_to(file: Path, tmp_path: Path) -> None:
    file.chmod(0o644)
    link = tmp_path / "link"
    link.symlink_to(file)
    with pytest.raises(ExposedFileError, match=f"others can read {link}"):
        require_private(link)


def test_a_file_on_a_read_only_file_system_is_accepted(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mounted_read_only(_path: Path) -> os.statvfs_result:
        return os.statvfs_result((4096, 4096, 1, 1, 1, 1, 1, 1, os.ST_RDONLY, 255))

    file.chmod(0o444)
    monkeypatch.setattr("miningmap.private_files.os.statvfs", mounted_read_only)
    require_private(file)


def partners(file: Path) -> Path:
    digest = hashlib.sha256(b"token").hexdigest()
    entry = {"id": 1, "partner": "one", "pool": "foundryusa", "token_sha256": digest}
    file.write_text(json.dumps([entry]))
    return file


def test_a_file_of_partners_that_others_can_read_is_refused(file: Path) -> None:
    partners(file).chmod(0o644)
    with pytest.raises(PartnersError, match=f"chmod 600 {file}"):
        PartnersFile(file)
    with pytest.raises(PartnersError, match=f"chmod 600 {file}"):
        tokens.add(file, "two", "ocean")


def test_a_running_collector_notices_when_others_can_read_the_file(file: Path) -> None:
    partners(file).chmod(0o600)
    current = PartnersFile(file)
    with capture_logs() as logs:
        file.chmod(0o644)
        for _ in range(3):
            assert current.authenticate("token") == Partner("one", "foundryusa", 1)
        file.chmod(0o600)
        assert current.authenticate("token") == Partner("one", "foundryusa", 1)
    assert [entry["event"] for entry in logs] == ["partners_file_invalid", "partners_file_loaded"]
    assert f"chmod 600 {file}" in logs[0]["error"]


def test_a_secret_of_the_settings_that_others_can_read_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MININGMAP_SECRETS_DIR", str(folder))
    secret = folder / "MININGMAP_REDIS__PASSWORD"
    secret.write_text("hunter2")
    (folder / "another_service").write_text("theirs")
    secret.chmod(0o644)
    with pytest.raises(SettingsError) as refused:
        load()
    assert str(refused.value) == (
        f"MININGMAP_SECRETS_DIR: others can read {secret}; run: chmod 600 {secret}"
    )
    secret.chmod(0o600)
    assert load().redis.password is not None


def test_a_token_that_others_can_read_is_refused(file: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text(
        "period_start_date,period,country,province,average_hashrate,unit\n"
        "2026-01-01,daily,United States,,1,eh/s\n"
    )
    file.chmod(0o644)
    command = ["partner", "push", str(rows), "--to", "http://127.0.0.1:1"]
    result = CliRunner().invoke(main, [*command, "--token-file", str(file)])
    assert result.exit_code == 2
    assert f"--token-file: others can read {file}; run: chmod 600 {file}" in result.output

"""The units of systemd keep a service as shut in as a container."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from miningmap.settings import SECRETS_DIR

ROOT = Path(__file__).parents[2]
UNITS = ("deploy/systemd/miningmap@.service", "docs/examples/miningmap-partner.service")
MOST_EXPOSED = 20
"""Tenths of systemd's exposure level, of 100."""
REQUIRED = {
    "DynamicUser": "yes",
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "RestrictNamespaces": "yes",
    "MemoryDenyWriteExecute": "yes",
    "UMask": "0077",
}


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_is_shut_in(unit: str) -> None:
    text = (ROOT / unit).read_text()
    given = dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))
    assert given | REQUIRED == given
    assert "SystemCallFilter=@system-service" in text


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_little_exposed(unit: str) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("there is no systemd-analyze")
    command = [program, "security", "--offline=true", "--no-pager"]
    run = subprocess.run(
        [*command, f"--threshold={MOST_EXPOSED}", ROOT / unit],
        check=False,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-500:] + run.stderr


def test_secrets_are_credentials_and_a_wrong_setting_is_not_tried_again() -> None:
    text = (ROOT / UNITS[0]).read_text()
    assert f"Environment={SECRETS_DIR}=%d" in text
    for name, path in re.findall(r"^LoadCredential=(\w+):(\S+)$", text, re.MULTILINE):
        assert Path(path).name == name
    assert "RestartPreventExitStatus=2" in text
    assert "LimitCORE=0" in text

"""Every file and body from outside may begin with a byte order mark, which says nothing."""

from __future__ import annotations

from codecs import BOM_UTF8
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from collector.intake.body import decode_body, decode_lines
from collector.intake.partners import Partners
from collector.sources.credentials import Credentials
from launch.cli.partner import _token
from launch.cli.transfer import _read
from miningmap.cbeci.monthly_tables import FORMS, reports
from miningmap.settings import load
from streams.beliefs import BeliefsDocument, load_only
from streams.beliefs.check import check
from tests.cases import all_cases
from tests.cli.conftest import REPORTS
from tests.cli.test_cli_partner import HEADER, TEXAS
from tests.collector.conftest import Pools
from tests.collector.test_partners import sha256

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Run

NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)


def table() -> str:
    """Return a table of CBECI's of one month."""
    form = next(form for form in FORMS if form.country is None and form.hashrate is not None)
    cells = {"date": "2019-09-01", "share": "100.00%", "hashrate": "66.76"}
    row = [cells["date"], "United States", *[""] * (len(form.header) - 2)]
    row[form.hashrate or 0] = cells["hashrate"]
    if form.share is not None:
        row[form.share] = cells["share"]
    return ",".join(form.header) + "\n" + ",".join(row) + "\n"


def credential(path: Path) -> object:
    given = Credentials({"toy": {"key_file": SecretStr(str(path))}})
    return given.of(Pools.source())


BELIEFS = '[[rules]]\nid = "x"\nplace = "CN-ZJ"\napplies_to = "*"\n'


def findings(path: Path) -> object:
    own = path.rename(path.with_suffix(".toml"))
    return [finding.text for finding in check(own, pools=(), others=BeliefsDocument())]


@all_cases(
    ("text", "read"),
    [
        pytest.param("[endpoint]\nport = 1234\n", lambda p: load(p).endpoint.port, id="TOML"),
        pytest.param("some-key\n", credential, id="credential"),
        pytest.param("some-token\n", _token, id="token"),
        pytest.param(
            f'[{{"partner":"one","pool":"ocean","token_sha256":"{sha256("t")}"}}]',
            lambda p: Partners.load(p).authenticate("t"),
            id="partners",
        ),
        pytest.param('{"part_of":{"a":"b"}}', load_only, id="beliefs"),
        pytest.param(BELIEFS, findings, id="check of beliefs"),
        pytest.param(REPORTS, _read, id="publish"),
        pytest.param(
            table(), lambda p: reports({"x": p.read_bytes()}, fetched_at=NOW), id="import-history"
        ),
        pytest.param(
            '{"data":[{}]}', lambda p: decode_body(p.read_bytes()), id="body of the intake"
        ),
        pytest.param("{}\n{}", lambda p: decode_lines(p.read_bytes()), id="lines of the intake"),
    ],
)
def test_a_byte_order_mark_at_the_start_says_nothing(
    tmp_path: Path, text: str, read: Callable[[Path], object]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(text.encode())
    plain = read(path)
    assert plain
    path.write_bytes(BOM_UTF8 + text.encode())
    assert read(path) == plain


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (REPORTS, ("recompute", "FILE", "--as-of", "2026-11-22T15:00:00Z")),
        (HEADER + TEXAS, ("partner", "push", "FILE", "--dry-run")),
        (
            "code,window,share,source\nUS,2019-12,50%,x\n",
            ("compare", "FILE", "--messages", "/dev/null"),
        ),
        (
            "place,hashrate\nUS,5 TH/s\n",
            ("partner", "aggregate", "FILE", "--date", "2026-11-01", "--period", "daily"),
        ),
    ],
)
def test_commands_read_files_that_begin_with_a_byte_order_mark(
    run: Run, tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    path = tmp_path / "file"
    results = []
    for mark in (b"", BOM_UTF8):
        path.write_bytes(mark + text.encode())
        result = run(*(path if word == "FILE" else word for word in words))
        results.append((result.exit_code, result.stdout, result.stderr))
    assert results[0] == results[1]
    assert results[0][0] == 0


def test_a_secret_in_a_folder_may_begin_with_a_byte_order_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "MININGMAP_REDIS__PASSWORD").write_bytes(BOM_UTF8 + b"secret\n")
    monkeypatch.setenv("MININGMAP_SECRETS_DIR", str(tmp_path))
    password = load().redis.password
    assert password is not None
    assert password.get_secret_value() == "secret"

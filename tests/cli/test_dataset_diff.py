"""``miningmap dataset diff``: what was revised between two editions, and why."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from launch.dataset import descriptions
from launch.dataset.edition import digest_of, files_of, sums
from miningmap.messages import encode
from streams.queries.dataset_diff import RELATIVE_TOLERANCE
from tests.cli.editions import BELIEFS, DAY, START, make, messages, rows, write, write_beliefs
from tests.streams.fixtures import report

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from miningmap.messages import Message
    from tests.cli.conftest import Run

NO_IDS: dict[str, list[str]] = {"added": [], "removed": [], "changed": []}


@dataclass(frozen=True)
class Editions:
    """The edition of the usual messages and beliefs, and others beside it."""

    run: Run
    folder: Path

    @property
    def usual(self) -> Path:
        return self.folder / "usual"

    def make(
        self,
        name: str,
        given: Sequence[Message] | None = None,
        document: Any = BELIEFS,
        words: Sequence[str] = (),
    ) -> Path:
        file = write(self.folder / f"{name}.jsonl", messages() if given is None else given)
        beliefs = write_beliefs(self.folder / f"{name}.json", document)
        make(self.run, self.folder / name, file, "--beliefs", beliefs, *words)
        return self.folder / name

    def diff(self, other: Path) -> Any:
        """What differs from the usual edition."""
        result = self.run("dataset", "diff", "--json", self.usual, other)
        assert result.exit_code in {0, 1}, result.stderr
        found = json.loads(result.stdout)
        assert result.exit_code == int(bool(found["windows"] or found["only_after"]))
        return found


@pytest.fixture
def editions(run: Run, tmp_path: Path) -> Editions:
    made = Editions(run, tmp_path)
    made.make("usual")
    return made


def reasons(found: Any) -> dict[str, Any]:
    return {window.pop("window"): window for window in found["windows"]}


def columns_that_differ(before: Path, after: Path, window: str) -> list[str]:
    """The columns of figures that differ in a window, by the tables; not share and hashrate."""
    found = set()
    for table, key in (("shares", ("window", "code")), ("windows", ("window",))):
        known = {tuple(row[n] for n in key): row for row in rows(before, table)}
        for row in rows(after, table):
            old = known.get(tuple(row[name] for name in key), row)
            if row["window"] == window:
                found |= {f"{table}.{name}" for name in row if row[name] != old[name]}
    return sorted(found - {"shares.share", "shares.hashrate"})


def test_equal_editions_have_no_difference(editions: Editions) -> None:
    other = editions.make("other", messages()[::-1])
    assert editions.diff(other) == {
        "compared": 3,
        "only_before": [],
        "only_after": [],
        "revisions": [],
        "windows": [],
    }
    result = editions.run("dataset", "diff", editions.usual, other)
    assert (result.exit_code, result.stdout) == (0, "3 windows compared: no figure differs\n")


def test_messages_that_are_added_removed_and_changed_are_counted_by_source(
    editions: Editions,
) -> None:
    given = messages()
    removed = next(m for m in given if m.source == "own" and m.start == START + 70 * DAY)
    given.remove(removed)
    at = given.index(next(m for m in given if m.length_s == 3600 and m.start == START + 65 * DAY))
    given[at] = msgspec.structs.replace(given[at], hashrate=3e20)
    given += [
        report("f2pool", {"US-GA": 4e19}, start=START + n * DAY, end=START + (n + 1) * DAY)
        for n in range(62, 90)
    ]
    other = editions.make("other", given)
    found = editions.diff(other)
    (window,) = reasons(found).items()
    assert window == (
        "2026-02",
        {
            "columns": columns_that_differ(editions.usual, other, "2026-02"),
            "messages": [
                {"pool": "f2pool", "source": "own", "added": 28, "removed": 0, "changed": 0},
                {"pool": "foundryusa", "source": "own", "added": 0, "removed": 1, "changed": 0},
                {"pool": "ocean", "source": "own", "added": 0, "removed": 0, "changed": 1},
            ],
            "beliefs": NO_IDS,
            "rules": NO_IDS,
            "cohort": [{"pool": "f2pool", "before": None, "after": "own"}],
            "method": None,
            "software": None,
        },
    )
    listed = {(r["window"], r["code"]): r for r in found["revisions"]}
    assert {window for window, _ in listed} == {"2026-02"}
    assert listed["2026-02", "US-GA"]["share"][0] is None
    sizes = [abs((r["share"][1] or 0) - (r["share"][0] or 0)) for r in found["revisions"]]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 0.01


def test_every_figure_that_differs_is_listed(editions: Editions) -> None:
    given = messages()
    given[0] = msgspec.structs.replace(given[0], hashrate=9e20)  # the network alone
    given[1] = msgspec.structs.replace(given[1], hashrate=3e20)
    other = editions.make("other", given)
    before = {(r["window"], r["code"]): r for r in rows(editions.usual, "shares")}
    after = {(r["window"], r["code"]): r for r in rows(other, "shares")}
    expected = {
        key
        for key, row in after.items()
        if any(
            float(row[name]) != pytest.approx(float(before[key][name]), rel=RELATIVE_TOLERANCE)
            for name in ("share", "hashrate")
        )
    }
    found = editions.diff(other)["revisions"]
    assert {(r["window"], r["code"]) for r in found} == expected
    assert all(r["share"][1] == float(after[r["window"], r["code"]]["share"]) for r in found)


def test_another_network_is_a_difference_though_no_share_is_another(editions: Editions) -> None:
    """It changes what a share says about the network: bounds and coverage."""
    given = messages()
    given[0] = msgspec.structs.replace(given[0], hashrate=9e20)
    other = editions.make("other", given)
    found = editions.diff(other)
    assert found["revisions"] == []
    (window,) = reasons(found).items()
    assert window[0] == "2025-12"
    assert window[1]["columns"] == columns_that_differ(editions.usual, other, "2025-12")
    assert {"shares.low", "windows.coverage"} <= set(window[1]["columns"])
    assert [(each["source"], each["changed"]) for each in window[1]["messages"]] == [("mempool", 1)]
    result = editions.run("dataset", "diff", editions.usual, other)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0] == "3 windows compared, 1 revised: 0 places changed, 0 appeared, 0 vanished"
    assert lines[1:5] == ["", "Why, by window:", "", "2025-12:"]
    assert lines[5].startswith("  figures that differ: shares.")
    assert lines[6:] == ["  messages of mempool: 1 changed"]


def test_a_window_without_a_known_network_differs_from_one_with_it(editions: Editions) -> None:
    given = [m for m in messages() if m.source != "mempool" or m.start >= START + 31 * DAY]
    found = editions.diff(editions.make("other", given))
    assert set(reasons(found)) == {"2025-12"}
    assert "shares.network_hashrate" in found["windows"][0]["columns"]


def test_editions_without_a_common_window_are_not_called_equal(editions: Editions) -> None:
    days = ("--step", "day", "--from", "2026-01-20", "--to", "2026-01-22")
    result = editions.run("dataset", "diff", editions.usual, editions.make("d", words=days))
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "no window is in both editions: no figure could be compared",
        "only in the first edition: 2025-12, 2026-01, 2026-02",
        "only in the second edition: 2026-01-20, 2026-01-21",
    ]


def test_messages_of_the_profile_days_count_too(editions: Editions) -> None:
    days = ("--step", "day", "--from", "2026-01-20", "--to", "2026-01-22")
    before = editions.make("before", words=days)
    given = messages()
    at = next(n for n, m in enumerate(given) if m.start == START + 25 * DAY and "pool" in dir(m))
    given[at] = msgspec.structs.replace(given[at], hashrate=2.5e20)
    after = editions.make("after", given, words=days)
    result = editions.run("dataset", "diff", "--json", before, after)
    assert result.exit_code == 1
    for window in json.loads(result.stdout)["windows"]:
        (changes,) = window["messages"]
        assert changes["changed"] == 1


def test_beliefs_that_differ_are_named(editions: Editions) -> None:
    (claim,) = BELIEFS["claims"]
    first, second = BELIEFS["network"]
    document = BELIEFS | {
        "claims": [claim | {"at_least": 7e19}],
        "network": [first | {"id": "network/new"}, second],
    }
    found = editions.diff(editions.make("other", document=document))
    assert reasons(found)["2025-12"]["beliefs"] == {
        "added": ["network/new"],
        "removed": ["network/one"],
        "changed": ["claims/tx"],
    }
    # Another default prior changes figures, though all say the same as before.
    document = BELIEFS | {"network": [second, first]}
    found = editions.diff(editions.make("turned", document=document))
    ids = {"added": [], "removed": [], "changed": ["network/one", "network/two"]}
    assert reasons(found)["2025-12"]["beliefs"] == ids


def test_who_says_so_is_no_reason(editions: Editions) -> None:
    (claim,) = BELIEFS["claims"]
    document = BELIEFS | {"claims": [claim | {"publisher": "Somebody else"}]}
    assert editions.diff(editions.make("other", document=document))["windows"] == []


def test_rules_that_differ_are_named(editions: Editions) -> None:
    document = {**BELIEFS, "rules": []}
    found = editions.diff(editions.make("other", document=document))
    assert {row["code"] for row in found["revisions"]} == {"CN-ZJ", "CN-SC"}
    for reason in reasons(found).values():
        assert reason["rules"] == NO_IDS | {"removed": ["cn-zhejiang"]}
        assert (reason["messages"], reason["beliefs"]) == ([], NO_IDS)


def test_other_versions_are_named(editions: Editions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptions, "METHOD", "3")
    monkeypatch.setattr(descriptions, "__version__", "9.9")
    found = editions.diff(editions.make("other", document={**BELIEFS, "rules": []}))
    for reason in reasons(found).values():
        assert reason["method"] == ["2", "3"]
        assert reason["software"][1] == "9.9"


def test_windows_of_one_edition_alone_are_a_difference(editions: Editions) -> None:
    shorter = editions.make("shorter", words=("--from", "2026-01", "--to", "2026-03"))
    result = editions.run("dataset", "diff", shorter, editions.usual)
    assert result.exit_code == 1
    assert result.stdout == (
        "2 windows compared: no figure differs\nonly in the second edition: 2025-12\n"
    )


def test_the_list_is_readable(editions: Editions) -> None:
    given = messages()
    given = [m for m in given if getattr(m, "pool", "") != "viabtc"]
    result = editions.run("dataset", "diff", editions.usual, editions.make("other", given))
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    vanished = {"NO", "IS"}
    assert lines[0].startswith("3 windows compared, 1 revised: ")
    assert lines[0].endswith(f"0 appeared, {len(vanished)} vanished")
    assert lines[2].split() == ["window", "place", "share", "hashrate"]
    assert any(line.startswith("2026-01  IS Iceland") for line in lines)
    assert lines[-3:] == [
        "2026-01:",
        "  messages of own about viabtc: 1 removed",
        "  pool viabtc: own, then not known",
    ]


def test_a_folder_that_was_changed_is_refused(editions: Editions) -> None:
    shares = editions.usual / "shares.csv"
    shares.write_bytes(shares.read_bytes().replace(b"United States", b"Untied States"))
    result = editions.run("dataset", "diff", editions.usual, editions.usual)
    assert (result.exit_code, result.stdout) == (2, "")
    error = f"{shares}: was changed: it has another hash than in SHA256SUMS"
    assert result.stderr == f"miningmap: {error}\n"
    shares.unlink()
    result = editions.run("dataset", "diff", editions.usual, editions.usual)
    assert result.stderr == f"miningmap: {shares}: No such file or directory\n"


def test_a_file_that_was_changed_together_with_its_hash_is_refused(editions: Editions) -> None:
    """The citation still has the digest of what was made."""
    shares = editions.usual / "shares.csv"
    shares.write_bytes(shares.read_bytes().replace(b"United States", b"Untied States"))
    write_sums(editions.usual)
    result = editions.run("dataset", "diff", editions.usual, editions.usual)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"miningmap: {editions.usual}: was changed: CITATION.cff has another digest than follows "
        "from SHA256SUMS\n"
    )
    lines = (editions.usual / "SHA256SUMS").read_text().splitlines(keepends=True)
    (editions.usual / "SHA256SUMS").write_text("".join(lines[1:]))
    result = editions.run("dataset", "diff", editions.usual, editions.usual)
    assert result.exit_code == 2


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"no archive", "Not a gzipped file"),
        (gzip.compress(encode(messages()[0]) + b"\n")[:-4], "Compressed file ended before"),
        (gzip.compress(b'{"schema":"report/9"}\n'), "unknown schema"),
    ],
    ids=["no archive", "incomplete", "another schema"],
)
def test_messages_that_cannot_be_read_are_named(
    editions: Editions, content: bytes, error: str
) -> None:
    """As those of another version of the software could be."""
    other = editions.make("other", messages()[::-1])
    (other / "messages.jsonl.gz").write_bytes(content)
    write_sums(other)
    cite(other)
    result = editions.run("dataset", "diff", editions.usual, other)
    assert (result.exit_code, result.stdout) == (2, "")
    line = result.stderr.splitlines()[-1]
    assert line.startswith(f"miningmap: messages of {editions.usual} or {other} cannot be read: ")
    assert error in line


def write_sums(folder: Path) -> None:
    (folder / "SHA256SUMS").unlink()
    hashes = {name: file.sha256 for name, file in files_of(folder).items()}
    (folder / "SHA256SUMS").write_text(sums(hashes))


def cite(folder: Path) -> None:
    """Write the digest that follows from the files into the citation."""
    digest = digest_of({name: file.sha256 for name, file in files_of(folder).items()})
    citation = folder / "CITATION.cff"
    citation.write_text(re.sub(r"[0-9a-f]{64}", digest, citation.read_text()))
    write_sums(folder)


def test_options_of_a_new_edition_are_refused_in_front_of_diff(editions: Editions) -> None:
    """They would be ignored, as if only these windows were compared."""
    options = (("--from", "2026-01"), ("--step", "month"), ("-o", "x"), ("--demo",))
    for words in options:
        result = editions.run("dataset", *words, "diff", editions.usual, editions.usual)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith("miningmap: --")
        assert "not allowed in front of diff" in result.stderr


def test_a_folder_that_is_no_edition_is_refused(editions: Editions, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    result = editions.run("dataset", "diff", empty, editions.usual)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"miningmap: {empty}: is not an edition")
    (empty / "SHA256SUMS").write_text(f"{'0' * 64}  ../usual/shares.csv\n")
    result = editions.run("dataset", "diff", empty, editions.usual)
    assert result.stderr.startswith(f"miningmap: {empty}: is not an edition")

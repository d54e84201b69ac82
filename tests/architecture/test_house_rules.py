"""Rules of the house that import-linter cannot see; each names what it guards against."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import get_type_hints

import pytest
from sqlalchemy import Float, Numeric

from infra.docs import PAGES, page_with
from infra.routes import PORTS
from libs.common.runtime.permissions import permission_of, routes_of
from libs.common.runtime.schema import WRITERS, metadata
from libs.common.runtime.secrets import new_key

ROOT = Path(__file__).resolve().parents[2]
PURE_ROOMS = ("kernel", "quant", "domain", "strategy", "contracts")
SERVICES = sorted(path.parent.name for path in (ROOT / "services").glob("*/main.py"))
TOP_LEVEL = {
    ".ci", ".dockerignore", ".gitattributes", ".gitignore", ".hadolint.yaml", ".importlinter",
    ".pre-commit-config.yaml", "CHANGELOG.md", "LICENSE", "Makefile", "README.md", "alembic.ini",
    "benchmarks", "cli", "docker", "docker-compose.yml", "docs", "grafana", "infra", "libs",
    "migrations", "nginx", "prometheus", "pyproject.toml", "requirements.lock", "services",
    "strategies", "tests",
}  # fmt: skip
SKELETON = {"__init__.py", "main.py", "settings.py", "api.py", "handlers.py", "ports.py"}


def tracked() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / line for line in listing.stdout.splitlines() if (ROOT / line).exists()]


def python_files(*folders: str) -> Iterator[Path]:
    for path in tracked():
        if path.suffix == ".py" and path.relative_to(ROOT).as_posix().startswith(folders):
            yield path


def calls(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)


def test_the_list_of_rooms_is_exhaustive() -> None:
    found = {path.relative_to(ROOT).parts[0] for path in tracked()}
    assert found <= TOP_LEVEL, f"new rooms are a reviewed line here: {found - TOP_LEVEL}"


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_the_one_skeleton(service: str) -> None:
    folder = ROOT / "services" / service
    present = {path.name for path in folder.iterdir()} | {
        f"{path.name}.py" for path in folder.iterdir() if path.is_dir()
    }
    # The simulator stands for the outside world: it has an engine where others have handlers.
    due = SKELETON - {"handlers.py", "ports.py"} if service == "broker_simulator" else SKELETON
    assert due <= present, f"{service} lacks {due - present}"


def test_pure_rooms_neither_read_the_clock_nor_draw_lots() -> None:
    forbidden = re.compile(
        r"(datetime|dt|date)\.(now|utcnow|today)$|^time\.|^random\.|^uuid\.uuid[14]$|^os\.|^open$"
    )
    folders = tuple(f"libs/common/{room}/" for room in PURE_ROOMS)
    found = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in python_files(*folders)
        # The strategy loader reads the user's files: that is its one job.
        if path.name != "loader.py"
        for line, name in calls(path)
        if forbidden.search(name) and "random.Generator" not in name
    ]
    assert found == []


def test_no_naive_or_local_time_anywhere() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in python_files("libs/", "services/", "cli/", "infra/", "strategies/")
        for line, name in calls(path)
        if re.search(r"\.utcnow$|\.utcfromtimestamp$|date\.today$", name)
    ]
    assert found == []


def test_money_and_quantities_are_never_stored_as_floats() -> None:
    floats = {
        f"{table.name}.{column.name}"
        for table in metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, Float) and not isinstance(column.type, Numeric)
    } | {
        f"{table.name}.{column.name}"
        for table in metadata.tables.values()
        for column in table.columns
        if type(column.type).__name__ in {"Float", "REAL", "DOUBLE_PRECISION", "Double"}
    }
    # A signal's target and confidence are shares, not amounts.
    assert floats <= {"signals.target", "signals.confidence"}, floats


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_generated_docs_are_up_to_date(path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    assert page_with(PAGES[path](), page) == page, "run `make docs`"


@pytest.mark.parametrize("service", SERVICES)
def test_every_route_declares_its_permission(service: str) -> None:
    main = importlib.import_module(f"services.{service}.main")
    settings = next(iter(get_type_hints(main.build).values()))
    app = main.build(settings(broker_key="key", broker_secret="secret", encryption_keys=new_key()))
    routes = routes_of(app)
    assert routes, f"{service} has no routes"
    assert [route.path for route in routes if permission_of(route) is None] == []


def test_no_host_of_a_package_index_and_no_path_of_a_machine() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in lock, "requirements.lock names a host"
    paths = re.compile(r"/(root|home/\w+|work)/")
    found = [
        str(path.relative_to(ROOT))
        for path in tracked()
        if path.suffix in {".py", ".md", ".toml", ".yml", ".yaml", ".json", ".lock", ".conf"}
        and path != Path(__file__)
        and paths.search(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_nothing_in_production_code_is_patched_or_left_undone() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in python_files("libs/", "services/", "cli/", "infra/", "strategies/")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if marks.search(line)
    ]
    assert found == []


def test_docs_link_to_pages_that_exist() -> None:
    broken = []
    for page in tracked():
        if page.suffix != ".md":
            continue
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            if "://" in target or target.startswith("mailto:"):
                continue
            if not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)} -> {target}")
    assert broken == []


def test_decisions_are_numbered_one_by_one() -> None:
    names = sorted(path.name for path in (ROOT / "infra" / "decisions").glob("[0-9]*.md"))
    assert [name[:4] for name in names] == [f"{i:04}" for i in range(1, len(names) + 1)]
    for name in names:
        first_line = (ROOT / "infra" / "decisions" / name).read_text().splitlines()[0]
        assert first_line.startswith(f"# {name[:4]} "), name


def test_every_service_may_write_its_messages() -> None:
    # The backtester could not once Redis had been new: its outbox was refused, it never got ready.
    assert set(WRITERS["outbox"]) == set(PORTS) - {"broker_simulator"}

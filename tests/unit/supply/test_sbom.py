"""The bills of materials hold what the lock, the Dockerfile and Compose say, and no more."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from infra.lock_subset import blocks, requirements, subset
from infra.routes import PORTS
from infra.supply import sbom
from infra.supply.advisories import pins

PROJECT = tomllib.loads((sbom.ROOT / "pyproject.toml").read_text())["project"]
LOCK = (sbom.ROOT / "requirements.lock").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def bills() -> dict[str, sbom.Bill]:
    return sbom.bills()


def python_packages(bill: sbom.Bill) -> set[tuple[str, str]]:
    found = [item for item in bill["components"] if item.get("purl", "").startswith("pkg:pypi/")]
    return {(item["name"].lower(), item["version"]) for item in found}


def test_the_bill_of_the_lock_is_the_lock(bills: dict[str, sbom.Bill]) -> None:
    whole = bills["tradewind.cdx.json"]
    assert python_packages(whole) == pins(LOCK)
    hashes = {
        entry["content"]
        for item in whole["components"]
        for reference in item["externalReferences"]
        for entry in reference["hashes"]
    }
    assert hashes == set(re.findall(r"--hash=sha256:([0-9a-f]{64})", LOCK))


def test_each_image_holds_its_part_of_the_lock_for_its_own_python(
    bills: dict[str, sbom.Bill],
) -> None:
    assert sbom.images() == sorted(PORTS)
    base = sbom.base_image()
    assert base["name"] == "python"
    assert base["version"] == "3.13-slim"
    for service in sbom.images():
        bill = bills[f"image-{service}.cdx.json"]
        extras = ["simulator"] if service in {"broker_simulator", "backtester"} else []
        part = subset(LOCK, requirements(PROJECT, extras))
        packages = python_packages(bill)
        # Their markers ask for an older Python or another system.
        assert {name for name, _ in packages} == blocks(part).keys() - {"async-timeout", "colorama"}
        assert len([name for name, _ in packages if name == "numpy"]) == 1
        assert "pytest" not in dict(packages)
        assert base["bom-ref"] in {item["bom-ref"] for item in bill["components"]}


def test_the_stack_names_every_image(bills: dict[str, sbom.Bill]) -> None:
    names = {item["name"] for item in bills["stack.cdx.json"]["components"]}
    assert {"postgres", "redis", "nginx"} | {f"tradewind/{name}" for name in PORTS} <= names


def test_every_reference_points_at_something(bills: dict[str, sbom.Bill]) -> None:
    for name, bill in bills.items():
        refs = {item["bom-ref"] for item in bill["components"]}
        refs.add(bill["metadata"]["component"]["bom-ref"])
        told = [edge["ref"] for edge in bill["dependencies"]]
        assert len(told) == len(set(told)), name
        assert set(told) <= refs, name
        assert {ref for edge in bill["dependencies"] for ref in edge["dependsOn"]} <= refs, name


def test_whom_fastapi_needs_is_in_the_graph(bills: dict[str, sbom.Bill]) -> None:
    edges = {edge["ref"]: edge["dependsOn"] for edge in bills["tradewind.cdx.json"]["dependencies"]}
    (fastapi,) = (needed for ref, needed in edges.items() if ref.startswith("pkg:pypi/fastapi@"))
    assert any(ref.startswith("pkg:pypi/starlette@") for ref in fastapi)


def test_the_same_sources_give_the_same_bytes_anywhere(
    bills: dict[str, sbom.Bill], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1234567890")
    again = json.dumps(sbom.lock_bill())
    assert again == json.dumps(bills["tradewind.cdx.json"])
    everything = json.dumps(bills)
    assert "timestamp" not in everything
    assert "serialNumber" not in everything
    assert str(sbom.ROOT) not in everything
    hosts = set(re.findall(r"https?://([^/\"]+)", everything))
    assert hosts == {"cyclonedx.org"}


@pytest.mark.parametrize("name", ["image-backtester.cdx.json", "stack.cdx.json"])
def test_a_bill_follows_the_schema(bills: dict[str, sbom.Bill], name: str) -> None:
    # All of them in full by `make sbom`; the validator takes seconds for a hundred packages.
    bill = bills[name]
    assert sbom.problem({**bill, "components": bill["components"][:12]}) is None


def test_a_bill_that_breaks_the_schema_is_refused(bills: dict[str, sbom.Bill]) -> None:
    stack = bills["stack.cdx.json"]
    assert sbom.problem({**stack, "components": [{"type": "wheel", "name": "x"}]}) is not None

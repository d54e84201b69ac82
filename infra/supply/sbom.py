"""Write bills of materials (CycloneDX 1.6, JSON): of the lock, of each image, of the whole stack.

`python -m infra.supply.sbom [folder]` (build/sbom by default) writes

tradewind.cdx.json   every package of requirements.lock, development tools too, by cyclonedx-py
image-<service>.cdx.json   base image, packages for the image's Python and system, own code
stack.cdx.json   every image that docker-compose.yml starts

Each is validated against CycloneDX' own schema before it is written. The same lock, Dockerfile and
Compose file give the same bytes anywhere: no time, no serial number, no host, no path, no package
index. What the base images bring along (Debian's packages) is known to Docker alone; `docker scout
sbom IMAGE` or syft tell it of a built image.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.markers import Marker

from infra.lock_subset import blocks, parents, requirements, subset

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements.lock"
DOCKERFILE = ROOT / "docker" / "service.Dockerfile"
COMPOSE = ROOT / "docker-compose.yml"
TARGET = ROOT / "build" / "sbom"
OWN_IMAGES = "tradewind/"
TIMEOUT_S = 120
Bill = dict[str, Any]


def listed(lock: str) -> tuple[Bill, list[Bill]]:
    """Return what cyclonedx-py makes of a lock: the metadata and the components."""
    ended = subprocess.run(
        [
            sys.executable, "-m", "cyclonedx_py", "requirements", "-", "--pyproject",
            str(ROOT / "pyproject.toml"), "--output-reproducible", "--sv", "1.6", "--of", "JSON",
            "--short-PURLs", "--no-validate",
        ],
        input=lock, capture_output=True, text=True, check=True, timeout=TIMEOUT_S,
        # It would put the time that SOURCE_DATE_EPOCH names into the bill.
        env={name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"},
    )  # fmt: skip
    bill = json.loads(ended.stdout)
    return _neutral(bill["metadata"]), [_component(item) for item in bill["components"]]


def lock_bill() -> Bill:
    """Return the bill of the whole lock, with who needs whom."""
    lock = LOCK.read_text(encoding="utf-8")
    metadata, components = listed(lock)
    return _bill(metadata, components, _edges(lock, metadata["component"]["bom-ref"], components))


def image_bill(service: str, whole: Bill) -> Bill:
    """Return what the image of a service holds; `whole` is the lock's bill."""
    base = base_image()
    wanted = _installed(_extras(service), base["version"])
    packages = [item for item in whole["components"] if (item["name"], item["version"]) in wanted]
    image = {
        "type": "container",
        "bom-ref": f"image:{OWN_IMAGES}{service}",
        "name": OWN_IMAGES + service,
        "version": whole["metadata"]["component"]["version"],
    }
    code = {
        **whole["metadata"]["component"],
        "bom-ref": "tradewind",
        "name": f"tradewind-{service}",
    }
    refs = {item["bom-ref"] for item in packages}
    edges = [
        {**edge, "dependsOn": [ref for ref in edge.get("dependsOn", []) if ref in refs]}
        for edge in whole["dependencies"]
        if edge["ref"] in refs
    ]
    parts = [base, code, *packages]
    edges.append({"ref": image["bom-ref"], "dependsOn": sorted(part["bom-ref"] for part in parts)})
    return _bill({**whole["metadata"], "component": image}, parts, edges)


def stack_bill(whole: Bill) -> Bill:
    """Return the images that Compose starts, ours and others'."""
    images = {service["image"] for service in _services().values() if "image" in service}
    version = whole["metadata"]["component"]["version"]
    parts = [
        {**_image(name), "version": version, "bom-ref": f"image:{name}"}
        if name.startswith(OWN_IMAGES)
        else _image(name)
        for name in sorted(images)
    ]
    root = {**whole["metadata"]["component"], "bom-ref": "tradewind"}
    edges = [{"ref": "tradewind", "dependsOn": [part["bom-ref"] for part in parts]}]
    return _bill({**whole["metadata"], "component": root}, parts, edges)


def base_image() -> Bill:
    """Return the image that ours are built from, as the Dockerfile names it."""
    text = DOCKERFILE.read_text(encoding="utf-8")
    defaults = dict(re.findall(r"^ARG (\w+)=(\S+)$", text, re.MULTILINE))
    last = re.findall(r"^FROM (\S+)", text, re.MULTILINE)[-1]
    return _image(re.sub(r"\$\{(\w+)\}", lambda match: defaults[match.group(1)], last))


def images() -> list[str]:
    """Return the services that have an image of their own."""
    return sorted(
        service["build"]["args"]["SERVICE"]
        for name, service in _services().items()
        if "build" in service and service["build"]["args"]["SERVICE"] == name
    )


def problem(bill: Bill) -> str | None:
    """Return what the schema of CycloneDX has against a bill."""
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill))
    return None if error is None else str(error)


def bills() -> dict[str, Bill]:
    """Return every bill by its file name."""
    whole = lock_bill()
    return {
        "tradewind.cdx.json": whole,
        **{f"image-{service}.cdx.json": image_bill(service, whole) for service in images()},
        "stack.cdx.json": stack_bill(whole),
    }


def _bill(metadata: Bill, components: list[Bill], edges: list[Bill]) -> Bill:
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": metadata,
        "components": sorted(components, key=lambda item: str(item["bom-ref"])),
        "dependencies": sorted(edges, key=lambda edge: str(edge["ref"])),
    }


def _component(item: Bill) -> Bill:
    """Return a component without the index it is said to come from; the hashes stay."""
    marker = re.search(r" ; (.*?)\s+--hash", item.get("description", ""))
    made = {
        "type": item["type"],
        "bom-ref": item["purl"],
        "name": item["name"],
        "version": item["version"],
        "purl": item["purl"],
        "externalReferences": [
            {**reference, "url": item["purl"], "comment": "files that the lock admits"}
            for reference in item.get("externalReferences", [])
        ],
    }
    if marker is not None:
        made["properties"] = [{"name": "tradewind:marker", "value": marker.group(1)}]
    return made


def _edges(lock: str, root: str, components: list[Bill]) -> list[Bill]:
    """Return the dependency graph, from the lock's notes of who asked for what."""
    asked_by: dict[str, set[str]] = {}
    for name, block in blocks(lock).items():
        for parent in parents(block):
            asked_by.setdefault(parent, set()).add(name)
    refs: dict[str, list[str]] = {}
    for item in components:
        refs.setdefault(item["name"], []).append(item["bom-ref"])

    def needed(name: str) -> list[str]:
        return sorted(ref for child in asked_by.get(name, ()) for ref in refs.get(child, ()))

    edges = [
        {"ref": ref, "dependsOn": needed(name)} for name, group in refs.items() for ref in group
    ]
    return [*edges, {"ref": root, "dependsOn": needed("tradewind")}]


def _installed(extras: Iterable[str], python: str) -> set[tuple[str, str]]:
    """Return name and version of what an image gets, on Linux with its Python."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lock = subset(LOCK.read_text(encoding="utf-8"), requirements(project, extras))
    version = python.split("-")[0]
    machine = {
        "python_version": version,
        "python_full_version": f"{version}.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    pin = re.compile(r"^([\w.-]+)==([^\s;]+)(?: ; ([^\\]*))?", re.MULTILINE)
    return {
        (name, number)
        for name, number, marker in pin.findall(lock)
        if not marker.strip() or Marker(marker.strip()).evaluate(machine)
    }


def _extras(service: str) -> list[str]:
    words: str = _services()[service]["build"]["args"].get("EXTRAS", "")
    return words.split()


@cache
def _services() -> Mapping[str, Any]:
    found: Mapping[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    return found


def _image(name: str) -> Bill:
    repository, _, tag = name.partition(":")
    purl = f"pkg:docker/{repository}@{tag}"
    return {
        "type": "container", "bom-ref": purl, "name": repository, "version": tag, "purl": purl
    }  # fmt: skip


def _neutral(metadata: Bill) -> Bill:
    """Return the metadata without the pages of the tools, which name a package index."""
    tools = [
        {key: value for key, value in tool.items() if key != "externalReferences"}
        for tool in metadata["tools"]["components"]
    ]
    return {**metadata, "tools": {"components": tools}}


def main() -> None:
    """Write all bills; exit 1 when one does not follow the schema."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    target.mkdir(parents=True, exist_ok=True)
    for name, bill in bills().items():
        wrong = problem(bill)
        if wrong is not None:
            sys.exit(f"sbom: {name} does not follow the schema: {wrong[:500]}")
        (target / name).write_text(json.dumps(bill, indent=2) + "\n", encoding="utf-8")
        print(f"{name}: {len(bill['components'])} components")


if __name__ == "__main__":
    main()

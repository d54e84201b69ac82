"""The Compose stack's files agree with the routes table and keep their promises."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from infra.compose_check.conditions import JOBS
from infra.compose_check.hardening import UNREACHABLE
from infra.compose_check.panels import expressions
from infra.containers import make_secrets
from infra.embedded import plan
from infra.lock_subset import blocks, requirements, subset
from infra.routes import PORTS, ROOT
from libs.common.runtime.secrets import SecretBox

STACK: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = STACK["services"]
ROOT_JOBS = frozenset({"secrets", "gotify_token"})
"""They write into new volumes, which belong to root; they have no capability and end at once."""


@pytest.mark.parametrize("name", PORTS)
def test_every_service_has_its_container_port_and_image(name: str) -> None:
    service = SERVICES[name]
    assert service["environment"]["TRADEWIND_PORT"] == str(PORTS[name])
    assert service["build"]["args"]["SERVICE"] == name
    assert service["build"]["dockerfile"] == "docker/service.Dockerfile"


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "mem_limit" in service
    assert "pids_limit" in service


def test_only_the_gateway_is_published_and_on_the_loopback() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["gateway"]
    for port in SERVICES["gateway"]["ports"]:
        assert port.startswith("${TRADEWIND_GATEWAY_ADDRESS:-127.0.0.1}:")


@pytest.mark.parametrize("name", SERVICES)
def test_no_container_is_root_but_jobs_that_write_into_new_volumes(name: str) -> None:
    service = SERVICES[name]
    if service.get("image", "").startswith("tradewind/") and "user" not in service:
        return  # the image says it: test_the_service_image_is_not_root
    if name in ROOT_JOBS:
        assert service["restart"] == "no"
    else:
        assert not service["user"].startswith(("0", "root"))


def test_the_service_image_is_not_root() -> None:
    lines = (ROOT / "docker" / "service.Dockerfile").read_text().splitlines()
    assert [line for line in lines if line.startswith("USER")] == ["USER 10001:10001"]


@pytest.mark.parametrize("name", SERVICES)
def test_no_container_is_given_the_machine(name: str) -> None:
    service = SERVICES[name]
    for key in ("privileged", "cap_add", "devices", "pid", "ipc", "userns_mode", "volumes_from"):
        assert key not in service
    assert service.get("network_mode", "none") == "none"
    for volume in service.get("volumes", []):
        assert "docker.sock" not in volume
        source = volume.split(":")[0]
        if source.startswith(("/", ".", "$")):
            assert volume.endswith(":ro"), volume


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned_by_version(name: str) -> None:
    image = SERVICES[name]["image"]
    if not image.startswith("tradewind/"):
        assert re.fullmatch(r"[a-z/]+:v?\d[\w.-]*", image), image


def reach() -> dict[str, set[str]]:
    """Whom each container shares a network with."""
    members = {name: set(service.get("networks", [])) for name, service in SERVICES.items()}
    return {
        name: {other for other in members if other != name and members[other] & networks}
        for name, networks in members.items()
    }


def test_networks_join_exactly_who_must_talk() -> None:
    services = {name for name in PORTS if name != "broker_simulator"}
    sees = reach()
    assert sees["gateway"] == services | {"grafana", "gotify"}
    assert sees["prometheus"] == set(PORTS) | {"grafana"}
    assert sees["grafana"] == {"gateway", "gotify", "prometheus"}
    assert sees["gotify"] == {"gateway", "grafana", "monitoring", "gotify_token"}
    assert sees["gotify_token"] == {"monitoring", "gotify"}
    assert sees["postgres"] == set(PORTS) | {"migrate", "redis"}
    assert sees["redis"] == set(PORTS) | {"migrate", "postgres"}
    assert sees["secrets"] == sees["certificate"] == set()


def test_what_the_check_tries_to_reach_shares_no_network() -> None:
    sees = reach()
    for name, targets in UNREACHABLE.items():
        assert {target.split(":")[0] for target in targets} <= set(SERVICES) - sees[name], name


def test_no_address_is_fixed_so_that_stacks_stand_side_by_side() -> None:
    """A fixed subnet collides with a second stack, and with one whose networks are older."""
    for name, service in SERVICES.items():
        assert not isinstance(service.get("networks", []), dict), name
        assert "container_name" not in service, name
    assert not [name for name, facts in STACK["networks"].items() if "ipam" in facts]
    trusted = STACK["x-environment"]["TRADEWIND_TRUSTED_GATEWAY"]
    assert trusted in SERVICES


def test_there_is_one_way_in_and_no_way_out() -> None:
    networks = STACK["networks"]
    assert {name for name, facts in networks.items() if not facts.get("internal")} == {"front"}
    masquerade = "com.docker.network.bridge.enable_ip_masquerade"
    assert networks["front"]["driver_opts"] == {masquerade: "false"}
    assert [name for name, facts in SERVICES.items() if "front" in facts.get("networks", [])] == [
        "gateway"
    ]


def test_no_secret_is_in_the_file() -> None:
    for service in SERVICES.values():
        for name, value in (service.get("environment") or {}).items():
            if re.search(r"PASSWORD|SECRET|TOKEN|KEY|DATABASE_URL|REDIS_URL", name):
                assert str(value).startswith("/run/"), name


def test_secrets_reach_exactly_the_mounts() -> None:
    secret = make_secrets.complete({})
    readers = make_secrets.files(secret)
    mounted = {
        volume.split(":")[0].removeprefix("secrets_")
        for name, service in SERVICES.items()
        for volume in service.get("volumes", [])
        if volume.startswith("secrets_") and name != "secrets"
    }
    made = {
        volume.split(":")[0].removeprefix("secrets_")
        for volume in SERVICES["secrets"]["volumes"]
        if volume.startswith("secrets_")
    } - {"vault"}
    assert mounted == made == set(readers)


def test_each_service_is_told_no_password_but_its_own() -> None:
    secret = make_secrets.complete({})
    readers = make_secrets.files(secret)
    for service in make_secrets.SERVICES:
        told = "".join(readers[service].values())
        for other in make_secrets.SERVICES:
            assert (secret[f"database_{other}"] in told) == (other == service)


def test_keys_of_fields_reach_only_who_encrypts() -> None:
    secret = make_secrets.complete({})
    assert SecretBox([secret["encryption_keys"]])
    readers = make_secrets.files(secret)
    told = {name for name, files in readers.items() if "encryption_keys" in files}
    variable = "TRADEWIND_ENCRYPTION_KEYS_FILE"
    asked = {name for name in SERVICES if variable in (SERVICES[name].get("environment") or {})}
    assert told == asked
    assert told <= set(make_secrets.ENCRYPTS) == plan.ENCRYPTS


def test_secrets_are_kept_and_completed() -> None:
    first = make_secrets.complete({})
    again = make_secrets.complete({"postgres": first["postgres"]})
    assert again["postgres"] == first["postgres"]
    assert again["redis"] != first["redis"]
    assert len(set(first.values())) == len(first)


def test_secret_makers_services_are_the_known_ones() -> None:
    assert set(make_secrets.SERVICES) == set(PORTS)


def test_jobs_end_and_the_rest_restarts() -> None:
    for name, service in SERVICES.items():
        assert service["restart"] == ("no" if name in JOBS else "unless-stopped")


def test_prometheus_scrapes_every_service_under_its_name() -> None:
    config = yaml.safe_load((ROOT / "prometheus" / "prometheus.yml").read_text())
    jobs = {
        job["job_name"]: job["static_configs"][0]["targets"] for job in config["scrape_configs"]
    }
    del jobs["prometheus"]
    assert jobs == {name: [f"{name}:{port}"] for name, port in PORTS.items()}


def test_rules_pass_promtools_tests() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    done = subprocess.run(
        [promtool, "test", "rules", str(ROOT / "prometheus" / "rules_test.yml")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_metric_of_the_dashboards_and_rules_exists_in_the_code() -> None:
    code = "\n".join(
        path.read_text()
        for folder in ("libs", "services")
        for path in (ROOT / folder).rglob("*.py")
    )
    known = set(re.findall(r'"([a-z][a-z0-9_]+)",\s*"', code)) | {"up"}
    rules = yaml.safe_load((ROOT / "prometheus" / "rules.yml").read_text())
    texts = [expression for _, expression in expressions()]
    texts += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    for text in texts:
        bare = re.sub(r"\b(by|without) \([^)]*\)|\[[^\]]*\]|\{[^}]*\}", "", text)
        for name in re.findall(r"\b[a-z][a-z0-9]*_[a-z0-9_]+\b", bare):
            if name != "histogram_quantile":
                assert name.removesuffix("_bucket") in known, name


def test_dashboards_are_provisioned_and_use_the_datasource() -> None:
    source = yaml.safe_load(
        (ROOT / "grafana" / "provisioning" / "datasources" / "prometheus.yml").read_text()
    )["datasources"][0]
    paths = list((ROOT / "grafana" / "dashboards").glob("*.json"))
    assert ROOT / "grafana" / "dashboards" / "overview.json" in paths
    for path in paths:
        dashboard = json.loads(path.read_text())
        for panel in dashboard["panels"]:
            assert panel["datasource"]["uid"] == source["uid"]
            assert panel["targets"]


def test_lock_subset_follows_the_notes() -> None:
    lock = (
        "# header\n"
        "a==1 \\\n    --hash=sha256:aa\n    # via tradewind (pyproject.toml)\n"
        "b==2 \\\n    --hash=sha256:bb\n    # via\n    #   a\n    #   Tool_X\n"
        "c==3 \\\n    --hash=sha256:cc\n    # via tool-x\n"
        "tool-x==4 \\\n    --hash=sha256:dd\n    # via tradewind (pyproject.toml)\n"
    )
    chosen = subset(lock, {"a"})
    assert [line.split("==")[0] for line in chosen.splitlines() if "==" in line] == ["a", "b"]
    assert "sha256:bb" in chosen
    assert set(blocks(lock)) == {"a", "b", "c", "tool-x"}


def test_lock_subset_reads_requirements_with_extras_and_markers() -> None:
    project: dict[str, object] = {
        "dependencies": ["Redis[hiredis]>=5", "psycopg[binary,pool]>=3.2"],
        "optional-dependencies": {"dev": ["TA_Lib>=0.6; python_version > '3'"]},
    }
    assert requirements(project, []) == {"redis", "psycopg"}
    assert requirements(project, ["dev"]) == {"redis", "psycopg", "ta-lib"}
    with pytest.raises(KeyError):
        requirements(project, ["nope"])

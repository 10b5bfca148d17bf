"""The manifests of deploy/kubernetes fit the code, each other, and docker-compose.yml.

``tools/check-kubernetes.sh`` validates those of built-in kinds against the schemas of Kubernetes.
No test renders them with Kustomize: it is no package of Python.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import pytest
import yaml
from aiohttp import ClientError, ClientSession
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from collector.registry import discover
from endpoint.service import application
from launch.local.embedded import free_port
from miningmap import __version__
from miningmap.http.metrics import HttpMetrics
from miningmap.http.server import monitoring_app
from miningmap.kafka.topics import REPORTS, TOPICS
from miningmap.loop_watchdog import BLOCKED_S, GRACE_S
from miningmap.settings import (
    SECRETS_DIR,
    Endpoint,
    Kafka,
    Retention,
    Settings,
    SettingsError,
    load,
)
from streams.method.beliefs import Beliefs
from streams.redis.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

Manifest = dict[str, Any]
Services = dict[str, dict[str, Any]]

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "deploy" / "kubernetes"
NAME: Final = "app.kubernetes.io/name"
COMPONENT: Final = "app.kubernetes.io/component"

LONG_RUNNING: Final = ("collector", "streams", "endpoint", "notify")
SEVERAL: Final = ("streams", "endpoint")
"""What runs more than once."""
SERVICES: Final = (*LONG_RUNNING, "topics")
"""What docker-compose.yml has too."""
COMPONENTS: Final = (*SERVICES, "operator")
OUTSIDE: Final = {"collector", "notify"}
"""What calls other people's servers. In Compose the endpoint is on that network too, because only
so its port can be published."""

# https://keda.sh/docs/latest/scalers/apache-kafka/
KEDA_METADATA: Final = {
    "bootstrapServers",
    "consumerGroup",
    "topic",
    "lagThreshold",
    "activationLagThreshold",
    "offsetResetPolicy",
    "allowIdleConsumers",
    "scaleToZeroOnInvalidOffset",
    "excludePersistentLag",
    "limitToPartitionsWithLag",
    "ensureEvenDistributionOfPartitions",
    "version",
    "partitionLimitation",
    "sasl",
    "tls",
    "unsafeSsl",
}
KEDA_AUTHENTICATION: Final = {"sasl", "username", "password", "tls", "ca", "cert", "key"}
FROM_ENVIRONMENT: Final = "FromEnv"
"""KEDA takes a parameter whose name ends with this from a variable of the scaled container."""


def _loaded(path: Path) -> list[Manifest]:
    return [manifest for manifest in yaml.safe_load_all(path.read_text()) if manifest]


def _variables(path: Path) -> dict[str, str]:
    """The variables of a file, as Kustomize reads it."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


KUSTOMIZATIONS: Final = {
    str(file.parent.relative_to(FOLDER)): _loaded(file)[0]
    for file in sorted(FOLDER.rglob("kustomization.yaml"))
}
MANIFESTS: Final = [
    manifest
    for folder, kustomization in KUSTOMIZATIONS.items()
    for name in kustomization.get("resources", [])
    if (FOLDER / folder / name).is_file()
    for manifest in _loaded(FOLDER / folder / name)
]
SETTINGS: Final = _variables(FOLDER / "base/settings.env")
SETTINGS_WITH_TLS: Final = SETTINGS | _variables(FOLDER / "components/tls/settings.env")


def of_kind(kind: str) -> dict[str, Manifest]:
    """The manifests of a kind by name."""
    return {m["metadata"]["name"]: m for m in MANIFESTS if m["kind"] == kind}


@dataclass(frozen=True)
class Workload:
    """What makes pods, and how they are."""

    manifest: Manifest

    @cached_property
    def name(self) -> str:
        return str(self.manifest["metadata"]["name"])

    @cached_property
    def template(self) -> Manifest:
        spec = self.manifest["spec"]
        template: Manifest = spec.get("jobTemplate", {"spec": spec})["spec"]["template"]
        return template

    @cached_property
    def labels(self) -> dict[str, str]:
        return dict(self.template["metadata"]["labels"])

    @cached_property
    def pod(self) -> Manifest:
        return dict(self.template["spec"])

    @cached_property
    def container(self) -> Manifest:
        (only,) = self.pod["containers"]
        assert "initContainers" not in self.pod
        return dict(only)

    @cached_property
    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for port in self.container.get("ports", [])}

    @cached_property
    def mounts(self) -> dict[str, Manifest]:
        """The volumes by the paths where they are mounted."""
        volumes = {volume["name"]: volume for volume in self.pod["volumes"]}
        mounts = self.container["volumeMounts"]
        assert volumes.keys() == {mount["name"] for mount in mounts}
        return {mount["mountPath"]: volumes[mount["name"]] for mount in mounts}


WORKLOADS: Final = {
    manifest["metadata"]["name"]: Workload(manifest)
    for manifest in MANIFESTS
    if manifest["kind"] in {"Deployment", "Job", "CronJob"}
}
every_workload = pytest.mark.parametrize("name", COMPONENTS)
every_service = pytest.mark.parametrize("name", SERVICES)
long_running = pytest.mark.parametrize("name", LONG_RUNNING)


def selected_by(labels: Mapping[str, str]) -> set[str]:
    """The names of the workloads whose pods have these labels."""
    return {name for name, w in WORKLOADS.items() if labels.items() <= w.labels.items()}


def selected_by_policy(name: str) -> set[str]:
    """The values of the only expression of a policy, which all have to be pods."""
    (expression,) = of_kind("NetworkPolicy")[name]["spec"]["podSelector"]["matchExpressions"]
    assert (expression["key"], expression["operator"]) == (COMPONENT, "In")
    return set(expression["values"])


# --- the files ------------------------------------------------------------------------------------


def test_there_is_one_workload_for_each_service() -> None:
    assert set(WORKLOADS) == set(COMPONENTS)


def test_every_file_is_used_by_the_kustomization_of_its_folder() -> None:
    for folder, kustomization in KUSTOMIZATIONS.items():
        files = {file.name for file in (FOLDER / folder).iterdir() if file.is_file()}
        generated = [
            name for made in kustomization.get("configMapGenerator", []) for name in made["envs"]
        ]
        named = {*kustomization.get("resources", []), *generated, "kustomization.yaml"}
        folders = {name for name in named if (FOLDER / folder / name).is_dir()}
        assert named - folders == files, folder


def test_the_kustomization_names_every_component() -> None:
    text = (FOLDER / "kustomization.yaml").read_text()
    named = re.findall(r"^  (?:# )?- (components/\S+)", text, re.MULTILINE)
    assert set(named) == {name for name in KUSTOMIZATIONS if name.startswith("components/")}
    assert KUSTOMIZATIONS["."]["resources"] == ["base"]
    assert named.index("components/keda") < named.index("components/keda-tls")


def test_what_components_add_is_in_the_namespace_of_the_rest() -> None:
    """Otherwise it also keeps the name ``settings``, without the hash."""
    for folder, kustomization in KUSTOMIZATIONS.items():
        if folder != "." and "resources" in kustomization:
            assert kustomization["namespace"] in of_kind("Namespace"), folder


def test_pods_name_the_version() -> None:
    for folder in ("base", "components/notify"):
        (added,) = KUSTOMIZATIONS[folder]["labels"]
        assert added["includeTemplates"] is True
        assert "includeSelectors" not in added  # selectors cannot be changed later
        assert added["pairs"]["app.kubernetes.io/version"] == __version__


@pytest.mark.parametrize(
    ("right", "wrong", "error"),
    [
        ("enableServiceLinks:", "enableServiceLink:", "'enableServiceLink' was unexpected"),
        ("apiVersion: apps/v1", "apiVersion: app/v1", "Couldn't find schema for kind Deployment"),
    ],
)
def test_make_check_finds_what_is_misspelt(
    tmp_path: Path, right: str, wrong: str, error: str
) -> None:
    text = (FOLDER / "base/streams.yaml").read_text()
    assert right in text
    damaged = tmp_path / "streams.yaml"
    damaged.write_text(text.replace(right, wrong))
    script = ROOT / "tools/check-kubernetes.sh"
    run = subprocess.run([script, damaged], check=False, capture_output=True, text=True)
    assert run.returncode == 1
    assert error in run.stderr


# --- the same as in Compose -----------------------------------------------------------------------


@every_service
def test_a_service_runs_what_compose_runs(own: Services, name: str) -> None:
    container = WORKLOADS[name].container
    assert container["image"] == own[name]["image"]
    length = len(own[name]["command"])
    assert container["args"][:length] == own[name]["command"]
    assert container["args"][length:] == (["--replication-factor=3"] if name == "topics" else [])
    assert "command" not in container  # the entry point of the image


@every_service
def test_a_service_has_the_limits_of_compose(own: Services, name: str) -> None:
    limits = own[name]["deploy"]["resources"]["limits"]
    here = WORKLOADS[name].container["resources"]["limits"]
    assert float(here["cpu"]) == float(limits["cpus"])
    assert here["memory"] == f"{limits['memory']}i"


@every_workload
def test_a_pod_requests_less_than_its_limits(name: str) -> None:
    resources = WORKLOADS[name].container["resources"]
    assert resources["requests"].keys() == resources["limits"].keys() == {"cpu", "memory"}
    assert 0 < _millicores(resources["requests"]) < _millicores(resources["limits"])
    assert 0 < _mebibytes(resources["requests"]) < _mebibytes(resources["limits"])


def _millicores(resources: Mapping[str, str]) -> float:
    cpu = resources["cpu"]
    return float(cpu.removesuffix("m")) * (1 if cpu.endswith("m") else 1000)


def _mebibytes(resources: Mapping[str, str]) -> int:
    return int(resources["memory"].removesuffix("Mi"))


@every_service
def test_a_service_has_as_long_to_stop_as_in_compose(own: Services, name: str) -> None:
    workload = WORKLOADS[name]
    before = workload.container.get("lifecycle", {}).get("preStop", {}).get("sleep", {})
    there = int(own[name]["stop_grace_period"].removesuffix("s"))
    assert workload.pod["terminationGracePeriodSeconds"] == there + before.get("seconds", 0)


def test_only_what_the_ingress_controller_asks_waits_before_it_stops() -> None:
    waiting = {name for name, w in WORKLOADS.items() if "lifecycle" in w.container}
    assert waiting == {"endpoint"}  # the collector is alone: nothing else takes its requests


@pytest.mark.parametrize("network", ["broker", "store", "metrics"])
def test_who_is_on_a_network_is_the_same_as_in_compose(own: Services, network: str) -> None:
    there = {name for name, service in own.items() if network in service["networks"]}
    one_off = {"operator"} if network in {"broker", "store"} else set()
    assert selected_by_policy(network) == there | one_off


def test_who_reaches_the_outside_is_the_same_as_in_compose(own: Services) -> None:
    there = {name for name, service in own.items() if "outside" in service["networks"]}
    published = {name for name, service in own.items() if "ports" in service}
    assert selected_by_policy("outside") == OUTSIDE
    assert selected_by_policy("published") == published == set(of_kind("Service"))
    assert there == OUTSIDE | published


# --- how pods are shut in -------------------------------------------------------------------------


@every_workload
def test_a_pod_can_change_nothing_but_its_own_files(name: str, own: Services) -> None:
    workload = WORKLOADS[name]
    user, group = map(int, own["streams"]["user"].split(":"))
    assert workload.pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": group,
        "fsGroup": group,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert workload.container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert workload.pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "serviceAccountName"} & workload.pod.keys()


@every_workload
def test_a_process_is_not_number_one(name: str) -> None:
    """As with ``init: true`` in Compose: process 1 ignores a SIGTERM before its handler is set."""
    assert WORKLOADS[name].pod["shareProcessNamespace"] is True


@every_workload
def test_what_can_be_written_is_small_or_a_volume(name: str) -> None:
    volumes = {path: dict(volume) for path, volume in WORKLOADS[name].mounts.items()}
    assert volumes.pop("/tmp")["emptyDir"] == {  # noqa: S108 - of the container
        "medium": "Memory",
        "sizeLimit": "16Mi",
    }
    del volumes[SETTINGS[SECRETS_DIR]]
    claimed = {volume["persistentVolumeClaim"]["claimName"] for volume in volumes.values()}
    assert claimed == (set(of_kind("PersistentVolumeClaim")) if name == "collector" else set())


def test_kubernetes_refuses_pods_that_are_less_shut_in() -> None:
    labels = of_kind("Namespace")["miningmap"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_nothing_is_allowed_that_no_policy_names() -> None:
    denied = of_kind("NetworkPolicy")["nothing-else"]["spec"]
    assert denied == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for name, policy in of_kind("NetworkPolicy").items():
        spec = policy["spec"]
        for kind, peers in (("Ingress", "from"), ("Egress", "to")):
            rules = spec.get(kind.lower(), [])
            # A rule without peers, and one without ports, allows all of them.
            assert all(rule[peers] and rule["ports"] for rule in rules), name
            assert bool(rules) <= (kind in spec["policyTypes"]), name


def test_the_policies_name_ports_of_the_pods_that_they_select() -> None:
    for name in ("metrics", "published"):
        (rule,) = of_kind("NetworkPolicy")[name]["spec"]["ingress"]
        (port,) = rule["ports"]
        assert all(port["port"] in WORKLOADS[pod].ports for pod in selected_by_policy(name))
    metrics, published = (
        of_kind("NetworkPolicy")[name]["spec"]["ingress"][0]["ports"][0]["port"]
        for name in ("metrics", "published")
    )
    assert (metrics, published) == ("metrics", "http")


def test_every_pod_can_look_up_names() -> None:
    spec = of_kind("NetworkPolicy")["names"]["spec"]
    (rule,) = spec["egress"]
    assert spec["podSelector"] == {}
    assert {(port["protocol"], port["port"]) for port in rule["ports"]} == {
        ("UDP", 53),
        ("TCP", 53),
    }


def test_the_outside_is_public_addresses_at_the_ports_of_the_sources() -> None:
    (rule,) = of_kind("NetworkPolicy")["outside"]["spec"]["egress"]
    blocks = [peer["ipBlock"] for peer in rule["to"]]
    for address in ("10.1.2.3", "169.254.169.254", "192.168.1.1", "172.16.0.1", "fd00::1", "::1"):
        assert not _allows(blocks, address), address
    for address in ("1.1.1.1", "2606:4700::1111"):
        assert _allows(blocks, address), address
    urls = [urlsplit(request.url) for source in discover() for request in source.requests]
    public = {url.port or 443 for url in urls if url.scheme == "https"}
    assert {port["port"] for port in rule["ports"]} == public


def _allows(blocks: list[Manifest], address: str) -> bool:
    wanted = ipaddress.ip_address(address)
    return any(
        wanted in ipaddress.ip_network(block["cidr"])
        and not any(wanted in ipaddress.ip_network(outside) for outside in block["except"])
        for block in blocks
    )


def test_the_policies_allow_the_ports_of_the_settings() -> None:
    (broker,) = of_kind("NetworkPolicy")["broker"]["spec"]["egress"]
    (store,) = of_kind("NetworkPolicy")["store"]["spec"]["egress"]
    (patch,) = KUSTOMIZATIONS["components/tls"]["patches"]
    (change,) = yaml.safe_load(patch["patch"])
    assert patch["target"] == {"kind": "NetworkPolicy", "name": "broker"}
    assert change["path"] == "/spec/egress/0/ports/0/port"
    for variables, port in (
        (SETTINGS, broker["ports"][0]["port"]),
        (SETTINGS_WITH_TLS, change["value"]),
    ):
        assert variables["MININGMAP_KAFKA__BOOTSTRAP_SERVERS"].endswith(f":{port}")
        assert urlsplit(variables["MININGMAP_REDIS__URL"]).port == store["ports"][0]["port"]


# --- settings and secrets -------------------------------------------------------------------------


def secrets_of(name: str) -> str:
    """The name of the Secret that a workload mounts as its folder of secrets."""
    mounts = {mount["name"]: mount for mount in WORKLOADS[name].container["volumeMounts"]}
    volume = WORKLOADS[name].mounts[SETTINGS[SECRETS_DIR]]
    assert mounts[volume["name"]]["readOnly"] is True
    # The group can read it, as `fsGroup` says which that is, and others cannot.
    assert volume["secret"].keys() == {"secretName", "defaultMode"}
    assert volume["secret"]["defaultMode"] == 0o440
    return str(volume["secret"]["secretName"])


def mounted(folder: Path, files: Mapping[str, str]) -> Path:
    """A folder with files as Kubernetes mounts a Secret."""
    version = folder / "..2026_11_28_10_00_00.123456789"
    version.mkdir(parents=True)
    (folder / "..data").symlink_to(version.name)
    for name, text in files.items():
        (version / name).write_text(text)
        (folder / name).symlink_to(f"..data/{name}")
    return folder


@every_workload
def test_every_pod_has_all_settings_and_secrets_of_its_own(name: str) -> None:
    container = WORKLOADS[name].container
    (generator,) = KUSTOMIZATIONS["base"]["configMapGenerator"]
    assert container["envFrom"] == [{"configMapRef": {"name": generator["name"]}}]
    assert "env" not in container
    assert secrets_of(name) == ("operator" if name == "topics" else name)


def test_no_secret_is_among_the_settings() -> None:
    secret = re.compile("PASSWORD|TOKEN|SECRET|KEY|CREDENTIALS|WEBHOOK")
    assert {name for name in SETTINGS_WITH_TLS if secret.search(name)} == {SECRETS_DIR}
    assert of_kind("Secret") == {}


def test_variables_of_kubernetes_would_be_wrong_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a Service whose name begins with miningmap must not reach the environment of a pod."""
    assert [n for n, w in WORKLOADS.items() if w.pod["enableServiceLinks"] is not False] == []
    monkeypatch.setenv("MININGMAP_ENDPOINT_PORT", "tcp://10.0.0.1:8080")
    with pytest.raises(SettingsError, match="MININGMAP_ENDPOINT_PORT: unknown setting"):
        load()


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of the pods, without TLS."""
    return _load(SETTINGS, {"MININGMAP_REDIS__PASSWORD": "hush\n"}, tmp_path, monkeypatch)


def _load(
    variables: Mapping[str, str],
    secrets: Mapping[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Settings:
    folder = mounted(tmp_path / "secrets", secrets)
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value.replace(variables[SECRETS_DIR], str(folder)))
    return load()


def test_the_settings_exist_and_secrets_are_read_as_kubernetes_mounts_them(
    settings: Settings,
) -> None:
    assert settings.redis.password is not None
    assert settings.redis.password.get_secret_value() == "hush"
    assert settings.log.format == "json"


def test_with_tls_each_service_has_a_user_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = {
        "MININGMAP_KAFKA__USERNAME": "streams",
        "MININGMAP_KAFKA__PASSWORD": "hush",
        "MININGMAP_REDIS__USERNAME": "streams",
        "MININGMAP_REDIS__PASSWORD": "hush",
        "authority.pem": "not read here",
    }
    settings = _load(SETTINGS_WITH_TLS, secrets, tmp_path, monkeypatch)
    assert settings.kafka.security_protocol == "SASL_SSL"
    assert settings.kafka.username == settings.redis.username == "streams"
    assert settings.kafka.ca_file == settings.redis.ca_file == tmp_path / "secrets/authority.pem"
    assert settings.redis.url.get_secret_value().startswith("rediss://")


def test_the_services_listen_at_the_ports_that_their_pods_name(settings: Settings) -> None:
    assert {name: w.ports for name, w in WORKLOADS.items() if w.ports} == {
        "collector": {"http": settings.intake.port, "metrics": settings.collector.metrics_port},
        "streams": {"metrics": settings.streams.metrics_port},
        "notify": {"metrics": settings.notify.metrics_port},
        "endpoint": {"http": settings.endpoint.port, "metrics": settings.endpoint.metrics_port},
    }
    everywhere = {
        settings.intake.host,
        settings.collector.metrics_host,
        settings.streams.metrics_host,
        settings.notify.metrics_host,
        settings.endpoint.host,
        settings.endpoint.metrics_host,
    }
    assert everywhere == {"0.0.0.0"}  # noqa: S104 - inside a pod


def test_what_has_to_be_kept_is_on_the_volumes_of_the_collector(settings: Settings) -> None:
    claims = {
        path: volume["persistentVolumeClaim"]["claimName"]
        for path, volume in WORKLOADS["collector"].mounts.items()
        if "persistentVolumeClaim" in volume
    }
    assert settings.collector.spool is not None
    assert settings.intake.partners_file is not None
    assert claims == {
        str(settings.collector.spool): "spool",
        str(settings.intake.partners_file.parent): "partners",
    }
    (size,) = {
        claim["spec"]["resources"]["requests"]["storage"]
        for claim in of_kind("PersistentVolumeClaim").values()
    }
    # Compacting the spool's database needs as much room again.
    assert size == "1Gi"
    assert settings.collector.spool_mb * 2 < 1024


# --- probes ---------------------------------------------------------------------------------------


def _served(name: str) -> web.Application:
    """The application that a service has at the port of its metrics."""
    if name == "endpoint":
        store = Store(Redis(), Retention())
        return application(store, Beliefs(), Endpoint(), registry=CollectorRegistry())
    registry = CollectorRegistry()
    return monitoring_app(registry, HttpMetrics(registry), list)


@long_running
async def test_the_paths_of_the_probes_are_served(name: str) -> None:
    container = WORKLOADS[name].container
    paths = {r.canonical for r in _served(name).router.resources()}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = container[probe]["httpGet"]
        # A Redis or Kafka that is away must restart nothing.
        assert asked["path"] == ("/readyz" if probe == "readinessProbe" else "/healthz")
        assert asked["path"] in paths
        assert asked["port"] == "metrics"


@long_running
async def test_the_probes_restart_nothing_while_kafka_and_redis_are_away(
    tmp_path: Path, own: Services, name: str
) -> None:
    """The service runs as a process with the settings of its pod; nobody is at the addresses."""
    port = free_port()
    arguments = WORKLOADS[name].container["args"]
    program = Path(sys.executable).with_name("miningmap")
    with (tmp_path / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program, *arguments, env=_alone(name, port, tmp_path), stderr=log
        )
    try:
        async with asyncio.timeout(60), ClientSession(f"http://127.0.0.1:{port}") as session:
            while await _status(session, "/healthz") != 200:
                assert process.returncode is None, (tmp_path / "log").read_text()
                await asyncio.sleep(0.05)
            assert await _status(session, "/readyz") == 503
            process.terminate()
        async with asyncio.timeout(int(own[name]["stop_grace_period"].removesuffix("s"))):
            assert await process.wait() == 0, (tmp_path / "log").read_text()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _alone(name: str, metrics_port: int, folder: Path) -> dict[str, str]:
    """The environment of a pod with other addresses, ports and folders."""
    nobody = f"127.0.0.1:{free_port()}"
    secrets = {
        "MININGMAP_REDIS__PASSWORD": "hush",
        "MININGMAP_NOTIFY__WEBHOOK": f"http://{nobody}",
    }
    return SETTINGS | {
        "PATH": os.environ["PATH"],
        SECRETS_DIR: str(mounted(folder / "secrets", secrets)),
        "MININGMAP_KAFKA__BOOTSTRAP_SERVERS": nobody,
        "MININGMAP_REDIS__URL": f"redis://{nobody}/0",
        "MININGMAP_COLLECTOR__UPSTREAM": f"http://{nobody}",
        "MININGMAP_COLLECTOR__ALLOW_PRIVATE": "true",
        "MININGMAP_COLLECTOR__SPOOL": str(folder / "spool"),
        "MININGMAP_INTAKE__PARTNERS_FILE": str(folder / "partners/partners.json"),
        "MININGMAP_INTAKE__PORT": "0",
        "MININGMAP_ENDPOINT__PORT": "0",
        f"MININGMAP_{name.upper()}__METRICS_PORT": str(metrics_port),
    }


async def _status(session: ClientSession, path: str) -> int | None:
    try:
        async with session.get(path) as response:
            return response.status
    except ClientError:
        return None


def _patience_s(probe: Mapping[str, int]) -> int:
    return probe["periodSeconds"] * probe["failureThreshold"]


@long_running
def test_a_service_that_is_stuck_can_say_where_before_it_is_killed(name: str) -> None:
    container = WORKLOADS[name].container
    assert _patience_s(container["livenessProbe"]) > BLOCKED_S + GRACE_S


@long_running
def test_a_service_has_as_long_to_start_as_in_compose(own: Services, name: str) -> None:
    start = own[name]["healthcheck"]["start_period"]
    assert f"{_patience_s(WORKLOADS[name].container['startupProbe'])}s" == start


def test_the_endpoint_gets_requests_for_as_long_as_it_answers_without_redis() -> None:
    probe = WORKLOADS["endpoint"].container["readinessProbe"]
    assert _patience_s(probe) == Endpoint().fresh_s


# --- selectors, and how many there are ------------------------------------------------------------


@every_workload
def test_labels_are_those_of_the_selector(name: str) -> None:
    workload = WORKLOADS[name]
    assert workload.labels == {NAME: "miningmap", COMPONENT: name}
    assert workload.manifest["metadata"]["labels"] == workload.labels
    if workload.manifest["kind"] == "Deployment":
        assert workload.manifest["spec"]["selector"] == {"matchLabels": workload.labels}


def test_services_select_their_pods_and_ports() -> None:
    for name, service in of_kind("Service").items():
        assert selected_by(service["spec"]["selector"]) == {name}
        (port,) = service["spec"]["ports"]
        assert port["targetPort"] == "http"
        assert port["port"] == WORKLOADS[name].ports["http"]


def test_what_runs_several_times_is_never_disrupted_at_once() -> None:
    budgets = of_kind("PodDisruptionBudget")
    assert set(budgets) == set(SEVERAL)  # with one pod a budget would hold up every drain
    for name, budget in budgets.items():
        assert selected_by(budget["spec"]["selector"]["matchLabels"]) == {name}
        assert budget["spec"]["maxUnavailable"] == 1
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


@pytest.mark.parametrize("name", SEVERAL)
def test_pods_are_spread_over_zones_and_nodes(name: str) -> None:
    spread = WORKLOADS[name].pod["topologySpreadConstraints"]
    keys = [constraint["topologyKey"] for constraint in spread]
    assert keys == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    for constraint in spread:
        assert selected_by(constraint["labelSelector"]["matchLabels"]) == {name}
        assert constraint["whenUnsatisfiable"] == "ScheduleAnyway"


def test_there_is_one_collector_and_the_old_one_goes_first() -> None:
    spec = WORKLOADS["collector"].manifest["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}


def test_the_endpoint_is_scaled_within_its_core() -> None:
    (scaler,) = of_kind("HorizontalPodAutoscaler").values()
    spec = scaler["spec"]
    assert spec["scaleTargetRef"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "endpoint",
    }
    assert spec["minReplicas"] >= 2
    (metric,) = spec["metrics"]
    target = metric["resource"]["target"]
    assert metric["resource"]["name"] == "cpu"
    limit = _millicores(WORKLOADS["endpoint"].container["resources"]["limits"])
    assert _millicores({"cpu": target["averageValue"]}) < limit
    # Its number of pods is the scaler's: an upgrade must not reset it.
    assert "replicas" not in WORKLOADS["endpoint"].manifest["spec"]


def test_a_wrong_setting_ends_a_job_at_once() -> None:
    for name in ("topics", "operator"):
        spec = WORKLOADS[name].manifest["spec"]
        job = spec.get("jobTemplate", {"spec": spec})["spec"]
        (rule,) = job["podFailurePolicy"]["rules"]
        assert rule["action"] == "FailJob"
        codes = {"containerName": name, "operator": "In", "values": [2]}
        assert rule["onExitCodes"] == codes
        assert WORKLOADS[name].pod["restartPolicy"] == "Never"  # a failure policy needs it


def test_the_operator_runs_only_by_hand() -> None:
    assert WORKLOADS["operator"].manifest["spec"]["suspend"] is True


# --- KEDA and Prometheus --------------------------------------------------------------------------


@pytest.fixture
def trigger() -> Manifest:
    """The only trigger of the scaler of the workers."""
    (scaler,) = of_kind("ScaledObject").values()
    (only,) = scaler["spec"]["triggers"]
    return dict(only)


def test_workers_are_scaled_by_the_lag_of_their_group(trigger: Manifest) -> None:
    metadata = trigger["metadata"]
    assert trigger["type"] == "kafka"
    assert {name.removesuffix(FROM_ENVIRONMENT) for name in metadata} <= KEDA_METADATA
    assert all(isinstance(value, str) for value in metadata.values())
    assert metadata[f"bootstrapServers{FROM_ENVIRONMENT}"] in SETTINGS
    assert metadata["consumerGroup"] == Kafka().group
    assert metadata["topic"] == REPORTS
    assert int(metadata["lagThreshold"]) > 0
    # What a new group begins with (streams/worker).
    assert metadata["offsetResetPolicy"] == "earliest"
    assert "MININGMAP_KAFKA__GROUP" not in SETTINGS_WITH_TLS


def test_there_are_at_most_as_many_workers_as_partitions() -> None:
    (scaler,) = of_kind("ScaledObject").values()
    spec = scaler["spec"]
    (partitions,) = [topic.partitions for topic in TOPICS if topic.name == REPORTS]
    assert spec["maxReplicaCount"] == partitions
    assert spec["minReplicaCount"] == WORKLOADS["streams"].manifest["spec"]["replicas"]
    assert WORKLOADS[spec["scaleTargetRef"]["name"]].manifest["kind"] == "Deployment"
    (patch,) = KUSTOMIZATIONS["components/keda"]["patches"]
    assert patch["target"] == {"kind": "Deployment", "name": spec["scaleTargetRef"]["name"]}
    assert yaml.safe_load(patch["patch"]) == [{"op": "remove", "path": "/spec/replicas"}]


def test_keda_has_a_user_of_its_own_where_kafka_has_users() -> None:
    ((name, authentication),) = of_kind("TriggerAuthentication").items()
    given = {target["parameter"]: target for target in authentication["spec"]["secretTargetRef"]}
    assert {"sasl", "tls", "username", "password", "ca"} <= given.keys() <= KEDA_AUTHENTICATION
    assert all(target["key"] == parameter for parameter, target in given.items())
    (patch,) = KUSTOMIZATIONS["components/keda-tls"]["patches"]
    assert patch["target"] == {"kind": "ScaledObject", "name": next(iter(of_kind("ScaledObject")))}
    (change,) = yaml.safe_load(patch["patch"])
    assert change["path"] == "/spec/triggers/0/authenticationRef"
    assert change["value"] == {"name": name}


def test_prometheus_finds_the_pods_with_metrics_as_the_alert_rules_name_them(root: Path) -> None:
    (monitor,) = of_kind("PodMonitor").values()
    spec = monitor["spec"]
    assert spec["jobLabel"] == COMPONENT
    assert selected_by(spec["selector"]["matchLabels"]) == set(COMPONENTS)
    (endpoint,) = spec["podMetricsEndpoints"]
    having = {name for name, w in WORKLOADS.items() if endpoint["port"] in w.ports}
    assert having == selected_by_policy("metrics") == set(LONG_RUNNING)
    prometheus = yaml.safe_load((root / "deploy/prometheus/prometheus.yml").read_text())
    assert endpoint["interval"] == prometheus["global"]["scrape_interval"]


# --- the guide ------------------------------------------------------------------------------------


GUIDE: Final = (ROOT / "docs/deploy.md").read_text().partition("## On Kubernetes")[2]
SECTION: Final = GUIDE.partition("\n## ")[0]
EXAMPLES: Final = [
    yaml.safe_load(block)
    for block in re.findall(r"^(?: {4}.*\n)+", SECTION, re.MULTILINE)
    if re.match(r" {4}\w+:(?: |\n)", block)
]


def example(key: str) -> Any:
    """What the only example with this key at its top has there."""
    (found,) = [text[key] for text in EXAMPLES if key in text]
    return found


def test_the_guide_creates_every_secret() -> None:
    created = set(re.findall(r"create secret generic (\w+)", SECTION))
    (looped,) = re.findall(r"^ +for service in ([\w ]+); do", SECTION, re.MULTILINE)
    asked = {secrets_of(name) for name in COMPONENTS}
    assert created | set(looped.split()) == asked | {_secret_of_keda()}


def _secret_of_keda() -> str:
    (authentication,) = of_kind("TriggerAuthentication").values()
    (secret,) = {target["name"] for target in authentication["spec"]["secretTargetRef"]}
    return str(secret)


def test_the_guide_puts_a_namespace_on_every_network() -> None:
    policies = yaml.safe_dump(of_kind("NetworkPolicy"))
    labelled = set(re.findall(r"kubectl label namespace \S+ (miningmap/\w+)=true", SECTION))
    assert labelled == set(re.findall(r"miningmap/\w+", policies))


def test_the_folder_of_the_guide_names_what_exists() -> None:
    named = [*example("resources"), *example("components")]
    repository = "../miningmap/"
    assert all((ROOT / name.removeprefix(repository)).is_dir() for name in named)
    (generator,) = example("configMapGenerator")
    assert generator["name"] == KUSTOMIZATIONS["base"]["configMapGenerator"][0]["name"]
    assert generator["behavior"] == "merge"
    for patch in example("patches"):
        assert patch["target"]["name"] in of_kind(patch["target"]["kind"])
    components = re.findall(r"`(components/[\w-]+)`", SECTION)
    assert set(components) == {name for name in KUSTOMIZATIONS if name.startswith("components/")}


def test_the_guide_publishes_the_services_by_their_ports() -> None:
    (ingress,) = [text["spec"] for text in EXAMPLES if text.get("kind") == "Ingress"]
    backends = [p["backend"]["service"] for r in ingress["rules"] for p in r["http"]["paths"]]
    assert {backend["name"] for backend in backends} == set(of_kind("Service"))
    for backend in backends:
        (port,) = of_kind("Service")[backend["name"]]["spec"]["ports"]
        assert backend["port"] == {"name": port["name"]}


def test_the_guide_scrapes_what_the_pod_monitor_does() -> None:
    (job,) = example("scrape_configs")
    port, name = job["relabel_configs"]
    (monitor,) = of_kind("PodMonitor").values()
    assert port["regex"] == monitor["spec"]["podMetricsEndpoints"][0]["port"]
    label = re.sub(r"\W", "_", monitor["spec"]["jobLabel"])
    assert name["source_labels"] == [f"__meta_kubernetes_pod_label_{label}"]
    assert name["target_label"] == "job"

"""docker-compose.yml meets the requirements of every container.

``make check`` validates the file against the schema of Compose.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from miningmap import __version__
from miningmap.notify.signature import key_of
from miningmap.settings import SECRETS_DIR, load

Services = dict[str, dict[str, Any]]

ONE_SHOT = {"topics"}
PUBLISHED = {
    "collector": ["127.0.0.1:8081:8081"],
    "endpoint": ["127.0.0.1:8080:8080"],
    "grafana": ["127.0.0.1:3000:3000"],
}


def test_the_file_has_all_services(services: Services, own: Services) -> None:
    assert set(own) == {"topics", "collector", "streams", "notify", "endpoint"}
    assert set(services) - set(own) == {
        "kafka",
        "redis",
        "prometheus",
        "alertmanager",
        "grafana",
    }


def test_images_are_pinned_to_a_patch_release(services: Services) -> None:
    pinned = re.compile(r"[a-z/]+:v?\d+\.\d+\.\d+(-[a-z]+)?")
    assert [s["image"] for s in services.values() if not pinned.fullmatch(s["image"])] == []


def test_the_image_has_the_version_of_the_project(own: Services) -> None:
    assert {service["image"] for service in own.values()} == {f"miningmap:{__version__}"}


def test_every_long_running_service_has_a_health_check(services: Services) -> None:
    checked = {name for name, service in services.items() if "healthcheck" in service}
    assert checked == set(services) - ONE_SHOT
    for name in checked:
        check = services[name]["healthcheck"]
        assert {"test", "interval", "timeout", "retries", "start_period"} <= set(check), name


def test_the_health_checks_ask_whether_the_services_are_ready(own: Services) -> None:
    paths = {n: s["healthcheck"]["test"][-1] for n, s in own.items() if "healthcheck" in s}
    assert paths == dict.fromkeys(("collector", "streams", "notify", "endpoint"), "/readyz")


def test_notifications_are_optional(services: Services) -> None:
    profiles = {name: s["profiles"] for name, s in services.items() if "profiles" in s}
    assert profiles == {"notify": ["notify"]}


def test_no_container_can_write_to_its_image_or_gain_privileges(services: Services) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["ulimits"]["core"] == 0, name
        nofile = service["ulimits"]["nofile"]
        assert nofile["soft"] == nofile["hard"] == 65536, name
        assert not {"privileged", "cap_add", "network_mode", "pid", "devices"} & set(service), name


def test_what_can_be_written_cannot_be_executed(own: Services) -> None:
    for name, service in own.items():
        (tmpfs,) = service["tmpfs"]
        path, _, options = tmpfs.partition(":")
        assert path == "/tmp", name  # noqa: S108 - of the container
        assert {"noexec", "nosuid", "nodev"} <= set(options.split(",")), name


def test_no_service_runs_as_root(services: Services) -> None:
    users = {name: service.get("user", "") for name, service in services.items()}
    assert [name for name, user in users.items() if not re.fullmatch(r"[1-9]\d*:\d+", user)] == []


def test_every_container_has_limits(services: Services) -> None:
    for name, service in services.items():
        limits = service["deploy"]["resources"]["limits"]
        assert set(limits) == {"cpus", "memory", "pids"}, name
        # Compose rejects a limit above the number of processors of the machine.
        assert float(limits["cpus"]) <= 1, name


def test_only_long_running_services_are_restarted(services: Services) -> None:
    restarts = {name: service["restart"] for name, service in services.items()}
    stays = dict.fromkeys(set(services) - ONE_SHOT, "unless-stopped")
    assert restarts == stays | dict.fromkeys(ONE_SHOT, "no")


def test_every_service_has_a_grace_period(services: Services) -> None:
    grace = {name: service["stop_grace_period"] for name, service in services.items()}
    assert all(re.fullmatch(r"\d+s", period) for period in grace.values())
    assert grace["streams"] == "30s"


def test_only_the_three_public_ports_are_published_and_on_loopback(services: Services) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == PUBLISHED


def test_only_services_that_poll_serve_or_notify_are_on_an_external_network(
    compose: dict[str, Any], services: Services
) -> None:
    internal = {name for name, network in compose["networks"].items() if network.get("internal")}
    outside = {name for name, service in services.items() if set(service["networks"]) - internal}
    assert outside == {*PUBLISHED, "alertmanager", "notify"}


def test_files_mounted_from_the_repository_exist_and_are_read_only(
    compose: dict[str, Any], services: Services, root: Path
) -> None:
    for name, service in services.items():
        for mount in service.get("volumes", []):
            source, _, rest = mount.partition(":")
            if source.startswith("./"):
                assert (root / source).exists(), mount
                assert rest.endswith(":ro"), mount
            else:
                assert source in compose["volumes"], (name, mount)


def test_services_share_a_network_with_their_dependencies(services: Services) -> None:
    for name, service in services.items():
        for awaited, how in service.get("depends_on", {}).items():
            if awaited in ONE_SHOT:
                assert how == {"condition": "service_completed_successfully"}
            else:
                assert how == {"condition": "service_healthy"}
                assert set(service["networks"]) & set(services[awaited]["networks"]), name


def test_services_that_use_the_topics_wait_until_they_are_created(own: Services) -> None:
    users = [
        name
        for name, service in own.items()
        if "MININGMAP_KAFKA__BOOTSTRAP_SERVERS" in service["environment"] and name not in ONE_SHOT
    ]
    assert users == ["collector", "streams", "notify"]
    assert all("topics" in own[name]["depends_on"] for name in users)


def test_the_file_contains_no_password(services: Services) -> None:
    environment = [name for service in services.values() for name in service.get("environment", {})]
    secret = re.compile("PASSWORD|TOKEN|SECRET|KEY")
    assert [name for name in environment if secret.search(name)] == [
        *[SECRETS_DIR] * 4,
        "GF_SECURITY_ADMIN_PASSWORD__FILE",
    ]


@pytest.mark.parametrize("name", ["topics", "collector", "streams", "notify", "endpoint"])
def test_the_settings_exist_and_services_listen_on_their_network(
    own: Services, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment: dict[str, str] = dict(own[name]["environment"])
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    if SECRETS_DIR in environment:
        # Compose mounts secrets under the names of their targets.
        for secret in own[name]["secrets"]:
            (tmp_path / secret["target"]).write_text("hush\n")
        monkeypatch.setenv(SECRETS_DIR, str(tmp_path))

    settings = load()

    hosts = {
        "collector": {settings.collector.metrics_host, settings.intake.host},
        "streams": {settings.streams.metrics_host},
        "notify": {settings.notify.metrics_host},
        "endpoint": {settings.endpoint.host},
    }
    assert hosts.get(name, {"0.0.0.0"}) == {"0.0.0.0"}  # noqa: S104 - inside a container
    if name in {"collector", "streams", "endpoint"}:
        assert settings.redis.password is not None
        assert settings.redis.password.get_secret_value() == "hush"
    if name == "notify":
        assert settings.notify.secret is not None
        assert settings.notify.secret.get_secret_value() == "hush"


def test_one_command_creates_missing_secrets_and_keeps_the_others(
    compose: dict[str, Any], root: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "secrets"
    command = ["/bin/sh", str(root / "deploy" / "secrets.sh"), str(folder)]

    subprocess.run(command, check=True, capture_output=True)
    made = {file.name: file.read_text() for file in folder.iterdir()}
    subprocess.run(command, check=True, capture_output=True)

    assert {file.name: file.read_text() for file in folder.iterdir()} == made
    assert set(made) == {Path(secret["file"]).name for secret in compose["secrets"].values()}
    assert {Path(s["file"]).parent for s in compose["secrets"].values()} == {Path("deploy/secrets")}
    assert re.fullmatch("[0-9a-f]{64}", made["redis_password"])
    assert re.fullmatch("[0-9a-f]{64}", made["grafana_admin_password"])
    assert made["redis_password"] != made["grafana_admin_password"]
    assert len(key_of(made["webhook_secret"].strip())) == 32
    # Users of the containers can read the files; other users of the host cannot open the folder.
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o444}
    assert folder.stat().st_mode & 0o777 == 0o700


def test_git_ignores_the_secrets(root: Path) -> None:
    assert (root / "deploy/secrets/.gitignore").read_text().split() == ["*", "!.gitignore"]


def test_the_guide_names_images_and_volumes_that_exist(
    compose: dict[str, Any], services: Services, root: Path
) -> None:
    guide = (root / "docs/deploy.md").read_text()
    named = set(re.findall(r"\b[a-z./]+:v?\d+\.\d+\.\d+[a-z-]*", guide))
    images = {image.removeprefix("registry.example.org/") for image in named}
    assert images
    assert images <= {service["image"] for service in services.values()}
    volumes = set(re.findall(rf"`{compose['name']}_([a-z]+)`", guide))
    assert volumes == set(compose["volumes"])

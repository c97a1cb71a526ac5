"""The compose file: as its own checker reads it, and what it must not do."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import yaml

from api.settings import Settings

COMPOSE = Path("deploy/compose.yaml")
SECRETS = ("POSTGRES_PASSWORD", "SECRET_KEY", "ADMIN_TOKEN", "GRAFANA_PASSWORD")


@pytest.fixture(scope="module")
def services():
    return yaml.safe_load(COMPOSE.read_text())["services"]


def checked(env_file):
    command = ["docker-compose", "-f", str(COMPOSE), "--env-file", str(env_file), "config"]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"})


@pytest.mark.skipif(not shutil.which("docker-compose"), reason="docker-compose is missing (Debian: docker-compose)")
def test_its_checker_takes_it_with_the_secrets_and_not_without(tmp_path):
    env_file = tmp_path / "secrets"
    env_file.write_text("".join(f"{name}=value-of-{name}\n" for name in SECRETS))
    whole = checked(env_file)
    assert whole.returncode == 0, whole.stderr
    for name in SECRETS:
        assert f"value-of-{name}" in whole.stdout
        env_file.write_text("".join(f"{each}=x\n" for each in SECRETS if each != name))
        assert name in checked(env_file).stderr


def test_every_container_is_confined_and_pinned(services):
    for name, each in services.items():
        assert each["read_only"] is True, name
        assert each["cap_drop"] == ["ALL"], name
        assert each["security_opt"] == ["no-new-privileges:true"], name
        assert "build" in each or (":" in each["image"] and not each["image"].endswith(":latest")), name
        for volume in each.get("volumes", []):
            source, _, *mode = volume.split(":")
            assert not source.startswith(".") or mode == ["ro"], volume


@pytest.mark.parametrize("number", [1, 2])
def test_both_servers_of_a_replica_join_a_network_that_neither_takes_away(services, number):
    network, api, model_server = (services[f"{name}-{number}"] for name in ("replica", "api", "model-server"))
    assert api["network_mode"] == model_server["network_mode"] == f"service:replica-{number}"
    assert network["networks"] == ["front", "data"]
    assert network["restart"] == "unless-stopped"
    for each in (api, model_server):
        assert not each.keys() & {"networks", "ports"}
        assert each["depends_on"][f"replica-{number}"] == {"condition": "service_started"}
    assert api["volumes"] == model_server["volumes"] == [f"run-{number}:/srv/run"]
    assert api["depends_on"]["migration"] == {"condition": "service_completed_successfully"}
    assert f"model-server-{number}" in api["depends_on"]  # so the API is stopped first, and drains


def test_what_holds_the_network_has_no_secrets_and_ends_at_once(services):
    network = services["replica-1"]
    assert not network.keys() & {"environment", "volumes", "ports", "command"}
    assert network["stop_signal"] == "SIGTERM"  # the image has another
    with subprocess.Popen(network["entrypoint"], start_new_session=True) as process:
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.5)
            process.terminate()
            assert process.wait(5) == 0  # by itself: as the first process it would not be ended by the signal
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_ports_are_published_on_loopback_only(services):
    published = [port for each in services.values() for port in each.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_every_setting_of_the_api_exists(services):
    assert set(services["api-1"]["environment"]) <= {name.upper() for name in Settings.model_fields}

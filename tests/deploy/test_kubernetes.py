"""The manifests: built, valid for the newest versions of Kubernetes, and saying what a cluster has to hold to."""

import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate.utils import all_versions, major_minor

from api.settings import Settings

OVERLAYS = Path("deploy/kubernetes/overlays")
SECRETS = {"DATABASE_URL", "SECRET_KEY", "ADMIN_TOKEN"}

pytestmark = pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is missing (Debian: kubernetes-client)")


@pytest.fixture(scope="module", params=["cpu", "gpu"])
def built(request):
    """The overlay's objects by their kind; there is one of each."""
    command = ["kubectl", "kustomize", str(OVERLAYS / request.param)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    objects = list(yaml.safe_load_all(ran.stdout))
    found = {each["kind"]: each for each in objects}
    assert len(found) == len(objects)
    return found


@pytest.fixture
def pod(built):
    return built["Deployment"]["spec"]["template"]["spec"]


@pytest.fixture
def containers(pod):
    return {each["name"]: each for each in pod["initContainers"] + pod["containers"]}


def test_valid_in_the_two_newest_versions(built):
    newest = sorted({tuple(map(int, major_minor(version).split("."))) for version in all_versions()})[-2:]
    for major, minor in newest:
        for each in built.values():
            kubernetes_validate.validate(each, f"{major}.{minor}", strict=True)


def test_every_container_is_confined_and_bounded(built, pod):
    job = built["Job"]["spec"]["template"]["spec"]
    for each in (pod, job):
        assert each["automountServiceAccountToken"] is False
        assert each["securityContext"]["runAsNonRoot"] is True
        assert each["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in each.get("initContainers", []) + each["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]
            assert ":" in container["image"]
            assert not container["image"].endswith(":latest")
    assert built["ServiceAccount"]["automountServiceAccountToken"] is False


def test_the_model_server_starts_before_the_api_and_ends_after_it(pod, containers):
    assert [each["name"] for each in pod["initContainers"]] == ["migrated", "model-server"]
    assert containers["model-server"]["restartPolicy"] == "Always"
    assert {"startupProbe", "livenessProbe"} <= containers["model-server"].keys()
    assert {"startupProbe", "livenessProbe", "readinessProbe"} <= containers["api"].keys()
    assert containers["api"]["readinessProbe"]["httpGet"]["path"] == "/health/ready"


def test_a_drain_fits_into_the_grace_period(pod, containers, dockerfile):
    settings = Settings.model_fields
    sleep = containers["api"]["lifecycle"]["preStop"]["sleep"]["seconds"]
    graceful = int(dockerfile.partition("--timeout-graceful-shutdown")[2].split('"')[2])
    assert graceful >= settings["torchserve_timeout"].default + 5
    assert pod["terminationGracePeriodSeconds"] >= sleep + settings["shutdown_delay"].default + graceful + 10


@pytest.fixture
def dockerfile():
    return Path("Dockerfile").read_text()


def test_both_containers_see_one_run_folder_and_only_the_api_the_secrets(containers):
    mounts = {
        name: {mount["name"]: mount["mountPath"] for mount in containers[name]["volumeMounts"]}
        for name in ("api", "model-server")
    }
    assert mounts["api"]["run"] == mounts["model-server"]["run"] == "/srv/run"
    assert {"secretRef": {"name": "ml-service"}} in containers["api"]["envFrom"]
    assert "envFrom" not in containers["model-server"]


def test_no_secret_is_in_the_manifests_and_every_setting_exists(built, containers):
    assert "Secret" not in built
    given = set(built["ConfigMap"]["data"])
    given |= {each["name"] for each in containers["api"].get("env", [])} - {"WEB_CONCURRENCY"}
    assert given <= {name.upper() for name in Settings.model_fields}
    assert not given & SECRETS


def test_the_model_server_is_never_reachable(built, containers):
    assert [port["targetPort"] for port in built["Service"]["spec"]["ports"]] == ["http"]
    assert containers["api"]["ports"] == [{"name": "http", "containerPort": 8000}]
    assert "ports" not in containers["model-server"]
    policy = built["NetworkPolicy"]["spec"]
    assert sorted(policy["policyTypes"]) == ["Egress", "Ingress"]
    assert policy["ingress"] == [{"ports": [{"port": 8000, "protocol": "TCP"}]}]


def test_all_that_select_pods_select_those_of_the_deployment(built):
    labels = built["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    for selector in (
        built["Deployment"]["spec"]["selector"]["matchLabels"],
        built["Service"]["spec"]["selector"],
        built["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels
    [policy] = built["NetworkPolicy"]["spec"]["podSelector"]["matchExpressions"]
    assert dict(labels)[policy["key"]] in policy["values"]


def test_the_autoscaler_goes_by_the_images_in_work(built):
    spec = built["HorizontalPodAutoscaler"]["spec"]
    assert spec["scaleTargetRef"]["name"] == built["Deployment"]["metadata"]["name"]
    assert "replicas" not in built["Deployment"]["spec"]
    [metric] = spec["metrics"]
    assert metric["pods"]["metric"]["name"] == "ml_service_image_calls_in_work"
    assert spec["minReplicas"] >= 2


def test_all_processes_of_a_replica_stay_under_the_model_servers_queue(containers):
    settings = {each["name"]: int(each["value"]) for each in containers["api"].get("env", [])}
    calls = settings.get("MAX_IMAGE_CALLS", Settings.model_fields["max_image_calls"].default)
    queue = Path("config.properties").read_text().partition("job_queue_size=")[2].split()[0]
    assert calls * settings.get("WEB_CONCURRENCY", 1) <= int(queue)

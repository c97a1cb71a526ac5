"""The Python client and the commands that use it, against the real service."""

import asyncio
import csv
import io
import json
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from api_client import ApiError, AsyncClient, Classification, Client
from tests.e2e.accounts import PASSWORD, token_of_new_user
from tests.e2e.conftest import Service
from tests.images import encode, picture, undecodable

pytestmark = pytest.mark.e2e
COMMAND = Path(sys.executable).with_name("ml-service")


@pytest.fixture(scope="module")
def photo() -> bytes:
    return encode(picture(1), "JPEG")


def check(seen: Classification, service: Service) -> None:
    """Against what plain HTTP says of the same picture."""
    result = service.classify().json()["result"]
    assert [(each.class_name, each.probability) for each in seen.predictions] == [
        (each["class"], each["probability"]) for each in result["predictions"]
    ]
    assert (seen.top_class, seen.top_probability) == (result["top_class"], result["top_probability"])
    assert seen.warning == result["warning"]


def test_an_image_in_every_form(service, photo, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(photo)
    with Client(service.url) as client, closing((tmp_path / "photo.jpg").open("rb")) as file:
        for image in (photo, tmp_path / "photo.jpg", str(tmp_path / "photo.jpg"), file):
            check(client.classify(image), service)
        assert len(client.classify(photo, top_k=7).predictions) == 7


async def test_many_at_once_with_asyncio(service, photo):
    async with AsyncClient(service.url) as client:
        seen = await asyncio.gather(*(client.classify(photo) for _ in range(8)))
    assert len({each.request_id for each in seen}) == 8
    assert len({each.predictions for each in seen}) == 1
    check(seen[0], service)


def test_errors_are_those_of_the_contract(service, photo):
    with Client(service.url) as client:
        for image, status, detail in (
            (b"no image", 400, "bad request"),
            (next(iter(undecodable().values())), 403, "модель не смогла обработать данные"),
        ):
            with pytest.raises(ApiError) as caught:
                client.classify(image)
            assert (caught.value.status, caught.value.detail) == (status, detail)
            assert caught.value.request_id
    for token, ask in ((None, lambda client: next(client.history())), ("wrong", Client.stats)):
        with Client(service.url, token=token) as client, pytest.raises(ApiError, match="401"):
            ask(client)


def test_json_the_history_and_the_statistics(service, photo):
    token = token_of_new_user(service, is_admin=True)
    began = datetime.now(UTC)
    data = {"é": [1, None, 2.5], "deep": {"x": True}}
    with Client(service.url, token=token) as client:
        assert client.send_json(data) == data
        ids = [client.classify(photo).request_id for _ in range(4)]
        rows = list(client.history(since=began, request_type="image", page_size=3))
        assert [row.request_id for row in rows if row.request_id in ids] == ids[::-1]
        newest = rows[0]
        assert (newest.image_width, newest.image_height, newest.status_code) == (800, 600, 200)
        assert newest.created_at > began
        assert newest.username is not None
        mine = list(client.history(since=began, user=newest.username, page_size=2))
        assert [row.request_type for row in mine] == ["image"] * 4 + ["json"]
        assert json.loads(mine[4].result or "")["received_data"] == data
        with pytest.raises(ApiError, match="400: user: there is no such user"):
            list(client.history(user=uuid4().hex))
        found = client.stats(since=began)
        assert found.by_user[newest.username].requests == 5
        assert found.by_type["image"].requests >= 4
        assert found.by_status[200].mean_processing_time


async def test_signing_in(service):
    async with AsyncClient(service.url) as client:
        with pytest.raises(ApiError, match="401"):
            await client.login("nobody", PASSWORD)
        token = token_of_new_user(service, is_admin=True)
        async with AsyncClient(service.url, token=token) as administrator:
            await administrator.send_json(1)
            row = await anext(administrator.history(page_size=1))
        issued = await client.login(str(row.username), PASSWORD)
        assert issued.expires_in > 0
        assert [each.username async for each in client.history(user=row.username)] == [row.username]


def test_the_command_classifies_a_folder_of_good_and_bad_files(service, photo, tmp_path):
    for i in range(5):
        (tmp_path / f"{i}.jpg").write_bytes(encode(picture(i), "JPEG"))
    (tmp_path / "1.jpg").write_bytes(b"no image")
    command = [COMMAND, "classify", tmp_path, "--url", service.url, "--format", "csv", "--top-k", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [Path(row["file"]).name for row in rows[::2]] == ["0.jpg", "2.jpg", "3.jpg", "4.jpg"]
    with Client(service.url) as client:
        seen = client.classify(tmp_path / "3.jpg", top_k=2)
    assert [(row["class"], float(row["probability"])) for row in rows[4:6]] == [
        (each.class_name, each.probability) for each in seen.predictions
    ]
    assert f"{tmp_path}/1.jpg: 400: bad request" in done.stderr
    assert "untrained" in done.stderr
    assert done.returncode == 3


def test_the_doctor_finds_a_running_service_well(service):
    environment = service_environment(service)
    done = subprocess.run(
        [COMMAND, "doctor", "--json"], env=environment, cwd=service.run_dir.parent, capture_output=True, check=False
    )
    findings = json.loads(done.stdout)
    assert [finding for finding in findings if finding["level"] == "problem"] == []
    assert done.returncode == 0
    texts = [f"{finding['name']}: {finding['text']}" for finding in findings]
    port = service.url.rpartition(":")[2]
    assert f"PORT: {port} is held by this service" in texts
    assert sum("is held by this service" in text for text in texts) == 4
    assert f"keys: {service.run_dir / 'key_file.json'}" in texts
    assert any(text.startswith("database: ") and "migrated to" in text for text in texts)
    assert f"ADMIN_TOKEN: not set: make serve takes the one in {service.run_dir / 'secrets.env'}" in texts
    assert [finding["name"] for finding in findings if "untrained" in finding["text"]] == ["archive"]
    assert service.admin_token.encode() not in done.stdout


def service_environment(service: Service) -> dict[str, str]:
    """What the service was started with."""
    ours = ("PATH", "HOME", "PORT", "TORCHSERVE_PORT", "RUN_DIR", "MODEL_STORE", "DATABASE_URL")
    started = next(each.environ() for each in service.family() if each.pid == service.process.pid)
    return {name: started[name] for name in ours}

"""The commands that the service was asked for, run as they were written down, in their order.

Host, port, the image's path and YOUR_ACCESS_TOKEN are replaced, nothing else. The tests build on each other, as the
sections of the document do: the token of section 2 is used in sections 5 and 7. Its migrations are in test_migrations.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from numbers import Real
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Service, started
from tests.images import encode, picture

pytestmark = pytest.mark.e2e

REGISTER = """
curl -X POST "http://localhost:8000/register" \\
  -H "Content-Type: application/json" \\
  -d '{
    "username": "admin",
    "password": "admin123",
    "is_admin": true
  }'
"""
TOKEN = """
curl -X POST "http://localhost:8000/token" \\
  -H "Content-Type: application/x-www-form-urlencoded" \\
  -d "username=admin&password=admin123"
"""
FORWARD_IMAGE = """
curl -X POST "http://localhost:8000/forward" \\
  -F "image=@/path/to/your/image.jpg"
"""
FORWARD_JSON = """
curl -X POST "http://localhost:8000/forward" \\
  -F 'data={"text": "sample data", "value": 123}'
"""
HISTORY = """
curl -X GET "http://localhost:8000/history" \\
  -H "Authorization: Bearer YOUR_ACCESS_TOKEN"
"""
DELETE_HISTORY = """
curl -X DELETE "http://localhost:8000/history" \\
  -H "Authorization: Bearer admin_secret_token_12345"
"""
STATS = """
curl -X GET "http://localhost:8000/stats" \\
  -H "Authorization: Bearer YOUR_ACCESS_TOKEN"
"""


@dataclass
class Shell:
    """A person's terminal: curl is set to be silent and to add the status code on a line of its own."""

    service: Service
    home: Path
    image: Path
    access_token: str = ""
    answers: dict[str, Any] = field(default_factory=dict)

    def curl(self, command: str) -> tuple[int, Any]:
        """The status code and the JSON of a command; None for an empty body."""
        command = (
            command.replace("http://localhost:8000", self.service.url)
            .replace("/path/to/your/image.jpg", str(self.image))
            .replace("YOUR_ACCESS_TOKEN", self.access_token)
        )
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home)}
        ran = subprocess.run(
            ["bash", "-c", command], env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert ran.returncode == 0, ran.stderr
        body, _, status = ran.stdout.rpartition("\n")
        return int(status), json.loads(body) if body else None


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory, model_store: Path) -> Iterator[Shell]:
    """A terminal beside a service that nobody has used yet."""
    folder = tmp_path_factory.mktemp("seed")
    (folder / ".curlrc").write_text('silent\nshow-error\nwrite-out = "\\n%{http_code}"\n')
    (folder / "image.jpg").write_bytes(encode(picture(1), "JPEG"))
    with started(folder, model_store, ADMIN_TOKEN="admin_secret_token_12345") as service:
        service.wait_ready()
        yield Shell(service, folder, folder / "image.jpg")


def test_1_register(shell: Shell) -> None:
    status, user = shell.curl(REGISTER)
    assert status == 201
    assert user == {"id": 1, "username": "admin", "is_admin": True, "created_at": user["created_at"]}
    assert is_recent(user["created_at"])
    status, refused = shell.curl(REGISTER)
    assert status == 403  # by now there is an administrator
    assert refused.keys() == {"detail"}


def test_2_token(shell: Shell) -> None:
    status, answer = shell.curl(TOKEN)
    assert status == 200
    assert answer["token_type"] == "bearer"
    assert answer["access_token"].startswith("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.")
    shell.access_token = answer["access_token"]
    status, refused = shell.curl(TOKEN.replace("admin123", "admin124"))
    assert status == 401
    assert refused.keys() == {"detail"}


def test_3_forward_image(shell: Shell) -> None:
    status, answer = shell.curl(FORWARD_IMAGE)
    assert status == 200
    result = answer["result"]
    assert len(result["predictions"]) == 5
    assert all(prediction.keys() == {"class", "probability"} for prediction in result["predictions"])
    probabilities = [prediction["probability"] for prediction in result["predictions"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert 0 < sum(probabilities) <= 1
    assert (result["top_class"], result["top_probability"]) == (result["predictions"][0]["class"], probabilities[0])


def test_4_forward_json(shell: Shell) -> None:
    status, answer = shell.curl(FORWARD_JSON)
    assert status == 200
    assert answer == {
        "result": {"message": "JSON data processed", "received_data": {"text": "sample data", "value": 123}}
    }


def test_errors_as_documented(shell: Shell) -> None:
    assert shell.curl(FORWARD_IMAGE.replace("image=@", "picture=@")) == (400, {"detail": "bad request"})
    broken = shell.home / "broken.jpg"
    content = shell.image.read_bytes()
    broken.write_bytes(content[: len(content) // 2])
    assert shell.curl(FORWARD_IMAGE.replace("/path/to/your/image.jpg", str(broken))) == (
        403,
        {"detail": "модель не смогла обработать данные"},
    )
    assert shell.curl(HISTORY.replace("YOUR_ACCESS_TOKEN", "nobody"))[0] == 401


def test_5_history(shell: Shell) -> None:
    status, history = shell.curl(HISTORY)
    assert status == 200
    assert history["total"] == len(history["items"]) == 4
    assert [item["status_code"] for item in history["items"]] == [403, 400, 200, 200]  # newest first
    image, document = history["items"][3], history["items"][2]
    assert image["request_type"] == "image"
    assert (image["image_width"], image["image_height"]) == (800, 600)
    assert image["input_data_size"] > shell.image.stat().st_size
    assert image["processing_time"] > 0
    assert image["error_message"] is None
    assert json.loads(image["result"])["top_class"]
    assert document["request_type"] == "json"
    assert (document["image_width"], document["image_height"]) == (None, None)
    for item in history["items"]:
        assert isinstance(item["id"], int)
        assert is_recent(item["created_at"])
        assert (item["error_message"] is None) == (item["status_code"] == 200)


def test_7_stats(shell: Shell) -> None:
    status, stats = shell.curl(STATS)
    assert status == 200
    assert stats["total_requests"] == 4
    times = [stats[f"{name}_processing_time"] for name in ("median", "percentile_95", "percentile_99")]
    assert times == sorted(times)
    assert 0 < stats["mean_processing_time"] <= times[-1]
    assert (stats["average_image_width"], stats["average_image_height"]) == (800, 600)
    assert isinstance(stats["average_input_size"], Real)


def test_6_delete_history(shell: Shell) -> None:
    assert shell.curl(DELETE_HISTORY.replace("_12345", "_54321"))[0] == 403
    assert shell.curl(DELETE_HISTORY) == (204, None)
    assert shell.curl(HISTORY) == (200, {"total": 0, "items": [], "next_cursor": None})
    assert shell.curl(STATS)[1]["total_requests"] == 0


def test_documentation_pages(shell: Shell) -> None:
    for page in ("docs", "redoc"):
        ran = subprocess.run(
            ["curl", "-sf", f"{shell.service.url}/{page}"], capture_output=True, text=True, check=False, timeout=30
        )
        assert ran.returncode == 0
        assert "<html" in ran.stdout


def is_recent(timestamp: str) -> bool:
    """Whether an ISO 8601 timestamp is in UTC and within the last ten minutes."""
    when = datetime.fromisoformat(timestamp)
    return when.tzinfo is not None and abs((datetime.now(UTC) - when).total_seconds()) < 600

"""Label files in the shapes people have them."""

import json
from pathlib import Path

import pytest

from cli.archives.labels import read_labels, snake_case
from cli.errors import LabelsError

NAMES = ["golden_retriever", "жар_птица", "tench"]


@pytest.mark.parametrize(
    "text",
    [
        "Golden Retriever\nЖар-птица\ntench\n",
        "\ufeffgolden retriever\r\nжар-птица\r\n'tench'\r\n\r\n",
        json.dumps(["Golden Retriever", "Жар-птица", "tench"]),
        json.dumps({"2": "tench", "0": "golden retriever", "1": "жар птица"}),
        json.dumps({"0": ["n02", "golden_retriever"], "1": ["n0", "Жар_птица"], "2": ["n03", "tench"]}),
    ],
)
def test_every_usual_shape_is_read(text: str, tmp_path: Path) -> None:
    path = tmp_path / "labels"
    path.write_bytes(text.encode())
    assert read_labels(path, 3) == NAMES


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"one\ntwo\n", "names 2 classes, and the weights have 3"),
        (b"one\ntwo\nthree\nfour\n", "names 4 classes"),
        (b"one\n\nthree\n", "''"),
        (b"one\n...\nthree\n", "'...' has none"),
        (b'["one", "two", 3]', "not text"),
        (b'["one", "two"', "cannot|no list"),
        (b'{"0": "one", "2": "two", "3": "three"}', "number"),
        (b'{"one": 1}', "no list"),
        (b"[" * 100_000, "no list"),
        (b"\xff\xfe\x00", "not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_right_is_refused_in_one_line(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "labels"
    path.write_bytes(content)
    with pytest.raises(LabelsError, match=reason) as error:
        read_labels(path, 3)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="cannot read"):
        read_labels(tmp_path / "none", 3)


def test_labels_are_lower_snake_case() -> None:
    assert snake_case("Sports car (convertible), 4×4") == "sports_car_convertible_4_4"

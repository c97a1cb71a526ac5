"""The benchmark on the real service; short, so its figures mean nothing."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

from tests.e2e.conftest import ROOT

pytestmark = pytest.mark.e2e


@pytest.mark.skipif(shutil.which("wrk") is None, reason="the load generator wrk is not installed")
def test_it_measures_the_service_and_writes_what_it_found(model_store, tmp_path):
    bench = [Path(sys.executable).with_name("ml-service"), "bench", "--only", "ceiling,direct,api,large"]
    pace = ["--seconds", "3", "--rounds", "1", "--concurrency", "1,4"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    ran = subprocess.run(
        [*bench, *pace, "--archive", model_store / "resnet50.mar", "--output", tmp_path / "results"],
        cwd=ROOT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (folder,) = (tmp_path / "results").iterdir()
    found = json.loads((folder / "results.json").read_text())
    assert [(row["kind"], row["precision"]) for row in found["rows"]] == [
        ("ceiling", "fp32"),
        ("direct", "fp32"),
        ("api", "fp32"),
    ]
    for row in found["rows"]:
        for cell in row["concurrency"].values():
            assert cell["rate"] > 0
            assert cell["errors"] == 0
        assert f"Round 1 of 1: {row['label']}, concurrency 4" in ran.stderr, "what it is at, where there is no terminal"
        assert row["label"] in ran.stdout
        assert row["label"] in (folder / "throughput.svg").read_text()
        assert row["label"] in (folder / "table.md").read_text()
    large, added = found["comparisons"]["large"], found["comparisons"]["concurrency 1, fp32"]
    assert median(large["4032x3024"]) > median(large["800x600"]) > 0
    assert len(added["direct"]) == len(added["api"]) > 0
    assert "what the API adds to a request at concurrency 1, fp32" in ran.stdout
    (figure,) = [each for each in found["figures"] if each["question"].startswith("what the API adds")]
    assert bool(figure["interval"]) == (len(added["api"]) >= 6), "fewer turns cannot tell"
    assert found["machine"]["cores"] >= 1
    assert found["machine"]["memory"] > 1e9
    assert found["archives"][0]["weights"] == "untrained"
    assert found["load_generator"].startswith("wrk")
    assert not list(tmp_path.glob("bench-*"))


def test_an_unknown_row_is_one_line():
    ran = subprocess.run(
        [Path(sys.executable).with_name("ml-service"), "bench", "--only", "api,triton"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 1
    assert ran.stderr.startswith("ml-service: --only: there is no triton; choose of ceiling, direct, api,")
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize("concurrency", ["a", "1,,8", "8,0"])
def test_a_concurrency_that_is_none_is_wrong_usage(concurrency):
    ran = subprocess.run(
        [Path(sys.executable).with_name("ml-service"), "bench", "--only", "ceiling", "--concurrency", concurrency],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "Invalid value for '--concurrency': numbers from 1 on, separated by commas" in ran.stderr


def test_the_history_is_a_section_of_its_own(tmp_path):
    bench = [Path(sys.executable).with_name("ml-service"), "bench", "--only", "history", "--history-rows", "20000"]
    bench += ["--seconds", "1"]
    ran = subprocess.run(
        [*bench, "--output", tmp_path], cwd=ROOT, check=False, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (folder,) = tmp_path.iterdir()
    found = json.loads((folder / "results.json").read_text())
    assert found["rows"] == []
    assert found["comparisons"]["history"]["deletion"]["failed"] == 0
    assert len(found["figures"]) == 9
    for figure in found["figures"]:
        assert figure["question"].startswith("SQLite, 20,000 rows: ")
        assert figure["value"] >= 0
        assert figure["question"] in ran.stdout
        assert figure["question"] in (folder / "table.md").read_text()

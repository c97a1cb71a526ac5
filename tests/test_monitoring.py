"""Prometheus' configuration and alerts by its own checker; Grafana's files by what refers to what."""

import shutil
import subprocess

import pytest
import yaml

from tests.monitoring import GRAFANA, PROMETHEUS, alerts, metrics_in, panels

TESTS = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]


@pytest.mark.parametrize(
    "check",
    [("check", "config", "prometheus.yml"), ("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")],
)
def test_promtool_finds_nothing(check: tuple[str, ...]) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    run = subprocess.run(["promtool", *check], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "FAILED" not in run.stdout


def test_every_alert_says_what_to_do_and_is_seen_to_fire_and_to_be_silent() -> None:
    names = {rule["alert"] for rule in alerts()}
    silent = {made["alertname"] for test in TESTS for made in test.get("alert_rule_test", [])}
    fired = "".join(str(test.get("promql_expr_test")) for test in TESTS)
    assert names == silent == {name for name in names if f'alertname="{name}"' in fired}
    for rule in alerts():
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"]
        assert "\n" not in rule["annotations"]["runbook"]


def test_grafana_finds_its_source_and_its_dashboard() -> None:
    [source] = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert {panel["datasource"]["uid"] for panel in panels()} == {source["uid"]}
    places = [panel["gridPos"] for panel in panels()]
    cells = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
    assert len(cells) == len(set(cells)), "no panel lies on another"
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in panels()}) == len(panels())


def test_expressions_are_read_right() -> None:
    expression = 'sum by (le, x) (rate(a_bucket{b="c", d=~"e|f"}[5m])) / on (g) up{h="i"} and increase(j[$__x]) > 1e6'
    assert metrics_in(expression) == {"a_bucket", "up", "j"}

"""Alerts, dashboard and autoscaler ask for what the program counts, and every alert speaks when it should only."""

import copy
import json
import re
from pathlib import Path

import pytest
import yaml

import facts
from conftest import one, run, tool
from facts import ROOT, labels_in, metrics, unknown_in

MONITORING = ROOT / "k8s/components/monitoring"
AUTOSCALING = ROOT / "k8s/components/autoscaling"
SAID = {"summary", "description", "runbook"}
TESTS = yaml.safe_load((MONITORING / "rules.test.yaml").read_text())


@pytest.fixture(scope="module")
def groups(production) -> list[dict]:
    return one(production, "PrometheusRule")["spec"]["groups"]


def alerts_of(groups: list[dict]) -> list[dict]:
    return [rule for group in groups for rule in group["rules"]]


# ── Judges ──────────────────────────────────────────────────────────────────────────────────────


def rejected(groups: list[dict], directory: Path) -> list[str]:
    """What Prometheus would not load."""
    (directory / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    checked = run(tool("promtool"), "check", "rules", "--lint=all", "--lint-fatal", str(directory / "rules.yaml"))
    return [] if checked.returncode == 0 else [checked.stdout]


def misfired(rule: dict, directory: Path) -> str:
    """What an alert's tests say if it speaks when it should not, or does not when it should."""
    # Tests would have to repeat every word of every annotation.
    bare = {key: value for key, value in rule.items() if key != "annotations"}
    (directory / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "one", "rules": [bare]}]}))
    # Alone with its own tests, or else each would be evaluated thousands of times for those of the others.
    suite = copy.deepcopy(TESTS)
    for test in suite["tests"]:
        test["alert_rule_test"] = [it for it in test["alert_rule_test"] if it["alertname"] == rule["alert"]]
    suite["tests"] = [test for test in suite["tests"] if test["alert_rule_test"]]
    (directory / "rules.test.yaml").write_text(yaml.safe_dump(suite))
    tested = run(tool("promtool"), "test", "rules", str(directory / "rules.test.yaml"))
    return "" if tested.returncode == 0 else tested.stdout


def unheard_of(rule: dict, counted: dict[str, facts.Metric]) -> list[str]:
    """What an alert asks for that nobody counts, or prints that its answer does not have."""
    said = " ".join(rule["annotations"].values())
    problems = unknown_in(rule["expr"], counted)
    kept = labels_in(rule["expr"]) | ({"pod", "namespace"} if "by" not in rule["expr"] else set())
    problems += [f"{{{{ $labels.{label} }}}} is not in the answer" for label in sorted(labels_in(said) - kept)]
    return [f"{rule['alert']}: {problem}" for problem in problems]


def untested(groups: list[dict], tests: list[dict]) -> list[str]:
    """Alerts of which it is not proven that they speak, and that they keep quiet."""
    cases = [case for test in tests for case in test["alert_rule_test"]]
    speak = {case["alertname"] for case in cases if case["exp_alerts"]}
    quiet = {case["alertname"] for case in cases if not case["exp_alerts"]}
    names = {rule["alert"] for rule in alerts_of(groups)}
    return sorted((names - speak) | (names - quiet) | ((speak | quiet) - names))


# ── What is so ──────────────────────────────────────────────────────────────────────────────────


def test_prometheus_loads_every_rule(groups, tmp_path):
    assert len(alerts_of(groups)) >= 20
    assert rejected(groups, tmp_path) == []


def test_every_alert_speaks_and_keeps_quiet(groups, tmp_path):
    assert untested(groups, TESTS["tests"]) == []
    assert [said for rule in alerts_of(groups) if (said := misfired(rule, tmp_path))] == []


def test_alerts_ask_for_what_is_counted(groups, counted):
    assert [problem for rule in alerts_of(groups) for problem in unheard_of(rule, counted)] == []


def test_alerts_say_what_and_why_and_what_to_do(groups):
    for rule in alerts_of(groups):
        assert set(rule["annotations"]) == SAID, rule["alert"]
        assert rule["labels"]["severity"] in {"page", "ticket"}, rule["alert"]
        assert len(rule["annotations"]["runbook"]) > 50, f"{rule['alert']}: what should one do?"


def test_alerts_ask_histograms_at_a_bound_they_have(groups):
    """Between two bounds a quantile is a guess."""
    source = (ROOT / "src/telemetry.rs").read_text()
    bounds = {
        name: {float(bound.replace("_", "")) for bound in re.findall(r"\d[\d_]*\.[\d_]*", numbers)}
        for name, numbers in re.findall(r"const (\w+): \[f64; \d+\] =\s*\[([^\]]*)\]", source)
    }
    asked = 0
    for rule in alerts_of(groups):
        for series, bound in re.findall(r"(outrider_\w+)_bucket[^>]*>\s*([\d.]+)", rule["expr"]):
            where = "CLUSTER_SECONDS" if series.startswith("outrider_cluster_") else "SECONDS"
            assert float(bound) in bounds[where], f"{rule['alert']} asks at {bound}, and {where} is {sorted(bounds[where])}"
            asked += 1
    assert asked >= 7


def test_the_autoscaler_sees_what_it_scales_by(production, counted):
    adapter = yaml.safe_load((AUTOSCALING / "adapter.yaml").read_text())["rules"]
    offered = {rule["name"]["as"] for rule in adapter}
    wanted = {it["pods"]["metric"]["name"] for it in one(production, "HorizontalPodAutoscaler")["spec"]["metrics"]}
    assert wanted == offered
    assert [problem for rule in adapter for problem in unknown_in(rule["seriesQuery"], counted)] == []


def test_the_dashboard_asks_for_what_is_counted(counted, tmp_path):
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    targets = [target for panel in dashboard["panels"] for target in panel.get("targets", [])]
    assert len(targets) >= 15
    rules = []
    for n, target in enumerate(targets):
        expression = target["expr"].replace("$namespace", "n").replace("$__rate_interval", "1m")
        assert unknown_in(expression, counted) == [], target["expr"]
        legend = set(re.findall(r"\{\{\s*(\w+)\s*\}\}", target.get("legendFormat", "")))
        assert legend <= labels_in(target["expr"]) | {"pod"}, target["expr"]
        rules.append({"record": f"panel:target:{n}", "expr": expression})
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    checked = run(tool("promtool"), "check", "rules", str(tmp_path / "panels.yaml"))
    assert checked.returncode == 0, checked.stdout
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))


# ── Judges see mistakes ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "plant",
    [
        lambda rule: rule.update(expr=rule["expr"] + ")"),
        lambda rule: rule.update({"for": "5 seconds"}),
        lambda rule: rule.update(fro="5s"),
        lambda rule: rule["annotations"].update(summary="{{ $value "),
    ],
)
def test_what_prometheus_would_not_load_is_seen(groups, tmp_path, plant):
    planted = copy.deepcopy(groups)
    plant(planted[0]["rules"][0])
    assert rejected(planted, tmp_path) != []


def test_an_alert_that_never_speaks_is_seen(groups, tmp_path):
    for rule in alerts_of(groups):
        planted = {**rule, "expr": f"({rule['expr']}) unless on () vector(1)"}
        assert misfired(planted, tmp_path), f"{rule['alert']} never speaks, and no test sees it"


def test_an_alert_that_always_speaks_is_seen(groups, tmp_path):
    for rule in alerts_of(groups):
        planted = {"alert": rule["alert"], "expr": "vector(1)"}
        assert misfired(planted, tmp_path), f"{rule['alert']} always speaks, and no test sees it"


@pytest.mark.parametrize(
    "expression",
    [
        "outrider_orphan_shards > 0",
        "rate(outrider_ask_seconds[5m]) > 0",
        "outrider_sessions_bucket > 0",
        "sum by (region) (outrider_sessions) > 0",
        'outrider_sessions{shard="1"} > 0',
    ],
)
def test_what_nobody_counts_is_seen(counted, expression):
    rule = {"alert": "Planted", "expr": expression, "annotations": {}}
    assert unheard_of(rule, counted) != []


def test_a_label_that_the_answer_lost_is_seen(counted):
    rule = {"alert": "Planted", "expr": "sum by (namespace) (outrider_sessions) > 0", "annotations": {"summary": "{{ $labels.pod }}"}}
    assert unheard_of(rule, counted) != []


def test_metrics_are_read_from_the_source():
    source = 'metrics::counter!("outrider_busy_total", "bound" => if a(b) { "node" } else { "shard" }).increment(1);'
    assert metrics({"here": source}) == {"outrider_busy_total": facts.Metric("counter", frozenset({"bound"}))}

"""docs/monitoring: whatever dashboard and alerts ask for is there, in a real scrape; promtool takes the rest."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.figures import METRICS_TOKEN, scrape
from tests.service import ROOT

FOLDER = ROOT / "docs" / "monitoring"
DASHBOARD, RULES = FOLDER / "dashboard.json", FOLDER / "alerts.yml"
GROUPS = ["Is it well?", "Customers", "Provider", "Money", "Payments", "Queue", "Backups"]
RUNBOOKS = {
    "service-down", "database-down", "database-full", "connections-exhausted", "cache-down", "provider",
    "quota-complaints", "paddle-events", "worker-stopped", "token-leak", "secret-leak", "bad-deploy", "clock-wrong",
    "backup-failed",
}  # fmt: skip
PROMETHEUS_OWN = {"up": {"job", "instance"}}
GIVEN = {"job", "instance", "le"}  # by Prometheus, and by histograms
SELECTOR = re.compile(r"\b(remind_\w+|up)\b(?!\s*\()(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(=~|!=|!~|=)"((?:[^"\\]|\\.)*)"')
GROUPING = re.compile(r"\b(?:by|on)\s*\(([^)]*)\)")
OPEN_ENDED = {"status", "instance", "route"}  # values that come with use

promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed; it is in Debian's package prometheus"
)


def run_promtool(*command, **options):
    return subprocess.run(["promtool", *command], capture_output=True, text=True, check=False, **options)


def panels():
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def alerts():
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def queries():
    """(who asks, the query, the labels that its legend or words name)"""
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"], set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
    for alert in alerts():
        words = " ".join(alert["annotations"].values())
        yield alert["alert"], alert["expr"], set(re.findall(r"\$labels\.(\w+)", words))


@pytest.fixture
def figures(start):
    """A scrape of the deployed service, after a little use."""
    service = start(METRICS_TOKEN=METRICS_TOKEN)
    service.suggest(service.issue())
    return scrape(service)


def test_what_is_asked_for_is_in_a_scrape(figures):
    labels_of = {}
    for sample in figures.samples:
        labels_of.setdefault(sample.name, []).append(sample.labels)
    asked, missing = 0, []
    for who, query, words in queries():
        known = set(GIVEN)
        for name, matchers in SELECTOR.findall(query):
            asked += 1
            if name in PROMETHEUS_OWN:
                known |= PROMETHEUS_OWN[name]
                continue
            samples = labels_of.get(name)
            if samples is None:
                missing.append(f"{who}: there is no {name}")
                continue
            known |= {label for labels in samples for label in labels}
            missing += [f"{who}: {name}{problem}" for problem in unmatched(samples, matchers)]
        grouped = {label.strip() for group in GROUPING.findall(query) for label in group.split(",")}
        missing += [f"{who}: no label {label}" for label in (grouped | words) - known]
    assert missing == []
    assert asked > 100
    if shutil.which("promtool"):
        done = run_promtool("check", "metrics", input=figures.text)
        assert (done.returncode, done.stderr) == (0, ""), "and Prometheus has nothing to say about its form"


def unmatched(samples, matchers):
    for label, how, wanted in MATCHER.findall(matchers):
        values = {labels[label] for labels in samples if label in labels}
        if label in GIVEN:
            continue
        if not values:
            yield f" has no label {label}"
        elif how in ("=", "=~") and label not in OPEN_ENDED:
            alternatives = wanted.split("|") if how == "=~" else [wanted]
            yield from (f" has no {label}={value}" for value in alternatives if value not in values)


def test_the_dashboard_can_be_imported():
    dashboard = json.loads(DASHBOARD.read_text())
    assert dashboard["id"] is None, "an id of somebody's Grafana would overwrite what has it elsewhere"
    assert dashboard["schemaVersion"] >= 36
    assert dashboard["uid"]
    assert dashboard["title"]
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    assert [panel["title"] for panel in dashboard["panels"] if panel["type"] == "row"] == GROUPS
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(numbers)) == len(numbers)
    for panel in panels():
        assert panel["type"] in {"stat", "timeseries"}
        assert panel["targets"], panel["title"]
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources), panel["title"]
        used = set(re.findall(r"\$(?!__)\{?(\w+)", " ".join(target["expr"] for target in panel["targets"])))
        assert used <= set(variables), panel["title"]


def test_panels_do_not_overlap():
    taken = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_each_alert_says_what_to_do():
    names = [alert["alert"] for alert in alerts()]
    assert len(set(names)) == len(names)
    for alert in alerts():
        assert alert["labels"]["severity"] in {"critical", "warning"}
        assert set(alert["annotations"]) == {"summary", "description", "runbook"}
        slug = re.fullmatch(r"docs/runbooks/([a-z-]+)\.md", alert["annotations"]["runbook"])
        assert slug, alert["alert"]
        assert slug[1] in RUNBOOKS, alert["alert"]
    linked = {Path(alert["annotations"]["runbook"]).stem for alert in alerts()}
    assert linked == RUNBOOKS, "each page has an alert that leads to it"


@promtool
@pytest.mark.parametrize(
    "command",
    [
        ("check", "rules", str(RULES)),
        ("test", "rules", str(FOLDER / "alerts_test.yml")),
        ("check", "config", "--syntax-only", str(FOLDER / "prometheus.yml")),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_promtool_takes_it(command):
    done = run_promtool(*command)
    assert done.returncode == 0, done.stdout + done.stderr


@promtool
def test_promtool_takes_the_dashboards_queries(tmp_path):
    rules = [
        {"record": f"panel:{number}", "expr": query.replace("$__rate_interval", "1m").replace("$instance", ".*")}
        for number, (_, query, _) in enumerate(queries())
    ]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = run_promtool("check", "rules", str(path))
    assert done.returncode == 0, done.stdout + done.stderr

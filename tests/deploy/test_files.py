"""The files of deploy/, checked with the programs that read them and against docs/deploy.md."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER
from prometheus_client.parser import text_string_to_metric_families

from app.settings import ROWS, Settings
from app.web.body_limits import MAX_BODY_BYTES
from tests.integration.raw_http import MODEL, ask, head, post
from tests.support import processes
from tests.support.fake_minimax import start_fake_minimax
from tests.support.processes import API_KEY, ROOT, UPSTREAM_KEY, environment

DEPLOY = ROOT / "deploy"
DOC = (ROOT / "docs" / "deploy.md").read_text()
NGINX_CONF = (DEPLOY / "nginx.conf").read_text()
UNIT = (DEPLOY / "amux-gateway@.service").read_text()
ALERTS = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"][0]["rules"]
DEFAULTS = Settings((), "")
PANELS = json.loads((DEPLOY / "grafana-dashboard.json").read_text())["panels"]

PROMTOOL = shutil.which("promtool", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is missing: run scripts/install-test-tools")
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing: run scripts/install-test-tools as root"
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", DOC, re.DOTALL | re.MULTILINE)


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    assert PROMTOOL is not None
    return subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True)


# systemd


@needs_systemd
def test_systemd_verifies_the_unit(tmp_path: Path) -> None:
    """Only the path of the checkout differs."""
    unit = tmp_path / "amux-gateway@.service"
    unit.write_text(UNIT.replace("/opt/amux/.venv/bin/python", shutil.which("true") or "").replace("/opt/amux", "/"))
    done = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / "amux-gateway@8000.service"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_unit_runs_the_procfiles_command() -> None:
    assert f"ExecStart=/opt/amux/.venv/bin/{processes.procfile_command('web')}\n" in UNIT


def unit_environment() -> dict[str, str]:
    [line] = re.findall(r"^Environment=(.*)$", UNIT, re.MULTILINE)
    return dict(pair.split("=", 1) for pair in line.split())


def test_the_units_state_folder_is_writable_and_that_of_its_commands() -> None:
    """The default is in the checkout, which the unit may not write to."""
    [folder] = re.findall(r"^StateDirectory=(.*)$", UNIT, re.MULTILINE)
    chosen = unit_environment()["AMUX_STATE_FOLDER"]
    assert chosen.startswith(f"/var/lib/{folder}/")
    command = (DEPLOY / "amux").read_text()
    assert re.findall(r"^AMUX_STATE_FOLDER=(\S+)", command, re.MULTILINE) == [chosen]
    assert command.index("AMUX_STATE_FOLDER=") < command.index(". /etc/amux/gateway.env")


def test_the_units_environment_is_of_settings() -> None:
    assert set(unit_environment()) <= {row.variable for row in ROWS.values()}


def documented_settings() -> dict[str, str]:
    """What the first commands of the walkthrough write to gateway.env."""
    return dict(re.findall(r'^echo "(\w+)=(.*)" >>/etc/amux/gateway.env$', DOC, re.MULTILINE))


def test_the_documented_state_folder_is_writable_for_the_unit() -> None:
    [folder] = re.findall(r"^StateDirectory=(.*)$", UNIT, re.MULTILINE)
    assert documented_settings()["AMUX_STATE_FOLDER"].startswith(f"/var/lib/{folder}/")


def test_the_instances_that_share_nothing_keep_to_a_keys_rate_together() -> None:
    [instances] = re.findall(r"^systemctl enable --now (.*)$", DOC, re.MULTILINE)
    each = int(documented_settings()["MINIMAX_REQUESTS_PER_MINUTE"])
    assert each * len(instances.split()) == DEFAULTS.minimax_requests_per_minute


# Limits


def seconds(pattern: str, text: str) -> float:
    found = re.findall(pattern, text, re.MULTILINE)
    assert len(set(found)) == 1, f"{pattern}: {found}"
    return float(found[0])


@pytest.fixture(scope="module")
def gunicorn_config() -> str:
    """gunicorn's whole configuration, with default settings."""
    command = [sys.executable, "-m", "gunicorn", "--print-config", "wsgi:app"]
    variables = environment(AMUX_API_KEYS=API_KEY, MINIMAX_API_KEY=UPSTREAM_KEY)
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def limits(gunicorn_config: str) -> dict[str, float]:
    """Every limit in docs/deploy.md, read from where it is set."""
    upstream = NGINX_CONF[: NGINX_CONF.index("\n}\n")]
    return {
        "MINIMAX_TIMEOUT_SECONDS": DEFAULTS.minimax_timeout_seconds,
        "graceful_timeout": seconds(r"^graceful_timeout\s+= (\d+)$", gunicorn_config),
        "proxy_read_timeout": seconds(r"proxy_read_timeout (\d+)s;", NGINX_CONF),
        "TimeoutStopSec": seconds(r"^TimeoutStopSec=(\d+)$", UNIT),
        "keepalive_timeout": seconds(r"keepalive_timeout (\d+)s;", upstream),
        "gunicorn's own": STOP_KEEPALIVE_LINGER,
        "keepalive": seconds(r"^keepalive\s+= (\d+)$", gunicorn_config),
    }


def test_timeouts_exceed_each_other_in_order(limits: dict[str, float]) -> None:
    assert limits["MINIMAX_TIMEOUT_SECONDS"] + 30 <= limits["graceful_timeout"]
    assert limits["graceful_timeout"] < limits["proxy_read_timeout"] <= limits["TimeoutStopSec"]
    assert DEFAULTS.queue_seconds + limits["MINIMAX_TIMEOUT_SECONDS"] < limits["proxy_read_timeout"]
    assert limits["keepalive_timeout"] < limits["gunicorn's own"] < limits["keepalive"]
    [megabytes] = re.findall(r"client_max_body_size (\d+)m;", NGINX_CONF)
    assert int(megabytes) * 1024 * 1024 >= 2 * MAX_BODY_BYTES


def test_documented_limits_match_the_configuration(limits: dict[str, float]) -> None:
    rows = re.findall(r"^\| [^|]* \| ([^|]*) \| (\d+) \|$", DOC, re.MULTILINE)
    documented = {where.split("`")[1] if where.startswith("`") else where: float(number) for where, number in rows}
    assert documented == limits


# Prometheus and Grafana


@needs_promtool
def test_each_alert_fires_for_its_cause_only() -> None:
    for arguments in (
        ("check", "rules", DEPLOY / "alerts.yml"),
        ("test", "rules", ROOT / "tests" / "deploy" / "alerts_test.yml"),
    ):
        done = promtool(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_a_test_that_fires_it() -> None:
    tests = yaml.safe_load((ROOT / "tests" / "deploy" / "alerts_test.yml").read_text())["tests"]
    fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case.get("exp_alerts")}
    assert fired == {rule["alert"] for rule in ALERTS}


@needs_promtool
def test_prometheus_accepts_the_documented_configuration(tmp_path: Path) -> None:
    [documented] = blocks("yaml")
    config = tmp_path / "prometheus.yml"
    config.write_text(documented.replace("/opt/amux", str(ROOT)))
    done = promtool("check", "config", config)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rules found" in done.stdout
    [job] = yaml.safe_load(documented)["scrape_configs"]
    assert f'up{{job="{job["job_name"]}"}} == 0' in [rule["expr"] for rule in ALERTS]


DASHBOARD = [target["expr"] for panel in PANELS for target in panel["targets"]]


@needs_promtool
def test_prometheus_accepts_the_dashboards_queries(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(DASHBOARD)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = promtool("check", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_panel_uses_the_dashboards_data_source() -> None:
    dashboard = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    [choice] = dashboard["templating"]["list"]
    assert choice["type"] == "datasource"
    places = set()
    for panel in PANELS:
        assert panel["datasource"] == {"type": choice["query"], "uid": f"${{{choice['name']}}}"}
        places.add((panel["gridPos"]["x"], panel["gridPos"]["y"]))
    assert len(places) == len({panel["id"] for panel in PANELS}) == len(PANELS)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Metric names of a served gateway after a call, and the labels of each."""
    folder = tmp_path_factory.mktemp("metrics")
    with start_fake_minimax() as upstream, processes.gateway(folder, upstream.url) as gateway:
        assert ask(gateway.url, post({"model": MODEL, "prompt": "a"})).status == 200
        text = ask(gateway.url, head("GET", "/metrics"), "GET").body.decode()
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.mark.parametrize("expr", [rule["expr"] for rule in ALERTS if "amux_" in rule["expr"]] + DASHBOARD)
def test_queried_metrics_and_labels_exist(samples: dict[str, set[str]], expr: str) -> None:
    """Labels are those that are matched or grouped by."""
    names = re.findall(r"\bamux_\w+", expr)
    assert names
    by = {label for labels in re.findall(r"\bby \(([^)]*)\)", expr) for label in labels.split(", ")}
    for name in names:
        matched = set(re.findall(r"(\w+)=~?\"", expr[expr.index(name) :].split("}")[0]))
        assert name in samples
        assert (matched | by) - {"instance", "job"} <= samples[name]


def test_every_metric_is_on_the_dashboard(samples: dict[str, set[str]]) -> None:
    counted = {
        name for name in samples if name.startswith("amux_") and not name.endswith(("_sum", "_count", "_created"))
    }
    assert counted == {name for expr in DASHBOARD for name in re.findall(r"\bamux_\w+", expr)}


def test_legends_use_labels_that_the_query_groups_by() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            kept = {label for labels in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in labels.split(", ")}
            assert shown <= kept


# The walkthrough of docs/deploy.md


def test_the_walkthrough_names_existing_files() -> None:
    named = set(
        re.findall(r"(?:/opt/amux/)?\b((?:deploy|app|docs)/[\w@./-]+\w|requirements\.txt|gunicorn\.conf\.py)", DOC)
    )
    files = {
        str(path.relative_to(ROOT)) for path in DEPLOY.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    assert files <= named
    for name in named:
        assert (ROOT / name).exists(), name


def test_the_walkthrough_names_existing_settings() -> None:
    configuration = (ROOT / "docs" / "configuration.md").read_text()
    for name in set(re.findall(r"\b(?:AMUX|MINIMAX)_[A-Z_]+\b", DOC)):
        assert f"| `{name}` |" in configuration, f"{name}: edit docs/configuration.md or docs/deploy.md"


@pytest.mark.parametrize("block", blocks("sh"))
def test_a_shell_parses_the_walkthrough(block: str) -> None:
    done = subprocess.run(["sh", "-n"], input=block, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_sed_line_changes_debians_nginx_conf_once(tmp_path: Path) -> None:
    [line] = [line for block in blocks("sh") for line in re.findall(r"^grep .*\|\|\n +sed .*$", block, re.MULTILINE)]
    conf = tmp_path / "nginx.conf"
    conf.write_text("user www-data;\nevents {\n\tworker_connections 768;\n}\n")
    for _ in range(2):
        subprocess.run(["sh", "-c", line.replace("/etc/nginx/nginx.conf", str(conf))], check=True)
    changed = conf.read_text()
    assert changed.count("worker_rlimit_nofile") == 1
    assert changed.startswith("worker_rlimit_nofile 32768;\nuser www-data;\n")
    assert "worker_connections 8192;" in changed

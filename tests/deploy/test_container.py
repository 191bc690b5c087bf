"""Dockerfile, compose.yaml and app.json: what can be checked without their registries, and the container's programs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import ROWS, Settings
from tests.support.processes import ROOT, Served, free_port

DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
APP_JSON: dict[str, Any] = json.loads((ROOT / "app.json").read_text())
PROCFILE = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
CONTAINER = ROOT / "deploy" / "container"
VARIABLES = {name for row in ROWS.values() for name in row.names}


# The image


def test_the_image_runs_what_the_procfile_runs() -> None:
    [command] = re.findall(r"^CMD (.*)$", DOCKERFILE, re.MULTILINE)
    assert " ".join(json.loads(command)) == PROCFILE["web"]
    assert SERVICES["schema"]["command"] == PROCFILE["release"].split()


def test_the_image_copies_files_that_exist_and_are_not_ignored() -> None:
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    names = {name for line in copied for name in line.split()}
    kept = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"}
    assert names == kept
    assert all((ROOT / name).exists() for name in names)


def test_the_image_sets_settings_that_exist() -> None:
    [environment] = re.findall(r"^ENV (.*(?:\\\n.*)+)", DOCKERFILE, re.MULTILINE)
    names = set(re.findall(r"(\w+)=", environment))
    assert names - VARIABLES == {"PATH", "PYTHONDONTWRITEBYTECODE"}


def test_the_image_does_not_run_as_root() -> None:
    users = re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE)
    assert users == ["amux"]


def health_check(port: int) -> int:
    """The exit status of the Dockerfile's health check."""
    [command] = re.findall(r"^HEALTHCHECK .* CMD (.*)$", DOCKERFILE, re.MULTILINE)
    assert json.loads(command) == ["python", "healthcheck.py"]
    done = subprocess.run([sys.executable, CONTAINER / "healthcheck.py"], env={**os.environ, "PORT": str(port)})
    return done.returncode


def test_the_health_check_passes_where_a_gateway_is_ready(served: Served) -> None:
    assert health_check(int(served.url.rpartition(":")[2])) == 0


def test_the_health_check_fails_where_nothing_listens() -> None:
    assert health_check(free_port()) == 1


def test_the_health_check_fails_where_the_response_is_no_200(sandbox_url: str) -> None:
    assert health_check(int(sandbox_url.rpartition(":")[2])) == 1


# compose.yaml


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_that_stays_has_a_health_check(name: str) -> None:
    service = SERVICES[name]
    if "build" in service:  # its check is the Dockerfile's
        assert service.get("healthcheck", {}) in ({}, {"disable": True})
    else:
        assert service["healthcheck"]["test"][0] == "CMD"


def test_the_gateway_may_finish_its_calls() -> None:
    for name in ("gateway", "nginx"):
        seconds = int(SERVICES[name]["stop_grace_period"].removesuffix("s"))
        assert seconds > Settings((), "").minimax_timeout_seconds + 30


def test_the_secrets_are_neither_committed_nor_in_the_image() -> None:
    assert "/.env" in (ROOT / ".gitignore").read_text().splitlines()
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"


def test_only_nginx_has_a_port_and_only_on_this_machine() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert ports == {"nginx": ["127.0.0.1:${HTTP_PORT:-8080}:80"]}


def test_compose_sets_settings_that_exist() -> None:
    assert set(SERVICES["gateway"]["environment"]) <= VARIABLES


def test_the_containers_nginx_has_one_instance_and_logs_to_stdout(tmp_path: Path) -> None:
    for folder in ("amux", "nginx/conf.d", "bin"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "amux/nginx.conf").write_text((ROOT / "deploy" / "nginx.conf").read_text())
    (tmp_path / "nginx/nginx.conf").write_text("events {\n    worker_connections  1024;\n}\n")
    (tmp_path / "bin/nginx").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "bin/nginx").chmod(0o755)
    (tmp_path / "resolv.conf").write_text("search local\nnameserver 127.0.0.11\noptions ndots:0\n")
    script = (CONTAINER / "nginx.sh").read_text()
    for old in ("/amux/nginx.conf", "/etc/nginx/", "/etc/resolv.conf"):
        script = script.replace(old, f"{tmp_path}/{old.removeprefix('/etc/').removeprefix('/')}")
    path = {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", script], env=path, check=True, capture_output=True, text=True)
    assert done.stdout.startswith("-g daemon off;")
    rendered = (tmp_path / "nginx/conf.d/default.conf").read_text()
    assert re.findall(r"^ +server ([^\s;{]+)", rendered, re.MULTILINE) == ["gateway:8000"]
    assert re.findall(r"^ +resolver (\S+)", rendered, re.MULTILINE) == ["127.0.0.11"]
    assert "server gateway:8000 resolve max_fails=0;" in rendered
    assert re.findall(r"^ +access_log (\S+)", rendered, re.MULTILINE) == ["/dev/stdout"]
    assert "worker_connections 8192;" in (tmp_path / "nginx/nginx.conf").read_text()


# app.json


def test_app_json_names_processes_and_settings_that_exist() -> None:
    assert set(APP_JSON["formation"]) <= set(PROCFILE)
    assert set(APP_JSON["env"]) <= VARIABLES


def test_the_gateway_starts_with_the_values_of_app_json(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {name: entry["value"] for name, entry in APP_JSON["env"].items() if "value" in entry}
    given = {"MINIMAX_API_KEY": "a-key", "DATABASE_URL": "postgres://u:p@db/amux", "PORT": "5000"}
    for name, value in (values | given).items():
        monkeypatch.setenv(name, value)
    settings = Settings.from_env()
    assert (settings.host, settings.currency, dict(settings.prices)) == ("0.0.0.0", "USD", {"MiniMax-Image-01": 3500})

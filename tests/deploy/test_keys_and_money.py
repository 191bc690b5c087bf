"""The commands of docs/deploy.md for API keys and balances, run on two instances with PostgreSQL and Redis."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import uuid
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.nginx import needs_nginx, nginx
from tests.support.postgres_server import PostgresServer
from tests.support.processes import ROOT, environment
from tests.support.redis_server import needs_redis, redis_server

SECTION = (ROOT / "docs" / "deploy.md").read_text().split("## Keys, limits and money\n")[1].split("\n## ")[0]
BLOCKS = re.findall(r"^```sh\n(.*?)^```", SECTION, re.DOTALL | re.MULTILINE)
NEEDS_CURL = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing: run scripts/install-test-tools")


def documented_settings(**replaced: str) -> dict[str, str]:
    """The lines for gateway.env, with this test's paths and URLs."""
    [lines] = re.findall(r"<<'END'\n(.*?)^END$", SECTION, re.DOTALL | re.MULTILINE)
    settings = dict(line.split("=", 1) for line in lines.splitlines())
    assert set(replaced) < set(settings)
    return settings | replaced


def installed_command(folder: Path, settings: dict[str, str]) -> Path:
    """deploy/amux for a gateway in this checkout, run as the current user."""
    env_file = folder / "gateway.env"
    env_file.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in settings.items()))
    text = (ROOT / "deploy" / "amux").read_text()
    for old, new in {
        "/etc/amux/gateway.env": str(env_file),
        "runuser -u amux -- /opt/amux/.venv/bin/flask": "flask",
        "cd /opt/amux": f"cd {ROOT}",
    }.items():
        assert old in text
        text = text.replace(old, new)
    command = folder / "bin" / "amux"
    command.parent.mkdir()
    command.write_text(text)
    command.chmod(0o755)
    return command


@NEEDS_CURL
@needs_nginx
@needs_redis
def test_the_walkthrough_on_two_instances(sandbox_url: str, postgres: PostgresServer, tmp_path: Path) -> None:
    name = uuid.uuid4().hex
    postgres.create(name)
    [walk] = [block for block in BLOCKS if "draw()" in block]
    with redis_server(tmp_path) as redis:
        settings = documented_settings(
            DATABASE_URL=postgres.url(name), REDIS_URL=redis.url, AMUX_JOURNAL_FOLDER=str(tmp_path / "journal")
        )
        amux = installed_command(tmp_path, settings)
        variables = environment(NO_PROXY="*", no_proxy="*")
        variables["PATH"] = f"{amux.parent}:{variables['PATH']}"
        subprocess.run([amux, "db", "upgrade"], env=variables, check=True, capture_output=True, timeout=60)
        chosen = settings | {"AMUX_API_KEYS": ""}
        with (
            processes.gateway(tmp_path, sandbox_url, **chosen) as first,
            processes.gateway(tmp_path, sandbox_url, **chosen) as second,
            nginx(tmp_path, first.url, second.url) as front,
        ):
            lines = "set -e\n" + walk.replace("http://images.example.com", front.url).replace("curl ", "curl -sS ")
            done = subprocess.run(
                ["sh", "-c", lines], cwd="/", env=variables, capture_output=True, text=True, timeout=60
            )
            served = [
                log.count('"endpoint": "/v1/images/generations"')
                for log in (first.log.read_text(), second.log.read_text())
            ]
    postgres.drop(name)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^HTTP/1.1 (\d+)", done.stdout, re.MULTILINE) == ["200", "200", "200", "429", "200"]
    assert re.findall(r"^x-amux-balance: (\d+)", done.stdout, re.MULTILINE) == ["7000", "3500", "0", "0", "0"]
    left = re.findall(r"^x-ratelimit-remaining-images: (\d+)", done.stdout, re.MULTILINE)
    assert left[:3] == ["9", "8", "7"]  # counted over both instances
    assert sum(served) == 5
    assert min(served) > 0
    assert '"code":"insufficient_balance"' in done.stdout
    [usage] = [json.loads(line) for line in re.findall(r'\{"object":"usage".*\}', done.stdout)]
    assert [(total["requests"], total["delivered"], total["charged"]) for total in usage["data"]] == [(5, 4, 14000)]
    assert done.stdout.endswith("The ledger adds up.\n")


def test_commands_use_the_units_user_and_folder() -> None:
    unit = (ROOT / "deploy" / "amux-gateway@.service").read_text()
    command = (ROOT / "deploy" / "amux").read_text()
    assert command.startswith("#!/bin/sh\n")
    for option, pattern in {
        "User": r"runuser -u (\S+) ",
        "WorkingDirectory": r"^cd (\S+)$",
        "EnvironmentFile": r"^\. (\S+)$",
    }.items():
        [there] = re.findall(rf"^{option}=(.*)$", unit, re.MULTILINE)
        assert re.findall(pattern, command, re.MULTILINE) == [there]


def test_the_journal_folder_is_writable_for_the_unit() -> None:
    unit = (ROOT / "deploy" / "amux-gateway@.service").read_text()
    [folder] = re.findall(r"^StateDirectory=(.*)$", unit, re.MULTILINE)
    assert documented_settings()["AMUX_JOURNAL_FOLDER"].startswith(f"/var/lib/{folder}/")


def test_the_settings_replace_the_static_keys(tmp_path: Path) -> None:
    """The lines that rewrite gateway.env keep its other lines and its permissions.

    With Redis the instances share a key's rate, so each may have the whole.
    """
    env_file = tmp_path / "gateway.env"
    env_file.write_text("AMUX_API_KEYS=amux-1\nMINIMAX_REQUESTS_PER_MINUTE=5\nMINIMAX_API_KEY=upstream\n")
    [block] = [block for block in BLOCKS if "<<'END'" in block]
    subprocess.run(["sh", "-ec", block.replace("/etc/amux/", f"{tmp_path}/")], check=True)
    settings = dict(line.split("=", 1) for line in env_file.read_text().splitlines())
    assert settings == {"MINIMAX_API_KEY": "upstream"} | documented_settings()
    assert env_file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["gateway.env"]

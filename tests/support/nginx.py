"""A real nginx with the shipped deploy/nginx.conf, on a free port."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.processes import HOST, ROOT, START_SECONDS, Served, free_port

SHIPPED = ROOT / "deploy" / "nginx.conf"
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is missing: run scripts/install-test-tools as root")

# The parts of Debian's nginx.conf around the file, with every path inside `folder`.
_AROUND = """
daemon off;
{user}
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 4096; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/amux.conf;
}}
"""


def substituted(folder: Path, listen: str, instances: list[str], changes: Mapping[str, str]) -> str:
    """The shipped file with another address, other instances and another log, and with `changes` of one test.

    Fails if a text to replace is missing, so that no test runs without its changes.
    """
    text = SHIPPED.read_text()
    servers = re.compile(r"^ +server [\d.]+:\d+(.*;)\n( +server [\d.]+:\d+.*;\n)*", re.MULTILINE)
    [options, _] = servers.findall(text)[0]
    text = servers.sub("".join(f"    server {instance}{options}\n" for instance in instances), text)
    for old, new in {"listen 80;": f"listen {listen};", "/var/log/nginx/": f"{folder}/", **changes}.items():
        assert old in text, f"deploy/nginx.conf has no {old!r}"
        text = text.replace(old, new)
    return text


def configure(folder: Path, listen: str, instances: list[str], changes: Mapping[str, str]) -> list[str]:
    """Write the configuration into `folder` and return the command that runs nginx with it."""
    assert NGINX is not None
    user = "user root;" if os.geteuid() == 0 else ""  # its workers must write to pytest's folders
    (folder / "amux.conf").write_text(substituted(folder, listen, instances, changes))
    (folder / "nginx.conf").write_text(_AROUND.format(user=user, folder=folder))
    return [NGINX, "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"]


@contextmanager
def nginx(
    folder: Path, *instance_urls: str, changes: Mapping[str, str] | None = None, listen: str = "", scheme: str = "http"
) -> Iterator[Served]:
    """nginx in front of these instances, with the texts in `changes` replaced. `log` is its access log, in JSON."""
    port = free_port()
    folder = folder / f"nginx-{port}"
    folder.mkdir()
    instances = [urlsplit(url).netloc for url in instance_urls]
    command = configure(folder, f"{HOST}:{port}{listen}", instances, changes or {})
    process = subprocess.Popen(command)
    try:
        _wait_until_listening(port, process, folder / "error.log")
        yield Served(f"{scheme}://{HOST}:{port}", process, folder / "amux.log")
    finally:
        process.terminate()
        process.wait(30)


def _wait_until_listening(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up:
        if process.poll() is not None:
            raise RuntimeError(f"nginx ended with {process.returncode}:\n{log.read_text()}")
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"nginx does not listen:\n{log.read_text()}")

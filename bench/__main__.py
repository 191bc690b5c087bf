"""Runs the benchmark and prints its tables: `python -m bench`, or `make bench`, which installs what it needs."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench import scenarios
from bench.databases import REDIS, STORED, databases
from bench.load import Load, WrongResponseError
from bench.payloads import write_payloads, write_requests
from bench.scenarios import Figures, Scenario
from bench.servers import ROOT, Gateway, Running, gateways, install_before, started, stub_gateway
from bench.table import BEFORE, Results, figures_table, targets_table

DEFAULT = "nginx,ours,litellm,portkey,ours-redis,ours-sqlite,ours-postgresql"


def main() -> None:
    options = read_options()
    begin = time.monotonic()
    if options.before:
        install_before(options.before)
    with run_folder(options.keep) as folder, contextlib.ExitStack() as stack:
        write_payloads(folder)
        stub = stub_gateway(folder, build("stub", folder))
        chosen = gateways(options.only, folder, stub, stack.enter_context(databases(options.only, folder)))
        for gateway in (stub, *chosen):
            write_requests(folder, gateway)
        load = Load(folder, stub, build("load", folder))
        results = Results([stub.name, *(gateway.name for gateway in chosen)])
        with started(stub, folder) as direct:
            measure_fresh(load, direct, chosen, folder, results)
            measure_interleaved(load, direct, chosen, folder, results, options.rounds)
    report(results, time.monotonic() - begin)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--only", default=DEFAULT, help=f"default {DEFAULT}")
    parser.add_argument("--before", metavar="REV", help="measure the code at this commit too, as ours-before")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="keep the logs")
    options = parser.parse_args()
    options.only = options.only.split(",")
    if options.before:
        options.only.append(BEFORE)
    return options


@contextlib.contextmanager
def run_folder(keep: bool) -> Iterator[Path]:
    """The folder for the files and logs of this run. It is kept if the run fails, for the logs in it."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    folder.chmod(0o755)  # nginx's workers are another user
    print(f"The logs are in {folder}", file=sys.stderr)
    yield folder
    if not keep:
        shutil.rmtree(folder)


def build(name: str, folder: Path) -> Path:
    program = folder / f"{name}-program"
    source = ROOT / "bench" / f"{name}.c"
    subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", program, source], check=True)
    return program


def measure_fresh(load: Load, direct: Running, chosen: list[Gateway], folder: Path, results: Results) -> None:
    results.add("direct", attempt(scenarios.held, load, direct, results))
    for scenario in scenarios.FRESH:
        for gateway in chosen:
            # What accounts and Redis cost is measured interleaved with ours.
            if gateway.name in (*STORED, REDIS) and scenario is not scenarios.held:
                continue
            with started(gateway, folder) as running:
                results.add(gateway.name, scenarios.idle(running))
                scenarios.warm_up(load, running)
                results.add(gateway.name, attempt(scenario, load, running, results))


def measure_interleaved(
    load: Load, direct: Running, chosen: list[Gateway], folder: Path, results: Results, rounds: int
) -> None:
    with contextlib.ExitStack() as stack:
        running = [direct, *(stack.enter_context(started(gateway, folder)) for gateway in chosen)]
        for each in running:
            scenarios.warm_up(load, each)
        for _ in range(rounds):
            for scenario in scenarios.INTERLEAVED:
                measured = {each.gateway.name: attempt(scenario, load, each, results) for each in running}
                for name, figures in measured.items():
                    results.add(name, figures | added(figures, measured["direct"]))
            running.reverse()  # no gateway always runs after the same one


def attempt(scenario: Scenario, load: Load, running: Running, results: Results) -> Figures:
    """The scenario's figures. Empty, with a note in `results`, if the gateway's responses are wrong."""
    print(f"{time.strftime('%H:%M:%S')} {scenario.__name__} {running.gateway.name}", file=sys.stderr, flush=True)
    try:
        figures = scenario(load, running)
    except WrongResponseError as error:
        results.note(f"{scenario.__name__}: {error}")
        return {}
    return figures


def added(figures: Figures, direct: Figures) -> Figures:
    """The latency that the gateway adds to the direct call of the same round, in milliseconds."""
    return {
        f"added_{key}": figures[key] - direct[key] for key in ("p50_ms", "p99_ms") if key in figures and key in direct
    }


def report(results: Results, seconds: float) -> None:
    print(f"\n{figures_table(results)}\n\n{targets_table(results)}\n")
    for note in results.notes:
        print(f"- {note}")
    print(f"- {os.cpu_count()} cores, {seconds:.0f} seconds, load average at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()

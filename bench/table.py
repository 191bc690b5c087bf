"""Figures and targets as data, and the tables printed from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

OURS = "ours"


@dataclass(frozen=True)
class Figure:
    """`digits` after the decimal point; `of_rounds` reduces the values of all rounds to one."""

    key: str
    title: str
    digits: int = 1
    of_rounds: Callable[[Sequence[float]], float] = median


@dataclass(frozen=True)
class Target:
    """Ours must be below `factor` times the peer's figure, or below `factor` itself if there is no peer.

    With `over`, the figure of gateway `name` may exceed that of gateway `over` by less than `factor`.
    """

    key: str
    factor: float
    peer: str | None = None
    name: str = OURS
    over: str | None = None


FIGURES = (
    Figure("p50_ms", "one connection: p50, ms", 2),
    Figure("p99_ms", "one connection: p99, ms", 2),
    Figure("added_p50_ms", "one connection: added p50, ms", 2),
    Figure("added_p99_ms", "one connection: added p99, ms", 2),
    Figure("cpu_small_ms", "256 connections, upstream 50 ms: CPU ms a request", 2),
    Figure("p99_small_ms", "… p99, ms", 0),
    Figure("held_good", "1,000 calls of 8 s at once: answered 200", 0, min),
    Figure("held_upstream", "… upstream calls for them", 0, max),
    Figure("held_over_ms", "… p99 over the 8 s, ms"),
    Figure("held_kb", "… KB of memory a call in flight", 0, max),
    Figure("fast_p99_ms", "… p99 of a fast caller meanwhile, ms"),
    Figure("burst_over_ms", "… p99 over the 8 s where all come in one instant, ms"),
    Figure("cpu_base64_ms", "4 x 1.5 MB base64: CPU ms a request"),
    Figure("cpu_base64_8_ms", "4 x 1.5 MB base64, 8 connections: CPU ms a request"),
    Figure("grown_base64_mb", "… memory grown with 8 at once, MB", 0, max),
    Figure("cpu_upload_ms", "10 MB upload: CPU ms a request"),
    Figure("grown_upload_mb", "… memory grown with 8 at once, MB", 0, max),
    Figure("left_mb", "memory left after 1,500 slow connections and 7,400 calls, MB", 0, max),
    Figure("idle_mb", "idle memory of the process tree, MB", 0),
)

BEFORE = "ours-before"
TARGETS = (
    Target("cpu_small_ms", 0.6, BEFORE),
    Target("p99_small_ms", 1, BEFORE),
    Target("added_p50_ms", 0.8, BEFORE),
    Target("added_p99_ms", 0.8, BEFORE),
    Target("held_over_ms", 1, BEFORE),
    Target("cpu_base64_8_ms", 0.65, BEFORE),
    Target("held_kb", 45),
    Target("left_mb", 15),
    Target("idle_mb", 60),
    Target("idle_mb", 110, name="ours-sqlite"),
    Target("cpu_small_ms", 1.5, name="ours-sqlite", over=OURS),
    Target("cpu_small_ms", 1.5, name="ours-postgresql", over=OURS),
    Target("added_p50_ms", 0.6, name="ours-redis", over=OURS),
    Target("held_over_ms", 60, name="ours-sqlite"),
    Target("added_p50_ms", 0.8, "portkey"),
    Target("added_p99_ms", 1 / 4, "portkey"),
    Target("cpu_small_ms", 0.6, "portkey"),
    Target("cpu_small_ms", 1 / 10, "litellm"),
    Target("held_kb", 1 / 2, "portkey"),
    Target("fast_p99_ms", 1 / 4, "portkey"),
    Target("cpu_base64_ms", 1 / 5, "litellm"),
    Target("cpu_base64_ms", 1 / 8, "portkey"),
    Target("grown_base64_mb", 20),
    Target("grown_upload_mb", 20),
    Target("cpu_upload_ms", 1, "litellm"),
    Target("added_p50_ms", 2, name="ours-sqlite", over=OURS),
    Target("added_p50_ms", 3, name="ours-postgresql", over=OURS),
)


@dataclass
class Results:
    """The figures of every round by gateway and key, and notes on figures that are missing."""

    names: list[str]
    rounds: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, figures: dict[str, float]) -> None:
        for key, value in figures.items():
            self.rounds.setdefault((name, key), []).append(value)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def value(self, name: str, figure: Figure) -> float | None:
        values = self.rounds.get((name, figure.key))
        return figure.of_rounds(values) if values else None


def figures_table(results: Results) -> str:
    rows = [["", *results.names]]
    for figure in FIGURES:
        values = [results.value(name, figure) for name in results.names]
        rows.append([figure.title, *(_number(value, figure) for value in values)])
    return _markdown(rows)


def targets_table(results: Results) -> str:
    rows = [["target", "ours", "measured against", "ratio", "wanted", ""]]
    rows += [row for target in TARGETS if (row := _target_row(results, target))]
    return _markdown(rows)


def _target_row(results: Results, target: Target) -> list[str] | None:
    figure = next(figure for figure in FIGURES if figure.key == target.key)
    ours = results.value(target.name, figure)
    if target.over:
        return _row_over(results, target, figure, ours)
    theirs = results.value(target.peer, figure) if target.peer else 1.0
    if ours is None or theirs is None:
        return [_title(target, figure), _number(ours, figure), target.peer or "", "–", "", "not measured"]
    ratio = ours / theirs if theirs > 0 else float("inf")
    against = f"{target.peer} {_number(theirs, figure)}" if target.peer else ""
    wanted = f"below {target.factor:.3g}" + (f" of {target.peer}'s" if target.peer else "")
    shown = f"{ratio:.2f}" if target.peer else "–"
    return [
        _title(target, figure),
        _number(ours, figure),
        against,
        shown,
        wanted,
        "met" if ratio < target.factor else "NOT MET",
    ]


def _row_over(results: Results, target: Target, figure: Figure, value: float | None) -> list[str] | None:
    base = results.value(target.over or "", figure)
    if value is None or base is None:
        return None
    over, wanted = value - base, f"less than {target.factor:g} over"
    against = f"{target.over} {_number(base, figure)}"
    return [
        _title(target, figure),
        _number(value, figure),
        against,
        f"+{over:.2f}",
        wanted,
        "met" if over < target.factor else "NOT MET",
    ]


def _title(target: Target, figure: Figure) -> str:
    return _full_title(figure) + (f" ({target.name})" if target.name != OURS else "")


def _full_title(figure: Figure) -> str:
    """The title of `figure`, with a leading … replaced by the head of the last title without one."""
    heads = [f.title.partition(":")[0] for f in FIGURES[: FIGURES.index(figure) + 1] if not f.title.startswith("…")]
    return figure.title.replace("…", f"{heads[-1]}:", 1)


def _number(value: float | None, figure: Figure) -> str:
    return "–" if value is None else f"{value:,.{figure.digits}f}"


def _markdown(rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)

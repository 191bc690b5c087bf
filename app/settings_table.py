"""Rows of the table of settings: how one is declared, read, documented, and guessed from a misspelt name."""

from __future__ import annotations

import copy
import difflib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from environs import Env, EnvValidationError

T = TypeVar("T")
_PREFIXES = ("AMUX_", "MINIMAX_")
# Callers keep their own key in it, as in the documented examples. If it is meant as AMUX_API_KEYS, the start fails.
_CALLER_VARIABLES = ("AMUX_API_KEY",)


@dataclass(frozen=True)
class Row:
    """One setting: `parser` names a method of `environs.Env`, `arguments` are what it is given beside the variable.

    `shown` is the default as documented; `former` is an older name of the variable that is still accepted.
    """

    variable: str
    parser: str
    default: Any
    meaning: str
    shown: str
    former: str | None
    arguments: Mapping[str, Any]

    @property
    def names(self) -> tuple[str, ...]:
        return (self.variable, self.former) if self.former else (self.variable,)

    def read(self, env: Any) -> tuple[Any, ...]:
        """The values under each name that is set, else the default alone.

        A value is None if it is faulty; `env` then holds the message.
        """
        parse = getattr(env, self.parser)
        return tuple(parse(name, **self.arguments) for name in self.names if name in os.environ) or (self.default,)

    def markdown(self) -> str:
        """This setting as a row of the table `| variable | default | meaning |`."""
        default = f" {self.shown} " if self.shown else " "
        return f"| `{self.variable}` |{default}| {self.meaning} |"


def row(
    variable: str,
    parser: str,
    default: T,
    meaning: str,
    *,
    shown: str | None = None,
    former: str | None = None,
    secret: bool = False,
    **arguments: Any,
) -> T:
    """A dataclass field that carries its `Row`. A `secret` value is left out of the dataclass's repr."""
    shown = _show(default) if shown is None else shown
    metadata = {"row": Row(variable, parser, default, meaning, shown, former, arguments)}
    declared: T = field(default_factory=lambda: copy.copy(default), repr=not secret, metadata=metadata)
    return declared


def _show(default: object) -> str:
    match default:
        case None | () | {} | "":
            return ""
        case bool():
            return f"`{str(default).lower()}`"
        case float():
            return f"`{default:g}`"
        case _:
            return f"`{default}`"


def read_rows(
    rows: Mapping[str, Row], parsers: Mapping[str, Callable[[str], Any]]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Read the environment: the values by the keys of `rows`, and a message for each faulty variable.

    A faulty value is None. `parsers` are added to those that environs has.
    """
    env: Any = Env(eager=False)  # typed Any: environs attaches its parsers by name
    for name, parser in parsers.items():
        env.add_parser(name, parser)
    read = {key: each.read(env) for key, each in rows.items()}
    faults = {
        rows[key].variable: f"Expected the same value as {rows[key].former}, its former name."
        for key, found in read.items()
        if None not in found and found[0] != found[-1]
    }
    try:
        env.seal()
    except EnvValidationError as error:
        messages: Any = error.error_messages
        faults |= {name: " ".join(each) for name, each in messages.items()}
    return {key: found[0] for key, found in read.items()}, faults


def find_unknown(names: Iterable[str], rows: Iterable[Row]) -> dict[str, str | None]:
    """The names that look like settings and are none, each with the most similar setting if there is one."""
    known = [name for each in rows for name in each.names]
    unknown = [
        name for name in sorted(names) if name.startswith(_PREFIXES) and name not in (*known, *_CALLER_VARIABLES)
    ]
    # The prefix that all share makes unlike names similar: 0.6, the default, would find one for nearly every name.
    return {name: next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.7)), None) for name in unknown}

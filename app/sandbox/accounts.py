"""The sandbox's accounts: which keys it accepts, which have no balance, which it rejects, and their rate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

RATE, EMPTY, REFUSED = "SANDBOX_REQUESTS_PER_MINUTE", "SANDBOX_EMPTY_KEYS", "SANDBOX_REFUSED_KEYS"
VARIABLES = ("SANDBOX_PORT", RATE, EMPTY, REFUSED)
MAX_RATE_DIGITS = 6


class AccountsError(SystemExit):
    """Ends the start: Python prints the message on stderr and exits with status 1. It quotes no value."""


@dataclass(frozen=True)
class Accounts:
    """`empty` and `refused` are among `keys`. `requests_per_minute` holds for each key, 0 for any number."""

    keys: frozenset[str]
    empty: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    requests_per_minute: int = 0

    @classmethod
    def of(cls, *keys: str) -> Self:
        """Accounts without limits."""
        return cls(frozenset(keys))

    @classmethod
    def from_environment(cls, variables: Mapping[str, str]) -> Self:
        """Read the gateway's keys and the `SANDBOX_…` variables. Raises `AccountsError`."""
        _check_names(variables)
        keys = frozenset(_upstream_keys(variables))
        if not keys:
            raise AccountsError("The sandbox needs MINIMAX_API_KEY or MINIMAX_API_KEYS.")
        empty, refused = (_some_of(keys, name, variables.get(name, "")) for name in (EMPTY, REFUSED))
        if empty & refused:
            raise AccountsError(f"A key is in both {EMPTY} and {REFUSED}.")
        return cls(keys, empty, refused, _rate(variables.get(RATE, "")))

    def code(self, key: str) -> int | None:
        """MiniMax's code for a call with `key`, None if the account may draw."""
        if key not in self.keys or key in self.refused:
            return 1004
        return 1008 if key in self.empty else None


def _check_names(names: Iterable[str]) -> None:
    unknown = sorted(name for name in names if name.startswith("SANDBOX_") and name not in VARIABLES)
    if unknown:
        raise AccountsError(f"Unknown variable {unknown[0]}: the sandbox reads {', '.join(VARIABLES)}.")


def _upstream_keys(variables: Mapping[str, str]) -> list[str]:
    """All keys of the gateway, without the rates that may follow a colon in the list."""
    listed = [part.partition(":")[0] for part in variables.get("MINIMAX_API_KEYS", "").split(",")]
    return [key for key in (variables.get("MINIMAX_API_KEY", ""), *listed) if key]


def _some_of(keys: frozenset[str], name: str, value: str) -> frozenset[str]:
    found = frozenset(value.split(",")) if value else frozenset()
    if not found <= keys:
        raise AccountsError(
            f"{name}: Expected keys of MINIMAX_API_KEY or MINIMAX_API_KEYS with commas between them, without rates."
        )
    return found


def _rate(value: str) -> int:
    if value and not (value.isascii() and value.isdecimal() and len(value) <= MAX_RATE_DIGITS):
        raise AccountsError(f"{RATE}: Expected a whole number of at most {MAX_RATE_DIGITS} digits; 0 sets no limit.")
    return int(value or 0)

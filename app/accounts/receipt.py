"""What one response reports of limits, the queue and charges."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Receipt:
    """Filled in while the request is processed. Money is in micro-units, None where nothing is charged or limited.

    `limits` maps the names of the `x-ratelimit-…` headers to their values. `queued_ms` is how long the call waited for
    an upstream key, in milliseconds, and `upstream_key` the fingerprint of the last key it was sent with; both are None
    where the call did not get so far.
    """

    charged: int | None = None
    balance: int | None = None
    limits: dict[str, str] = field(default_factory=dict)
    queued_ms: int | None = None
    upstream_key: str | None = None

    def headers(self, *, is_final: bool = True) -> dict[str, str]:
        """The charge is left out while it is not final."""
        headers = dict(self.limits)
        numbers = {"x-amux-queued-ms": self.queued_ms}
        if is_final:
            numbers |= {"x-amux-charged": self.charged, "x-amux-balance": self.balance}
        return headers | {name: str(number) for name, number in numbers.items() if number is not None}

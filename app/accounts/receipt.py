"""Rate limit and billing headers of one response."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Receipt:
    """Filled in while the request is processed. Money is in micro-units, None where nothing is charged or limited.

    `limits` maps the names of the `x-ratelimit-…` headers to their values.
    """

    charged: int | None = None
    balance: int | None = None
    limits: dict[str, str] = field(default_factory=dict)

    def headers(self) -> dict[str, str]:
        headers = dict(self.limits)
        if self.charged is not None:
            headers["x-amux-charged"] = str(self.charged)
        if self.balance is not None:
            headers["x-amux-balance"] = str(self.balance)
        return headers

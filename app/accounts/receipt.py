"""Owns `Receipt`: what one request used up of its key's limits and money, told in the answer's headers."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Receipt:
    """Filled in as the request goes along. Money is in micro-units; None where nothing is charged or limited."""

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

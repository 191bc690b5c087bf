"""Fixtures: a gateway in front of a fake MiniMax, both started once per test process."""

from __future__ import annotations

from tests.support.gateway_and_upstream import gateway, upstream  # noqa: F401

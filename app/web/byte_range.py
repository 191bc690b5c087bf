"""Which `Range` headers are applied (RFC 9110, section 14.2)."""

from __future__ import annotations

from werkzeug.http import parse_range_header


def applicable_range(method: str, header: str | None, size: int) -> str | None:
    """The range of a resource of `size` bytes that a response is limited to, None for all of it.

    A server may ignore several ranges at once, and must ignore units that it does not know, and ranges of another
    method than GET. A last part that is longer than the resource is all of it.
    """
    parsed = parse_range_header(header) if method == "GET" else None
    if parsed is None or parsed.units != "bytes" or len(parsed.ranges) != 1:
        return None
    [(start, _)] = parsed.ranges
    return f"bytes={max(start, -size)}" if start < 0 else header

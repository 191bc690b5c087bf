"""Digests by which the same request, and the same idempotency key, are recognized."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, replace

from app.services.image_request import ImageRequest
from app.spooling.spooled_text import SpooledText

# Fields without effect, and those that are written apart.
_NOT_PART = ("ignored", "subject_reference", "model")


def request_digest(operation: str, request: ImageRequest) -> str:
    """SHA-256 in hex of the normalized request. A reference image is read once, in chunks."""
    fields = asdict(replace(request, subject_reference=None))
    for name in _NOT_PART:
        fields.pop(name, None)
    text = json.dumps([operation, request.model.id, fields], sort_keys=True)
    digest = hashlib.sha256(text.encode())
    for chunk in _chunks(request.subject_reference):
        digest.update(chunk)
    return digest.hexdigest()


def key_digest(caller: str, idempotency_key: str) -> str:
    """What is stored of an idempotency key, which may hold whatever its caller put there."""
    return hashlib.sha256(f"{caller}\n{idempotency_key}".encode()).hexdigest()


def _chunks(reference: str | SpooledText | None) -> Iterable[bytes]:
    if reference is None:
        return []
    return [reference.encode()] if isinstance(reference, str) else reference.chunks()

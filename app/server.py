"""Owns the gateway's gunicorn worker: its answer to what is no valid HTTP wears the envelope too."""

from __future__ import annotations

import json
import uuid
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from app.errors import GatewayError


class MalformedRequest(GatewayError):
    """400, before there is a request that the app could see."""

    http_status = 400
    code = "bad_request"


class EnvelopeWorker(ThreadWorker):  # type: ignore[misc]
    """gthread, whose own refusals are neither HTML nor quote the faulty header, which may hold a key, in a log."""

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        request_id = uuid.uuid4().hex
        self.log.warning("Malformed request: %s, request id %s", type(exc).__name__, request_id)
        error = MalformedRequest(f"This is not a request that the server can read: {type(exc).__name__}.")
        body = json.dumps(error.envelope()).encode()
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Connection": "close",
            "x-request-id": request_id,
            **error.headers(),
        }
        head = "\r\n".join(["HTTP/1.1 400 Bad Request", *(f"{k}: {v}" for k, v in headers.items()), "", ""])
        try:
            client.sendall(head.encode("latin-1") + body)
        except OSError:
            self.log.debug("The sender of a malformed request is gone.")

"""Owns the gateway's gunicorn worker: the envelope for what is no valid HTTP, and a stop that loses nobody."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

from gunicorn.http.errors import (
    ExpectationFailed,
    InvalidResponseHeader,
    InvalidResponseHeaderName,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)
from gunicorn.util import close_graceful
from gunicorn.workers.gthread import ThreadWorker

from app.errors import GatewayError
from app.server.connection import DeadlineSocket
from app.web.access_log import log_request
from app.web.body_limits import MAX_DRAINED_BYTES
from app.web.request_context import RequestContext
from app.web.shutdown import shutting_down

log = logging.getLogger(__name__)


class Refusal(NamedTuple):
    status: int
    reason: str
    code: str
    message: str


# What gunicorn could not read, where 400 would be less than the truth; in the same words as deploy/nginx.conf.
PROTOCOL_ERRORS: dict[type[Exception], Refusal] = {
    LimitRequestLine: Refusal(414, "URI Too Long", "uri_too_long", "The URL is too long."),
    LimitRequestHeaders: Refusal(
        431,
        "Request Header Fields Too Large",
        "request_header_fields_too_large",
        "The request's headers are too large.",
    ),
    ExpectationFailed: Refusal(
        417, "Expectation Failed", "expectation_failed", "The server knows no expectation but 100-continue."
    ),
    UnsupportedTransferCoding: Refusal(
        501, "Not Implemented", "not_implemented", "The server does not know this Transfer-Encoding."
    ),
}

MAX_LINGERING_CLOSES = 64
UNREAD_BODY_SECONDS = 0.05


class EnvelopeWorker(ThreadWorker):  # type: ignore[misc]
    """gthread with better manners: its own refusals are envelopes, and nobody is kept waiting by somebody else."""

    transfer_seconds: float = 120  # gunicorn.conf.py sets it

    def init_process(self) -> None:
        # Farewells have threads of their own: those that are refused by a full gateway would take all the others.
        self._farewells = ThreadPoolExecutor(MAX_LINGERING_CLOSES)
        super().init_process()

    def handle(self, conn: Any) -> Any:
        if not isinstance(conn.sock, DeadlineSocket):
            conn.sock = DeadlineSocket.adopt(conn.sock, self.transfer_seconds)
        conn.sock.start_request_deadline()
        return super().handle(conn)

    def handle_exit(self, sig: int, frame: Any) -> None:
        shutting_down.set()
        super().handle_exit(sig, frame)

    def finish_request(self, conn: Any, fs: Future[Any]) -> None:
        if fs.cancelled() or fs.exception() or not fs.result():
            # A close waits up to two seconds for the caller: not in this thread, which accepts everybody else.
            closing = self._farewells.submit(_take_leave, conn.sock)
            closing.add_done_callback(lambda _: self.method_queue.defer(self._forget_connection))
        else:
            super().finish_request(conn, fs)

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        """A body that nobody reads is waited for in the farewell, if it is not here already."""
        return keepalive and bool(conn.parser.finish_body(deadline=time.monotonic() + UNREAD_BODY_SECONDS))

    def _forget_connection(self) -> None:
        self.nr_conns -= 1

    def set_accept_enabled(self, enabled: bool) -> None:
        super().set_accept_enabled(enabled and self.alive)
        if not self.alive:
            self._leave_listeners()

    def _leave_listeners(self) -> None:
        """Takes in who has already connected, then closes the door, so that whoever comes later is refused at once.

        gthread keeps the door open until its last call is done, and answers nobody who comes through it.
        """
        listeners: list[Any] = self.sockets
        self.sockets: list[Any] = []
        for listener in listeners:
            listener.setblocking(False)
            before = -1
            while self.nr_conns != before:
                before = self.nr_conns
                self.accept(listener)
            listener.close()

    def _cap_keepalive(self, deadline: float) -> None:
        """A stop waits for no connection on which nothing was ever sent."""
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """Answers and logs without a word of what was sent: the faulty header may be the one with the key."""
        context = RequestContext(request_id=uuid.uuid4().hex)
        if isinstance(exc, ParseException) and not isinstance(exc, InvalidResponseHeader | InvalidResponseHeaderName):
            refusal = PROTOCOL_ERRORS.get(type(exc)) or _unreadable(exc)
            self.log.warning("Malformed request: %s, request id %s", type(exc).__name__, context.request_id)
        else:
            refusal = _bug(context.request_id)
            log.error("Unhandled exception", exc_info=exc, extra={"request_id": context.request_id})
        error = GatewayError(refusal.message, code=refusal.code)
        context.set_error(error)
        body = json.dumps(error.envelope()).encode()
        log_request(context, endpoint=None, status=refusal.status, bytes_in=0, bytes_out=len(body))
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Connection": "close",
            **context.headers(),
            **error.headers(),
        }
        head = "\r\n".join(
            [f"HTTP/1.1 {refusal.status} {refusal.reason}", *(f"{k}: {v}" for k, v in headers.items()), "", ""]
        )
        try:
            client.sendall(head.encode("latin-1") + body)
        except OSError:
            self.log.debug("The sender of a malformed request is gone.")


def _unreadable(error: ParseException) -> Refusal:
    message = f"This is not a request that the server can read: {type(error).__name__}."
    return Refusal(400, "Bad Request", "bad_request", message)


def _bug(request_id: str) -> Refusal:
    message = f"The gateway failed; the operator can find this by its request id, {request_id}."
    return Refusal(500, "Internal Server Error", GatewayError.code, message)


def _take_leave(sock: socket.socket) -> None:
    """Closes without a reset, which would take the answer from a caller that is still sending: for two seconds."""
    with contextlib.suppress(OSError):
        sock.setblocking(True)
        close_graceful(sock, max_drain=MAX_DRAINED_BYTES)

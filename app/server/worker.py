"""gunicorn worker on gevent: JSON envelopes for protocol errors, deadlines for clients, and graceful shutdown."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import gevent
from gevent.event import Event
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn.http.errors import ParseException
from gunicorn.workers.ggevent import GeventWorker

from app.server.connection import DeadlineSocket, stop_idle
from app.server.protocol_errors import protocol_error_response
from app.tasks.background import background_calls
from app.web.body_limits import MAX_DRAINED_BYTES
from app.web.shutdown import shutting_down

HEARTBEAT_SECONDS = 1.0  # the arbiter kills a worker that is silent for gunicorn's `timeout`
IDLE_GRACE_SECONDS = 2.0  # how long a stopping worker still takes requests on connections that it has
# Connections accepted in one round of the event loop. With one, the last of a burst waits for as many rounds; with
# many, the worker that wakes first takes the whole burst.
MAX_ACCEPT = 16
IDLE_SECONDS = 0.05
UNREAD_BODY_SECONDS = 0.05
UNREAD_BODY_BYTES = 64 * 1024


class EnvelopeWorker(GeventWorker):  # type: ignore[misc]
    """gevent worker that returns protocol errors in the JSON envelope and bounds how long a client may take.

    A connection is a greenlet. Its base runs the keep-alive loop; this class adds the client's deadlines, a stop that
    accepts what has already connected and then refuses, and a lingering close.
    """

    client_timeout: float = 120  # seconds; set by gunicorn.conf.py

    def init_process(self) -> None:
        self._connections: set[DeadlineSocket] = set()
        self._stopping = Event()
        super().init_process()

    def run(self) -> None:
        """Serve until a signal to stop, then finish the requests that have been accepted.

        Replaces `GeventWorker.run`, which polls once a second for a stop, drops connections that the kernel has
        completed, and waits for idle ones as long as for calls.
        """
        pool = Pool(self.worker_connections)
        servers = [self._start_server(sock, pool) for sock in self.sockets]
        while not self._stopping.wait(HEARTBEAT_SECONDS):
            self.notify()
        for server in servers:
            self._stop_accepting(server)
        gevent.spawn_later(IDLE_GRACE_SECONDS, self._close_idle_connections)
        give_up = time.monotonic() + self.cfg.graceful_timeout
        while not (pool.join(HEARTBEAT_SECONDS) and not background_calls.count) and time.monotonic() < give_up:
            self.notify()
            gevent.sleep(IDLE_SECONDS)  # `join` returns at once where only background calls are left

    def _start_server(self, listener: Any, pool: Pool) -> StreamServer:
        listener.setblocking(False)
        server = StreamServer(listener, handle=lambda client, addr: self.handle(listener, client, addr), spawn=pool)
        if self.cfg.workers > 1:
            server.max_accept = MAX_ACCEPT  # leave the next connections to the other workers
        server.start()
        return server

    @staticmethod
    def _stop_accepting(server: StreamServer) -> None:
        """Accept the connections that the kernel has completed, then close the listener: later ones are refused."""
        server.stop_accepting()
        while accepted := server.do_read():
            server.do_handle(*accepted)
        server.close()

    def _close_idle_connections(self) -> None:
        while True:
            stop_idle(self._connections)
            gevent.sleep(HEARTBEAT_SECONDS)

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        connection = DeadlineSocket(
            client, seconds=self.client_timeout, keepalive=self.cfg.keepalive, max_drain_bytes=MAX_DRAINED_BYTES
        )
        self._connections.add(connection)
        try:
            # For the listener's name, which it shares: a stop closes the listener itself.
            super(GeventWorker, self).handle(connection, connection, addr)
        finally:
            self._connections.discard(connection)

    def timeout_ctx(self) -> contextlib.AbstractContextManager[None]:
        """The connection has deadlines of its own, for the wait and for the whole request."""
        return contextlib.nullcontext()

    def handle_request(self, listener_name: Any, req: Any, sock: DeadlineSocket, addr: Any) -> None:
        sock.is_idle = False  # a pipelined request is read without a recv
        super().handle_request(listener_name, req, sock, addr)
        sock.flush()
        if not _finish_body(req, sock):
            raise StopIteration  # the base closes the connection
        sock.expect_request()

    def handle_exit(self, sig: int, frame: Any) -> None:
        shutting_down.set()
        super().handle_exit(sig, frame)
        self._stopping.set()

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        try:
            client.sendall(protocol_error_response(exc))
        except OSError:
            self.log.debug("The sender of a malformed request is gone.")


def _finish_body(req: Any, sock: DeadlineSocket) -> bool:
    """Read the rest of a body that the application left unread, if it is short and comes soon.

    Returns whether the body has ended. Otherwise the next request cannot be found, and the connection must be closed.
    """
    if req.body.failed:
        return False
    sock.limit_request(UNREAD_BODY_SECONDS)
    try:
        req.body.read(UNREAD_BODY_BYTES)
        return not req.body.read(1)
    except (OSError, ParseException):
        return False

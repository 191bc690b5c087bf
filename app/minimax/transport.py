"""HTTP transport with one total deadline per call, and a flag for whether any byte was sent.

requests' timeouts are per read, so a response that drips outlives them, and its exceptions do not tell a failed connect
from a failed call. Here each socket operation gets what is left of the whole call's time, and `UpstreamCall.sent` says
whether MiniMax can have seen, and charged, the request.
"""

from __future__ import annotations

import http
import http.client
import io
import select
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import requests.adapters
from gevent import monkey
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Retry
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import ConnectionPool
from urllib3.util.ssl_ import create_urllib3_context

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# The limit holds for each of a host's addresses and again for the TLS handshake; the resolver has its own timeout. A
# call that ends while connecting may overrun its deadline by these, but has cost nothing.
MAX_CONNECT_SECONDS = 5.0

_TLS_RECORD_BYTES = 16 * 1024
# gevent's own gives way to other greenlets, however short the wait: on a busy worker, for a whole round of them.
_poll = monkey.get_original("select", "poll")

# Only a failed connect is tried again. `read=False` re-raises; `read=0` would turn a timeout into a connection error,
# and any list of statuses would send the paid POST again.
CONNECT_RETRIES = Retry(total=None, connect=2, read=False, status=0, redirect=0, other=0, backoff_factor=0.2)


@dataclass
class UpstreamCall:
    """One call to MiniMax.

    `seconds` is its total time limit, `started` is on the monotonic clock, and `sent` is True once the first byte of
    the request was handed to the socket.
    """

    seconds: float
    sent: bool = False
    started: float = field(default_factory=time.monotonic)

    @property
    def elapsed_ms(self) -> int:
        """Milliseconds since the call started."""
        return round((time.monotonic() - self.started) * 1000)

    @property
    def is_over(self) -> bool:
        """True once the deadline has passed."""
        return time.monotonic() >= self.started + self.seconds

    def remaining(self) -> float:
        """Seconds left, above 0. Raises TimeoutError when there are none."""
        left = self.started + self.seconds - time.monotonic()
        if left <= 0:
            raise TimeoutError("the upstream deadline has passed")
        return left


# Of the buffer that each call in flight holds. It is for the head: larger reads of a body bypass it.
HEAD_BYTES = 2048

_current: ContextVar[UpstreamCall] = ContextVar("upstream_call")


@contextmanager
def upstream_call(seconds: float) -> Iterator[UpstreamCall]:
    """Make everything that this thread sends through a `DeadlineAdapter` in the block part of one call."""
    call = UpstreamCall(seconds)
    token = _current.set(call)
    try:
        yield call
    finally:
        _current.reset(token)


class _DeadlineReader(io.RawIOBase):
    """The raw stream of a socket, each read limited to the time left of the call."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw = raw
        self._sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        self._sock.settimeout(_current.get().remaining())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _DeadlineResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_DeadlineReader(self.fp.detach(), sock), HEAD_BYTES)

    def _read_status(self) -> tuple[str, int, str]:
        # http.client skips 100 only. It would take 103 for the whole response, and the next caller on the connection
        # would get the real one, with this caller's images.
        version, status, reason = super()._read_status()  # type: ignore[misc]
        return version, http.HTTPStatus.CONTINUE if 100 < status < 200 else status, reason

    def _safe_read(self, amt: int) -> bytes:
        # urllib3 accepts a sign in a chunk's size, and would read a chunk of size -1 until the connection closes.
        if amt < 0:
            raise http.client.HTTPException("negative chunk size")
        data: bytes = super()._safe_read(amt)  # type: ignore[misc]
        return data


class _DeadlineConnection(HTTPConnection):
    response_class = _DeadlineResponse

    @property
    def is_connected(self) -> bool:
        """Whether an idle connection can be used: the server has sent nothing on it, nor closed it."""
        if self.sock is None:
            return False
        poll = _poll()
        poll.register(self.sock.fileno(), select.POLLIN)
        return not poll.poll(0)

    def connect(self) -> None:
        self.timeout = min(MAX_CONNECT_SECONDS, _current.get().remaining())
        super().connect()

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        current = _current.get()
        self.sock.settimeout(current.remaining())
        current.sent = True
        super().send(data)


class _DeadlineTLSConnection(_DeadlineConnection, HTTPSConnection):
    def send(self, data: Any) -> None:
        # The timeout applies to each TLS record anew, so a slow reader could stretch one send to hours.
        for start in range(0, len(data), _TLS_RECORD_BYTES):
            super().send(data[start : start + _TLS_RECORD_BYTES])


def _tls_context() -> ssl.SSLContext:
    """One context for all connections: loading the CA bundle takes some 20 ms, in which nothing else runs."""
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
    context.load_verify_locations(requests.adapters.DEFAULT_CA_BUNDLE_PATH)
    return context


class _Pool(HTTPConnectionPool):
    ConnectionCls = _DeadlineConnection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _DeadlineTLSConnection


class DeadlineAdapter(HTTPAdapter):
    """A requests adapter for one host, to be used inside `upstream_call(...)`. Safe for threads."""

    def __init__(self, max_connections: int) -> None:
        """`max_connections` is how many idle connections are kept open."""
        super().__init__(pool_connections=1, pool_maxsize=max_connections, max_retries=CONNECT_RETRIES)
        self._pool: ConnectionPool | None = None

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> ConnectionPool:
        # There is one host, so there is one pool; requests would look it up by URL and TLS options at every call.
        if self._pool is None:
            self._pool = super().get_connection_with_tls_context(*args, **kwargs)
        return self._pool

    def build_connection_pool_key_attributes(self, *args: Any, **kwargs: Any) -> Any:
        host, options = super().build_connection_pool_key_attributes(*args, **kwargs)
        if host["scheme"] == "https":
            options = {"cert_reqs": "CERT_REQUIRED", "ssl_context": _tls_context()}
        return host, options

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        """A response without what requests adds for browsing: cookies, redirects and a guess at the encoding."""
        response = requests.Response()
        response.status_code = resp.status
        response.headers = CaseInsensitiveDict(resp.headers)
        response.raw = resp
        response.request = req
        return response

    def cert_verify(self, *_: Any) -> None:
        """The TLS context verifies certificates. requests would have each connection load the CA bundle anew."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}

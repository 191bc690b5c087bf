"""`DeadlineSocket` on a pair of sockets: deadlines, the joined head, the lingering close."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import gevent
import pytest

from app.server.connection import MAX_JOINED_BYTES, ClientTimeout, DeadlineSocket, stop_idle

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"
Open = Callable[..., DeadlineSocket]


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    server, client = socket.socketpair()
    client.settimeout(10)
    with server, client:
        yield server, client


@pytest.fixture
def peer(pair: tuple[socket.socket, socket.socket]) -> socket.socket:
    return pair[1]


@pytest.fixture
def open_connection(pair: tuple[socket.socket, socket.socket]) -> Iterator[Open]:
    opened: list[DeadlineSocket] = []

    def open_connection(seconds: float = 5, keepalive: float = 5) -> DeadlineSocket:
        connection = DeadlineSocket(pair[0], seconds=seconds, keepalive=keepalive, max_drain_bytes=1000)
        opened.append(connection)
        return connection

    yield open_connection
    pair[1].close()
    for connection in opened:
        connection.close()


def test_a_connection_is_idle_until_the_first_byte(open_connection: Open, peer: socket.socket) -> None:
    connection = open_connection()
    states = [connection.is_idle]
    peer.sendall(b"GET")
    assert connection.recv(10) == b"GET"
    states.append(connection.is_idle)
    connection.expect_request()
    assert [*states, connection.is_idle] == [True, False, True]


def test_a_request_that_does_not_come_is_a_timeout(open_connection: Open) -> None:
    with pytest.raises(ClientTimeout):
        open_connection(keepalive=0.05).recv(10)


def test_a_request_that_does_not_end_is_a_timeout(open_connection: Open, peer: socket.socket) -> None:
    connection = open_connection(seconds=0.05)
    peer.sendall(b"G")
    assert connection.recv(10) == b"G"
    for _ in range(2):  # no further wait once the deadline has passed
        with pytest.raises(ClientTimeout):
            connection.recv(10)


def test_the_rest_of_a_request_can_be_limited(open_connection: Open) -> None:
    connection = open_connection()
    connection.limit_request(0.05)
    with pytest.raises(ClientTimeout):
        connection.recv(10)


@pytest.mark.parametrize("size", [5, MAX_JOINED_BYTES], ids=["joined", "large"])
def test_the_head_waits_for_the_body(open_connection: Open, peer: socket.socket, size: int) -> None:
    connection = open_connection()
    connection.sendall(HEAD)
    peer.setblocking(False)
    with pytest.raises(BlockingIOError):
        peer.recv(1)
    peer.settimeout(10)
    connection.sendall(b"b" * size)
    received = b""
    while len(received) < len(HEAD) + size:
        received += peer.recv(65536)
    assert received == HEAD + b"b" * size


def test_a_head_without_a_body_is_flushed(open_connection: Open, peer: socket.socket) -> None:
    connection = open_connection()
    connection.sendall(HEAD)
    connection.flush()
    assert peer.recv(100) == HEAD


def test_a_client_that_does_not_read_is_a_timeout(open_connection: Open) -> None:
    connection = open_connection(seconds=0.1)
    connection.sendall(HEAD)
    with pytest.raises(ClientTimeout):
        connection.sendall(b"b" * 50_000_000)


def test_an_idle_connection_can_be_stopped(open_connection: Open) -> None:
    connection = open_connection()
    gevent.spawn_later(0.05, stop_idle, [connection])
    assert connection.recv(10) == b""


def test_a_close_sends_the_head_and_waits_for_the_client(open_connection: Open, peer: socket.socket) -> None:
    connection = open_connection()
    connection.sendall(HEAD)
    peer.sendall(b"more")
    closing = gevent.spawn(connection.close)
    gevent.sleep(0.05)
    assert not closing.dead
    peer.shutdown(socket.SHUT_WR)
    closing.join(5)
    assert closing.dead
    assert peer.recv(100) == HEAD

"""An asyncio server in a thread of its own: one thread serves any number of connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading


class AsyncServer:
    """Listens on `url` from the start. A subclass implements `converse`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._is_up = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._is_up.wait()

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, until it breaks: the gateway may be killed, and the test ends."""
        raise NotImplementedError

    async def run_in_background(self) -> None:
        """What the server does beside its connections."""

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._main.cancel)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner, contextlib.suppress(asyncio.CancelledError):
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._main: asyncio.Task[object] = asyncio.current_task()  # type: ignore[assignment]
        async with await asyncio.start_server(self._converse, sock=self._listener, backlog=2048):
            self._is_up.set()
            await self.run_in_background()
            await asyncio.Event().wait()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self.converse(reader, writer)
        writer.close()

"""A TCP proxy between the service and a server it depends on, whose connections can be cut and delayed."""

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Proxy:
    """Passes on what comes in at `port`. `delay` is in seconds, for each piece that passes."""

    def __init__(self, connect: Connect) -> None:
        self.delay = 0.0
        self._connect = connect
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._listening.wait()

    def cut(self) -> None:
        """Reset every connection; new ones are let through."""
        self._loop.call_soon_threadsafe(self._reset_all)

    def close(self) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._pass_on, "127.0.0.1", 0, backlog=512))
        self.port: int = server.sockets[0].getsockname()[1]
        self._listening.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def notice(self, connection: object, *, from_client: bool, piece: bytes) -> None:
        """What passes, for those who watch; `connection` tells one from another."""

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await self._connect()
        except OSError:
            _reset(writer)
            return
        self._open |= {writer, far_writer}
        with suppress(asyncio.CancelledError):  # at the end
            await asyncio.gather(
                self._pump(reader, far_writer, lambda piece: self.notice(writer, from_client=True, piece=piece)),
                self._pump(far_reader, writer, lambda piece: self.notice(writer, from_client=False, piece=piece)),
            )
        self._open -= {writer, far_writer}

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, notice: Callable[[bytes], None]
    ) -> None:
        try:
            while piece := await reader.read(65536):
                notice(piece)
                if self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(piece)
                await writer.drain()
        except OSError:
            _reset(writer)
        writer.close()

    def _reset_all(self) -> None:
        for writer in list(self._open):
            _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a reset, as a machine that vanished would be answered for."""
    peer = writer.get_extra_info("socket")
    if peer is not None and peer.family == socket.AF_INET:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()

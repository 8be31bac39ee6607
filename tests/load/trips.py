"""Round trips that one request makes to database and cache, counted on the way between the service and them.

`pg_stat_statements` would miss what is no statement (the pool's check of a connection is an empty one), so this is a
proxy that reads the protocol: each Query and each Sync asks PostgreSQL for an answer and waits for it; with the cache,
whatever is sent in one piece is one trip. The provider is in the same process and says which came before it was asked.
"""

import asyncio
import contextlib
import statistics
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.load import provider
from tests.load.provider import length_of

Reach = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
ASKING = {ord("Q"), ord("S")}  # Query, and Sync, with which a prepared exchange ends


@dataclass(frozen=True)
class Trips:
    """Of one request, the median of many."""

    database_before: float  # the provider is asked
    database_after: float
    cache: float


class Counter:
    """A TCP proxy on loopback that counts what is asked through it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, reach: Reach, *, postgres: bool) -> None:
        self.count = 0
        self._reach, self._postgres = reach, postgres
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", 0), loop).result(10)
        self.port: int = server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to_there = await self._reach()
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            back = asyncio.create_task(_copy(there, writer))
            await (self._messages(reader, to_there) if self._postgres else self._pieces(reader, to_there))
            back.cancel()
        to_there.close()
        writer.close()

    async def _messages(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """PostgreSQL's: a first one without a type, then a byte for the type and four for the length of each."""
        kind = b""
        while True:
            length = await reader.readexactly(4)
            rest = await reader.readexactly(int.from_bytes(length) - 4)
            self.count += bool(kind) and kind[0] in ASKING
            writer.write(kind + length + rest)
            await writer.drain()
            # Where TLS or GSS was asked for, another first one comes.
            refused = not kind and int.from_bytes(rest[:4]) in {80877103, 80877104}
            kind = b"" if refused else await reader.readexactly(1)

    async def _pieces(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            self.count += 1
            writer.write(data)
            await writer.drain()


class Watch:
    """Proxies and a provider in one thread, for one request at a time."""

    def __init__(self, database: Reach, cache: Reach) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self.database = Counter(self._loop, database, postgres=True)
        self.cache = Counter(self._loop, cache, postgres=False)
        self._at_provider = 0
        start = asyncio.start_server(self._answer, "127.0.0.1", 0)
        server = asyncio.run_coroutine_threadsafe(start, self._loop).result(10)
        self.provider_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"

    def of(self, request: Callable[[], None], times: int) -> Trips:
        """The round trips of a request, made so many times one after the other."""
        seen = []
        for _ in range(times):
            database, cache = self.database.count, self.cache.count
            request()
            seen.append(
                (self._at_provider - database, self.database.count - self._at_provider, self.cache.count - cache)
            )
        return Trips(*(statistics.median(column) for column in zip(*seen, strict=True)))

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                await reader.readexactly(length_of(await reader.readuntil(b"\r\n\r\n")))
                self._at_provider = self.database.count
                head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                writer.write(head % len(provider.ANSWER) + provider.ANSWER)
                await writer.drain()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()

"""An HTTP transport that keeps one deadline for a whole call, however its bytes trickle in.

HTTP clients time out each read on its own, so a server that sends a byte a second is never too slow for them.
Here every operation on the socket gets only the time that the call has left, and a call reads a bounded number
of bytes. Looking up the host's name is not bounded: the operating system does that.
"""

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import httpcore2
import httpx2

MAX_RESPONSE_BYTES = 256 * 1024  # a suggestion with its envelope is some 2 KiB


CONNECT_TIMEOUT = 4.0  # seconds for each of a host's addresses


@dataclass(slots=True)
class Call:
    ends_at: float  # monotonic seconds
    bytes_read: int = 0

    def is_too_large(self) -> bool:
        return self.bytes_read > MAX_RESPONSE_BYTES

    def time_left(self) -> float:
        left = self.ends_at - time.monotonic()
        if left <= 0:
            raise httpcore2.ReadTimeout("the call's time is up")
        return left


_call: ContextVar[Call] = ContextVar("provider_call")


@contextmanager
def deadline(seconds: float) -> Iterator[Call]:
    """Everything that this transport does inside ends within so many seconds, or raises a timeout."""
    call = Call(time.monotonic() + seconds)
    previous = _call.set(call)
    try:
        yield call
    finally:
        _call.reset(previous)


class DeadlineTransport(httpx2.HTTPTransport):
    """httpx's own transport over a pool whose sockets know the deadline."""

    def __init__(self, max_connections: int) -> None:
        super().__init__()
        self._pool = httpcore2.ConnectionPool(
            ssl_context=httpx2.create_ssl_context(),
            max_connections=max_connections,
            max_keepalive_connections=max_connections,
            keepalive_expiry=30.0,
            network_backend=_Backend(),
        )


class _Backend(httpcore2.SyncBackend):
    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, *args: Any, **kwargs: Any
    ) -> httpcore2.NetworkStream:
        """Try each of the host's addresses; the operating system would give every one the whole time."""
        error: Exception = httpcore2.ConnectError(f"{host} has no address")
        for *_, address in _addresses(host, port):
            seconds = min(_call.get().time_left(), CONNECT_TIMEOUT)
            try:
                return _Stream(super().connect_tcp(str(address[0]), port, seconds, *args, **kwargs))
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as failed:
                error = failed
        raise error


def _addresses(host: str, port: int) -> list[Any]:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise httpcore2.ConnectError(str(error)) from error


class _Stream(httpcore2.NetworkStream):
    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        call = _call.get()
        data = self._stream.read(max_bytes, call.time_left())
        call.bytes_read += len(data)
        if call.is_too_large():
            raise httpcore2.ReadError("the response is too large")
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _call.get().time_left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, _call.get().time_left()))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

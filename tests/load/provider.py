"""A provider that speaks Chat Completions, answers all alike after a delay, and counts its calls.

    python -m tests.load.provider PORT

`PUT /delay/<milliseconds>` sets the delay for what comes after it, `GET /calls` says how many calls were answered.
"""

import asyncio
import json
import sys
import urllib.request

from tests.fake_provider import SUGGESTION, completion

ANSWER = json.dumps(completion(SUGGESTION)).encode()


class State:
    """What all connections share."""

    calls = 0
    delay = 0.0  # seconds


class Connection(asyncio.Protocol):
    """One client's; requests on it come one after the other, as HTTP/1.1 without pipelining has it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.data = transport, b""

    def data_received(self, data: bytes) -> None:
        self.data += data
        head, end, body = self.data.partition(b"\r\n\r\n")
        if not end or len(body) < length_of(head):
            return
        self.data = b""
        method, path, _ = head.split(b" ", 2)
        if method == b"POST":
            self._complete()
        elif method == b"PUT":
            State.delay = int(path.rpartition(b"/")[2]) / 1000
            self._send(b"{}")
        else:
            self._send(json.dumps({"calls": State.calls}).encode())

    def _complete(self) -> None:
        State.calls += 1
        if State.delay:
            asyncio.get_running_loop().call_later(State.delay, self._send, ANSWER)
        else:
            self._send(ANSWER)

    def _send(self, body: bytes) -> None:
        if not self.transport.is_closing():
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            self.transport.write(head + body)


def length_of(head: bytes) -> int:
    """The Content-Length that a message's head names; 0 where it names none."""
    _, found, after = head.lower().partition(b"\r\ncontent-length:")
    return int(after.partition(b"\r\n")[0]) if found else 0


class Remote:
    """The provider, as the process that started it sees it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}/v1"

    def set_delay(self, seconds: float) -> None:
        self._ask("PUT", f"/delay/{seconds * 1000:.0f}")

    def calls(self) -> int:
        return int(self._ask("GET", "/calls")["calls"])

    def _ask(self, method: str, path: str) -> dict[str, int]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        with urllib.request.urlopen(request, timeout=10) as response:
            answer: dict[str, int] = json.load(response)
            return answer


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))

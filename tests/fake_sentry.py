"""Sentry for tests: a real server on loopback that takes what the SDK posts, and reads it as the protocol has it.

An envelope is lines: its header, then for each item a header with the payload's length, and the payload
(https://develop.sentry.dev/sdk/data-model/envelopes/).
"""

import gzip
import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import brotli

from tests.service import wait_until

# The SDK takes brotli where that is installed, as it is beside locust.
UNPACK = {None: bytes, "gzip": gzip.decompress, "br": brotli.decompress}


@dataclass
class Envelope:
    header: dict[str, Any]
    items: list[tuple[dict[str, Any], dict[str, Any]]]  # each one's header and payload
    text: str  # all of it, as it came, and the request's own head


class FakeSentry:
    """Keeps every envelope; `hangs` takes connections and never answers, `status` refuses."""

    def __init__(self, *, hangs: bool = False, status: int = 200) -> None:
        self.envelopes: list[Envelope] = []
        self.hangs, self.status = hangs, status
        self.connections = 0
        self._released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.dsn = f"http://0123456789abcdef0123456789abcdef@127.0.0.1:{self._server.server_port}/4"

    def close(self) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [body for envelope in list(self.envelopes) for head, body in envelope.items if head["type"] == kind]

    @property
    def events(self) -> list[dict[str, Any]]:
        return self.of_kind("event")

    @property
    def transactions(self) -> list[dict[str, Any]]:
        return self.of_kind("transaction")

    @property
    def text(self) -> str:
        """Everything that ever arrived."""
        return "\n".join(envelope.text for envelope in list(self.envelopes))

    def event(self, **tags: str) -> dict[str, Any]:
        """The one event with these tags, once it has arrived."""
        return wait_until(lambda: self._with(tags), what=f"an event with {tags}; there are {self.events}")[0]

    def _with(self, tags: dict[str, str]) -> list[dict[str, Any]]:
        return [event for event in self.events if tags.items() <= event["tags"].items()]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                fake.connections += 1
                if fake.hangs:
                    fake._released.wait(60)
                    return
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.path == "/api/4/envelope/"
                assert "sentry_key=0123456789abcdef" in self.headers["X-Sentry-Auth"]  # pragma: allowlist secret
                body = UNPACK[self.headers.get("Content-Encoding")](body)
                fake.envelopes.append(read(body, f"{self.headers}"))
                self.send_response(fake.status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        return Handler


def read(body: bytes, head: str = "") -> Envelope:
    """An envelope from its bytes; the payload of an item is JSON, of the length that its header names."""
    first, _, rest = body.partition(b"\n")
    items = []
    while rest.strip():
        line, _, rest = rest.partition(b"\n")
        header = json.loads(line)
        length = header.get("length", rest.find(b"\n") if b"\n" in rest else len(rest))
        payload, rest = rest[:length], rest[length:].removeprefix(b"\n")
        items.append((header, json.loads(payload)))
    return Envelope(json.loads(first), items, head + body.decode())

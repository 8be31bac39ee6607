"""A real HTTP server on loopback that speaks Chat Completions, faults included."""

import json
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SUGGESTION = {
    "suggested_text": "Meet John about Q1",
    "priority": "medium",
    "due_time_suggestion": "tomorrow at 2pm",
}
USAGE = {
    "prompt_tokens": 60,
    "completion_tokens": 25,
    "total_tokens": 85,
    "prompt_tokens_details": {"cached_tokens": 0},
}


def completion(content: Any, *, usage: Any = USAGE, refusal: str | None = None, finish: str = "stop") -> dict[str, Any]:
    """A chat completion as OpenAI sends it; `content` that is no string is sent as JSON."""
    text = content if isinstance(content, str) or content is None else json.dumps(content)
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_760_000_000,
        "model": "gpt-5-nano-2025-08-07",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": text, "refusal": refusal},
            }
        ],
    }
    return body if usage is None else {**body, "usage": usage}


class FakeProvider:
    """What it answers is set by `mode` (a method name below), `reply` (for 'ok') and `delay` (seconds)."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.not_understood: list[str] = []  # what was no HTTP of this API, and how it was answered
        self._lock = threading.Lock()
        self.gate = threading.Event()
        self.heal()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                provider._answer(self)

            def send_error(self, *args: Any) -> None:
                provider.not_understood.append(f"{args[0]} to {self.raw_requestline[:200]!r}")
                super().send_error(*args)

            def log_message(self, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 512
            daemon_threads = True

            def handle_error(self, *args: Any) -> None:
                pass  # clients that are killed or give up are part of the tests

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=[0.01], daemon=True).start()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def calls(self) -> int:
        return len(self.requests)

    def heal(self) -> None:
        """Answer well again, at once, and let go whatever is held."""
        self.mode = "ok"
        self.delay = 0.0
        self.reply = completion(SUGGESTION)
        self.gate.set()

    def hold(self) -> None:
        """Keep every call open until `heal`."""
        self.gate.clear()

    def wait_for_calls(self, count: int, timeout: float = 20) -> None:
        ends = time.monotonic() + timeout
        while self.calls < count:
            assert time.monotonic() < ends, f"only {self.calls} of {count} calls arrived"
            time.sleep(0.01)

    def close(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self._lock:
            self.requests.append(body)
            self.headers.append({name.lower(): value for name, value in handler.headers.items()})
        self.gate.wait(60)
        time.sleep(self.delay)
        getattr(self, f"_{self.mode}")(handler)

    def _ok(self, handler: BaseHTTPRequestHandler) -> None:
        self._send(handler, 200, json.dumps(self.reply).encode())

    def _too_many(self, handler: BaseHTTPRequestHandler) -> None:
        self._send(handler, 429, b'{"error": {"message": "slow down", "code": "rate_limit_exceeded"}}', "30")

    def _failing(self, handler: BaseHTTPRequestHandler) -> None:
        self._send(handler, 500, b'{"error": {"message": "oops"}}')

    def _bad_key(self, handler: BaseHTTPRequestHandler) -> None:
        self._send(handler, 401, b'{"error": {"message": "Incorrect API key provided: sk-secret"}}')

    def _html(self, handler: BaseHTTPRequestHandler) -> None:
        self._send(handler, 200, b"<html>maintenance</html>", content_type="text/html")

    def _huge(self, handler: BaseHTTPRequestHandler) -> None:
        self._send(handler, 200, json.dumps(completion("x" * 2_000_000)).encode())

    def _hang(self, handler: BaseHTTPRequestHandler) -> None:
        self.gate.clear()
        self.gate.wait(60)
        handler.close_connection = True

    def _drip(self, handler: BaseHTTPRequestHandler) -> None:
        """One byte a second, headers included: no single read is ever slow."""
        body = json.dumps(self.reply).encode()
        response = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        handler.close_connection = True
        for byte in response + body:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(1)
            if self.mode != "drip":
                return

    def _reset(self, handler: BaseHTTPRequestHandler) -> None:
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()
        handler.close_connection = True

    def _send(
        self,
        handler: BaseHTTPRequestHandler,
        status: int,
        body: bytes,
        retry_after: str | None = None,
        content_type: str = "application/json",
    ) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", content_type)
        handler.send_header("Content-Length", str(len(body)))
        if retry_after:
            handler.send_header("Retry-After", retry_after)
        handler.end_headers()
        handler.wfile.write(body)

"""gunicorn's threaded worker, where its own ways would break what clients are promised.

What is no HTTP is refused as JSON, without repeating what was sent (a token, perhaps). A client that stops
sending in the middle of a request gives its thread back after a while. And a worker that stops, alone at a reload or
with all others, answers whatever was sent to it; `remind_site.stopping` and `remind_site.handover` are the master's
part in that.
"""

import json
import logging
import select
import socket
import struct
import sys
import time
import uuid
from concurrent.futures import Future
from typing import Any

import structlog
from gunicorn import util
from gunicorn.arbiter import Arbiter
from gunicorn.http import errors
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, TConn, ThreadWorker

from remind_site import handover

REPLACED_WITHIN = 120  # seconds, at most, that a worker serves on at a reload for those that are to replace it
EMPTIES_WITHIN = 3  # seconds, at most, for the queue: with the linger (2) and the longest request (25) a stop's 30
STALLED = 5  # seconds without a byte, in the middle of a request
REFUSALS: dict[type[Exception], tuple[int, str, str]] = {
    errors.LimitRequestLine: (414, "URI Too Long", "too_large"),
    errors.LimitRequestHeaders: (431, "Request Header Fields Too Large", "too_large"),
    errors.UnsupportedTransferCoding: (501, "Not Implemented", "invalid"),
    errors.ExpectationFailed: (417, "Expectation Failed", "invalid"),
}
MALFORMED = (400, "Bad Request", "invalid")
BUG = (500, "Internal Server Error", "internal_error")

logger = logging.getLogger(__name__)


class ServiceWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """See the module."""

    sockets: list[Any]  # that are listened on

    def load_wsgi(self) -> None:
        """Load the application, or say in the log why not; gunicorn would say it once more, bare, between its lines."""
        try:
            super().load_wsgi()
        except Exception:
            logger.exception("the application can't be loaded")
            sys.exit(Arbiter.WORKER_BOOT_ERROR)

    def run(self) -> None:
        """Serve; the application is loaded."""
        handover.serves()
        super().run()

    def handle(self, conn: TConn) -> Any:
        """Answer a request; what gunicorn wants to know is whether the connection stays open."""
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", STALLED, 0))
        stays = super().handle(conn)
        if not stays:  # wait for the client's goodbye here, not in the loop that serves all others
            util.close_graceful(conn.sock)
        return stays

    def finish_request(self, conn: TConn, fs: "Future[Any]") -> None:
        """Take a connection back from its thread."""
        if conn.sock.fileno() == -1:  # `handle` has closed it
            self.nr_conns -= 1
        else:
            super().finish_request(conn, fs)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Take connections or not; gunicorn's loop says 'not' for the last time when it stops."""
        if enabled or self.alive:
            super().set_accept_enabled(enabled)
        elif self.sockets:
            self._say_goodbye()
            super().set_accept_enabled(False)
            for listener in self.sockets:
                listener.close()  # the last one to do so ends it: from then on clients see that nobody is here
            self.sockets = []

    def _say_goodbye(self) -> None:
        """Serve on for a moment, and then what is still in the queue of the listening socket.

        At a reload, until a new worker has started. At a stop, the master lets no new connection come to be, but those
        that it came too late for are this worker's to answer.
        """
        ends = time.monotonic() + STOP_KEEPALIVE_LINGER
        self._cap_keepalive(ends)
        while (left := ends - time.monotonic()) > 0 or (left > -REPLACED_WITHIN and handover.is_awaited()):
            self._serve(min(left, 1.0) if left > 0 else 0.1)
        gives_up = time.monotonic() + EMPTIES_WITHIN  # at a reload others take from the queue, and more comes in
        while self._is_asked() and time.monotonic() < gives_up:
            self._serve(0.1)

    def _serve(self, seconds: float) -> None:
        """Go once through what gunicorn's loop does while it is not told to stop."""
        self.notify()
        super().set_accept_enabled(self.nr_conns < self.worker_connections)
        self.wait_for_and_dispatch_events(seconds)
        self.murder_keepalived()
        self.murder_pending()

    def _is_asked(self) -> bool:
        """Whether a connection waits to be taken, even where there is no room for it just now."""
        queues = select.poll()
        for listener in self.sockets:
            queues.register(listener, select.POLLIN)
        return bool(queues.poll(0))

    def _cap_keepalive(self, deadline: float) -> None:
        """Keep idle connections until the deadline (monotonic) at most, those included that never sent a byte."""
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)

    def murder_keepalived(self, force: bool = False) -> None:
        """Close the connections that were idle for too long, but for one on which a request has just come in."""
        now = time.monotonic()
        while self.keepalived_conns and (force or self.keepalived_conns[0].timeout <= now):
            conn = self.keepalived_conns[0]
            if not force and _has_sent(conn.sock):
                self.on_client_socket_readable(conn, conn.sock)
                continue
            self.keepalived_conns.popleft()
            self.poller.unregister(conn.sock)
            self.nr_conns -= 1
            conn.close()

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: Exception) -> None:
        """Answer what never became a request, in the form of every other refusal."""
        malformed = isinstance(exc, errors.ParseException)
        status, reason, code = REFUSALS.get(type(exc), MALFORMED) if malformed else BUG
        request_id = uuid.uuid4().hex
        from remind_site.metrics import requests  # not above: gunicorn's master needs no more of us than it must

        requests.count_malformed(code)
        if malformed:
            logger.warning("malformed request refused with %s: %s (%s)", status, type(exc).__name__, request_id)
        else:
            with structlog.contextvars.bound_contextvars(request_id=request_id):
                logger.error("error outside the application", exc_info=exc)
        body = json.dumps({"detail": f"{reason}.", "code": code, "request_id": request_id})
        head = (
            f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: application/json\r\n"
            f"Content-Security-Policy: default-src 'none'\r\nX-Content-Type-Options: nosniff\r\n"
            f"X-Request-ID: {request_id}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        try:
            util.write_nonblock(client, (head + body).encode())
        except OSError:
            logger.debug("the client was gone before it could be refused")


def _has_sent(client: socket.socket) -> bool:
    """Whether there is something to read from an idle, non-blocking connection."""
    try:
        return bool(client.recv(1, socket.MSG_PEEK))
    except OSError:
        return False

"""gunicorn's threaded worker, where its own ways would break what clients are promised.

What is no HTTP is refused as JSON, without repeating what was sent (a token, perhaps). And a client that stops
sending in the middle of a request gives its thread back after a while.
"""

import json
import logging
import socket
import struct
import uuid
from typing import Any

from gunicorn import util
from gunicorn.http import errors
from gunicorn.workers.gthread import TConn, ThreadWorker

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

    def handle(self, conn: TConn) -> Any:
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", STALLED, 0))
        return super().handle(conn)

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: Exception) -> None:
        """Answer what never became a request, in the form of every other refusal."""
        malformed = isinstance(exc, errors.ParseException)
        status, reason, code = REFUSALS.get(type(exc), MALFORMED) if malformed else BUG
        request_id = uuid.uuid4().hex
        if malformed:
            logger.warning("malformed request refused with %s: %s (%s)", status, type(exc).__name__, request_id)
        else:
            logger.error("error outside the application (%s)", request_id, exc_info=exc)
        body = json.dumps({"detail": f"{reason}.", "code": code, "request_id": request_id})
        head = (
            f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: application/json\r\n"
            f"X-Request-ID: {request_id}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        try:
            util.write_nonblock(client, (head + body).encode())
        except OSError:
            logger.debug("the client was gone before it could be refused")

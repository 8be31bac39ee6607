"""A PostgreSQL connection that does not wait for ever for a server that has stopped answering, and is checked for free.

`statement_timeout` is kept by the server, and TCP's timeouts notice a host that is cut off; neither helps where
the server is there and frozen. Web processes use this class in their pool.
"""

from contextlib import suppress
from select import POLLIN, poll
from typing import Any

from psycopg import Connection, OperationalError

from licenses.deadline import time_left

ANSWER_WITHIN = 5.5  # seconds; a little more than the server's own statement_timeout
STOP_WITHIN = 0.3  # seconds that telling the server may take, where a request's deadline comes before that


class BoundedConnection(Connection[Any]):
    """Gives up, and itself, when the server does not answer in time."""

    def execute(self, query: Any, *args: Any, **kwargs: Any) -> Any:
        """As it is, but that the pool's check, an empty statement, is sent only where something may be wrong.

        Nothing comes over an idle connection. A server that ends it says goodbye, and TCP's keepalives end it where
        the host is gone: in both cases there is something to read, if only the end.
        """
        if query == "" and not self._has_something_to_read():
            return self.cursor()
        return super().execute(query, *args, **kwargs)

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Raises OperationalError, and closes the connection, after `ANSWER_WITHIN` seconds, or at the deadline."""
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        seconds = min(ANSWER_WITHIN, time_left())
        if not seconds:
            raise OperationalError("the request's time is up")
        try:
            return super().wait(gen, interval, seconds)
        except OperationalError:
            if not self.closed and self.pgconn.is_busy():
                if seconds < ANSWER_WITHIN:  # it is younger than the server's own timeout, and might be done yet
                    self._stop_it()
                self.pgconn.finish()
            raise

    def _stop_it(self) -> None:
        with suppress(OperationalError):
            self.cancel_safe(timeout=STOP_WITHIN)

    def _has_something_to_read(self) -> bool:
        socket = poll()
        socket.register(self.fileno(), POLLIN)
        return bool(socket.poll(0))

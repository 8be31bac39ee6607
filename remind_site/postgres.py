"""A PostgreSQL connection that does not wait for ever for a server that has stopped answering, and is checked for free.

`statement_timeout` is kept by the server, and TCP's timeouts notice a host that is cut off; neither helps where
the server is there and frozen. Web processes use this class in their pool.
"""

from select import POLLIN, poll
from typing import Any

from psycopg import Connection, OperationalError

ANSWER_WITHIN = 5.5  # seconds; a little more than the server's own statement_timeout


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
        """Raises OperationalError, and closes the connection, after `ANSWER_WITHIN` seconds."""
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, ANSWER_WITHIN)
        except OperationalError:
            if not self.closed and self.pgconn.is_busy():
                self.pgconn.finish()
            raise

    def _has_something_to_read(self) -> bool:
        socket = poll()
        socket.register(self.fileno(), POLLIN)
        return bool(socket.poll(0))

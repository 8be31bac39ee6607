"""Database connections while nobody uses them."""

from django.db import connections


def give_back() -> None:
    """Let other requests have our database connection while we wait for somebody outside."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()

"""What we want of database connections beyond Django: to lend them while nobody uses them, and statements that stay."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connection, connections


def give_back() -> None:
    """Let other requests have our database connection while we wait for somebody outside."""
    for one in connections.all(initialized_only=True):
        if not one.in_atomic_block:
            one.close()


@contextmanager
def execute(sql: str, parameters: Any) -> Iterator[Any]:
    """A cursor that has run a statement, which PostgreSQL reads and plans once for each connection, not each time.

    Django writes the values into the text of a statement, so none is like another. Where connections are not ours for
    long (`DATABASE_POOLER_URL`), or only for a few statements (commands), nothing stays there either.

    Raises:
        django.db.Error: as Django's own cursor.
    """
    if connection.vendor != "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            yield cursor
        return
    connection.ensure_connection()
    plain: Any = psycopg.Cursor(connection.connection)
    with connection.make_cursor(plain) as cursor:
        cursor.execute(sql, parameters)
        yield cursor

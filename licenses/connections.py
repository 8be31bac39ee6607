"""What we want of database connections beyond Django: to lend them while nobody uses them, and statements that stay."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import NotSupportedError, connection, connections


def give_back() -> None:
    """Let other requests have our database connection while we wait for somebody outside."""
    for one in connections.all(initialized_only=True):
        if not one.in_atomic_block:
            one.close()


@contextmanager
def execute_prepared(sql: str, parameters: Any) -> Iterator[Any]:
    """A cursor that has run a statement, which PostgreSQL reads and plans once for each connection, not each time.

    Django writes the values into the text of a statement, so none is like another. Where connections are not ours for
    long (`DATABASE_POOLER_URL`), nothing stays there.

    Raises:
        django.db.Error: as Django's own cursor.
    """
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.cursor = psycopg.Cursor(connection.connection)  # in place of Django's, which writes values in
        try:
            cursor.execute(sql, parameters)
        except NotSupportedError:  # a table was changed under a plan, which that connection then never runs again
            if connection.in_atomic_block:
                raise
            with connection.wrap_database_errors:
                connection.connection.execute("DEALLOCATE ALL")
            cursor.execute(sql, parameters)
        yield cursor

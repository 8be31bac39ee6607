"""A database with a past: 100,000 licenses and millions of ledger entries, each a copy of a real one.

Copies are made by the database itself, in the order of time and without its indexes and foreign keys being kept up to
date row by row, as a restore does it; so ten million take minutes, and table and indexes end up as after VACUUM.
"""

import re

import psycopg

from tests.service import Database

LICENSES = 100_000
SPAN = "interval '24 months'"  # over which the entries lie, up to now
# What differs in each copy; `n` is its number from 1 on.
LICENSE = {"email": "'filled' || n || '@example.com'"}
COUNTER = {"license_id": "first_license + n - 1"}
ENTRY = {
    "license_id": "first_license + (n * 7919) % licenses",
    "request_id": "md5(n::text)",
    "created_at": f"now() - {SPAN} * (1 - n::float / count)",
    "closed_at": f"now() - {SPAN} * (1 - n::float / count)",
    "month": f"date_trunc('month', (now() - {SPAN} * (1 - n::float / count)) at time zone 'utc')::date",
}


def fill(database: Database, entries: int) -> None:
    """Add licenses with a counter each, and so many settled entries; one of each kind must be there to be copied."""
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")  # no check of foreign keys, row by row
        copy(connection, "licenses_license", LICENSES, LICENSE)
        first = connection.execute("SELECT max(id) - %s FROM licenses_license", [LICENSES - 1]).fetchone()[0]
        known = {"first_license": str(first), "licenses": str(LICENSES), "count": str(entries)}
        copy(connection, "billing_monthlyusage", LICENSES, _with(COUNTER, known))
        if entries:
            indexes = drop_indexes(connection, "billing_usagerecord")
            copy(connection, "billing_usagerecord", entries, _with(ENTRY, known))
            for index in indexes:
                connection.execute(index)
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def copy(connection: "psycopg.Connection[tuple[object, ...]]", table: str, count: int, changes: dict[str, str]) -> None:
    """So many copies of a table's oldest row, but for the id and what changes."""
    named = connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = %s", [table]
    ).fetchall()
    columns = [str(name) for (name,) in named if name != "id"]
    values = ", ".join(changes.get(name, f'model."{name}"') for name in columns)
    names = ", ".join(f'"{name}"' for name in columns)
    connection.execute(
        f"INSERT INTO {table} ({names}) SELECT {values}"
        f" FROM (SELECT * FROM {table} ORDER BY id LIMIT 1) AS model, generate_series(1::bigint, {count}) AS n"
    )


def drop_indexes(connection: "psycopg.Connection[tuple[object, ...]]", table: str) -> list[str]:
    """Drop those that are there for speed alone; the statements that make them again."""
    found = connection.execute(
        "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index"
        " WHERE indrelid = %s::regclass AND NOT indisunique", [table],
    ).fetchall()  # fmt: skip
    for name, _ in found:
        connection.execute(f"DROP INDEX {name}")
    return [str(definition) for _, definition in found]


def _with(changes: dict[str, str], values: dict[str, str]) -> dict[str, str]:
    """The expressions with what is known by now put in."""
    words = re.compile(r"\b(" + "|".join(values) + r")\b")
    return {name: words.sub(lambda word: values[word[0]], expression) for name, expression in changes.items()}

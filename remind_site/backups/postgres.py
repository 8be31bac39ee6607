"""What backups ask of PostgreSQL: one snapshot for dump and counts, pg_dump, pg_restore, and scratch databases.

Passwords go to the programs in their environment, never on a command line, which others on the machine can read.
"""

import os
import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import urlencode

import psycopg
from django.conf import settings
from django.db import connection
from psycopg import pq, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from remind_site.backups import sealing
from remind_site.backups.errors import BackupProblem, UnderWay

ONE_AT_A_TIME = 0x52454D42  # the advisory lock of whoever takes or verifies a backup: 'REMB'
USUAL = ("user", "password", "host", "port")
SCRATCH = "remind_verify_"
TABLES = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname"

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A moment of the database that other connections can see too, while this one is open."""

    id: str
    server: int  # the server's major version
    counts: dict[str, int]  # rows by table


def conninfo() -> str:
    """How libpq reaches the database that Django uses."""
    config = connection.settings_dict
    if connection.vendor != "postgresql":
        raise BackupProblem("Backups are of PostgreSQL. An SQLite database is a file: stop the service and copy it.")
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    named = {keyword: config[keyword.upper()] for keyword in USUAL if config[keyword.upper()]}
    others = {keyword: value for keyword, value in config["OPTIONS"].items() if keyword in known}
    return make_conninfo(**{**others, **named, "dbname": config["NAME"]})


def url(conninfo: str) -> str:
    """The same as a DATABASE_URL."""
    parts = conninfo_to_dict(conninfo)
    name = parts.pop("dbname")
    return f"postgresql:///{name}?{urlencode(parts)}"


@contextmanager
def connected(conninfo: str) -> Iterator[Connection]:
    """A connection of its own, held by one backup or verification at a time."""
    try:
        open_connection = psycopg.connect(conninfo, autocommit=True, connect_timeout=10)
    except psycopg.Error as error:
        raise BackupProblem(f"The database can't be reached: {first_line(str(error))}") from None
    with open_connection as database:
        taken = database.execute("SELECT pg_try_advisory_lock(%s)", [ONE_AT_A_TIME]).fetchone()
        if taken != (True,):
            raise UnderWay("Another backup or verification is under way.")
        yield database


@contextmanager
def snapshot(database: Connection) -> Iterator[Snapshot]:
    """See one moment: what is counted is exactly what `dump` writes."""
    with database.transaction():
        database.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        ((name,),) = database.execute("SELECT pg_export_snapshot()").fetchall()
        yield Snapshot(str(name), database.info.server_version // 10_000, counts(database))


def counts(database: Connection) -> dict[str, int]:
    """How many rows each table has."""
    found = {}
    for (table,) in database.execute(TABLES).fetchall():
        query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(str(table)))
        ((found[str(table)],),) = database.execute(query).fetchall()
    return found


def counts_of(conninfo: str) -> dict[str, int]:
    """How many rows each table of a database has that nothing writes to."""
    with psycopg.connect(conninfo, autocommit=True) as database:
        return counts(database)


def dump(conninfo: str, moment: Snapshot, target: IO[bytes]) -> None:
    """Write a dump of that moment, in pg_dump's custom format, sealed where that is on.

    Raises:
        BackupProblem: pg_dump is missing, too old, or failed.
        OSError: the target can't be written.
    """
    command = [program("pg_dump", moment.server), "--format=custom", f"--snapshot={moment.id}"]
    with _running(command, conninfo, stdout=subprocess.PIPE) as (process, complaints):
        output = cast("IO[bytes]", process.stdout)
        sealing.seal(output, target)
        output.close()
        _check("pg_dump", process, complaints)


def restore(source: IO[bytes], *, is_sealed: bool, server: int, conninfo: str) -> None:
    """Fill an empty database from a dump.

    Args:
        server: the major version of the server that was dumped.

    Raises:
        BackupProblem: no key or a wrong one, a dump that is damaged, a server that does not take it.
    """
    name = conninfo_to_dict(conninfo)["dbname"]
    command = [program("pg_restore", server), "--exit-on-error", "--no-owner", "--no-privileges", f"--dbname={name}"]
    with _running(command, conninfo, stdin=subprocess.PIPE) as (process, complaints):
        put_in = cast("IO[bytes]", process.stdin)
        try:
            (sealing.unseal if is_sealed else shutil.copyfileobj)(source, put_in)
            put_in.close()
        except OSError as error:
            if "Broken pipe" not in str(error):
                raise
            # pg_restore gave up before it had read everything; it has said why
        _check("pg_restore", process, complaints)


@contextmanager
def scratch(server_conninfo: str) -> Iterator[str]:
    """A new empty database on a server, dropped in the end, and how to reach it. Leftovers of killed runs go too."""
    name = f"{SCRATCH}{secrets.token_hex(6)}"
    with connected(server_conninfo) as server:
        for (leftover,) in server.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [SCRATCH]
        ).fetchall():
            _drop(server, str(leftover))
        try:
            server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        except psycopg.errors.InsufficientPrivilege:
            raise BackupProblem(
                "The scratch database can't be created: the role lacks CREATEDB. Give it that, or name another server "
                "in BACKUP_SCRATCH_URL."
            ) from None
        try:
            yield make_conninfo(server_conninfo, dbname=name)
        finally:
            _drop(server, name)


def program(name: str, server: int) -> str:
    """The path of pg_dump or pg_restore, not older than the server (they refuse a newer one).

    Looked for in BACKUP_PG_BIN where that is set, else where Debian and PostgreSQL's own packages put the server's
    version, else in PATH.
    """
    for candidate in _candidates(name, server):
        if shutil.which(candidate) and _major(candidate) >= server:
            return candidate
    raise BackupProblem(
        f"There is no {name} for PostgreSQL {server} here: install postgresql-client-{server}, or set BACKUP_PG_BIN to "
        "the folder that has it."
    )


def first_line(text: str) -> str:
    """What a program or server complained of; the lines after it can hold values of rows."""
    return next((line.strip()[:300] for line in text.splitlines() if line.strip()), "it does not say why")


def _candidates(name: str, server: int) -> list[str]:
    if settings.BACKUP_PG_BIN:
        return [str(Path(settings.BACKUP_PG_BIN) / name)]
    folders = [f"/usr/lib/postgresql/{server}/bin", f"/usr/pgsql-{server}/bin"]
    return [*(f"{folder}/{name}" for folder in folders), shutil.which(name) or name]


def _major(path: str) -> int:
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603
    found = re.search(r"\) (\d+)", said)
    return int(found[1]) if found else 0


@contextmanager
def _running(
    command: list[str], conninfo: str, *, stdin: int | None = None, stdout: int | None = None
) -> Iterator[tuple["subprocess.Popen[bytes]", IO[bytes]]]:
    environment = {
        option.envvar.decode(): option.val.decode()
        for option in pq.Conninfo.parse(conninfo.encode())
        if option.val is not None and option.envvar
    }
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(  # noqa: S603  # our own command
            command, stdin=stdin, stdout=stdout, stderr=complaints, env={**os.environ, **environment}
        ) as process,
    ):
        try:
            yield process, complaints
        except BaseException:
            process.kill()
            raise


def _check(name: str, process: "subprocess.Popen[bytes]", complaints: IO[bytes]) -> None:
    if process.wait() == 0:
        return
    complaints.seek(0)
    raise BackupProblem(f"{name} failed: {first_line(complaints.read().decode(errors='replace'))}")


def _drop(server: Connection, name: str) -> None:
    server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

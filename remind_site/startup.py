"""The master's part in a start: it settles how large the web is, says so in a line, and refuses what can't hold.

gunicorn's master has no Django, and keeps no connection: it asks the database for its limit once at a start and once at
a reload. One that does not answer keeps nobody from starting. The arithmetic is in `remind_site.sizing`.
"""

import logging
import os
import sys
from typing import Any
from urllib.parse import urlsplit

from remind_site import sizing
from remind_site.environment import env
from remind_site.metrics import process_files

WORKED_OUT = "REMIND_WORKED_OUT"  # names of the variables that hold what was not set
REFUSED = 1  # exit code, as gunicorn's own for a configuration that is wrong

logger = logging.getLogger(__name__)


def forget() -> None:
    """Before the configuration is read, perhaps once more: what was worked out the last time is not what was set."""
    for name in os.environ.pop(WORKED_OUT, "").split():
        os.environ.pop(name, None)


def settle(server: Any) -> None:
    """Settle the web's size for the processes that are about to start, or end here (gunicorn's `on_starting`)."""
    if not _settle(server.cfg.workers, server.cfg.threads):
        process_files.close_folder()
        sys.exit(REFUSED)


def settle_again(server: Any) -> None:
    """The same at a reload, where a refusal would end what serves well: what is wrong is logged."""
    _settle(server.cfg.workers, server.cfg.threads)


def _settle(processes: int, threads: int) -> bool:
    """Tell the processes to be, by their environment; False where what is set can't hold, which is logged.

    Args:
        processes: As gunicorn has it, so that its command line counts as set.
        threads: In each; as above.
    """
    limited = sizing.is_postgres(env.str("DATABASE_URL", "")) and not env.str("DATABASE_POOLER_URL", "")
    takes = _database_takes(env.str("DATABASE_URL", "")) if limited else None
    assumed = (takes or sizing.USUAL_LIMIT) if limited else None
    connections = sizing.pool(processes, threads, assumed)
    chosen = _tell(WEB_CONCURRENCY=processes, WEB_THREADS=threads, DATABASE_POOL_MAX=connections)

    if min(processes, threads, connections) < 1:
        logger.error("remind.E009: %s %s", *sizing.AT_LEAST_ONE)
        return False
    if takes and (problem := sizing.excess(processes, connections, takes)):
        logger.error("remind.E172: %s %s", *problem)
        return False
    logger.info(
        "the web: %s of %s threads%s; set by variables: %s; there are %s%s",
        _count(processes, "process", "processes"),
        threads,
        f" and at most {connections} database connections{_least(connections)}" if limited else "",
        ", ".join(chosen) or "nothing",
        _means(),
        _share(processes, connections, takes) if limited else "",
    )
    return True


def _least(connections: int) -> str:
    """A DATABASE_POOL_MIN that was set in vain."""
    least = env.int("DATABASE_POOL_MIN", 0)
    return f" (fewer than DATABASE_POOL_MIN, {least}, which is not kept)" if least > connections else ""


def _tell(**size: int) -> list[str]:
    """Put a size into the environment; the names of what was there already."""
    chosen = [name for name in size if env.str(name, "")]
    os.environ.update({name: str(number) for name, number in size.items()})
    os.environ[WORKED_OUT] = " ".join(name for name in size if name not in chosen)
    return chosen


def _means() -> str:
    machine = sizing.this_machine()
    shared = "Redis" if env.str("REDIS_URL", "") else "no Redis, which several processes need"
    cores = _count(machine.cores, "core", "cores")
    return f"{cores}, {machine.memory // 10**6} MB, {machine.files} files, {shared}"


def _share(processes: int, connections: int, takes: int | None) -> str:
    if takes is None:
        return ", and a database that does not say what it takes"
    now, reloading = (sizing.needed(times * processes, connections) for times in (1, 2))
    short = "" if reloading <= takes else ", which is too many: lower DATABASE_POOL_MAX"
    return f", and {takes} connections to the database: {now} may be used, {reloading} during a reload{short}"


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


def _database_takes(url: str) -> int | None:
    """How many connections the database takes from us; None where it does not answer."""
    import psycopg  # not above: a reading of the configuration, as for its check, asks no database

    from remind_site.postgres import BoundedConnection

    address = f"postgresql{url.removeprefix(urlsplit(url).scheme)}"
    try:
        with BoundedConnection.connect(address, connect_timeout=2, autocommit=True) as connection:
            row = connection.execute(sizing.CONNECTIONS_SQL).fetchone()
    except psycopg.Error as error:  # its text may name what the address holds
        logger.warning("the database can't be asked how many connections it takes: %s", type(error).__name__)
        return None
    return int(row[0]) if row else None

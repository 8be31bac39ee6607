"""How many processes, threads and database connections the web gets, from the machine it runs on and what is set.

Arithmetic and the reading of the machine's own limits; nothing here is asked over a network, and what a setting says
wins over what is worked out. `remind_site.startup` applies it in gunicorn's master, `remind_site.settings` and
`check --deploy` elsewhere.
"""

import math
import os
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from remind_site.environment import env

POSTGRES_SCHEMES = {"postgresql", "postgres", "pgsql"}
FEWEST_PROCESSES, MOST_PROCESSES = 2, 8  # two, so that one serves while the other is replaced
PROCESS_WEIGHS = 200_000_000  # bytes; measured: 160 MB with 100 calls under way
MEMORY_FOR_PROCESSES = 0.75  # of what there is; at a reload old and new ones overlap, and the system wants some
# A process has the CPU for some 100 calls a second, and a provider takes about one.
MOST_THREADS, FEWEST_THREADS = 100, 8
FILES_A_THREAD = 3  # its client's connection, one to the provider and one to the cache
OTHER_FILES = 150  # database connections, listening sockets, logs, connections in between
MOST_CLIENTS = 2000  # connections that a process keeps open, most of them idle
MOST_CONNECTIONS = 30  # of a process to the database
OTHER_CONNECTIONS = 8  # the worker's processes, commands, a person looking
USUAL_LIMIT = 97  # connections that PostgreSQL takes where nothing is configured: 100, 3 of them for superusers

AT_LEAST_ONE = (
    "WEB_CONCURRENCY, WEB_THREADS and DATABASE_POOL_MAX must be at least 1.",
    "Unset them for their defaults.",
)

# What the database takes from this role, of all its limits the lowest.
CONNECTIONS_SQL = """
    SELECT least(
        current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
            - coalesce(current_setting('reserved_connections', true)::int, 0),
        (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user),
        (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database())
    )
"""


@dataclass(frozen=True)
class Machine:
    """What this process may use of the machine."""

    cores: int
    memory: int  # bytes
    files: int  # open at once


def this_machine(root: Path = Path("/")) -> Machine:
    """What the machine has, less what affinity, a container (cgroup v2) or a limit of the user takes away."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    for group in _control_groups(root):
        quota, _, period = _read(group / "cpu.max").partition(" ")
        if quota.isdecimal() and period.isdecimal():
            cores = min(cores, max(1, math.ceil(int(quota) / int(period))))
        most = _read(group / "memory.max")
        if most.isdecimal():
            memory = min(memory, int(most))
    return Machine(cores, memory, files if files >= 0 else 2**20)  # RLIM_INFINITY is -1


def _control_groups(root: Path) -> Iterator[Path]:
    """The folders of this process's control group and of all above it: each may have a limit."""
    top = root / "sys/fs/cgroup"
    lines = _read(root / "proc/self/cgroup").splitlines()
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    folder = top / own
    yield folder
    while folder != top:
        folder = folder.parent
        yield folder


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # no such limit, or no such system
        return ""


def web(machine: Machine) -> tuple[int, int]:
    """Web processes, and threads in each, as set or else worked out."""
    usual = processes(machine, env.str("DATABASE_URL", ""), env.str("REDIS_URL", ""))
    return env.int("WEB_CONCURRENCY", usual), env.int("WEB_THREADS", threads(machine))


def pool(processes: int, threads: int, database_takes: int | None) -> int:
    """Database connections of a process at most, as set or else worked out; parameters as for `connections`."""
    return env.int("DATABASE_POOL_MAX", connections(processes, threads, database_takes))


def is_postgres(database_url: str) -> bool:
    return urlsplit(database_url).scheme in POSTGRES_SCHEMES


def processes(machine: Machine, database_url: str, redis_url: str) -> int:
    """Web processes: one for each core, within what memory allows.

    One alone where they could not share: limits without a Redis are counted in a process's own memory, and SQLite
    lets one writer in at a time.
    """
    if not redis_url or not is_postgres(database_url):
        return 1
    wanted = min(max(machine.cores, FEWEST_PROCESSES), MOST_PROCESSES)
    return max(1, min(wanted, int(machine.memory * MEMORY_FOR_PROCESSES) // PROCESS_WEIGHS))


def threads(machine: Machine) -> int:
    """Threads in a process: calls that may be with the provider at once, within what may be open at once."""
    return min(MOST_THREADS, max(FEWEST_THREADS, (machine.files - OTHER_FILES) // (FILES_A_THREAD + 1)))


def clients(machine: Machine, threads: int) -> int:
    """Connections of clients that a process keeps, idle ones included, so that files are left for its own."""
    return max(threads, min(MOST_CLIENTS, machine.files - OTHER_FILES - threads * (FILES_A_THREAD - 1)))


def connections(processes: int, threads: int, database_takes: int | None) -> int:
    """Database connections of a process, at most, so that old and new ones fit together while a reload lasts.

    A request holds one for milliseconds, so a few serve many threads.

    Args:
        database_takes: `CONNECTIONS_SQL`'s answer; None where there is no limit to keep.
    """
    room = math.inf if database_takes is None else (database_takes - OTHER_CONNECTIONS) // (2 * max(1, processes))
    return int(max(1, min(MOST_CONNECTIONS, threads, room)))


def needed(processes: int, connections: int) -> int:
    """Connections that a machine may open: the web's, and those of all else."""
    return processes * connections + OTHER_CONNECTIONS


def excess(processes: int, connections: int, database_takes: int) -> tuple[str, str] | None:
    """Problem and hint where the database could be asked for more connections than it takes."""
    opened = needed(processes, connections)
    if opened <= database_takes:
        return None
    return (
        f"This machine may open {opened} connections (WEB_CONCURRENCY {processes} times DATABASE_POOL_MAX"
        f" {connections}, and {OTHER_CONNECTIONS}); the database takes {database_takes}.",
        "Lower one of the two, or raise max_connections; each further machine needs as many again.",
    )

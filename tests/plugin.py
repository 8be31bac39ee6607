"""Starts the servers once, before Django reads its settings. Loaded by pytest (see pyproject.toml).

`DATABASE_URL` and `REDIS_URL`, where set, are used instead. Several test processes (pytest-xdist) have servers each, so
that none sees what another does to one; where they were set, they share these, in databases of their own.
"""

import os

from tests.servers import FAST, prepare_environment, start_postgres, start_valkey

PROCESS = os.environ.get("PYTEST_XDIST_WORKER", "")  # gw0, gw1, … in the processes that xdist starts
OURS = "TESTS_STARTED_THEIR_SERVERS"  # said by the first process to the others


def servers_are_ours(variable: str) -> bool:
    """Whether nobody has set where a server is, but for the process that started this one."""
    return variable not in os.environ or variable in os.environ.get(OURS, "").split()


prepare_environment()
if servers_are_ours("DATABASE_URL"):
    os.environ["DATABASE_URL"] = start_postgres(FAST).get_uri("postgres")
    os.environ[OURS] = f"{os.environ.get(OURS, '')} DATABASE_URL"
if servers_are_ours("REDIS_URL"):
    os.environ["REDIS_URL"] = start_valkey().connection_url
    os.environ[OURS] = f"{os.environ.get(OURS, '')} REDIS_URL"
elif PROCESS:
    os.environ["REDIS_URL"] = f"{os.environ['REDIS_URL'].removesuffix('/0')}/{PROCESS.removeprefix('gw')}"

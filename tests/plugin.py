"""Starts the servers once, before Django reads its settings. Loaded by pytest (see pyproject.toml).

`DATABASE_URL` and `REDIS_URL`, where set, are used instead. Several test processes (pytest-xdist) share the servers of
the first; each has databases of its own in both.
"""

import os

from tests.servers import FAST, prepare_environment, start_postgres, start_valkey

PROCESS = os.environ.get("PYTEST_XDIST_WORKER", "")  # gw0, gw1, … in the processes that xdist starts

prepare_environment()
if "DATABASE_URL" not in os.environ:
    os.environ["DATABASE_URL"] = start_postgres(FAST).get_uri("postgres")
if "REDIS_URL" not in os.environ:
    os.environ["REDIS_URL"] = start_valkey().connection_url
if PROCESS:
    os.environ["REDIS_URL"] = f"{os.environ['REDIS_URL'].removesuffix('/0')}/{PROCESS.removeprefix('gw')}"

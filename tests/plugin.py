"""Starts the servers once, before Django reads its settings. Loaded by pytest (see pyproject.toml).

`DATABASE_URL` and `REDIS_URL`, where set, are used instead.
"""

import os

from tests.servers import FAST, prepare_environment, start_postgres, start_valkey

prepare_environment()
if "DATABASE_URL" not in os.environ:
    os.environ["DATABASE_URL"] = start_postgres(FAST).get_uri("postgres")
if "REDIS_URL" not in os.environ:
    os.environ["REDIS_URL"] = start_valkey().connection_url

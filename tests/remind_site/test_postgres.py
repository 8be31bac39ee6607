"""Connections that wait no longer than the request they serve may last."""

import time

import psycopg
import pytest

from licenses.deadline import deadline
from remind_site.postgres import BoundedConnection
from tests.conftest import run_url
from tests.service import wait_until

LONG = 4  # seconds, for which a statement would run that nobody stops


def test_what_a_request_gives_up_is_stopped_at_the_server_too():
    with BoundedConnection.connect(run_url(), autocommit=True) as connection:
        backend = connection.info.backend_pid
        began = time.monotonic()
        with deadline(began + 0.3), pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT pg_sleep(%s)", [LONG])
        assert connection.closed

    with psycopg.connect(run_url(), autocommit=True) as watching:
        alive = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
        wait_until(lambda: watching.execute(alive, [backend]).fetchone() == (0,))
    assert time.monotonic() - began < LONG


def test_past_the_deadline_nothing_is_begun_and_beyond_it_all_is_as_usual():
    with BoundedConnection.connect(run_url(), autocommit=True) as connection:
        with deadline(time.monotonic() + 5):
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert connection.execute("SELECT 2").fetchone() == (2,)
        with deadline(time.monotonic() - 1), pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT pg_advisory_lock(7)")
        assert connection.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone() == (0,)

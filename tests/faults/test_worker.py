"""The worker: what it does on a schedule, as it is deployed."""

import sys
from pathlib import Path

import pytest

from tests.service import LIVELY, run_command, wait_until

STALE = """
from datetime import timedelta
from django.utils import timezone
from billing import quota
from billing.models import UsageRecord
from licenses import lifecycle
from licenses.models import Plan
license = lifecycle.issue("a@example.com", Plan.objects.get(slug="pro"), by="test")
token, _ = lifecycle.add_token(license, by="test")
quota.reserve(license, token, model="local", request_id="lost")
UsageRecord.objects.update(created_at=timezone.now() - timedelta(seconds=61))
"""


def test_housekeeping_runs_by_itself(database, start_worker):
    start_worker(database)
    run_command("shell", "-c", STALE, env={"DATABASE_URL": database.url})

    wait_until(
        lambda: database.value("SELECT state FROM billing_usagerecord") == "released",
        timeout=90,  # it runs every minute
        what="the worker to release an abandoned reservation",
    )

    assert database.value("SELECT used FROM billing_monthlyusage") == 0


def alive(session):
    """How many processes of a session run."""
    states = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, its_session = path.read_text().rpartition(") ")[2].split()[:4]
        except OSError:  # gone meanwhile
            continue
        states += [state] if int(its_session) == session else []
    return len(states) - states.count("Z")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_nothing_of_it_is_left_when_its_first_process_is_killed(database, start_worker):
    worker = start_worker(database)
    wait_until(lambda: alive(worker.pid) > 3, timeout=90, what="the worker's processes")

    worker.kill()
    worker.wait(LIVELY)

    wait_until(lambda: alive(worker.pid) == 0, what="its children to end")

"""The worker: what it does on a schedule, as it is deployed."""

from tests.service import run_command, wait_until

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

"""The database itself protects the ledger, on both engines, even after a table was remade."""

import sqlite3
import subprocess

import psycopg
import pytest

from tests.service import run_command

CHANGES = [
    "UPDATE billing_usagerecord SET charge_cents = 0 WHERE id = 1",
    "UPDATE billing_usagerecord SET state = 'released' WHERE id = 1",
    "UPDATE billing_usagerecord SET request_id = 'x' WHERE id = 1",
    "DELETE FROM billing_usagerecord WHERE id = 1",
    "DELETE FROM billing_usagerecord WHERE id = 2",
    "DELETE FROM billing_usagerecord WHERE id = 3",
    "UPDATE billing_usagerecord SET state = 'settled' WHERE id = 2",
    "UPDATE billing_usagerecord SET state = 'reserved' WHERE id = 2",
]
ENTRIES = """
from datetime import date
from django.utils import timezone
from billing.models import UsageRecord
from licenses import lifecycle
from licenses.models import Plan
license = lifecycle.issue("a@example.com", Plan.objects.get(slug="pro"), by="test")
for state in ("settled", "released", "reserved"):
    UsageRecord.objects.create(license=license, plan=license.plan, month=date(2026, 1, 1), state=state,
                               request_id=state, model="local", created_at=timezone.now())
"""


@pytest.fixture(params=["postgresql", "sqlite"])
def filled(request, template):
    database = template.copy() if request.param == "postgresql" else request.getfixturevalue("sqlite")
    run_command("shell", "-c", ENTRIES, env={"DATABASE_URL": database.url})
    return database


def refused(database, statement):
    try:
        database.sql(statement)
    except (psycopg.Error, sqlite3.Error) as error:
        return "ledger entr" in str(error)
    return False


def test_closed_entries_can_not_change_and_none_can_go(filled):
    for change in CHANGES:
        assert refused(filled, change), change
    assert filled.value("SELECT count(*) FROM billing_usagerecord") == 3


def test_what_may_change_still_can(filled):
    filled.sql("UPDATE billing_usagerecord SET provider_cost_usd = 1 WHERE id = 2")
    filled.sql("UPDATE billing_usagerecord SET state = 'settled' WHERE id = 3")


def test_truncate_is_refused(filled):
    if filled.url.startswith("sqlite"):
        pytest.skip("SQLite has no TRUNCATE; DELETE is refused above")
    assert refused(filled, "TRUNCATE billing_usagerecord CASCADE")


def test_a_missing_trigger_is_reported_and_the_next_migrate_installs_it(filled):
    env = {"DATABASE_URL": filled.url}
    name = "ledger_guard" if filled.url.startswith("postgres") else "ledger_guard_update"
    filled.sql(f"DROP TRIGGER {name}" + (" ON billing_usagerecord" if name == "ledger_guard" else ""))

    assert not refused(filled, "UPDATE billing_usagerecord SET request_id = request_id WHERE id = 1")
    assert name in run_command("check", "--deploy", env=env, check=False).stderr
    assert name in run_command("reconcile", env=env, check=False).stdout

    run_command("migrate", env=env)

    assert refused(filled, CHANGES[0])
    assert name not in run_command("check", "--deploy", env=env, check=False).stderr


def test_djangos_remake_of_the_sqlite_table_loses_nothing(sqlite, tmp_path):
    """A migration that alters the table drops its triggers silently; after migrate they are back."""
    run_command("shell", "-c", ENTRIES, env={"DATABASE_URL": sqlite.url})
    remake = """
from django.core.management import call_command
from django.db import connection
from billing.models import UsageRecord
old = UsageRecord._meta.get_field("request_id")
new = old.clone(); new.max_length = 65; new.set_attributes_from_name("request_id"); new.model = UsageRecord
with connection.schema_editor() as editor:
    editor.alter_field(UsageRecord, old, new)
from billing import ledger_guard
print("MISSING", ledger_guard.missing())
call_command("migrate", verbosity=0)
print("MISSING", ledger_guard.missing())
"""
    done: subprocess.CompletedProcess = run_command("shell", "-c", remake, env={"DATABASE_URL": sqlite.url})
    lines = [line for line in done.stdout.splitlines() if line.startswith("MISSING")]
    assert lines == ["MISSING ['ledger_guard_delete', 'ledger_guard_update']", "MISSING []"]
    assert refused(sqlite, CHANGES[0])

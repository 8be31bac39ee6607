"""Migrations are applied while the code before them still serves: none may break it, or lock a table for long."""

import re

import pytest
from django.apps import apps

from tests.service import ROOT, codes, run_command

# Made before anything was deployed, so there was no older code to break. Nothing may be added here: docs/DEPLOYMENT.md,
# "Migrations", says how to make the same change in steps.
BEFORE_THE_FIRST_DEPLOYMENT = {
    "licenses.0003_payments",
    "licenses.0004_console",
    "billing.0005_console",
    "billing.0006_indexes",
}


def test_migrations_can_be_applied_while_older_code_runs():
    ours = [
        config.label
        for config in apps.get_app_configs()
        if config.path.startswith(f"{ROOT}/") and ".venv" not in config.path
    ]
    done = run_command(
        "lintmigrations",
        "--no-cache",
        "--warnings-as-errors",
        "--include-apps",
        *ours,
        env={"DJANGO_SETTINGS_MODULE": "tests.lint_settings"},
        check=False,
    )
    looked_at = re.findall(r"\((\w+), (\w+)\)\.\.\. (\w+)", done.stdout)
    assert ("billing", "0001_initial", "OK") in looked_at, done.stderr
    faulty = {f"{app}.{name}" for app, name, verdict in looked_at if verdict not in {"OK", "IGNORE"}}
    assert faulty == BEFORE_THE_FIRST_DEPLOYMENT, done.stdout


@pytest.mark.parametrize("pool", ["1", "4"])
def test_a_column_that_changes_its_type_stops_no_request(start, database, provider, pool):
    """A connection has planned its statements; a plan whose result changed is never run again."""
    service = start(database, WEB_CONCURRENCY="1", DATABASE_POOL_MIN=pool, DATABASE_POOL_MAX=pool)
    token = service.issue(quota=1000)
    assert codes(service.at_once(20, lambda: service.suggest(token))) == {"ok": 20}

    database.sql("ALTER TABLE licenses_license ALTER COLUMN paid_ending TYPE varchar(20)")
    database.sql("ALTER TABLE billing_modelprice ALTER COLUMN model TYPE varchar(150)")
    assert codes(service.at_once(20, lambda: service.suggest(token))) == {"ok": 20}
    assert codes(service.at_once(20, lambda: service.suggest(token))) == {"ok": 20}
    assert service.reconcile() == ""

"""The database's own protection of the ledger: triggers, on PostgreSQL and SQLite.

    a settled entry can't change; a released one stays released; no entry can be deleted

They are installed after every migrate, since Django remakes SQLite tables, and that drops their triggers
silently; `check --deploy` and `manage.py reconcile` report where they are missing.
"""

from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from billing.models import UsageRecord

TABLE = UsageRecord._meta.db_table

POSTGRESQL = {
    "ledger_guard": (
        f"CREATE TRIGGER ledger_guard BEFORE UPDATE OR DELETE ON {TABLE} FOR EACH ROW EXECUTE FUNCTION guard_ledger()"
    ),
    "ledger_guard_truncate": (
        f"CREATE TRIGGER ledger_guard_truncate BEFORE TRUNCATE ON {TABLE} EXECUTE FUNCTION guard_ledger()"
    ),
}
POSTGRESQL_FUNCTION = """
CREATE OR REPLACE FUNCTION guard_ledger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
        RAISE EXCEPTION 'ledger entries are never deleted' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF OLD.state = 'settled' OR (OLD.state = 'released' AND NEW.state <> 'released') THEN
        RAISE EXCEPTION 'ledger entry % is %', OLD.id, OLD.state USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$
"""
SQLITE = {
    "ledger_guard_update": (
        f"CREATE TRIGGER ledger_guard_update BEFORE UPDATE ON {TABLE} "
        "WHEN OLD.state = 'settled' OR (OLD.state = 'released' AND NEW.state <> 'released') "
        "BEGIN SELECT RAISE(ABORT, 'a closed ledger entry never changes'); END"
    ),
    "ledger_guard_delete": (
        f"CREATE TRIGGER ledger_guard_delete BEFORE DELETE ON {TABLE} "
        "BEGIN SELECT RAISE(ABORT, 'ledger entries are never deleted'); END"
    ),
}
TRIGGERS = {"postgresql": POSTGRESQL, "sqlite": SQLITE}
INSTALLED = {
    "postgresql": "SELECT tgname FROM pg_trigger WHERE tgrelid = to_regclass(%s) AND tgenabled <> 'D'",
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s",
}


def missing(using: str = "default") -> list[str]:
    """The triggers that should stand in a database and don't, by name."""
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute(INSTALLED[connection.vendor], [TABLE])
        installed = {name for (name,) in cursor.fetchall()}
    return sorted(set(TRIGGERS[connection.vendor]) - installed)


def install(using: str = "default", **kwargs: Any) -> None:
    """Install what is missing; connected to the `post_migrate` signal."""
    connection = connections[using]
    if not _table_exists(connection):
        return
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(POSTGRESQL_FUNCTION)
        for name in missing(using):
            cursor.execute(TRIGGERS[connection.vendor][name])


def _table_exists(connection: BaseDatabaseWrapper) -> bool:
    return TABLE in connection.introspection.table_names()

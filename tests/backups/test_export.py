"""`manage.py export_data`: all data from one database into another, and nobody gets in by the file."""

import json

import pytest

from tests.service import run_command

STAFF = """
from django.contrib.auth.models import Group, User
from django.contrib.sessions.backends.db import SessionStore
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice
from datetime import timedelta
from django.utils import timezone
from billing import quota
from billing.models import IdempotencyKey, UsageRecord
user = User.objects.create_superuser("ann", "ann@example.com", "a-secret-of-ann")
user.groups.add(Group.objects.get(name="Support"))
TOTPDevice.objects.create(user=user, name="phone", key="ab" * 20)
StaticDevice.objects.create(user=user, name="codes").token_set.create(token="recoverycode1")
session = SessionStore()
session["_auth_user_id"] = str(user.pk)
session.save()
entry = UsageRecord.objects.filter(state="settled").last()
IdempotencyKey.objects.create(
    license_id=entry.license_id, key="k", input_digest="d", entry=entry, answer={"suggested_text": "call the doctor"},
    expires_at=timezone.now() + timedelta(hours=1),
)
quota.correct(entry, cents=1, gives_back_unit=True, by="ann", reason="test")
quota.grant_bonus(entry.license, 5, month=entry.month, by="ann", reason="test")
print(session.session_key, user.password, TOTPDevice.objects.get().key)
"""


@pytest.fixture
def full(worked):
    """A database with a ledger, a correction, and one of staff; and what in it would let somebody in."""
    database = worked.copy()
    said = run_command("shell", "-v", "0", "-c", STAFF, env={"DATABASE_URL": database.url}).stdout
    return database, [*said.split(), "recoverycode1", "call the doctor"]


def export(database, path):
    run_command("export_data", str(path), env={"DATABASE_URL": database.url})
    return sorted(path.read_text().splitlines())


def load(database, path):
    run_command("loaddata", str(path), env={"DATABASE_URL": database.url})
    assert run_command("reconcile", env={"DATABASE_URL": database.url}).stdout == ""


def test_from_postgresql_to_sqlite_and_back_nothing_is_lost(full, sqlite, template, tmp_path):
    source, secrets = full
    first = export(source, tmp_path / "first.jsonl")
    load(sqlite, tmp_path / "first.jsonl")
    second = export(sqlite, tmp_path / "second.jsonl")
    target = template.copy()
    load(target, tmp_path / "second.jsonl")
    third = export(target, tmp_path / "third.jsonl")

    assert first == second == third
    assert sum('"billing.usagerecord"' in line for line in first) == 13
    assert (tmp_path / "first.jsonl").stat().st_mode & 0o077 == 0
    everything = "\n".join(first)
    assert not [secret for secret in secrets if secret in everything]
    users = [json.loads(line)["fields"] for line in first if '"auth.user"' in line]
    assert [user["username"] for user in users] == ["ann"]
    enter = "from django.contrib.auth import authenticate; print(authenticate(username='ann', password='{}'))"
    for password in ("a-secret-of-ann", users[0]["password"]):
        said = run_command("shell", "-v", "0", "-c", enter.format(password), env={"DATABASE_URL": target.url}).stdout
        assert said.strip() == "None"
    # The ledger is as protected as before, and new rows get numbers of their own.
    with pytest.raises(Exception, match="never deleted"):
        target.sql("DELETE FROM billing_usagerecord")
    highest = target.value("SELECT max(id) FROM billing_usagerecord")
    assert target.value("SELECT nextval(pg_get_serial_sequence('billing_usagerecord', 'id'))") == highest + 1


def test_a_file_that_exists_is_not_overwritten(sqlite, tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text("mine")
    done = run_command("export_data", str(path), env={"DATABASE_URL": sqlite.url}, check=False)
    assert (done.returncode, path.read_text()) == (1, "mine")
    done = run_command("export_data", str(tmp_path / "x.json"), env={"DATABASE_URL": sqlite.url}, check=False)
    assert "jsonl" in done.stderr

"""`manage.py verify_backup`: what it proves, and that nothing that is wrong with a backup gets past it."""

import fcntl
import json
import os
import shutil

import psycopg
import pytest
from pyrage import x25519

from remind_site.backups import metrics
from remind_site.backups.postgres import ONE_AT_A_TIME
from remind_site.models import BackupRun
from tests.backups.conftest import OPERATOR, Operator
from tests.mailbox import text_of
from tests.service import free_port, run_command


@pytest.fixture(scope="module")
def kept(worked, programs, key, tmp_path_factory):
    """A good backup in a folder, to be copied."""
    folder = tmp_path_factory.mktemp("kept") / "backups"
    run_command(
        "backup",
        env={
            "DATABASE_URL": worked.copy().url,
            "BACKUP_FOLDER": str(folder),
            "BACKUP_PG_BIN": programs,
            "BACKUP_AGE_RECIPIENTS": str(key.to_public()),
        },
    )
    return folder


@pytest.fixture
def backed_up(operator, kept, folder) -> Operator:
    shutil.copytree(kept, folder)
    return operator


def dump_of(folder):
    return next(folder.glob("*.dump.age"))


def rewrite(folder, **changes):
    manifest = next(folder.glob("*.json"))
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), **changes}))


def flip_a_byte(folder):
    content = bytearray(dump_of(folder).read_bytes())
    content[len(content) // 2] ^= 1
    dump_of(folder).write_bytes(content)


def refused(operator, words, **env):
    """It said so in plain words, with exit code 1, a row and a mail, and left nothing behind."""
    done = operator("verify_backup", **env)
    assert done.returncode == 1, done.stdout
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert words in text_of(operator.mailbox.to(OPERATOR, "verification of the backup failed")[-1])
    kind, ok, detail = operator.runs()[-1]
    assert (kind, ok) == ("verify", False)
    assert words in detail
    assert operator.scratch_databases() == 0
    return True


def test_a_good_one_restores_and_leaves_nothing_behind(backed_up):
    operator = backed_up
    operator.database.sql("CREATE DATABASE remind_verify_of_a_killed_run")
    said = operator.must("verify_backup")
    assert "restores" in said
    assert operator.runs()[-1] == ("verify", True, "")
    assert operator.database.value("SELECT name FROM remind_site_backuprun ORDER BY id DESC LIMIT 1") in said
    assert operator.scratch_databases() == 0


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (flip_a_byte, "its checksum differs"),
        (lambda folder: dump_of(folder).write_bytes(dump_of(folder).read_bytes()[:-100]), "it is cut off"),
        (lambda folder: dump_of(folder).unlink(), "is missing from the store"),
        (shutil.rmtree, "There is no backup at all"),
        (lambda folder: next(folder.glob("*.json")).write_text("{"), "can't be read: it is damaged"),
    ],
    ids=["corrupted", "truncated", "dump missing", "all missing", "manifest damaged"],
)
def test_a_damaged_one_is_refused(backed_up, folder, damage, words):
    damage(folder)
    assert refused(backed_up, words)


def test_a_wrong_key_and_none(backed_up):
    other = x25519.Identity.generate()
    wrong = {"BACKUP_AGE_RECIPIENTS": str(other.to_public()), "BACKUP_AGE_IDENTITY": str(other)}
    assert refused(backed_up, "the wrong key", **wrong)
    assert refused(backed_up, "BACKUP_AGE_IDENTITY is not set", BACKUP_AGE_IDENTITY="")


def test_damage_that_its_checksum_agrees_with(backed_up, folder):
    """As if it had been damaged before it was sealed up: the seal itself is checked too."""
    from remind_site.backups.store import checksum

    flip_a_byte(folder)
    rewrite(folder, sha256=checksum(dump_of(folder)))
    assert refused(backed_up, "can't be decrypted to its end")


def test_a_second_one_at_once_is_refused_and_no_failure(backed_up):
    operator = backed_up
    operator.database.sql(
        "INSERT INTO remind_site_backuprun (kind, name, started_at, ok, detail, bytes)"
        " VALUES ('verify', '', now(), false, '', 0)"
    )
    before, mails = operator.runs(), len(operator.mailbox.mails)
    with psycopg.connect(operator.database.url) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [ONE_AT_A_TIME])
        done = operator("verify_backup")
    assert done.returncode == 1
    assert "Another backup or verification is under way" in done.stderr
    assert operator.runs() == before
    assert len(operator.mailbox.mails) == mails


def test_the_folder_of_a_killed_one_is_removed_and_no_other(backed_up, tmp_path):
    killed, running = tmp_path / "remind-verify-killed", tmp_path / "remind-verify-running"
    for folder in (killed, running):
        folder.mkdir()
        (folder / "dump").write_bytes(b"x")
        os.utime(folder, (0, 0))
    handle = os.open(running, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_SH)
    backed_up.must("verify_backup")
    os.close(handle)
    assert list(tmp_path.glob("remind-verify-*")) == [running]


def test_a_database_without_room_for_the_copy(backed_up):
    role = "remind_without_room"
    with psycopg.connect(backed_up.database.url, autocommit=True) as database:
        database.execute(f"DROP ROLE IF EXISTS {role}")
        database.execute(f"CREATE ROLE {role} LOGIN SUPERUSER")
        database.execute(f"ALTER ROLE {role} SET default_transaction_read_only = on")
    url = backed_up.database.url.replace("postgres:", f"{role}:", 1).replace("//postgres", f"//{role}")
    assert refused(backed_up, "The database refused: cannot execute CREATE DATABASE", BACKUP_SCRATCH_URL=url)


def test_rows_that_are_not_those_noted(backed_up, folder):
    counts = json.loads(next(folder.glob("*.json")).read_text())["counts"]
    rewrite(folder, counts={**counts, "billing_usagerecord": 13})
    assert refused(backed_up, "billing_usagerecord has 12 instead of 13")


def test_books_that_are_not_right(operator):
    operator.database.sql("UPDATE billing_monthlyusage SET used = used + 1")
    operator.must("backup")
    assert refused(operator, "counter says 4 used units, the ledger 3")


def test_one_that_restores_but_is_old(backed_up, folder):
    rewrite(folder, taken_at="2026-01-01T00:00:00+00:00")
    assert refused(backed_up, "newer backups are missing")


def test_a_role_that_may_not_create_databases(backed_up):
    operator = backed_up
    with psycopg.connect(operator.database.url, autocommit=True) as database:
        database.execute("DROP ROLE IF EXISTS remind_limited")
        database.execute("CREATE ROLE remind_limited LOGIN SUPERUSER")
        database.execute("ALTER ROLE remind_limited NOSUPERUSER NOCREATEDB")
    limited = operator.database.url.replace("postgres:", "remind_limited:", 1).replace(
        "postgresql://postgres", "postgresql://remind_limited"
    )
    assert "remind_limited" in limited
    assert refused(operator, "lacks CREATEDB", BACKUP_SCRATCH_URL=limited)


def test_a_store_and_a_server_that_are_gone(backed_up, s3):
    gone = f"http://127.0.0.1:{free_port()}"
    assert refused(backed_up, "Could not connect", **{**s3.env, "BACKUP_S3_ENDPOINT_URL": gone})
    nowhere = f"postgresql://nobody@127.0.0.1:{free_port()}/x"
    assert refused(backed_up, "can't be reached", BACKUP_SCRATCH_URL=nowhere)


def test_metrics_say_how_the_last_ones_went(db):
    def figures():
        return {
            (sample.name.removeprefix("remind_backup_"), sample.labels["kind"]): sample.value
            for metric in metrics.from_database()
            for sample in metric.samples
        }

    assert set(figures().values()) == {0}
    from django.utils import timezone

    ended = timezone.now()
    good = BackupRun.objects.create(kind="backup", started_at=ended, ended_at=ended, ok=True)
    assert figures()["last_run_ok", "backup"] == 1
    BackupRun.objects.create(kind="backup", started_at=ended, ended_at=timezone.now(), ok=False)
    BackupRun.objects.create(kind="backup", started_at=ended)  # still under way
    now = figures()
    assert now["last_run_ok", "backup"] == 0
    assert now["last_success_timestamp_seconds", "backup"] == good.ended_at.timestamp()
    assert now["last_success_timestamp_seconds", "verify"] == 0

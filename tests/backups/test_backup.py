"""`manage.py backup`: what is kept, for how long, and what an operator is told when it can't be done."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from io import BytesIO
from itertools import count

import psycopg
import pyrage
import pytest

from tests.backups.conftest import OPERATOR
from tests.mailbox import text_of
from tests.service import ROOT, free_port, wait_until

# Root needs no namespace of users, in which it could not reach what belongs to PostgreSQL's user.
OWN_MOUNTS = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]


def old(folder, days, name=""):
    """A backup of so many days ago: its name, whatever is in it."""
    stem = f"remind-{datetime.now(UTC) - timedelta(days=days):%Y%m%dT%H%M%S.%fZ}"
    folder.mkdir(exist_ok=True)
    (folder / f"{stem}.dump.age").write_bytes(b"sealed")
    (folder / f"{stem}.json").write_text("{}")
    return stem


def stems(folder):
    return {path.name.split(".json")[0] for path in folder.glob("*.json")}


def complained(operator, done, words):
    """It said so in plain words, with exit code 1, a row and a mail."""
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    mail = operator.mailbox.to(OPERATOR, "backup failed")[-1]
    assert words in text_of(mail)
    return True


def test_a_backup_is_encrypted_with_its_checksum_counts_and_nothing_readable(operator, folder, key):
    said = operator.must("backup")

    assert "encrypted" in said
    assert "NOT" not in said
    (dump,) = folder.glob("*.dump.age")
    manifest = json.loads(next(folder.glob("*.json")).read_text())
    assert manifest["bytes"] == dump.stat().st_size
    assert manifest["counts"]["billing_usagerecord"] == 12
    assert {path.stat().st_mode & 0o077 for path in [folder, *folder.iterdir()]} == {0}
    assert b"PGDMP" not in dump.read_bytes()
    clear = BytesIO()
    pyrage.decrypt_io(BytesIO(dump.read_bytes()), clear, [key])  # age's own format: the program `age` opens it too
    assert clear.getvalue().startswith(b"PGDMP")
    assert operator.runs() == [("backup", True, "")]
    assert operator.database.value("SELECT bytes FROM remind_site_backuprun") == manifest["bytes"]
    assert operator.mailbox.mails == []


def test_without_a_recipient_it_is_readable_and_says_so(operate, folder):
    operator = operate(BACKUP_AGE_RECIPIENTS="", BACKUP_AGE_IDENTITY="")
    assert "NOT encrypted" in operator.must("backup")
    assert next(folder.glob("*.dump")).read_bytes().startswith(b"PGDMP")
    assert "restores" in operator.must("verify_backup")


def test_it_restores_from_s3_too(operate, s3, tmp_path):
    operator = operate(BACKUP_FOLDER="", **s3.env)
    operator.must("backup")
    assert {name.split("Z")[1] for name in s3.files()} == {".json", ".dump.age"}
    assert "restores" in operator.must("verify_backup")


def test_counts_are_of_the_dumps_own_moment(operator):
    stop, numbers = threading.Event(), count()

    def write():
        with psycopg.connect(operator.database.url, autocommit=True) as database:
            while not stop.is_set():
                database.execute(
                    "INSERT INTO remind_site_login (at, what, username, address) VALUES (now(), 'failed', 'x', '')"
                )
                next(numbers)

    writer = threading.Thread(target=write)
    writer.start()
    operator.must("backup")
    stop.set()
    writer.join()

    assert next(numbers) > 100
    assert "restores" in operator.must("verify_backup")


def test_old_ones_go_but_never_the_newest_that_was_shown_to_restore(operator, folder):
    keep, gone, verified = old(folder, 29), old(folder, 31), old(folder, 40)
    leftover = folder / f"{old(folder, 35)}.json"
    leftover.unlink()  # of a run that died: a dump without its manifest
    operator.database.sql(
        "INSERT INTO remind_site_backuprun (kind, name, started_at, ended_at, ok, detail, bytes)"
        " VALUES ('verify', %s, now(), now(), true, '', 0), ('verify', %s, now(), now(), false, '', 0)",
        verified,
        gone,
    )

    operator.must("backup")

    assert {keep, verified} < stems(folder)
    assert gone not in stems(folder)
    assert len(list(folder.iterdir())) == 6
    assert operator.runs()[-1] == ("backup", True, "2 old ones removed.")


def test_old_ones_go_from_s3(operate, s3):
    stem = "remind-20200101T000000.000000Z"
    for ending in (".json", ".dump"):
        s3.client.put_object(Bucket="backups", Key=stem + ending, Body=b"{}")
    operate(BACKUP_FOLDER="", **s3.env).must("backup")
    assert not [name for name in s3.files() if name.startswith(stem)]


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"BACKUP_PG_BIN": "/nowhere"}, "There is no pg_dump for PostgreSQL"),
        ({"BACKUP_FOLDER": "/proc/nowhere"}, "The store can't be"),
        ({"BACKUP_S3_BUCKET": "b", "BACKUP_S3_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}, "Could not connect"),
    ],
)
def test_a_failed_backup_says_why_and_removes_nothing(operate, folder, env, words):
    operator, ancient = operate(**env), old(folder, 99)
    keys = {"BACKUP_S3_REGION": "x", "BACKUP_S3_ACCESS_KEY_ID": "x", "BACKUP_S3_SECRET_ACCESS_KEY": "x"}
    assert complained(operator, operator("backup", **keys), words)
    assert stems(folder) == {ancient}
    assert [(kind, ok) for kind, ok, _ in operator.runs()] == [("backup", False)]
    assert words in operator.runs()[0][2]


def test_a_store_that_refuses(operate, s3):
    before = s3.files()
    operator = operate(BACKUP_FOLDER="", **{**s3.env, "BACKUP_S3_BUCKET": "nobodys"})
    assert complained(operator, operator("backup"), "NoSuchBucket")
    assert s3.files() == before


def test_a_database_that_is_gone(operate):
    operator = operate()
    url = f"postgresql://127.0.0.1:{free_port()}/gone?user=nobody&password=sesame"
    done = operator("backup", DATABASE_URL=url)
    assert complained(operator, done, "The database can't be reached")
    assert "sesame" not in done.stderr + text_of(operator.mailbox.mails[-1])


def on_a_small_disk(operator, folder, *, env):
    """The backup, where that folder is a disk of 64 KiB."""
    mount = 'mount -t tmpfs -o size=64k small "$0" && exec "$@"'
    command = [*OWN_MOUNTS, "sh", "-c", mount, str(folder), sys.executable, "manage.py", "backup"]
    return subprocess.run(
        command,
        check=False,
        cwd=ROOT,
        env={**os.environ, **operator.env, **env},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.skipif(
    not shutil.which("unshare") or subprocess.run([*OWN_MOUNTS, "true"], check=False).returncode != 0,
    reason="This system lets nobody make a small disk of its own (unshare).",
)
@pytest.mark.parametrize("where", ["TMPDIR", "BACKUP_FOLDER"])
def test_a_full_disk(operator, folder, tmp_path, where):
    ancient, small = old(folder, 99), tmp_path / "small"
    small.mkdir()
    done = on_a_small_disk(operator, small, env={where: str(small)})
    assert complained(operator, done, "No space left on device")
    assert stems(folder) == {ancient}


def test_a_mail_server_that_is_gone_hides_nothing(operator):
    done = operator("backup", BACKUP_PG_BIN="/nowhere", EMAIL_URL=f"smtp://127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert "There is no pg_dump" in done.stderr
    assert "backup_mail_failed" in done.stderr
    assert [ok for _, ok, _ in operator.runs()] == [False]


def test_on_sqlite_it_says_what_to_do(sqlite, tmp_path, operator):
    done = operator("backup", DATABASE_URL=sqlite.url)
    assert done.returncode == 1
    assert "copy it" in done.stderr


@contextlib.contextmanager
def stuck(operator):
    """A backup that has begun and does not get on, since somebody holds a table."""
    with psycopg.connect(operator.database.url) as database:
        database.execute("LOCK TABLE licenses_plan")
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # as in the worker that starts it
        process = subprocess.Popen(
            [sys.executable, "manage.py", "backup"],
            cwd=ROOT,
            env={**os.environ, **operator.env},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'relation'"
        wait_until(lambda: operator.database.value(waiting), what="the backup to be stuck")
        yield process
        process.kill()
        process.communicate()


def test_one_at_a_time_and_one_that_is_stopped_says_so(operator, folder):
    with stuck(operator) as process:
        assert complained(operator, operator("backup"), "Another backup or verification is under way")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 1
    assert operator.runs()[0][1:] == (False, "Stopped before it was done.")
    assert not folder.exists()


def test_one_that_was_killed_is_known_by_the_next(operator, folder):
    with stuck(operator) as process:
        process.kill()
        process.wait(20)
    operator.must("backup")
    assert [(ok, detail[:22]) for _, ok, detail in operator.runs()] == [(False, "Ended before its time:"), (True, "")]


def test_the_worker_does_it_every_night(operator, folder, start_worker):
    operator.database.sql("UPDATE django_q_schedule SET next_run = now() WHERE name = 'backup'")
    operator.database.sql(
        "UPDATE django_q_schedule SET next_run = now() + interval '1 day' WHERE name = 'verify_backup'"
    )
    start_worker(operator.database, **{name: text for name, text in operator.env.items() if name != "DATABASE_URL"})
    wait_until(lambda: ("backup", True, "") in operator.runs(), timeout=90, what="the worker to take a backup")
    assert len(stems(folder)) == 1
    operator.database.sql("UPDATE django_q_schedule SET next_run = now() WHERE name = 'verify_backup'")
    wait_until(lambda: ("verify", True, "") in operator.runs(), timeout=90, what="the worker to verify it")

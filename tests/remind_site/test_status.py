"""`manage.py status`: what an operator who was woken runs first."""

import os
import re
import socket
import subprocess
import sys
import threading

import psycopg
import pytest

from remind_site.status import look
from tests.service import ROOT, run_command, wait_until

NOWHERE = "127.0.0.1:1"


@pytest.fixture
def status(template):
    """`status(**env)`: what the command says, by what it looked at, and its exit code."""
    database = template.copy()

    def status(**env):
        done = run_command("status", env={"DATABASE_URL": database.url, **env}, check=False)
        assert "Traceback" not in done.stderr
        for page in re.findall(r"-> (\S+)", done.stdout):
            assert (ROOT / page).exists()
        lines = re.findall(r"^(ok|WRONG) +(\S.*?)  +(.*)$", done.stdout, re.MULTILINE)
        return {what: (verdict == "ok", words) for verdict, what, words in lines}, done.returncode

    status.database = database
    return status


def test_a_service_that_is_well(status, start):
    service = start(status.database)
    run_command("housekeeping", env=service.env)
    status.database.sql(
        "INSERT INTO django_q_task (id, name, func, started, stopped, success, attempt_count)"
        " VALUES ('x', 'x', 'x', now(), now(), true, 1)"
    )
    status.database.sql(
        "INSERT INTO remind_site_backuprun (kind, name, started_at, ended_at, ok, detail, bytes)"
        " SELECT kind, 'x', now(), now(), true, '', 1 FROM unnest(ARRAY['backup', 'verify']) AS kind"
    )
    service.suggest(service.issue())
    run_command("housekeeping", env=service.env)

    found, code = status(SITE_URL=service.url)

    assert {what: words for what, (is_well, words) in found.items() if not is_well} == {}
    assert code == 0
    assert found["provider"] == (True, "1 answered in 2 minutes")


def test_what_fails_now_is_said_whatever_was_well_before(status, start, provider):
    service = start(status.database)
    token = service.issue()
    for mode in ("ok", "ok", "html"):
        provider.mode = mode
        service.suggest(token)
    status.database.sql(
        "INSERT INTO remind_site_backuprun (kind, name, started_at, ended_at, ok, detail, bytes)"
        " SELECT kind, 'x', now(), now() - age * interval '1 minute', age > 1, '', 1"
        " FROM unnest(ARRAY['backup', 'verify']) AS kind, generate_series(1, 2) AS age"
    )

    found, _ = status(SITE_URL=service.url)

    assert found["provider"] == (False, "2 answered in 2 minutes; provider answered nonsense: 1")
    for what in ("backup", "restoring it"):
        assert not found[what][0]
        assert found[what][1].startswith("failed the last time; last success")


@pytest.mark.parametrize(("minutes", "is_well"), [(2, True), (5, False)])
def test_an_abandoned_reservation_is_wrong_once_it_should_have_been_swept_up(status, start, minutes, is_well):
    service = start(status.database)
    service.suggest(service.issue())
    status.database.sql(
        "INSERT INTO billing_usagerecord (license_id, plan_id, month, state, outcome, request_id, model, input_tokens,"
        " cached_tokens, output_tokens, usage_missing, provider_cost_usd, charge_cents, created_at)"
        " SELECT license_id, plan_id, month, 'reserved', '', 'x', model, 0, 0, 0, false, 0, 0,"
        " now() - %s * interval '1 minute' FROM billing_usagerecord",
        minutes,
    )

    found, _ = status()

    assert found["reservations"] == (is_well, "1 open, 1 abandoned")


def test_what_is_wrong_is_named_with_its_page(status):
    status.database.sql("DELETE FROM billing_modelprice")

    found, code = status(SITE_URL=f"http://{NOWHERE}", REDIS_URL=f"redis://{NOWHERE}")

    assert code == 1
    assert {what for what, (is_well, _) in found.items() if not is_well} >= {
        "web",
        "price",
        "worker",
        "backup",
        "cache",
    }
    assert found["database"][0]


def test_what_cannot_be_read_is_not_called_well(status):
    status.database.sql("DROP TABLE billing_mail")

    found, code = status()

    assert code == 1
    assert found["billing"] == (False, "its figures could not be read, or not in time")
    assert "mails" not in found
    assert found["provider"][0]
    assert found["cache"][0]


def test_trying_out_needs_no_worker_and_no_backups(db, settings):
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "sync": True}
    settings.SITE_URL = f"http://{NOWHERE}"

    found = {finding.what: finding.is_well for finding in look()}

    assert {what for what, is_well in found.items() if not is_well} == {"web"}
    assert found["worker"]


def test_a_database_that_is_away_keeps_it_from_nothing_else(status):
    found, code = status(DATABASE_URL=f"postgresql://x@{NOWHERE}/x")

    assert code == 1
    assert not found["database"][0]
    assert found["cache"] == (True, "answers")


def test_one_that_takes_no_more_connections_is_not_called_down(status, template):
    role = f"full_{status.database.url.rsplit('/', 1)[1].split('?')[0]}"
    status.database.sql(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 0")
    try:
        done = run_command(
            "status", env={"DATABASE_URL": status.database.url.replace("postgres:", f"{role}:", 1)}, check=False
        )
    finally:
        status.database.sql(f"DROP ROLE {role}")
    assert "too many connections" in done.stdout
    assert "docs/runbooks/connections-exhausted.md" in done.stdout


FULL_DISK = """
    CREATE FUNCTION full_disk() RETURNS event_trigger LANGUAGE plpgsql AS
        $$BEGIN RAISE 'could not extend file "base/1/2": No space left on device' USING ERRCODE = '53100'; END$$;
    CREATE EVENT TRIGGER full_disk ON ddl_command_start EXECUTE FUNCTION full_disk()
"""
READ_ONLY = (
    "DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END$$"
)


@pytest.mark.parametrize(
    ("fault", "words", "page"),
    [
        (FULL_DISK, "No space left on device", "database-full"),
        (READ_ONLY, "in a read-only transaction", "database-down"),
    ],
    ids=["full disk", "read only"],
)
def test_a_database_that_answers_and_takes_no_writes_is_not_well(status, fault, words, page):
    with psycopg.connect(status.database.url, autocommit=True) as connection:
        connection.execute(fault)

    done = run_command("status", env={"DATABASE_URL": status.database.url}, check=False)

    assert done.returncode == 1
    assert re.search(rf"WRONG  writes +refused: .*{words}\n +-> docs/runbooks/{page}.md", done.stdout), done.stdout


def test_a_lock_that_holds_others_up_is_told_with_who_holds_it(status):
    with psycopg.connect(status.database.url) as holder, psycopg.connect(status.database.url) as waiter:
        holder.execute("LOCK TABLE billing_monthlyusage")
        waiting = threading.Thread(target=waiter.execute, args=("SELECT 1 FROM billing_monthlyusage",))
        waiting.start()
        wait_until(
            lambda: status.database.value(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND datname = current_database() AND clock_timestamp() - query_start > interval '1 second'"
            )
        )
        found, code = status()
        pid = holder.info.backend_pid
        holder.rollback()
        waiting.join()

    assert code == 1
    assert found["locks"] == (False, f"1 wait for a lock, held up by pid {pid}")


def test_who_reads_the_first_lines_only_sees_no_traceback(status):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "manage.py", "status"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": status.database.url},
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert done.returncode == 1
    assert "Broken" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_that_says_nothing_is_not_waited_for(status):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        found, code = status(DATABASE_URL=f"postgresql://x@127.0.0.1:{silent.getsockname()[1]}/x")

    assert code == 1
    assert not found["database"][0]

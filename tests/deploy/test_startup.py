"""How large the web starts, and what it refuses to start with: gunicorn itself, on a PostgreSQL that has limits."""

import json
import os
import re
import signal
import socket
import subprocess
import sys

import psutil
import pytest

from remind_site import sizing
from tests.commands import ROOT
from tests.service import LIVELY, Database, free_port, wait_until

PASSWORD = "not-for-any-log"


def said(service):
    """What the log says about the web's size, a line for each start and reload."""
    lines = [json.loads(line) for line in service.log.read_text().splitlines() if line.startswith("{")]
    return [line["event"] for line in lines if line["logger"] == "remind_site.startup" and line["level"] == "info"]


def gunicorn(database, **env):
    """The exit code and the words of a start that is refused."""
    own = {"DATABASE_URL": database.url, "BIND": f"127.0.0.1:{free_port()}", **env}
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "remind_site.wsgi"],
        cwd=ROOT,
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        timeout=LIVELY,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("env", "words"),
    [
        (
            {"WEB_CONCURRENCY": "2", "DATABASE_POOL_MAX": "150"},
            r"remind.E172: .* 308 connections \(WEB_CONCURRENCY 2 times DATABASE_POOL_MAX 150, and 8\);"
            r" the database takes 297\. Lower one of the two, or raise max_connections",
        ),
        ({"WEB_CONCURRENCY": "300"}, r"remind.E172: .* 308 connections \(WEB_CONCURRENCY 300 times"),
        ({"GUNICORN_CMD_ARGS": "--workers 300"}, r"remind.E172: .*WEB_CONCURRENCY 300 times"),
        ({"WEB_CONCURRENCY": "0"}, r"remind.E009: .*must be at least 1"),
        ({"DATABASE_POOL_MAX": "0"}, r"remind.E009: .*must be at least 1"),
    ],
)
def test_what_can_exceed_the_databases_connections_is_refused(database, env, words):
    database = Database(with_password(database.url))
    assert PASSWORD in database.url
    code, output = gunicorn(database, **env)
    assert code == 1
    assert re.search(words, output)
    assert "Booting worker" not in output
    assert "Traceback" not in output
    assert PASSWORD not in output


def with_password(url):
    return re.sub(r"//([^:@/]+)(:[^@/]*)?@", rf"//\1:{PASSWORD}@", url)


def test_what_is_not_set_follows_from_the_machine_and_the_database(start, database):
    name = database.value("SELECT current_database()")
    database.sql(f"ALTER DATABASE {name} CONNECTION LIMIT 20")
    service = start(database, WEB_CONCURRENCY="", DATABASE_POOL_MIN="19")
    processes = sizing.processes(sizing.this_machine(), database.url, os.environ["REDIS_URL"])
    pool = max(1, (20 - 8) // (2 * processes))

    (line,) = said(service)
    assert line.startswith(f"the web: {processes} processes of 100 threads and at most {pool} database connections")
    assert "(fewer than DATABASE_POOL_MIN, 19, which is not kept)" in line
    assert "set by variables: nothing;" in line
    assert f"20 connections to the database: {processes * pool + 8} may be used" in line
    workers = psutil.Process(service.process.pid).children()
    assert len(workers) == processes

    def opened():
        service.client.get("/health/ready")  # a process opens them when it is first asked for something
        return database.value("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()") - 1

    wait_until(lambda: opened() == processes * pool, what="each process to open its few connections, and no more")

    assert "remind.E172" not in service.command("check", "--deploy", check=False).stderr

    # At a reload, what was worked out does not count as set.
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(said(service)) == 2, what="the reload")
    assert said(service)[1] == line


def test_what_is_set_wins_and_a_reload_that_may_not_fit_is_said(start):
    service = start(DATABASE_POOL_MAX="90", WEB_THREADS="120")
    (line,) = said(service)
    assert line.startswith("the web: 2 processes of 120 threads and at most 90 database connections")
    assert "set by variables: WEB_CONCURRENCY, WEB_THREADS, DATABASE_POOL_MAX;" in line
    assert "188 may be used, 368 during a reload, which is too many: lower DATABASE_POOL_MAX" in line


def test_a_pooler_in_front_has_limits_of_its_own(start, database):
    service = start(database, DATABASE_POOLER_URL=database.url, DATABASE_POOL_MAX="200")
    (line,) = said(service)
    assert "connections" not in line


def test_sqlite_is_for_one_process(start, sqlite):
    (line,) = said(start(sqlite, WEB_CONCURRENCY="", DATABASE_POOL_MAX="1000"))
    assert line.startswith("the web: 1 process of 100 threads; ")


@pytest.fixture(params=["refuses", "is silent"])
def unreachable(request):
    """The address of a database that is not there, or takes connections and says nothing."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if request.param == "is silent":
            silent.listen(100)
        yield Database(f"postgresql://remind:{PASSWORD}@127.0.0.1:{silent.getsockname()[1]}/remind")


def test_a_database_that_does_not_answer_keeps_nobody_from_starting(start, unreachable):
    service = start(unreachable, DATABASE_POOL_MIN="1")
    (line,) = said(service)
    # Sized for a server that nobody has configured.
    assert line.startswith("the web: 2 processes of 100 threads and at most 22 database connections")
    assert line.endswith("a database that does not say what it takes")
    log = service.log.read_text()
    assert "the database can't be asked how many connections it takes" in log
    assert PASSWORD not in log

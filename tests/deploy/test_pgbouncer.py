"""deploy/pgbouncer between the web processes and the database: what is promised holds there too."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import psycopg
import pytest

from tests.load.filling import copy
from tests.service import LIVELY, ROOT, codes, free_port, wait_until
from tests.suggestions.test_at_once import assert_books

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
pytestmark = pytest.mark.skipif(not PGBOUNCER, reason="pgbouncer is needed (apt-get install pgbouncer)")
EXAMPLE = (ROOT / "deploy" / "pgbouncer" / "pgbouncer.ini").read_text()


class Pooler:
    """PgBouncer with the example, its paths, ports and logins changed to the test's, and few connections."""

    def __init__(self, folder, database, **changes):
        self.port, self.config = free_port(), folder / "pgbouncer.ini"
        url = urlsplit(database.url)
        host, name = parse_qs(url.query)["host"][0] if url.query else url.hostname, url.path.strip("/")
        changes = {
            r"host=/run/postgresql port=5432 dbname=remind": f"host={host} port={url.port or 5432} dbname={name}"
            f" user={url.username}" + (f" password='{url.password}'" if url.password else ""),
            r"pool_size=20": "pool_size=8",
            r"listen_port = 6432": f"listen_port = {self.port}",
            r"unix_socket_dir = .*": "unix_socket_dir =",
            r"auth_type = .*": "auth_type = any",
            r"auth_file = .*\n": "",
            r"/run/postgresql/pgbouncer.pid": f"{folder}/pgbouncer.pid",
            r"/var/log/postgresql/pgbouncer.log": f"{folder}/pgbouncer.log",
            **changes,
        }
        text = EXAMPLE
        for pattern, ours in changes.items():
            text, count = re.subn(pattern, ours, text)
            assert count == 1, pattern
        self.config.write_text(text)
        self.log = folder / "pgbouncer.log"
        self.user = None
        if os.geteuid() == 0:  # as which it does not run: as the one to whom the database's socket belongs
            self.user = Path(host).stat().st_uid if Path(host).is_dir() else "nobody"
            shutil.chown(folder, self.user)
        self.url = f"postgresql://anybody@127.0.0.1:{self.port}/remind"
        self.start()

    def start(self):
        self.log.unlink(missing_ok=True)
        self.process = subprocess.Popen([PGBOUNCER, "-q", self.config], user=self.user)
        wait_until(self._listens, what="PgBouncer to listen")

    def stop(self):
        self.process.kill()
        self.process.wait(LIVELY)

    def _listens(self):
        assert self.process.poll() is None, self.log.exists() and self.log.read_text()
        return self.log.exists() and "process up" in self.log.read_text()


@pytest.fixture
def pooler(database):
    """`pooler(**changes)`: one in front of the test's database."""
    with ExitStack() as stack:

        def pooler(**changes):  # not in pytest's folder, which is closed to other users
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="remind-pgbouncer-")))
            folder.chmod(0o755)
            one = Pooler(folder, database, **changes)
            stack.callback(one.stop)
            return one

        yield pooler


def test_the_service_behind_it(start, database, pooler, provider):
    between = pooler()
    service = start(database, DATABASE_POOLER_URL=between.url)
    scarce, ample = service.issue(quota=37), service.issue(quota=1000)

    # Exact, with 8 connections for 60 of the service's.
    answers = service.at_once(100, lambda: service.suggest(scarce))
    assert codes(answers) == {"ok": 37, "quota_exhausted": 63}
    assert_books(service, 37)

    # A key counts once, whichever connection each of its requests got.
    answers = service.at_once(20, lambda: service.suggest(ample, **{"Idempotency-Key": "the-one"}))
    assert codes(answers).pop("ok") >= 1
    assert set(codes(answers)) <= {"ok", "idempotency_in_progress"}
    assert provider.calls == 38
    assert_books(service, 38)

    # None is held while the provider is asked: 60 calls are there, and others are answered.
    provider.hold()
    waiting = threading.Thread(target=lambda: answers.extend(service.at_once(60, lambda: service.suggest(ample))))
    answers.clear()
    waiting.start()
    provider.wait_for_calls(38 + 60)
    wait_until(lambda: service.client.get("/health/ready").status_code == 200, what="an answer from the database")
    assert states(database) == {"idle"}
    provider.heal()
    waiting.join()
    assert codes(answers) == {"ok": 60}
    assert_books(service, 98)

    # It is killed and started again: the service finds it, by itself.
    between.stop()
    assert service.suggest(ample).json()["code"] == "database_unavailable"
    between.start()
    wait_until(lambda: service.client.get("/health/ready").status_code == 200, 60, what="one process to find it")
    wait_until(lambda: service.suggest(ample).status_code == 200, 60, what="each process to find the pooler again")
    assert service.reconcile() == ""


def test_the_console_behind_it(start, database, pooler):
    service = start(database, DATABASE_POOLER_URL=pooler().url, WEB_CONCURRENCY="1", ADMIN_REQUIRE_2FA="off")
    service.suggest(service.issue())
    password = {"DJANGO_SUPERUSER_PASSWORD": "of-the-console-only"}
    service.env |= password
    service.command("createsuperuser", "--noinput", "--username", "anna", "--email", "anna@example.com")
    page = service.client.get("/admin/login/")
    form = {
        "username": "anna",
        "password": password["DJANGO_SUPERUSER_PASSWORD"],
        "csrfmiddlewaretoken": re.search(r'csrfmiddlewaretoken" value="(\w+)"', page.text)[1],
    }
    assert service.client.post("/admin/login/", data=form, headers={"Referer": service.url}).status_code == 302
    for path in ("/admin/", "/admin/licenses/license/", "/admin/billing/usagerecord/"):
        assert service.client.get(path).status_code == 200, path
    entries = 20_000
    with psycopg.connect(database.url) as connection:
        connection.execute("SET session_replication_role = replica")
        copy(connection, "billing_usagerecord", entries, {"request_id": "md5(n::text)", "model": "repeat('x', 100)"})
    numbers = [int(line.split(",")[0]) for line in export(service, database) if line[0].isdigit()]
    assert len(set(numbers)) == len(numbers) == entries + 1


def export(service, database):
    """The ledger's CSV, line by line; while its reader pauses, the pooler loses its connections and makes new ones.

    So nothing that one connection knew (a cursor, a transaction) can be needed for what is left.
    """
    small = [(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 * 1024)]  # that the service can't be far ahead of the reader
    pooled = "datname = current_database() AND pid <> pg_backend_pid()"
    rest = "state = 'idle' AND state_change < now() - interval '0.5 s'"
    rests = f"SELECT bool_and({rest}) FROM pg_stat_activity WHERE {pooled}"
    client = httpx2.Client(
        base_url=service.url, cookies=service.client.cookies, transport=httpx2.HTTPTransport(socket_options=small)
    )
    with client, client.stream("GET", "/admin/billing/usagerecord/export/") as answer:
        lines = answer.iter_lines()
        yield next(lines)
        wait_until(lambda: database.value(rests), what="the export to wait for its reader")
        database.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {pooled}")
        yield from lines


def test_a_pooler_that_sets_no_timeouts_or_leads_elsewhere_is_named(start, template, database, pooler):
    between = pooler()
    well = {"DATABASE_URL": database.url, "DATABASE_POOLER_URL": between.url}
    service = start(database, WEB_CONCURRENCY="1")
    service.env |= well
    said = service.command("check", "--deploy", check=False).stderr
    assert not re.search(r"remind\.E17[678]", said)

    service.env["DATABASE_POOLER_URL"] = pooler(**{"lock_timeout = 3000": "lock_timeout = 0"}).url
    said = service.command("check", "--deploy", check=False).stderr
    assert "have no lock_timeout: one" in said
    assert "remind.E177" in said

    service.env |= {"DATABASE_POOLER_URL": between.url, "DATABASE_URL": template.copy().url}
    assert "remind.E178" in service.command("check", "--deploy", check=False).stderr
    between.stop()
    assert "remind.E176" in service.command("check", "--deploy", check=False).stderr


def states(database):
    """The states of the pooler's connections to the database."""
    rows = database.sql(
        "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND backend_type = 'client backend'"
    )
    return {state for (state,) in rows}

"""The service as it is deployed, for tests: gunicorn's processes on loopback with a database of their own."""

import contextlib
import itertools
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx2
import psycopg

from tests.commands import ROOT, run_command

LIVELY = 20.0  # seconds within which a process that is well has started, stopped or answered
_numbers = itertools.count(1)


def wait_until(condition: Callable[[], Any], timeout: float = LIVELY, what: str = "") -> Any:
    """Wait for a condition, as long as it takes and no longer; the truthy value it ended with."""
    ends = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < ends, f"waited {timeout} s for {what or condition}"
        time.sleep(0.02)


def free_port() -> int:
    """One that stays free while its server is down: the system gives none of these to anybody's calls."""
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def start_worker(log: Path, env: dict[str, str]) -> subprocess.Popen[bytes]:
    """`manage.py qcluster`, a session of its own, writing to a log."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "manage.py", "qcluster"],
            cwd=ROOT,
            env={**os.environ, **env},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL for a process that leads a session, and for all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(LIVELY)


class Database:
    """A migrated database of its own: a copy of the template, or an SQLite file."""

    def __init__(self, url: str) -> None:
        self.url = url

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """The rows of a statement, with %s for parameters on either engine."""
        if self.url.startswith("sqlite"):
            with contextlib.closing(sqlite3.connect(self.url.removeprefix("sqlite:///"))) as connection, connection:
                return connection.execute(statement.replace("%s", "?"), parameters).fetchall()
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement, parameters)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def value(self, statement: str, *parameters: Any) -> Any:
        return self.sql(statement, *parameters)[0][0]

    def offer(self, prices: dict[str, str]) -> None:
        """Sell plans (by slug) a month each, at Paddle's prices with these ids."""
        for plan, price_id in prices.items():
            self.sql(
                "INSERT INTO billing_planprice (price_id, plan_id, interval, is_offered)"
                " SELECT %s, id, 'month', true FROM licenses_plan WHERE slug = %s",
                price_id,
                plan,
            )


class Template:
    """A migrated PostgreSQL database, and copies of it."""

    def __init__(self, server_url: str, name: str = "") -> None:
        self.server_url = server_url
        self.name = name or f"template_{os.getpid()}_{next(_numbers)}"
        if not name:
            self._create(self.name)
            run_command("migrate", "--verbosity", "0", env={"DATABASE_URL": self._url(self.name)})

    def of(self, database: Database) -> "Template":
        """Copies of what a database holds by now; nobody may be connected to it."""
        return Template(self.server_url, urlsplit(database.url).path.removeprefix("/"))

    def copy(self) -> Database:
        name = f"copy_{os.getpid()}_{next(_numbers)}"
        self._create(name, f"TEMPLATE {self.name}")
        return Database(self._url(name))

    def _create(self, name: str, how: str = "") -> None:
        with psycopg.connect(self.server_url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} {how}")  # type: ignore[arg-type]

    def _url(self, name: str) -> str:
        return urlunsplit(urlsplit(self.server_url)._replace(path=f"/{name}"))


class Service:
    """gunicorn with the checked-in configuration, its database, and the log it writes."""

    python = sys.executable

    def __init__(self, database: Database, logs: Path, issued: set[str], **env: str) -> None:
        self.database = database
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = logs / f"service-{next(_numbers)}.log"
        self._issued = issued
        self.env = {
            "DATABASE_URL": database.url,
            "BIND": f"127.0.0.1:{self.port}",
            "WEB_CONCURRENCY": "2",
            "RATE_LIMIT_REQUESTS": "1000000",
            **env,
        }
        self.client = httpx2.Client(
            base_url=self.url, timeout=40, limits=httpx2.Limits(max_connections=None, max_keepalive_connections=0)
        )
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [self.python, "-m", "gunicorn", "remind_site.wsgi"],
                cwd=ROOT,
                # Without blank ones: they count as missing, but gunicorn itself stumbles over one of its own.
                env={name: value for name, value in {**os.environ, **self.env}.items() if value},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            wait_until(self._answers, what=f"the service to start: {self.log.read_text()[-2000:]}")
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(LIVELY)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """SIGKILL for the master and every worker."""
        kill_all(self.process)

    def command(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = run_command(*args, env=self.env, check=check)
        with self.log.open("a") as log:
            log.write(done.stderr)
        return done

    def issue(self, plan: str = "pro", **options: Any) -> str:
        """A license's token, from the command that is there for it; with a rate that is in nobody's way."""
        options = {"rate": "1000000/m", **options}
        flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        token = self.command("issue_license", f"{plan}{next(_numbers)}@example.com", "--plan", plan, *flags)
        secret = token.stdout.strip().splitlines()[-1]
        self._issued.add(secret)
        return secret

    def suggest(self, token: str, text: str = "call mum", **headers: str) -> httpx2.Response:
        return self.client.post(
            "/api/v1/suggest-reminder",
            json={"reminder_text": text},
            headers={"Authorization": f"Bearer {token}", **headers},
        )

    def at_once(self, count: int, call: Callable[[], httpx2.Response]) -> list[httpx2.Response]:
        """The answers to so many calls that are under way together."""
        with ThreadPoolExecutor(count) as pool:
            return [future.result() for future in [pool.submit(call) for _ in range(count)]]

    def reconcile(self) -> str:
        """What does not add up; empty when all does."""
        done = self.command("reconcile", check=False)
        assert done.returncode == (1 if done.stdout else 0), done.stderr
        return done.stdout

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        with contextlib.suppress(httpx2.TransportError):
            return self.client.get("/health").status_code == 200
        return False


def codes(answers: list[httpx2.Response]) -> dict[str, int]:
    """How often each outcome is among the answers: 'ok', 'degraded', or the refusal's code."""
    counted: dict[str, int] = {}
    for answer in answers:
        body = answer.json()
        outcome = body["code"] if answer.status_code != 200 else "degraded" if body["degraded"] else "ok"
        counted[outcome] = counted.get(outcome, 0) + 1
    return counted


@contextlib.contextmanager
def running(service: Service) -> Iterator[Service]:
    try:
        yield service
    finally:
        service.kill()
        service.client.close()

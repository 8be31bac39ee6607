"""What is measured, and all that it needs: PostgreSQL with durability on, Valkey, a provider, the service, others."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import psycopg

from tests.commands import ROOT, run_command
from tests.load import trips
from tests.load.costs import Processes
from tests.load.provider import Remote
from tests.servers import start_postgres, start_valkey
from tests.service import Database, Service, Template, free_port, kill_all, wait_until

# Durable, as in production: fsync, full_page_writes and synchronous_commit are on unless they are switched off.
POSTGRES = "max_connections = 300\nshared_buffers = 512MB\nmax_wal_size = 4GB\n"
LICENSES = 64  # one for each connection of the main drive: what one license alone waits for, others do not
ISSUE = """
from licenses import lifecycle
from licenses.models import Plan
plan = Plan.objects.get(slug="pro")
for number in range(%d):
    license = lifecycle.issue(f"load{number}@example.com", plan, by="bench", quota=999_999_999, rate=999_999_999)
    print(lifecycle.add_token(license, by="bench")[1])
"""
HIGH_LIMITS = {"RATE_LIMIT_REQUESTS": "999999999"}  # limits are counted, and refuse nobody


class Deployed(Service):
    """The service with only what is deployed beside it, as `make` installs it."""

    python = str(ROOT / ".venv-deployed" / "bin" / "python")


class World:
    """Everything that runs; `close` ends it."""

    def __init__(self) -> None:
        self._parts = contextlib.ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="remind-load-"))
        self._parts.callback(shutil.rmtree, self.folder, ignore_errors=True)
        try:
            self.postgres = start_postgres(POSTGRES)
            self._parts.callback(self.postgres.cleanup)
            self.valkey = start_valkey()
            self._parts.callback(self.valkey.stop)
            self.template = Template(self.postgres.get_uri("postgres"))
            port = free_port()
            self.provider_process = self.start([sys.executable, "-m", "tests.load.provider", str(port)], "provider")
            self.provider = Remote(port)
            wait_until(self._provider_answers, what="the provider")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._parts.close()

    # --- What can be started in it

    def service(self, database: Database | None = None, **env: str) -> Service:
        """The service as deployed: gunicorn, the checked-in configuration, every middleware."""
        service = Deployed(
            database or self.template.copy(),
            self.folder,
            set(),
            **{
                "REDIS_URL": self.valkey.connection_url,
                "AI_PROVIDER": "openai",
                "OPENAI_API_KEY": "sk-load",
                "OPENAI_BASE_URL": self.provider.url,
                **HIGH_LIMITS,
                **env,
            },
        )
        self._parts.callback(service.kill)
        self._parts.callback(service.client.close)
        return service

    def bare(self) -> tuple[int, int]:
        """`tests.load.bare` under the same configuration: its port, and the pid of its first process."""
        port = free_port()
        command = [Deployed.python, "-m", "gunicorn", "tests.load.bare"]
        process = self.start(
            command, "bare", BIND=f"127.0.0.1:{port}", WEB_CONCURRENCY="2", REDIS_URL=self.valkey.connection_url
        )
        wait_until(lambda: answers(port), what="the bare views")
        return port, process.pid

    def start(self, command: list[Any], name: str, **env: str) -> subprocess.Popen[bytes]:
        """A process, its output in a log, that ends with this world."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **env}, stdout=log, stderr=log, start_new_session=True
            )
        self._parts.callback(kill_all, process)
        return process

    def watch(self) -> trips.Watch:
        """Counting proxies in front of database and cache."""
        watch = trips.Watch(self._reach_postgres, self._reach_valkey)
        self._parts.callback(watch.close)
        return watch

    # --- What is known of it

    def costs(self, web: int) -> dict[str, Processes]:
        """The processes that a request costs; `web` is the pid of the server's first one."""
        return {
            "web": Processes(web),
            "database": Processes(self._postgres_pid()),
            "cache": Processes(_pid_on(self.valkey.port)),
            "provider": Processes(self.provider_process.pid),
        }

    def versions(self) -> str:
        with psycopg.connect(self.postgres.get_uri("postgres")) as connection:
            postgres = connection.info.server_version
            durable = connection.execute(
                "SELECT current_setting('fsync'), current_setting('synchronous_commit'),"
                " current_setting('full_page_writes')"
            ).fetchone()
        assert durable == ("on", "on", "on"), durable
        return f"PostgreSQL {postgres // 10000}.{postgres % 10000} with durability on, Valkey, all on this machine"

    def _postgres_pid(self) -> int:
        return int((self.postgres.pgdata / "postmaster.pid").read_text().split()[0])

    def _provider_answers(self) -> bool:
        with contextlib.suppress(OSError):
            return self.provider.calls() == 0
        return False

    async def _reach_postgres(self) -> Any:
        host = parse_qs(urlsplit(self.postgres.get_uri("postgres")).query)["host"][0]
        return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.5432")

    async def _reach_valkey(self) -> Any:
        return await asyncio.open_connection("127.0.0.1", self.valkey.port)


def issue(database: Database, count: int = LICENSES) -> list[str]:
    """Tokens of as many new licenses, whose limits are high."""
    done = run_command("shell", "-v", "0", "-c", ISSUE % count, env={"DATABASE_URL": database.url})
    return done.stdout.split()


def answers(port: int) -> bool:
    """Whether somebody speaks HTTP there."""
    with contextlib.suppress(httpx2.TransportError):
        return httpx2.get(f"http://127.0.0.1:{port}/", timeout=2).status_code < 500
    return False


def through(watch: trips.Watch, database: Database) -> str:
    """The database's address through a counting proxy."""
    return f"postgresql://postgres@127.0.0.1:{watch.database.port}/{urlsplit(database.url).path.strip('/')}"


def _pid_on(port: int) -> int:
    """The process that listens on a port of this machine."""
    import psutil

    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
            return int(connection.pid)
    raise LookupError(f"nobody listens on {port}")

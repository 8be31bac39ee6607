"""The processes of one storm: the service as it is deployed, and all that it depends on."""

import asyncio
import contextlib
import random
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psutil

from tests.fake_provider import FakeProvider
from tests.mailbox import Mailbox
from tests.paddle import SECRET, FakePaddle
from tests.servers import end_postgres, restart_postgres, start_postgres, start_valkey
from tests.service import Service, Template, kill_all, start_worker
from tests.storm.proxy import Proxy

PRICES = {"pro": "pri_pro", "team": "pri_team"}


class Provider(FakeProvider):
    """Takes a moment for each answer, and longer for some; while wild, half of them are faults, and some never come."""

    FAULTS = ("too_many", "failing", "bad_key", "html", "huge", "reset", "refusal", "slow", "silence")

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance
        self._calm = threading.Event()
        self._calm.set()

    def go_wild(self) -> None:
        self._calm.clear()

    def calm_down(self) -> None:
        """Answer well again, and break off what was left without an answer."""
        self._calm.set()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        # At each moment a few calls are long: the ones that a kill or a deploy could lose.
        time.sleep(self._chance.uniform(0.05, 0.4) if self._chance.random() < 0.95 else self._chance.uniform(3, 10))
        if not self._calm.is_set() and self._chance.random() < 0.5:
            handler.rfile.read(int(handler.headers["Content-Length"]))
            getattr(self, f"_{self._chance.choice(self.FAULTS)}")(handler)
        else:
            super()._answer(handler)

    def _refusal(self, handler: BaseHTTPRequestHandler) -> None:
        self._send(handler, 200, b'{"id": "x", "object": "chat.completion", "choices": []}')

    def _slow(self, handler: BaseHTTPRequestHandler) -> None:
        time.sleep(self._chance.uniform(1, 6))
        self._ok(handler)

    def _silence(self, handler: BaseHTTPRequestHandler) -> None:
        """Longer than the service waits."""
        self._calm.wait(30)
        handler.close_connection = True


class World:
    """Everything that runs. What can be done to it are its methods; `tests.storm.faults` decides what and when."""

    def __init__(self, chance: random.Random, name: str) -> None:
        self._parts = contextlib.ExitStack()
        self.logs = Path(tempfile.mkdtemp(prefix=f"remind-storm-{name}-"))
        try:
            self._build(chance)
        except BaseException:
            self.close(keep_logs=True)
            raise

    def _build(self, chance: random.Random) -> None:
        self.postgres = start_postgres("max_connections = 200\n")  # durable, as in production
        self._on_close(self._end_postgres)
        self.valkey = start_valkey()
        self._on_close(self.stop_valkey)
        self.provider, self.paddle, self.mailbox = Provider(chance), FakePaddle(), Mailbox()
        self.database_proxy, self.cache_proxy = Proxy(self._reach_postgres), Proxy(self._reach_valkey)
        for part in (self.provider, self.paddle, self.mailbox, self.database_proxy, self.cache_proxy):
            self._on_close(part.close)
        self.issued: set[str] = set()
        self.service = self._start_service()
        self._on_close(self.service.kill, self.service.client.close)
        self._closing = threading.Event()
        self._worker = start_worker(self.logs / "worker.log", self.service.env)
        self._on_close(self.kill_worker)
        supervisor = threading.Thread(target=self._supervise_worker, daemon=True)
        supervisor.start()
        self._on_close(supervisor.join, self._closing.set)

    def close(self, *, keep_logs: bool) -> None:
        """End every process, whatever the state of the others."""
        self._parts.close()
        if not keep_logs:
            shutil.rmtree(self.logs, ignore_errors=True)

    # --- What is done to it

    def web_workers(self) -> list[psutil.Process]:
        return psutil.Process(self.service.process.pid).children()

    def kill_worker(self) -> None:
        kill_all(self._worker)

    def restart_postgres(self, mode: str) -> None:
        """Stop it (`fast` or `immediate`, PostgreSQL's own words) and start it again."""
        end_postgres(self.postgres, mode)
        while True:
            with contextlib.suppress(subprocess.SubprocessError):  # on a busy machine it takes longer than is waited
                return restart_postgres(self.postgres)

    def stop_valkey(self) -> None:
        self.valkey.stop()

    def start_valkey(self) -> None:
        """An empty one, elsewhere: the proxy knows where."""
        self.valkey = start_valkey()

    # --- How it is put together

    def _on_close(self, *steps: Callable[[], Any]) -> None:
        """The last of them is done first."""
        for step in steps:
            self._parts.callback(step)

    def _end_postgres(self) -> None:
        with contextlib.suppress(OSError):
            shutil.copy(self.postgres.log, self.logs / "postgres.log")
        self.postgres.cleanup()

    def _start_service(self) -> Service:
        database = Template(self.postgres.get_uri("postgres")).copy()
        database.offer(PRICES)
        name = urlsplit(database.url).path.strip("/")
        return Service(
            database,
            self.logs,
            self.issued,
            DATABASE_URL=f"postgresql://postgres@127.0.0.1:{self.database_proxy.port}/{name}",
            REDIS_URL=f"redis://127.0.0.1:{self.cache_proxy.port}/0",
            AI_PROVIDER="openai",
            OPENAI_API_KEY="sk-test",
            OPENAI_BASE_URL=self.provider.base_url,
            PADDLE_API_KEY="pdl_sdbx_apikey_x",
            PADDLE_BASE_URL=self.paddle.base_url,
            PADDLE_WEBHOOK_SECRET=SECRET,
            EMAIL_URL=self.mailbox.url,
        )

    def _supervise_worker(self) -> None:
        """What systemd does: start again what ended."""
        while not self._closing.wait(1):
            if self._worker.poll() is not None:
                self._worker = start_worker(self.logs / "worker.log", self.service.env)

    async def _reach_postgres(self) -> Any:
        folder = parse_qs(urlsplit(self.postgres.get_uri("postgres")).query)["host"][0]
        return await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.5432")

    async def _reach_valkey(self) -> Any:
        if not self.valkey.is_running():
            raise ConnectionRefusedError
        return await asyncio.open_connection("127.0.0.1", self.valkey.port)

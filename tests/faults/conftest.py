"""What the fault tests share: the service as Paddle sees it, and the worker as it is deployed."""

import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import service as deployed
from tests.paddle import SECRET, signed
from tests.service import LIVELY, Database, Service, run_command

PRICES = {"pro": "pri_pro", "team": "pri_team"}
Process = subprocess.Popen[bytes]


@pytest.fixture
def start_worker(logs: Path) -> Iterator[Callable[..., Process]]:
    """`start_worker(database, **env)`: `manage.py qcluster` with settings of its own."""
    started: list[Process] = []

    def start_worker(database: Database, **env: str) -> Process:
        process = deployed.start_worker(logs / "worker.log", {"DATABASE_URL": database.url, **env})
        started.append(process)
        return process

    yield start_worker
    for process in started:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(LIVELY)
        deployed.kill_all(process)


@pytest.fixture
def serve(start: Callable[..., Service]) -> Callable[..., Service]:
    """`serve(database)`: the service, with a price for Pro and one for Team."""

    def serve(database: Database | None = None, **env: str) -> Service:
        service = start(database, PADDLE_WEBHOOK_SECRET=SECRET, **env)
        service.database.offer(PRICES)
        return service

    return serve


def do_what_waits(database: Database, table: str) -> None:
    """Let pauses be over, and tell the worker; its own schedule would look within a minute."""
    database.sql(f"UPDATE {table} SET due_at = now() WHERE state = 'waiting'")
    run_command("shell", "-c", "from billing import outbox; outbox.wake()", env={"DATABASE_URL": database.url})


def send(service: Service, event: dict[str, Any], *, secret: str = SECRET) -> Any:
    """Deliver a notification to the service, signed."""
    body = json.dumps(event).encode()
    headers = {"Paddle-Signature": signed(body, secret), "Content-Type": "application/json"}
    return service.client.post("/webhooks/paddle", content=body, headers=headers)

"""What the fault tests share: the worker as it is deployed."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.service import LIVELY, ROOT, Database

Process = subprocess.Popen[bytes]


@pytest.fixture
def start_worker(logs: Path) -> Iterator[Callable[..., Process]]:
    """`start_worker(database, **env)`: `manage.py qcluster` with settings of its own."""
    started: list[Process] = []

    def start_worker(database: Database, **env: str) -> Process:
        with (logs / "worker.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "manage.py", "qcluster"],
                cwd=ROOT,
                env={**os.environ, "DATABASE_URL": database.url, **env},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        started.append(process)
        return process

    yield start_worker
    for process in started:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(LIVELY)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

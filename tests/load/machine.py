"""What was measured on, in words; and how busy it was with other things."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from tests.commands import ROOT


def describe(servers: str) -> list[str]:
    """Lines for a report's head; `servers` says which database and cache were used."""
    return [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {commit()}",
        f"{os.cpu_count()} cores ({_processor()}), {psutil.virtual_memory().total / 2**30:.0f} GiB,"
        f" {platform.system()} {platform.release()}",
        f"Python {platform.python_version()}, Django {version('django')}, gunicorn {version('gunicorn')}, {servers}",
    ]


def load() -> float:
    """Processes that wanted to run, on average over the last minute."""
    return os.getloadavg()[0]


def commit() -> str:
    """The commit that is checked out, and whether what runs differs from it; the pages in `docs` do not run."""
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":!docs")
    return (_git("rev-parse", "--short=12", "HEAD") or "unknown") + ("-dirty" if changed else "")


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def _processor() -> str:
    with Path("/proc/cpuinfo").open() as lines:
        names = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
    return ", ".join(sorted(names)) or platform.machine()

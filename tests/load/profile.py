"""Where the web processes' time goes on the paid path: py-spy looks at them while they are driven.

Some hundred looks a second at the thread that runs Python just then (which holds the interpreter's lock); nothing in
the service is changed for it. What threads spend in the system's calls, some sixth of the CPU, is not seen.
"""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import psutil

from tests.load.world import World

SPY = Path(sys.executable).with_name("py-spy")
LOOKS = 200  # a second, at each process
# A look counts for the first of these of which a piece is anywhere in the stack: what others call stands before them.
PARTS = {
    "asking the provider: the SDK and its HTTP client": ["suggestions/providers/"],
    "finding the token, its license and its plan": ["licenses/authentication.py"],
    "reserving the unit": ["reserve (billing/quota.py"],
    "settling the charge": ["settle (billing/quota.py"],
    "counting both limits": ["licenses/limits.py"],
    "the line in the log": ["structlog/", "logging/__init__.py"],
    "counting for /metrics": ["prometheus_client/"],
    "DRF and the view": ["rest_framework/"],
    "middleware": ["middleware"],
    "Django": ["django/"],
    "gunicorn": ["gunicorn/"],
    "the rest": [""],
}


class Looks:
    """What py-spy sees of a server's processes for some seconds, from now on."""

    def __init__(self, world: World, server: int, seconds: float) -> None:
        self._files = list[Path]()
        self._spies = list[subprocess.Popen[bytes]]()
        for process in psutil.Process(server).children():
            self._files.append(world.folder / f"looks-{process.pid}")
            options = ["--duration", str(max(1, int(seconds))), "--rate", str(LOOKS), "--format", "raw", "--gil"]
            command = [SPY, "record", "--pid", str(process.pid), "--output", str(self._files[-1]), *options]
            self._spies.append(world.start(command, "py-spy"))

    def by_part(self) -> dict[str, float]:
        """The share of each part, the largest first; once the seconds are over."""
        for spy in self._spies:
            spy.wait(60)
        found = Counter[str]()
        for line in "".join(file.read_text() for file in self._files).splitlines():
            stack, _, count = line.rpartition(" ")
            found[_part(stack)] += int(count)
        return {part: count / found.total() for part, count in found.most_common()}


def _part(stack: str) -> str:
    return next(part for part, pieces in PARTS.items() if any(piece in stack for piece in pieces))

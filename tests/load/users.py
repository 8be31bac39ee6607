"""A crowd of locust's users against the service: `tests/load/locustfile.py`, run without its web page."""

import csv
import os
import subprocess
import sys

from tests.commands import ROOT
from tests.load.world import World

ARRIVE_WITHIN = 20  # seconds for all users to be there
SLACK = 90  # seconds until a run that should be over is given up


def crowd(world: World, port: int, tokens: list[str], users: int, seconds: float) -> dict[str, float]:
    """What came of it, by name; `added` is milliseconds above the provider's second."""
    secrets, table = world.folder / "tokens", world.folder / "users"
    secrets.write_text("\n".join(tokens))
    command = [
        sys.executable, "-m", "locust", "--headless", "--only-summary", "--skip-log-setup",
        "-f", "tests/load/locustfile.py", "--host", f"http://127.0.0.1:{port}",
        "--users", str(users), "--spawn-rate", str(max(1, users // ARRIVE_WITHIN)),
        "--run-time", f"{seconds:.0f}s", "--stop-timeout", "30", "--csv", str(table),
    ]  # fmt: skip
    env = {**os.environ, "REMIND_TOKENS": str(secrets), "PROVIDER_SECONDS": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=seconds + SLACK, check=False
    )
    if done.returncode not in {0, 1}:  # 1: there were failures
        raise RuntimeError(done.stderr[-2000:])
    with (world.folder / "users_stats.csv").open() as rows:
        by_name = {row["Name"]: row for row in csv.DictReader(rows)}
    asked, added = by_name["/api/v1/suggest-reminder"], by_name["added"]
    return {
        "requests": float(asked["Request Count"]),
        "errors": float(asked["Failure Count"]),
        "requests/s": float(asked["Requests/s"]),
        **{f"added, p{percent} ms": float(added[f"{percent}%"]) for percent in (50, 95, 99)},
    }

"""A crowd of locust's users against the service: `tests/load/locustfile.py`, run without its web page."""

import json
import os
import subprocess
import sys

from tests.commands import ROOT
from tests.load.world import World

ARRIVE_WITHIN = 20  # seconds for all users to be there
SLACK = 90  # seconds until a run that should be over is given up


def crowd(world: World, port: int, tokens: list[str], users: int, seconds: float) -> dict[str, float]:
    """What came of it, by name; `added` is milliseconds above the provider's second."""
    secrets, sums = world.folder / "tokens", world.folder / "users"
    secrets.write_text("\n".join(tokens))
    command = [
        sys.executable, "-m", "locust", "--headless", "--only-summary", "--skip-log-setup",
        "-f", "tests/load/locustfile.py", "--host", f"http://127.0.0.1:{port}",
        "--users", str(users), "--spawn-rate", str(max(1, users // ARRIVE_WITHIN)),
        "--run-time", f"{seconds:.0f}s", "--stop-timeout", "30",
        "--json-file", str(sums),  # written when the last user is done; the tables of `--csv` can lack the last second
    ]  # fmt: skip
    env = {**os.environ, "REMIND_TOKENS": str(secrets), "PROVIDER_SECONDS": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=seconds + SLACK, check=False
    )
    if done.returncode not in {0, 1}:  # 1: there were failures
        raise RuntimeError(done.stderr[-2000:])
    by_name = {row["name"]: row for row in json.loads((world.folder / "users.json").read_text())}
    asked, added = by_name["/api/v1/suggest-reminder"], by_name["added"]
    return {
        "requests": asked["num_requests"],
        "errors": asked["num_failures"],
        "requests/s": asked["num_requests"] / (asked["last_request_timestamp"] - asked["start_time"]),
        **{f"added, p{percent} ms": _percentile(added["response_times"], percent) for percent in (50, 95, 99)},
    }


def _percentile(counts: dict[str, int], percent: int) -> float:
    """The milliseconds that so many percent did not exceed; `counts` is how often each was seen."""
    seen, wanted = 0, sum(counts.values()) * percent / 100
    for milliseconds, count in sorted((float(time), count) for time, count in counts.items()):
        seen += count
        if seen >= wanted:
            return milliseconds
    raise ValueError("nothing was measured")

"""Runs one of the benchmarks and writes its page; exits with 1 where a run is void."""

import argparse
import signal
import sys
from pathlib import Path

from tests.load import bench
from tests.load.drive import Void, say
from tests.load.report import FOLDER
from tests.load.world import World
from tests.servers import prepare_environment

KINDS = {
    "paid": bench.bench_paid,
    "peers": bench.bench_peers,
    "growth": bench.bench_growth,
    "soak": bench.bench_soak,
    "users": bench.bench_users,
    "profile": bench.bench_profile,
}
SECONDS = {"paid": 10.0, "peers": 10.0, "growth": 5.0, "soak": 60.0, "users": 180.0, "profile": 10.0}  # of each drive
ALARM = {
    "paid": 590,
    "peers": 590,
    "growth": 3000,
    "soak": 900,
    "users": 500,
    "profile": 200,
}  # seconds after which it is given up


def main() -> int:
    options = _options()
    prepare_environment()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    signal.signal(signal.SIGALRM, lambda *_: sys.exit("given up: this took far longer than it should"))
    signal.alarm(ALARM[options.kind])
    seconds = options.seconds or SECONDS[options.kind]
    chosen = bench.Options(seconds, options.rounds, options.out, options.entries, options.users)
    world = World()
    try:
        report = KINDS[options.kind](world, chosen)
        say(f"written: {report.write()}")
    except Void as void:
        say(f"void, and nothing was written: {void}")
        return 1
    finally:
        world.close()
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.load", description=sys.modules["tests.load"].__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--seconds", type=float, help="of each drive")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--entries", type=int, nargs="+", default=[0, 1_000_000, 10_000_000])
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=FOLDER, help="the folder that the page is written to")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

"""Runs the storms, judges them, and prints their figures; exits with 1 where something does not hold."""

import argparse
import os
import random
import signal
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from tests.servers import prepare_environment
from tests.service import wait_until
from tests.storm import faults, verdict
from tests.storm.clients import Crowd
from tests.storm.figures import Figures
from tests.storm.payments import Payments
from tests.storm.world import World

CLIENTS = 40
QUOTAS = [100_000] * 3 + [120, 180]  # units; the small ones are used up during the storm
CALM = 8  # seconds that clients go on after the last fault: it must be over in 5
DELIVERED_WITHIN = 60  # seconds, after that, for Paddle's events that were not taken yet
SETTLED_WITHIN = 300  # seconds: a reservation's time, an event's longest wait, and the sweep each minute
SHOWN = 8  # of each kind of broken promise
ALARM = (290, 100)  # seconds after which the run is given up: of these, and of these for each seed


class Storm:
    """One seed's storm. It rages when it is made; it can be judged once what it left has run its time."""

    def __init__(self, seed: int, seconds: float) -> None:
        self.seed, self.all_held = seed, False
        chance = random.Random(seed)
        self.world = World(chance, str(seed))
        _say(f"seed {seed}: {self.world.service.url}")
        try:
            self._rage(chance, seconds)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self.world.close(keep_logs=not self.all_held)
        if not self.all_held:
            _say(f"seed {self.seed}: logs are in {self.world.logs}")

    def judge(self, figures: Figures) -> int:
        """Wait until all is done that is to be done, then say what does not hold; how much that is."""
        done_after = self._wait_for_the_rest()
        ledger = verdict.Ledger(self.world.service.database)
        found = self._broken_promises(ledger)
        self.all_held = not found
        figures.add_faults(self.struck, self.crowd.attempts)
        figures.seeds.append([*map(str, self._figures(ledger)), f"{done_after:.0f} s", str(len(found))])
        _say(f"seed {self.seed}: {'all holds' if not found else f'{len(found)} broken promises'}")
        return len(found)

    def _rage(self, chance: random.Random, seconds: float) -> None:
        with ThreadPoolExecutor(4) as pool:
            tokens = list(pool.map(lambda quota: self.world.service.issue(quota=quota), QUOTAS))
        holders = {f"license {number}": token for number, token in enumerate(tokens)}
        self.ample = {f"license {number}" for number, quota in enumerate(QUOTAS) if quota >= 100_000}
        self.crowd = Crowd(self.world.service.port, holders, CLIENTS, self.seed)
        self.payments = Payments(self.world, self.seed, seconds)
        with ExitStack() as stack:
            stack.callback(self.crowd.stop)
            stack.callback(self.payments.finish)
            self.crowd.start()
            self.payments.start()
            self.struck = faults.rage(self.world, chance, seconds)
            time.sleep(CALM)
            self.payments.finish(DELIVERED_WITHIN)
        self.ended, self.load = time.monotonic(), os.getloadavg()[0]
        for one in self.struck:
            _say(f"  {one.began - self.struck[0].began:5.1f} s  {one.name} ({one.ended - one.began:.1f} s)")

    def _wait_for_the_rest(self) -> float:
        """Until no reservation is open and nothing waits; how many seconds after the storm that was."""
        sql = " UNION ALL ".join([
            "SELECT 'reservations' FROM billing_usagerecord WHERE state = 'reserved'",
            "SELECT 'events' FROM billing_webhookevent WHERE state = 'waiting'",
            "SELECT 'mails' FROM billing_mail WHERE state = 'waiting'",
            "SELECT 'errands' FROM billing_errand WHERE state = 'waiting'",
        ])  # fmt: skip
        database = self.world.service.database
        try:
            wait_until(lambda: not database.sql(sql), max(1.0, self.ended + SETTLED_WITHIN - time.monotonic()))
        except AssertionError:
            _say(f"  after {SETTLED_WITHIN} s there still wait: {Counter(kind for (kind,) in database.sql(sql))}")
        return time.monotonic() - self.ended

    def _broken_promises(self, ledger: verdict.Ledger) -> list[str]:
        service, attempts, struck = self.world.service, self.crowd.attempts, self.struck
        promises = {
            "clear answers": verdict.clear_answers(attempts, struck, ledger, self.ample),
            "each answer charged once": verdict.each_answer_is_charged_once(attempts, ledger),
            "no charge without an answer": verdict.no_charge_without_an_answer(attempts, struck, ledger),
            "no quota exceeded": verdict.no_quota_exceeded(service.database),
            "nothing left open": verdict.nothing_left_open(service.database, ledger),
            "every event processed": verdict.every_event_is_processed(service.database, self.payments),
            "licenses as paid for": verdict.as_paid_for(service.database, self.payments.expected),
            "health always answers": verdict.health_always_answers(self.crowd.probes, struck),
            "the provider is asked in its words": self.world.provider.not_understood,
            "reconcile is silent": service.reconcile().splitlines(),
        }
        broken = []
        for promise, lines in promises.items():
            found = list(lines)
            broken += found
            for line in found[:SHOWN]:
                _say(f"  BROKEN, {promise}: {line}")
            if len(found) > SHOWN:
                _say(f"  and {len(found) - SHOWN} more of this kind")
        return broken

    def _figures(self, ledger: verdict.Ledger) -> list[Any]:
        attempts, probes = self.crowd.attempts, self.crowd.probes
        outcomes = Counter(one.outcome for one in attempts)
        refused = {name: count for name, count in outcomes.items() if name not in {"answered", "degraded", "broken"}}
        _say(f"  refused: {refused or 'none'}")
        return [
            self.seed, len(self.struck), len(attempts), outcomes["answered"], outcomes["degraded"],
            sum(refused.values()), outcomes["broken"], len(verdict.in_flight_at_kills(attempts, self.struck)),
            len(verdict.charged_without_answer(attempts, ledger)),
            f"{max(one.ended - one.began for one in attempts):.1f} s",
            f"{max(one.ended - one.began for one in probes if one.path == '/health'):.1f} s",
            self.payments.delivered, f"{self.load:.0f} on {os.cpu_count()} cores",
        ]  # fmt: skip


def main() -> int:
    options = _options()
    prepare_environment()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    signal.signal(signal.SIGALRM, lambda *_: sys.exit("given up: this took far longer than it should"))
    signal.alarm(ALARM[0] + ALARM[1] * options.seeds)
    began, figures = time.monotonic(), Figures()
    broken = _storms(range(options.first, options.first + options.seeds), options.seconds, figures)
    signal.alarm(0)
    _say(f"\n{figures.tables()}\n\n{time.monotonic() - began:.0f} s in all")
    return 1 if broken else 0


def _storms(seeds: range, seconds: float, figures: Figures) -> int:
    """One after the other; each is judged when the next is over, since what it left needs minutes to run out."""
    broken, storms = 0, list[Storm]()
    try:
        for seed in seeds:
            storms.append(Storm(seed, seconds))
            if len(storms) == 2:
                broken += storms[0].judge(figures)
                storms.pop(0).close()
        return broken + sum(storm.judge(figures) for storm in storms)
    finally:
        for storm in storms:
            storm.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.storm", description=sys.modules["tests.storm"].__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--seconds", type=float, default=35, help="over which the faults are spread")
    return parser.parse_args()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

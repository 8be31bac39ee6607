"""What goes wrong, and when. A fault is a function that returns when it is over."""

import itertools
import random
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import psutil

from tests.storm.world import World

Fault = Callable[[World, random.Random], None]
_postgres = threading.Lock()  # it is not restarted while it is being restarted


@dataclass
class Struck:
    """A fault that happened. Times are monotonic seconds."""

    name: str
    began: float
    ended: float


def kill_web_worker(world: World, chance: random.Random) -> None:
    with suppress(psutil.NoSuchProcess, IndexError):
        chance.choice(world.web_workers()).kill()


def kill_worker(world: World, chance: random.Random) -> None:
    world.kill_worker()


def restart_postgres_fast(world: World, chance: random.Random) -> None:
    with _postgres:
        world.restart_postgres("fast")


def restart_postgres_immediate(world: World, chance: random.Random) -> None:
    with _postgres:
        world.restart_postgres("immediate")


def stop_valkey(world: World, chance: random.Random) -> None:
    world.stop_valkey()
    time.sleep(chance.uniform(1, 4))
    world.start_valkey()


def cut_database(world: World, chance: random.Random) -> None:
    world.database_proxy.cut()


def cut_cache(world: World, chance: random.Random) -> None:
    world.cache_proxy.cut()


def delay_database(world: World, chance: random.Random) -> None:
    world.database_proxy.delay = chance.uniform(0.02, 0.1)
    time.sleep(3)
    world.database_proxy.delay = 0


def delay_cache(world: World, chance: random.Random) -> None:
    world.cache_proxy.delay = chance.uniform(0.1, 0.7)
    time.sleep(3)
    world.cache_proxy.delay = 0


def wild_provider(world: World, chance: random.Random) -> None:
    world.provider.go_wild()
    time.sleep(chance.uniform(4, 8))
    world.provider.calm_down()


def deploy(world: World, chance: random.Random) -> None:
    """gunicorn's reload: new processes take over, those before end what they have begun."""
    world.service.process.send_signal(signal.SIGHUP)


EACH: list[Fault] = [
    kill_web_worker, kill_web_worker, kill_web_worker, kill_worker, kill_worker, restart_postgres_fast, stop_valkey,
    cut_database, cut_cache, delay_database, delay_cache, wild_provider, deploy, deploy, restart_postgres_immediate,
]  # fmt: skip


def schedule(chance: random.Random, seconds: float) -> list[tuple[float, Fault]]:
    """Every fault at a moment that the seed decides, in an order that it decides too.

    But that PostgreSQL's gentle restart comes before the other, and that something else comes between two kills of web
    processes: where they die faster than they start, nobody can be served.
    """
    faults = chance.sample(EACH, len(EACH))
    while any(pair == (kill_web_worker, kill_web_worker) for pair in itertools.pairwise(faults)):
        chance.shuffle(faults)
    first, second = sorted([faults.index(restart_postgres_fast), faults.index(restart_postgres_immediate)])
    faults[first], faults[second] = restart_postgres_fast, restart_postgres_immediate
    share = seconds / len(faults)
    return [((number + chance.random()) * share, fault) for number, fault in enumerate(faults)]


def rage(world: World, chance: random.Random, seconds: float) -> list[Struck]:
    """Let the faults strike, spread over so many seconds; one may come while another lasts."""
    began = time.monotonic()
    with ThreadPoolExecutor(len(EACH)) as pool:
        striking = []
        for moment, fault in schedule(chance, seconds):
            time.sleep(max(0.0, began + moment - time.monotonic()))
            striking.append(pool.submit(_strike, fault, world, random.Random(chance.random())))
        return [one.result() for one in striking]


def _strike(fault: Fault, world: World, chance: random.Random) -> Struck:
    began = time.monotonic()
    fault(world, chance)
    return Struck(fault.__name__, began, time.monotonic())

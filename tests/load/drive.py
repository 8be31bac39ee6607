"""One measured drive: the client asks for some seconds, and what it got is held against calls and ledger."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.load import machine
from tests.load.client import Job, Result, ask
from tests.load.costs import Processes
from tests.load.world import World
from tests.service import Database


class Void(AssertionError):
    """Answers, the provider's calls and settled entries are not the same number: nothing of the run counts."""


@dataclass
class Measured:
    """A drive's figures."""

    result: Result
    cpu: dict[str, float] = field(default_factory=dict)  # process -> CPU milliseconds a good answer
    memory: dict[str, float] = field(default_factory=dict)  # process -> MiB at its end
    load: float = 0.0  # processes that wanted to run before it began

    def figures(self) -> dict[str, float]:
        """By name, as reports show them."""
        result = self.result
        return {
            "requests/s": result.rate,
            "p50 ms": result.percentile(50),
            "p95 ms": result.percentile(95),
            "p99 ms": result.percentile(99),
            **{f"CPU ms, {name}": value for name, value in self.cpu.items()},
            **{f"MiB, {name}": value for name, value in self.memory.items()},
            "not as asked": sum(result.others.values()),
        }


def measure(job: Job, costs: dict[str, Processes]) -> Measured:
    """Drive, and say what it cost each of the processes; the driver is one more of them."""
    load = machine.load()
    before = {name: processes.cpu() for name, processes in costs.items()}
    result = ask(job)
    answers = max(1, result.good)
    cpu = {name: (processes.cpu() - before[name]) * 1000 / answers for name, processes in costs.items()}
    cpu["driver"] = result.cpu * 1000 / answers
    return Measured(result, cpu, {name: processes.memory() for name, processes in costs.items()}, load)


class Books:
    """The provider's calls and the ledger's settled entries, before and after."""

    def __init__(self, world: World, database: Database) -> None:
        self._world, self._database = world, database
        self._last = database.value("SELECT coalesce(max(id), 0) FROM billing_usagerecord")  # not to count millions
        self._calls, self._settled = self._count()

    def must_have(self, answers: int) -> None:
        """Raises Void unless exactly so many answers were asked of the provider and settled."""
        calls, settled = self._count()
        found = calls - self._calls, settled - self._settled
        if found != (answers, answers):
            raise Void(f"{answers} answers, {found[0]} calls of the provider, {found[1]} settled entries")

    def _count(self) -> tuple[int, int]:
        settled = self._database.value(
            "SELECT count(*) FROM billing_usagerecord WHERE id > %s AND state = 'settled'", self._last
        )
        return self._world.provider.calls(), int(settled)


def paid(world: World, database: Database, job: Job, costs: dict[str, Processes]) -> Measured:
    """A drive of paid suggestions, which only counts if all agree on how many there were."""
    books = Books(world, database)
    measured = measure(job, costs)
    books.must_have(measured.result.good)
    return measured


def rounds(count: int, drives: dict[str, Callable[[], Measured]]) -> dict[str, list[Measured]]:
    """All drives once, and all again, so that what the machine does meanwhile falls on each of them alike."""
    found: dict[str, list[Measured]] = {name: [] for name in drives}
    for number in range(count):
        for name, drive in drives.items():
            found[name].append(drive())
            say(
                f"round {number + 1}, {name}: {found[name][-1].result.rate:.0f}/s {found[name][-1].result.others or ''}"
            )
    return found


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)  # noqa: T201  # a command's output

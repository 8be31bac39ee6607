"""What is printed of the storms: a table of seeds, and one of faults."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.storm import verdict
from tests.storm.clients import Attempt
from tests.storm.faults import Struck


@dataclass
class Figures:
    """What many storms add up to."""

    seeds: list[list[str]] = field(default_factory=list)
    struck: Counter[str] = field(default_factory=Counter)
    touched: Counter[str] = field(default_factory=Counter)
    normal_after: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add_faults(self, struck: list[Struck], attempts: list[Attempt]) -> None:
        self.struck.update(one.name for one in struck)
        for attempt in attempts:
            felt = [(late, one.name) for one in struck if (late := verdict.lateness(attempt, [one])) is not None]
            if felt and min(felt)[0] <= verdict.RECOVERED:
                late, name = min(felt)
                self.touched[name] += 1
                self.normal_after[name] = max(self.normal_after[name], late)

    def tables(self) -> str:
        faults = [
            [name, count, self.touched[name], f"{self.normal_after[name]:.1f} s"]
            for name, count in sorted(self.struck.items())
        ]
        return (
            _table([
                "seed", "faults", "requests", "answered", "degraded", "refused", "broken", "in flight at kills",
                "charged, answer lost", "slowest answer", "slowest /health", "events delivered", "load average",
                "all done after", "broken promises",
            ], self.seeds)
            + "\n\n"
            + _table(["fault", "times", "requests that felt it", "as usual again after"], faults)
        )  # fmt: skip


def _table(head: list[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)

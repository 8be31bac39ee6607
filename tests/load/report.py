"""Tables and pictures of what was measured: Markdown and SVG in `docs/benchmarks/`, written and drawn by hand."""

import statistics
from html import escape
from pathlib import Path

from tests.load import machine
from tests.load.drive import Measured

FOLDER = Path("docs/benchmarks")
SHOWN = 3  # significant digits: the spread is larger than what comes after
WIDTH, LINE, LABEL = 720, 26, 260  # of a picture, pixels


class Report:
    """One command's page and pictures, written by `write`."""

    def __init__(self, name: str, title: str, folder: Path) -> None:
        self._name, self._folder = name, folder
        self._lines = [f"# {title}", ""]
        self._pictures: dict[str, str] = {}

    def say(self, *lines: str) -> None:
        """A paragraph."""
        self._lines += [*lines, ""]

    def machine(self, servers: str, busy: float) -> None:
        """What it was measured on; `busy` is the load before the first drive."""
        self._lines += [f"- {line}" for line in machine.describe(servers)]
        self._lines += [f"- processes that wanted to run before it began: {busy:.1f}", ""]

    def table(self, found: dict[str, list[Measured]]) -> None:
        """A column for each drive, a row for each figure: median, and smallest to largest of the rounds."""
        by_drive = {name: _by_figure(measured) for name, measured in found.items()}
        names = list(dict.fromkeys(figure for figures in by_drive.values() for figure in figures))
        rows = [[name, *(_spread(figures.get(name, [])) for figures in by_drive.values())] for name in names]
        self.rows(["", *by_drive], rows)
        self._explain(found)

    def rows(self, head: list[str], rows: list[list[str]]) -> None:
        self._lines += ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]] + [""]

    def bars(self, slug: str, title: str, found: dict[str, list[Measured]], figure: str) -> None:
        """A picture: a bar for each drive's median, a line from its smallest to its largest."""
        values = {name: [one.figures()[figure] for one in measured] for name, measured in found.items()}
        self._pictures[f"{self._name}-{slug}.svg"] = svg(title, values)
        self._lines += [f"![{title}]({self._name}-{slug}.svg)", ""]

    def write(self) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        for name, picture in self._pictures.items():
            (self._folder / name).write_text(picture)
        page = self._folder / f"{self._name}.md"
        page.write_text("\n".join(self._lines).strip() + "\n")
        return page

    def _explain(self, found: dict[str, list[Measured]]) -> None:
        """What answers were not as asked, and why."""
        for name, measured in found.items():
            for number, one in enumerate(measured, 1):
                for outcome, count in one.result.others.items():
                    self._lines += [f"- {name}, round {number}: {count} times `{outcome}`"]
        self._lines += [""]


def ratio(found: dict[str, list[Measured]], one: str, other: str, figure: str) -> str:
    """How many times the other's figure one's is: of the medians, and of each round's pair."""
    pairs = list(zip(found[one], found[other], strict=True))
    each = [a.figures()[figure] / b.figures()[figure] for a, b in pairs if b.figures()[figure]]
    return _spread(each)


def svg(title: str, values: dict[str, list[float]]) -> str:
    """Horizontal bars from 0, with the spread of each drawn over it."""
    most = max((max(numbers) for numbers in values.values()), default=0) or 1
    scale = (WIDTH - LABEL - 150) / most
    drawn = [f'<text x="8" y="20" font-weight="bold">{escape(title)}</text>']
    for number, (name, numbers) in enumerate(values.items()):
        y, middle = 36 + number * LINE, statistics.median(numbers)
        low, high = (LABEL + scale * value for value in (min(numbers), max(numbers)))
        drawn += [
            f'<text x="8" y="{y + 14}">{escape(name)}</text>',
            f'<rect x="{LABEL}" y="{y}" width="{scale * middle:.1f}" height="18" fill="#4f7cac"/>',
            f'<path d="M{low:.1f} {y + 9}H{high:.1f}M{low:.1f} {y + 5}v8M{high:.1f} {y + 5}v8" stroke="#1b2a3a"/>',
            f'<text x="{max(high, LABEL + scale * middle) + 8:.1f}" y="{y + 14}">{_spread(numbers)}</text>',
        ]
    height = 44 + len(values) * LINE
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        f' font-family="sans-serif" font-size="13" role="img" aria-label="{escape(title)}">\n'
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>\n' + "\n".join(drawn) + "\n</svg>\n"
    )


def _by_figure(measured: list[Measured]) -> dict[str, list[float]]:
    rounds = [one.figures() for one in measured]
    return {name: [figures[name] for figures in rounds if name in figures] for name in rounds[0]}


def _spread(values: list[float]) -> str:
    if not values:
        return ""
    low, middle, high = min(values), statistics.median(values), max(values)
    return digits(middle) if low == high else f"{digits(middle)} ({digits(low)} to {digits(high)})"


def digits(value: float) -> str:
    """A number with as many digits as mean something."""
    if value != value or value >= 10**SHOWN:  # noqa: PLR0124  # not a number: no good answer at all
        return f"{value:,.0f}"
    return f"{value:.{SHOWN}g}"

"""How many reminders the built-in suggester gets right, and which not: `python -m tests.suggestions.local_accuracy`."""

import sys

from suggestions.providers import local
from tests.suggestions.reminders import HELD_OUT, NOW, TUNED_ON, ZONE, Row


def given(row: Row) -> tuple[str, str, str | None]:
    """What the suggester makes of a reminder, to compare with `expected`."""
    suggestion = local.suggest(row.text, NOW, ZONE)
    due = suggestion.due
    return suggestion.text, suggestion.priority, due.at.strftime("%Y-%m-%d %H:%M") if due else None


def expected(row: Row) -> tuple[str, str, str | None]:
    return row.suggested, row.priority, row.due


def share_right(rows: list[Row]) -> float:
    """Of 1: the rows with text, priority and due time all as expected."""
    return sum(given(row) == expected(row) for row in rows) / len(rows)


if __name__ == "__main__":
    for name, rows in (("tuned on", TUNED_ON), ("held out", HELD_OUT)):
        for row in rows:
            if given(row) != expected(row):
                sys.stdout.write(f"{row.text}\n    expected {expected(row)}\n    given    {given(row)}\n")
        sys.stdout.write(f"{name}: {share_right(rows):.1%} of {len(rows)}\n")

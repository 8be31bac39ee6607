"""Rows as CSV, for spreadsheets: streamed, a page at a time by key, so that no process and no pooler holds much."""

import csv
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse

PAGE = 2_000
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # what a spreadsheet would take a cell for, by its first character

Columns = Sequence[tuple[str, Callable[[Any], Any]]]


class _Echo:
    """A file for csv that gives each line back instead of keeping it."""

    def write(self, line: str) -> str:
        return line


def as_csv(rows: "QuerySet[Any]", columns: Columns, filename: str) -> StreamingHttpResponse:
    """A response of these rows, newest first.

    Each page is a statement of its own, with no cursor and no transaction kept open in between, so this works through
    a pooler in transaction mode; an entry that comes meanwhile is left out, since it is newer than the first page.
    """
    response = StreamingHttpResponse(_lines(rows, columns), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{filename}"'
    return response


def _lines(rows: "QuerySet[Any]", columns: Columns) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield writer.writerow([name for name, _ in columns])
    for row in _by_key(rows):
        yield writer.writerow([neutral(value(row)) for _, value in columns])


def _by_key(rows: "QuerySet[Any]") -> Iterator[Any]:
    rows, below = rows.order_by("-pk"), None
    while page := list((rows if below is None else rows.filter(pk__lt=below))[:PAGE]):
        yield from page
        below = page[-1].pk


def neutral(value: Any) -> Any:
    """The cell, so that no spreadsheet takes text for a formula (OWASP: CSV injection); numbers stay numbers."""
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return "" if value is None else value

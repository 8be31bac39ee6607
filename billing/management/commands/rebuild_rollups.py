"""`manage.py rebuild_rollups`: the console's daily sums, from the ledger anew."""

from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing import rollups


def day(text: str) -> date:
    return date.fromisoformat(text)


class Command(BaseCommand):
    help = "Sums up the ledger by day anew, for the console's home; the ledger itself is only read."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--since", type=day, metavar="YYYY-MM-DD", help="UTC; the ledger's first day if left out")

    def handle(self, *args: Any, since: date | None = None, **options: Any) -> None:
        if since is not None and since.year < 2000:
            raise CommandError("Give a day of this century.")
        self.stdout.write(f"{rollups.rebuild(since)} days summed up.")

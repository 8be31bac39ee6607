"""`manage.py housekeeping`: sweep once, now. In production a schedule does it every minute."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError

from billing import housekeeping


class Command(BaseCommand):
    help = "Releases abandoned reservations, deletes expired idempotency keys, mails what operators are to know."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            counts = housekeeping.run()
        except DatabaseError as error:
            reason = str(error).strip().split("\n")[0]
            raise CommandError(f"Not all could be swept up: {reason}") from None
        for what, count in counts.items():
            self.stdout.write(f"{what}: {count}")

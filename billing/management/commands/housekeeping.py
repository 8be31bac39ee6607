"""`manage.py housekeeping`: sweep once, now. In production a schedule does it every minute."""

from typing import Any

from django.core.management.base import BaseCommand

from billing import housekeeping


class Command(BaseCommand):
    help = "Releases abandoned reservations, deletes expired idempotency keys, mails what operators are to know."

    def handle(self, *args: Any, **options: Any) -> None:
        for what, count in housekeeping.run().items():
            self.stdout.write(f"{what}: {count}")

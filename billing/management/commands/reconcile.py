"""`manage.py reconcile`: silent and exit 0 when the books are right; else each difference, and exit 1."""

import sys
from typing import Any

from django.core.management.base import BaseCommand

from billing import reconcile


class Command(BaseCommand):
    help = (
        "Proves that counters, ledger, prices and idempotency keys agree. Exits 1 and names each license that differs."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        found = 0
        for difference in reconcile.differences():
            found += 1
            self.stdout.write(str(difference))
        if found:
            sys.exit(1)

"""`manage.py reconcile`: silent and exit 0 when the books are right; else each difference, and exit 1.

Exit 2 where they could not be read, or not to their end: then nothing is known of them.
"""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError

from billing import reconcile


class Command(BaseCommand):
    help = (
        "Proves that counters, ledger, prices and idempotency keys agree. Exits 1 and names each license that differs;"
        " exits 2 where they could not be read."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        found = 0
        try:
            for difference in reconcile.differences():
                found += 1
                self.stdout.write(str(difference))
        except DatabaseError as error:
            reason = str(error).strip().split("\n")[0]
            raise CommandError(f"The books could not be read: {reason}", returncode=2) from None
        if found:
            sys.exit(1)

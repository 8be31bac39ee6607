"""How often the API refused, by day, code and license: counted in this process, added up in the database.

A refusal must cost the database nothing at the moment it is made, or whoever is refused often could keep it busy. So a
process gathers counts for some seconds and then adds them in one go; killed in between, it loses those seconds.
"""

import atexit
import threading
from collections import Counter
from datetime import date

import structlog
from django.conf import settings
from django.db import Error, connections
from django.db.models import F
from django.utils import timezone

from billing.models import DailyRefusals

EVERY = 5.0  # seconds
MOST_KEYS = 10_000  # gathered while the database can't be reached; then only what is there goes on counting

Key = tuple[date, str, int]

logger = structlog.get_logger(__name__)


class Gathered:
    """The counts of one process that the database does not have yet."""

    def __init__(self) -> None:
        self._counts: Counter[Key] = Counter()
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def add(self, code: str, license_number: int) -> None:
        """Count one refusal; a timer writes it soon."""
        key = (timezone.now().date(), code, license_number)
        with self._lock:
            if key in self._counts or len(self._counts) < MOST_KEYS:
                self._counts[key] += 1
            if self._timer is None and settings.WEB_PROCESS:
                self._timer = threading.Timer(EVERY, self._write_later)
                self._timer.daemon = True
                self._timer.start()

    def write(self) -> None:
        """Add to the database what was gathered; kept for the next time where that fails."""
        with self._lock:
            counts, self._counts, self._timer = self._counts, Counter(), None
        for key in sorted(counts):  # in one order, so that two processes never wait for each other
            try:
                _add(key, counts[key])
            except Error as error:
                logger.warning("refusals_not_written", error=type(error).__name__)
                with self._lock:
                    self._counts.update(counts)
                return
            del counts[key]

    def _write_later(self) -> None:
        try:
            self.write()
        finally:
            connections.close_all()  # this thread's


gathered = Gathered()
count = gathered.add
write = gathered.write
atexit.register(lambda: gathered.write() if gathered._counts else None)


def _add(key: Key, number: int) -> None:
    row = dict(zip(("day", "code", "license_number"), key, strict=True))
    if not DailyRefusals.objects.filter(**row).update(count=F("count") + number):
        DailyRefusals.objects.bulk_create([DailyRefusals(**row)], ignore_conflicts=True)
        DailyRefusals.objects.filter(**row).update(count=F("count") + number)

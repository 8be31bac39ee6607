"""By when the request that is under way must be answered: what each of its waits for the database is cut down to.

Who sets it knows what was promised to whom; the connection (`remind_site.postgres`) keeps it.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf

_ends_at: ContextVar[float] = ContextVar("ends_at", default=inf)


@contextmanager
def deadline(ends_at: float) -> Iterator[None]:
    """Whatever is asked of the database inside is answered by then (monotonic seconds), or given up."""
    before = _ends_at.set(ends_at)
    try:
        yield
    finally:
        _ends_at.reset(before)


def time_left() -> float:
    """Seconds; none left is 0, and no deadline infinity."""
    return max(0.0, _ends_at.get() - time.monotonic())

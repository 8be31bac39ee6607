"""What is swept up every minute: what waits in the outbox, ends that no event announces, and what is left over.

Each part is idempotent, safe to run on several machines at once, and does not keep the others from their turn.
"""

from collections.abc import Callable

import structlog
from django.db import InterfaceError, OperationalError

from billing import budget, idempotency, mails, notices, quota, rollups, sales
from billing.paddle import errands, events

Part = Callable[[], int]

OUTBOX: dict[str, Part] = {
    "events_processed": events.process_due,
    "errands_run": errands.run_due,
    "ends_handled": sales.handle_ends,
    "mails_sent": mails.send_due,
}
LEFTOVERS: dict[str, Part] = {
    "reservations_released": quota.release_abandoned,
    "keys_deleted": idempotency.delete_expired,
    "notices_queued": notices.queue_due,
    "notices_sent": budget.send_notices,
    "days_summed_up": rollups.refresh,
}

logger = structlog.get_logger(__name__)


def run() -> dict[str, int]:
    """Sweep once; says how much of each there was."""
    return _do({**LEFTOVERS, **OUTBOX})


def run_outbox() -> dict[str, int]:
    """Only what waits in the outbox: for when something was just put there."""
    return _do(OUTBOX)


def _do(parts: dict[str, Part]) -> dict[str, int]:
    counts: dict[str, int] = {}
    failure: Exception | None = None
    for name, part in parts.items():
        try:
            counts[name] = part()
        except (OperationalError, InterfaceError) as error:  # no bug, so no traceback
            logger.error("housekeeping_failed", part=name, error=type(error).__name__, reason=str(error).split("\n")[0])
            failure = error
        except Exception as error:  # the others must have their turn
            logger.error("housekeeping_failed", part=name, exc_info=error)
            failure = error
    if failure is not None:
        raise failure
    return counts

"""What is swept up every minute: abandoned reservations, expired keys, notices to operators not yet mailed.

Each part is idempotent and safe to run on several machines at once.
"""

from billing import budget, idempotency, quota


def run() -> dict[str, int]:
    """Sweep once; says how much of each there was."""
    return {
        "reservations_released": quota.release_abandoned(),
        "keys_deleted": idempotency.delete_expired(),
        "notices_sent": budget.send_notices(),
    }

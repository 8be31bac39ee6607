"""Whether a notification really comes from Paddle: its signature, by the SDK's verifier, and its address."""

import logging

from django.conf import settings
from django.http import HttpRequest


def is_genuine(request: HttpRequest) -> bool:
    """Whether one of our secrets signed this very body, not long ago.

    The verifier answers False, or raises one of many exceptions, depending on what is wrong: all are a no.
    """
    from paddle_billing.Logger import get_logger  # not above: the SDK would be a third of what each web process loads
    from paddle_billing.Notifications import Secret, Verifier

    # It logs each step, and each failure at a level of its own choice; the one line about a refusal is ours.
    get_logger().setLevel(logging.CRITICAL + 1)
    secrets = [Secret(secret) for secret in settings.PADDLE_WEBHOOK_SECRETS]
    try:
        return Verifier(settings.PADDLE_CLOCK_TOLERANCE_SECONDS).verify(request, secrets) is True
    except Exception:  # noqa: BLE001  # what else it may raise is not documented
        return False

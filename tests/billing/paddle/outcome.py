"""What a life at Paddle came to, in a form that can be compared; and how to try many of them in one test."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction

from billing.models import Adjustment, Customer, Mail, Payment, Subscription
from licenses.models import License
from tests.paddle import Life

FACTS = [
    "status", "status_since", "price_ids", "former_price_ids",
    "quantity", "period_starts_at", "period_ends_at", "unpaid_from",
    "scheduled_action", "scheduled_at", "plan__slug", "entitled_until", "end_handled",
]  # fmt: skip
LICENSE = ["plan__slug", "paid_plan__slug", "paid_until", "paid_ending", "suspended_at", "expires_at"]
PAYMENT = ["status", "amount", "currency", "period_ends_at", "completed_at"]


def license_of(life: Life) -> License:
    return License.objects.get(subscriptions__paddle_id=life.subscription_id)


def outcome(life: Life) -> dict[str, Any]:
    """Facts, license, payments and token mails of one life."""
    license = license_of(life)
    return {
        "facts": Subscription.objects.filter(paddle_id=life.subscription_id).values(*FACTS).get(),
        "license": License.objects.filter(pk=license.pk).values(*LICENSE).get(),
        "owner": license.email.replace(life.email, "the buyer"),
        "licenses": Customer.objects.filter(paddle_id=life.customer_id, license=license).count(),
        "payments": list(Payment.objects.filter(customer__paddle_id=life.customer_id).values(*PAYMENT)),
        "adjustments": list(
            Adjustment.objects.filter(payment__paddle_id=life.transaction_id).values("action", "status", "amount")
        ),
        "token_mails": Mail.objects.filter(license=license, kind="token").count(),
    }


@contextmanager
def taken_back() -> Iterator[None]:
    """Whatever is written within is gone afterwards, in the midst of a test's transaction."""
    # The planner's statistics do not see what one transaction writes: left to itself, it may take to scanning.
    connection.cursor().execute("SET LOCAL enable_seqscan = off")
    world = transaction.savepoint()
    try:
        yield
    finally:
        transaction.savepoint_rollback(world)

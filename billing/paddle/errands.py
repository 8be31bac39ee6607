"""What is to be asked of Paddle's API outside requests: a customer's address, a subscription's cancellation."""

from billing import outbox
from billing.models import Customer, Errand
from billing.paddle import api, events

# Said of a subscription that is over, or going to be: then there is nothing left to cancel.
ALREADY_ENDING = {
    "subscription_is_canceled_action_invalid",
    "subscription_locked_pending_changes",
    "subscription_update_when_canceled",
}


def run_due() -> int:
    """Do what is due; says how many errands were tried."""
    return outbox.do_due(Errand.objects.all(), run)


def run(errand: Errand) -> None:
    """Do one errand; what comes of it is stored and processed like a notification.

    Raises:
        api.PaddleUnavailable: to be tried again.
        outbox.NeedsPerson: Paddle refuses.
    """
    try:
        if errand.kind == Errand.Kind.FETCH_CUSTOMER:
            _fetch_customer(errand.subject)
        else:
            _cancel(errand.subject)
    except api.PaddleRefused as refused:
        raise outbox.NeedsPerson(f"Paddle refuses ({refused}).") from None
    outbox.close(errand)


def _fetch_customer(customer_id: str) -> None:
    _record("customer.updated", api.customer(customer_id))
    if not Customer.objects.filter(paddle_id=customer_id).exclude(email="").exists():
        raise outbox.NeedsPerson("Paddle knows no email address of this customer, so there is no license yet.")


def _cancel(subscription_id: str) -> None:
    try:
        data = api.cancel_at_period_end(subscription_id)
    except api.PaddleRefused as refused:
        if refused.code not in ALREADY_ENDING:
            raise
        data = api.subscription(subscription_id)
    _record(events.API_STATE, data)


def _record(event_type: str, data: dict[str, object]) -> None:
    stored = events.record(event_type, data)
    if stored is not None:
        outbox.attempt(stored, events.process)

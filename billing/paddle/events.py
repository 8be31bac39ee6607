"""Notifications from Paddle, from the stored event to facts: kept as they came, then processed in one transaction.

Processing an event means to read all stored events about the same object, put them in order (`billing.paddle.facts`),
write the facts that come out, and let the license follow (`billing.sales`). So it makes no difference in what order,
how often, or by how many processes at once events are delivered. What fails stays in the outbox and is tried again.
"""

import json
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

from django.db import models, transaction
from django.utils import timezone

from billing import outbox, sales
from billing.models import Adjustment, Customer, Payment, State, Subscription, WebhookEvent
from billing.paddle import facts
from billing.paddle.facts import Event
from licenses.errors import Invalid

# Who stores an event also processes it, at once; should that process die, the worker does it after so long.
ORPHANED_AFTER = timedelta(seconds=20)
KNOWN_ACTIONS = {
    "credit", "credit_reverse", "refund", "chargeback", "chargeback_reverse", "chargeback_warning",
    "chargeback_warning_reverse",
}  # fmt: skip
WARNINGS = {"chargeback_warning"}
API_STATE = "subscription.asked"  # our own: what Paddle's API said about it
# Of a checkout that nobody has paid (yet).
UNPAID = {f"transaction.{step}" for step in ("created", "ready", "updated", "billed", "revised")}

Row = TypeVar("Row", bound=models.Model)


def store(body: str) -> WebhookEvent | None:
    """Keep a notification as it came; None where this event was kept before.

    Raises:
        Invalid: it is no JSON object with an `event_id` and an `event_type`.
    """
    notification = _read(body)
    event_id = facts.text(notification, "event_id", most=150)
    event_type = facts.text(notification, "event_type", most=100)
    if not event_id or not event_type:
        raise Invalid("A notification needs an event_id and an event_type.")
    event = WebhookEvent(
        event_id=event_id,
        event_type=event_type,
        occurred_at=facts.moment(notification, "occurred_at"),
        subject=facts.text(facts.mapping(notification, "data"), "id"),
        body=body,
        due_at=timezone.now() + ORPHANED_AFTER,
    )
    WebhookEvent.objects.bulk_create([event], ignore_conflicts=True)
    return WebhookEvent.objects.filter(event_id=event_id, state=State.WAITING, tries=0).first()


def process_due() -> int:
    """Process the events whose turn it is; says how many were tried."""
    return outbox.do_due(WebhookEvent.objects.all(), process)


@transaction.atomic
def process(stored: WebhookEvent) -> None:
    """Turn one stored event into facts and what follows from them, unless that was done."""
    row = WebhookEvent.objects.select_for_update().get(pk=stored.pk)
    if row.state != State.WAITING:
        return
    notes = [] if row.event_type in known_types() else [f"Events of the type '{row.event_type}' are not known here."]
    handle = None if row.event_type in UNPAID else HANDLERS.get(row.event_type.partition(".")[0])
    if handle is not None:
        event = facts.event_of(row.body)
        if event is None or not row.subject:
            raise outbox.NeedsPerson("The event does not say when it occurred, or what it is about.")
        notes += handle(event, row.subject)
    well = State.DONE if handle else State.IGNORED
    outbox.close(row, State.FLAGGED if notes else well, " ".join(dict.fromkeys(notes)))


def process_again(stored: WebhookEvent) -> WebhookEvent:
    """Process an event now, whatever became of it before; the event as it then is."""
    outbox.reopen(stored)
    stored.refresh_from_db()
    outbox.attempt(stored, process)
    stored.refresh_from_db()
    return stored


def record(event_type: str, data: dict[str, Any]) -> WebhookEvent | None:
    """Keep what Paddle's API says about an object, as an event that occurred when the object was last changed.

    Returns:
        The event to process; None where it was kept before.
    """
    return store(json.dumps(envelope(event_type, data)))


def envelope(event_type: str, data: dict[str, Any]) -> dict[str, Any]:
    """An answer of Paddle's API in the form of a notification."""
    changed_at = facts.text(data, "updated_at")
    return {
        "event_id": f"api_{facts.text(data, 'id')}_{changed_at}",
        "event_type": event_type,
        "occurred_at": changed_at,
        "data": data,
    }


def stored_about(subject: str) -> list[Event]:
    """All events about an object that state facts, in no order."""
    stored = WebhookEvent.objects.filter(subject=subject).exclude(event_type__in=UNPAID)
    return [event for event in map(facts.event_of, stored.values_list("body", flat=True)) if event is not None]


def _read(body: str) -> dict[str, Any]:
    try:
        notification = json.loads(body)
    except (ValueError, RecursionError):
        raise Invalid("A notification must be valid JSON.") from None
    if not isinstance(notification, dict):
        raise Invalid("A notification must be a JSON object.")
    return notification


def _subscription(event: Event, subject: str) -> list[str]:
    customer = _customer_of(event)
    subscription = _row(Subscription, subject, lock=True)
    _write(subscription, facts.subscription_facts(stored_about(subject)), customer=customer)
    return [*_oddities(event, subscription), *sales.follow_subscription(subscription, event.type)]


def _customer(event: Event, subject: str) -> list[str]:
    customer = _row(Customer, subject, lock=True)
    stated = facts.customer_facts(stored_about(subject))
    notes = sales.follow_email(customer, stated.get("email", ""), event.type)
    _write(customer, stated)
    return notes + _follow_all(customer.subscriptions.all(), event)


def _transaction(event: Event, subject: str) -> list[str]:
    customer = _customer_of(event)
    subscription_id = facts.text(event.data, "subscription_id")
    subscription = _row(Subscription, subscription_id) if subscription_id else None
    payment = _row(Payment, subject, lock=True)
    _write(payment, facts.payment_facts(stored_about(subject)), customer=customer, subscription=subscription)
    return _follow_all([payment.subscription], event)


def _adjustment(event: Event, subject: str) -> list[str]:
    customer = _customer_of(event)
    adjustment = _row(Adjustment, subject, lock=True)
    payment_id, subscription_id = (facts.text(event.data, name) for name in ("transaction_id", "subscription_id"))
    payment = _row(Payment, payment_id) if payment_id else None
    if payment is not None:
        subscription = _row(Subscription, subscription_id) if subscription_id else None
        _write(payment, {}, customer=customer, subscription=subscription)
    _write(adjustment, facts.adjustment_facts(stored_about(subject)), payment=payment)
    notes = _follow_all([payment.subscription] if payment else [], event)
    if adjustment.action not in KNOWN_ACTIONS or adjustment.action in WARNINGS:
        notes.append(f"An adjustment of the kind '{adjustment.action}' ({adjustment.status}).")
    if payment is None:
        notes.append("The adjustment names no payment.")
    return notes


@cache
def known_types() -> frozenset[str]:
    """All types of events, as Paddle's SDK lists them, and our own."""
    # Not above: the SDK would be a third of what each web process loads.
    from paddle_billing.Entities.Events.EventTypeName import EventTypeName

    return frozenset({*EventTypeName.members().values(), API_STATE})


def needed_types() -> list[str]:
    """What the notification destination must send, by name."""
    about = ("subscription.", "customer.", "transaction.", "adjustment.")
    return sorted(kind for kind in known_types() - UNPAID - {API_STATE} if kind.startswith(about))


HANDLERS: dict[str, Callable[[Event, str], list[str]]] = {
    "subscription": _subscription,
    "customer": _customer,
    "transaction": _transaction,
    "adjustment": _adjustment,
}


def _oddities(event: Event, subscription: Subscription) -> list[str]:
    """What a person should know of a subscription that is not as we sell them."""
    notes = []
    status = facts.text(event.data, "status")
    if status not in Subscription.Status.values:
        notes.append(f"The subscription's status '{status}' is not known here, and was left as it was.")
    if not sales.is_priced(subscription):
        notes.append(f"No plan is known for the price {', '.join(subscription.price_ids)}.")
    if subscription.quantity > 1 and event.type == "subscription.created":
        notes.append(f"Bought {subscription.quantity} times, but a license has its plan once.")
    return notes


def _follow_all(subscriptions: Any, event: Event) -> list[str]:
    known = [subscription for subscription in subscriptions if subscription is not None]
    return [note for one in known for note in sales.follow_subscription(one, event.type)]


def _customer_of(event: Event) -> Customer | None:
    """The customer that an event names, locked: all of a customer's events take turns here."""
    paddle_id = facts.text(event.data, "customer_id")
    return _row(Customer, paddle_id, lock=True) if paddle_id else None


def _row(model: type[Row], paddle_id: str, *, lock: bool = False) -> Row:
    """The row of an object at Paddle, made where it was not heard of before."""
    rows = model._default_manager
    rows.bulk_create([model(paddle_id=paddle_id)], ignore_conflicts=True)
    return (rows.select_for_update() if lock else rows.all()).get(paddle_id=paddle_id)


def _write(row: models.Model, stated: dict[str, Any], **relations: models.Model | None) -> None:
    """Write facts, and relations where they are known."""
    values = {**stated, **{name: related for name, related in relations.items() if related is not None}}
    for name, value in values.items():
        setattr(row, name, value)
    if values:
        row.save(update_fields=list(values))

"""From the events about one object at Paddle to the facts about it: pure, and the same for any order of arrival.

The events are put in one order, and each then overwrites the facts that it states:

- by `occurred_at`; of those at the same instant, creation comes first, and then the one whose status is further along
  (`PROGRESS`), so that a tie never undoes a later state; then by event id;
- what an event does not state, or states in a form that we can't read, stays as it was. So does a null, but for
  `scheduled_change`, where null means that there is none. A null billing period (of `.canceled` and `.paused`) leaves
  the last one.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from billing.models import Adjustment, Payment, Subscription

STATUSES = list(Subscription.Status.values)
FIRST = ("created", "imported")
PROGRESS = [
    *("draft", "ready", "billed", "pending_approval"),
    *("trialing", "active", "past_due", "paused", "paid", "completed", "approved"),
    *("rejected", "reversed", "canceled"),
]
MOST_MONEY = 10**15
MOST_ITEMS = 100
LAST_YEAR = 9000  # what is later leaves no room for a grace

Facts = dict[str, Any]
_PAID_STATUSES = {"trialing", "active"}


@dataclass(frozen=True, slots=True)
class Event:
    """An event that can be read: what it is about is in `data`, as Paddle words it."""

    id: str
    type: str
    occurred_at: datetime
    data: dict[str, Any]


def event_of(body: str) -> Event | None:
    """The event in a notification's JSON; None where it is none that can be put in order."""
    try:
        envelope = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(envelope, dict):
        return None
    occurred_at = moment(envelope, "occurred_at")
    data = envelope.get("data")
    if occurred_at is None or not isinstance(data, dict):
        return None
    return Event(text(envelope, "event_id"), text(envelope, "event_type", most=100), occurred_at, data)


def in_order(events: Iterable[Event]) -> list[Event]:
    """The one order in which events count, however they arrived."""
    return sorted(events, key=_position)


def subscription_facts(events: Iterable[Event]) -> Facts:
    """The fields of a `Subscription` that its events state."""
    return _fold(events, _subscription)


def customer_facts(events: Iterable[Event]) -> Facts:
    """The fields of a `Customer`."""
    return _fold(events, _customer)


def payment_facts(events: Iterable[Event]) -> Facts:
    """The fields of a `Payment`."""
    return _fold(events, _payment)


def adjustment_facts(events: Iterable[Event]) -> Facts:
    """The fields of an `Adjustment`."""
    return _fold(events, _adjustment)


def _fold(events: Iterable[Event], state: Callable[[Facts, Event], Facts]) -> Facts:
    facts: Facts = {}
    for event in in_order(events):
        facts |= {name: value for name, value in state(facts, event).items() if value is not None}
    return {name: None if value is NOTHING else value for name, value in facts.items()}


NOTHING = object()  # stated to be absent, unlike None: not stated


def _position(event: Event) -> tuple[Any, ...]:
    status = text(event.data, "status")
    progress = PROGRESS.index(status) if status in PROGRESS else -1
    return event.occurred_at, not event.type.endswith(FIRST), progress, event.id


def _subscription(facts: Facts, event: Event) -> Facts:
    data = event.data
    status = text(data, "status")
    period = mapping(data, "current_billing_period")
    stated: Facts = {
        "period_starts_at": moment(period, "starts_at"),
        "period_ends_at": moment(period, "ends_at"),
        "custom_license": text(mapping(data, "custom_data"), "license", most=200) or None,
        **_items(facts, data),
        **_scheduled(data),
    }
    if status in STATUSES:
        stated["status"] = status
        if status != facts.get("status"):
            stated["status_since"] = event.occurred_at
        stated["unpaid_from"] = _unpaid_from(facts, stated, event)
    return stated


def _unpaid_from(facts: Facts, stated: Facts, event: Event) -> Any:
    """Where the unpaid period begins: known while past due, and from then on until it is active again."""
    if stated["status"] in _PAID_STATUSES:
        return NOTHING
    if stated["status"] == Subscription.Status.PAST_DUE:
        return stated["period_starts_at"] or facts.get("period_starts_at") or event.occurred_at
    return None


def _items(facts: Facts, data: dict[str, Any]) -> Facts:
    items = [item for item in sequence(data, "items")[:MOST_ITEMS] if isinstance(item, dict)]
    prices = [price for item in items if (price := text(mapping(item, "price"), "id"))]
    if not prices:
        return {}
    quantities = [item["quantity"] for item in items if isinstance(item.get("quantity"), int)]
    stated = {"price_ids": prices, "quantity": min(max([1, *quantities]), 1_000_000)}
    before = facts.get("price_ids", prices)
    if before != prices:
        stated["former_price_ids"] = [*before, *facts.get("former_price_ids", [])][:MOST_ITEMS]
    return stated


def _scheduled(data: dict[str, Any]) -> Facts:
    if "scheduled_change" not in data:
        return {}
    change = mapping(data, "scheduled_change")
    return {
        "scheduled_action": text(change, "action", most=20),
        "scheduled_at": moment(change, "effective_at") or NOTHING,
    }


def _customer(facts: Facts, event: Event) -> Facts:
    return {
        "email": text(event.data, "email", most=254).lower() or None,
        "name": text(event.data, "name", most=200) or None,
    }


def _payment(facts: Facts, event: Event) -> Facts:
    data = event.data
    totals = mapping(mapping(data, "details"), "totals")
    period = mapping(data, "billing_period")
    status = text(data, "status", most=20)
    return {
        "status": status or None,
        "amount": money(totals, "grand_total"),
        "tax": money(totals, "tax"),
        "currency": text(totals, "currency_code", most=3) or None,
        "period_starts_at": moment(period, "starts_at"),
        "period_ends_at": moment(period, "ends_at"),
        "completed_at": event.occurred_at if status == Payment.COMPLETED and "completed_at" not in facts else None,
    }


def _adjustment(facts: Facts, event: Event) -> Facts:
    data = event.data
    totals = mapping(data, "totals")
    status = text(data, "status", most=20)
    return {
        "action": text(data, "action", most=40) or None,
        "status": status or None,
        "amount": money(totals, "total"),
        "currency": text(totals, "currency_code", most=3) or None,
        "is_full": _is_full(data),
        "approved_at": event.occurred_at if status == Adjustment.APPROVED and "approved_at" not in facts else None,
    }


def _is_full(data: dict[str, Any]) -> bool | None:
    """Whether the whole payment goes back. Older notifications say so only of each item; we sell one at a time."""
    kind = text(data, "type")
    kinds = {text(item, "type") for item in sequence(data, "items") if isinstance(item, dict)}
    return kind == "full" if kind else (kinds == {"full"} or None)


def text(data: dict[str, Any], name: str, most: int = 64) -> str:
    """A text of at most so many characters; empty where there is none."""
    value = data.get(name)
    return value if isinstance(value, str) and len(value) <= most and _can_be_stored(value) else ""


def _can_be_stored(value: str) -> bool:
    """JSON may hold half characters and zeros, which databases refuse."""
    return "\0" not in value and value.encode(errors="ignore").decode() == value


def moment(data: dict[str, Any], name: str) -> datetime | None:
    """An RFC 3339 moment, aware; None where there is none."""
    try:
        value = datetime.fromisoformat(data[name])
        aware = (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)
        return aware if aware.year < LAST_YEAR else None
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def money(data: dict[str, Any], name: str) -> int | None:
    """An amount in a currency's smallest unit; Paddle sends it as a text of digits."""
    digits = text(data, name, most=16)
    negative, digits = digits.startswith("-"), digits.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        return None
    amount = min(int(digits), MOST_MONEY)
    return -amount if negative else amount


def mapping(data: dict[str, Any], name: str) -> dict[str, Any]:
    value = data.get(name)
    return value if isinstance(value, dict) else {}


def sequence(data: dict[str, Any], name: str) -> list[Any]:
    value = data.get(name)
    return value if isinstance(value, list) else []

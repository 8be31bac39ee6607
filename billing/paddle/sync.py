"""What notifications missed: Paddle's own list of subscriptions beside the facts that we have.

What Paddle says now takes its place among the events by the moment of its last change, so that it can't undo anything
that happened after it (`billing.paddle.facts`).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from billing import outbox
from billing.models import State, Subscription
from billing.paddle import api, errands, events, facts

# What an event and a list may tell differently without anything being wrong: since when, in the moment's own words.
IMMATERIAL = {"status_since", "former_price_ids"}


@dataclass(frozen=True, slots=True)
class Difference:
    """A subscription as Paddle has it, and field by field what we have and what we would have; empty where alike."""

    subscription_id: str
    state: dict[str, Any]
    fields: dict[str, tuple[Any, Any]]


def differences(since: datetime | None = None) -> Iterator[Difference]:
    """Paddle's subscriptions, each with what differs here; only those changed since then, where a moment is given.

    Raises:
        api.PaddleUnavailable, api.PaddleRefused
    """
    for state in api.subscriptions(since):
        subscription_id = facts.text(state, "id")
        ours = facts.subscription_facts(events.stored_about(subscription_id))
        theirs = facts.subscription_facts([*events.stored_about(subscription_id), *as_events(state)])
        fields = {
            name: (ours.get(name), value)
            for name, value in theirs.items()
            if name not in IMMATERIAL and _differ(ours.get(name), value)
        }
        yield Difference(subscription_id, state, fields)


def repair(difference: Difference) -> str:
    """Keep and process what Paddle says; what became of it, in words."""
    stored = events.record(events.API_STATE, difference.state)
    if stored is None:
        return "kept before; see its event in the console"
    outbox.attempt(stored, events.process)
    stored.refresh_from_db()
    if stored.state != State.DONE:
        return f"{stored.get_state_display()}: {stored.note}"
    row = Subscription.objects.select_related("license").filter(paddle_id=difference.subscription_id).first()
    return f"put right: {row.license if row and row.license else 'no license yet'}"


def finish() -> None:
    """Look up the customers that repaired subscriptions turned out to need."""
    errands.run_due()


def as_events(state: dict[str, Any]) -> list[facts.Event]:
    """What Paddle says of a subscription now, as the event that it would be; none where it can't be put in order."""
    event = facts.event_of(json.dumps(events.envelope(events.API_STATE, state)))
    return [event] if event else []


def _differ(ours: Any, theirs: Any) -> bool:
    return ours != theirs and bool(ours or theirs)

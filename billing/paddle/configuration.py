"""Whether Paddle and this service are set up to work together: settings, prices, and the notification destination."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from billing.models import PlanPrice
from billing.paddle import api, events, facts
from licenses.models import Plan

KEY_PREFIXES = {"sandbox": "pdl_sdbx_apikey_", "production": "pdl_live_apikey_"}
CLIENT_TOKEN_PREFIXES = {"sandbox": "test_", "production": "live_"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what, whether it is right, and what to do where it is not."""

    what: str
    is_right: bool
    hint: str = ""


def findings() -> Iterator[Finding]:
    """All that was looked at. Paddle's API is asked last, where there is a key to ask with.

    Raises:
        api.PaddleUnavailable: Paddle does not answer.
    """
    yield from _settings()
    yield from _plans()
    if api.is_configured():
        yield from _with_permission("notification settings", _destination)
        yield from _with_permission("prices", _prices)


def _with_permission(what: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """What was found; or that the key does not let us look, in which case the rest can still be looked at."""
    try:
        yield from look()
    except api.PaddleRefused as refused:
        hint = f"Paddle says {refused.code}: give the key that permission, or make a new one in this environment."
        yield Finding(f"Paddle's API lets the key read {what}", False, hint)


def _settings() -> Iterator[Finding]:
    environment = settings.PADDLE_ENVIRONMENT
    key, token = settings.PADDLE_API_KEY, settings.PADDLE_CLIENT_TOKEN
    yield Finding("PADDLE_API_KEY is set", bool(key), "Paddle > Developer tools > Authentication.")
    if key:
        right = key.startswith(KEY_PREFIXES[environment])
        yield Finding(f"PADDLE_API_KEY is one of the {environment}", right, f"It begins {KEY_PREFIXES[environment]}…")
    yield Finding(
        "PADDLE_WEBHOOK_SECRET is set",
        bool(settings.PADDLE_WEBHOOK_SECRETS),
        "It belongs to the notification destination: Paddle > Developer tools > Notifications.",
    )
    yield Finding(
        f"PADDLE_CLIENT_TOKEN is one of the {environment}",
        token.startswith(CLIENT_TOKEN_PREFIXES[environment]),
        f"It begins {CLIENT_TOKEN_PREFIXES[environment]}…; without it the page /pay opens no checkout.",
    )
    yield Finding("TEST_MODE is not set", "TEST_MODE" not in os.environ, "With it, signatures of any age are taken.")


def _plans() -> Iterator[Finding]:
    for plan in Plan.objects.filter(is_public=True, is_active=True, price_cents__gt=0):
        offered = plan.prices.filter(interval=PlanPrice.Interval.MONTH, is_offered=True).exists()
        yield Finding(f"{plan} has a monthly price", offered, "Console, Prices at Paddle: add its pri_… there.")


def _prices() -> Iterator[Finding]:
    for ours in PlanPrice.objects.select_related("plan"):
        try:
            theirs = api.price(ours.price_id)
        except api.PaddleRefused as refused:
            if refused.concerns_key:
                raise
            hint = f"Paddle says {refused.code}: look for a typing error, or for the other environment."
            yield Finding(f"{ours} exists at Paddle", False, hint)
        else:
            yield Finding(f"{ours} exists at Paddle", True)
            yield from _price(ours, theirs)


def _price(ours: PlanPrice, theirs: dict[str, Any]) -> Iterator[Finding]:
    """Whether a price is what we take it for. One that is offered no more may be archived, and of another amount."""
    cycle = facts.mapping(theirs, "billing_cycle")
    is_same = (cycle.get("interval"), cycle.get("frequency")) == (ours.interval, 1)
    told = f"each {cycle.get('frequency')} {cycle.get('interval')}" if cycle else "once"
    yield Finding(f"{ours} is billed each {ours.interval}", is_same, f"Paddle bills it {told}.")
    if ours.is_offered:
        is_active = theirs.get("status") == "active"
        yield Finding(f"{ours} is active at Paddle", is_active, "Make it active, or offer it no more.")
        yield _amount(ours, facts.mapping(theirs, "unit_price"))


def _amount(ours: PlanPrice, unit_price: dict[str, Any]) -> Finding:
    """What it costs. We know only what a month should: what a year costs is shown."""
    cents = facts.money(unit_price, "amount")
    currency = unit_price.get("currency_code")
    told = f"At Paddle it costs {cents} {currency} (smallest unit)."
    if ours.interval == PlanPrice.Interval.MONTH:
        is_same = (cents, currency) == (ours.plan.price_cents, "USD")
        return Finding(f"{ours} costs {ours.plan.price_cents} US cents", is_same, told)
    return Finding(f"{ours} has an amount in US dollars: {cents} cents", bool(cents) and currency == "USD", told)


def _destination() -> Iterator[Finding]:
    destinations = api.destinations()
    yield Finding("Paddle's API answers to the key", True)
    url = f"{settings.SITE_URL}/webhooks/paddle"
    active = [one for one in destinations if _is_at(one, url) and one.get("active")]
    yield Finding(
        f"Paddle sends notifications to {url}", bool(active), "Add it, or make it active, under Notifications."
    )
    for destination in active:
        yield from _sends_all(destination)


def _is_at(destination: dict[str, Any], url: str) -> bool:
    return destination.get("type", "url") == "url" and str(destination.get("destination", "")).rstrip("/") == url


def _sends_all(destination: dict[str, Any]) -> Iterator[Finding]:
    """Whether real events are sent, all that we need, signed with a secret that we know (which is never shown)."""
    name = f"The destination {destination.get('id')}"
    sent = {event.get("name") for event in facts.sequence(destination, "subscribed_events") if isinstance(event, dict)}
    missing = [needed for needed in events.needed_types() if needed not in sent]
    yield Finding(f"{name} sends all events that we need", not missing, f"Missing: {', '.join(missing)}.")
    is_real = destination.get("traffic_source") != "simulation"
    yield Finding(f"{name} sends real events", is_real, "Its usage type is 'simulation' only.")
    secret = destination.get("endpoint_secret_key")
    if secret:
        is_known = secret in settings.PADDLE_WEBHOOK_SECRETS
        yield Finding(f"{name} signs with our PADDLE_WEBHOOK_SECRET", is_known, "Copy its secret once more.")

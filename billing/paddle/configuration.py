"""Whether Paddle and this service are set up to work together: settings, prices, and the notification destination."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings

from billing.models import PlanPrice
from billing.paddle import api, events
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
        try:
            yield from _prices()
            yield from _destination()
        except api.PaddleRefused as refused:
            yield Finding(
                f"Paddle's API accepts the key ({refused.code})", False, "Make a new key in this environment."
            )


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
        yield Finding(f"{plan} has a monthly price", offered, "Console, Billing, Plan prices: add its pri_… there.")


def _prices() -> Iterator[Finding]:
    for ours in PlanPrice.objects.select_related("plan"):
        try:
            theirs = api.price(ours.price_id)
        except api.PaddleRefused as refused:
            if refused.code != "not_found":
                raise
            yield Finding(f"{ours} exists at Paddle", False, "Look for a typing error, or for the other environment.")
            continue
        yield Finding(
            f"{ours} is active at Paddle", theirs.get("status") == "active", "Make it active, or take it off."
        )
        cycle = theirs.get("billing_cycle") or {}
        is_same = (cycle.get("interval"), cycle.get("frequency")) == (ours.interval, 1)
        yield Finding(f"{ours} is billed each {ours.interval}", is_same, f"Paddle bills it each {cycle or 'once'}.")
        if ours.interval == PlanPrice.Interval.MONTH:
            yield _amount(ours, theirs.get("unit_price") or {})


def _amount(ours: PlanPrice, unit_price: dict[str, str]) -> Finding:
    told, currency = unit_price.get("amount"), unit_price.get("currency_code")
    is_same = (told, currency) == (str(ours.plan.price_cents), "USD")
    return Finding(
        f"{ours} costs {ours.plan.price_cents} US cents",
        is_same,
        f"At Paddle it costs {told} {currency} (smallest unit).",
    )


def _destination() -> Iterator[Finding]:
    url = f"{settings.SITE_URL}/webhooks/paddle"
    ours = [one for one in api.destinations() if str(one.get("destination", "")).rstrip("/") == url]
    active = [one for one in ours if one.get("active")]
    yield Finding(
        f"Paddle sends notifications to {url}", bool(active), "Add it, or make it active, under Notifications."
    )
    for destination in active:
        sent = {str(event.get("name")) for event in destination.get("subscribed_events", [])}
        missing = [needed for needed in events.NEEDED_TYPES if needed not in sent]
        yield Finding("It sends all events that we need", not missing, f"Missing: {', '.join(missing)}.")

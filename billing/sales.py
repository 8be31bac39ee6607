"""What the facts about subscriptions mean for licenses: whose they are, what they may, and who is told.

    follow     a license's plan and end become what its subscriptions entitle to
    link       a subscription finds its license, or one is issued for its customer

Only the fields that belong to payments are written (`lifecycle.set_payments`); what people decided stays. What a
single subscription entitles to is said by `billing.entitlements`. Runs inside a transaction in which the customer's
row is locked, so that all events of one customer take their turn.
"""

from datetime import timedelta

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from billing import links, mails, outbox
from billing.entitlements import Entitlement, entitlement
from billing.models import Customer, Errand, PlanPrice, State, Subscription, WebhookEvent
from licenses import lifecycle
from licenses.models import Ending, License, Plan

BY = "paddle"
PAID = (Subscription.Status.ACTIVE, Subscription.Status.TRIALING)
RENEWING = (*PAID, Subscription.Status.PAST_DUE)
IN_PEACE = (Ending.CANCELED, Ending.NOT_RENEWED)
FREE = "free"  # the plan that costs nothing

Entitled = list[tuple[Subscription, Entitlement]]


def plan_of(subscription: Subscription) -> Plan | None:
    """The best plan that the subscription's prices buy; else what the last price that we know bought, if any."""
    former = subscription.former_price_ids
    rows = PlanPrice.objects.filter(price_id__in=[*subscription.price_ids, *former]).select_related("plan")
    plans = {price.price_id: price.plan for price in rows}
    bought = [plans[price_id] for price_id in subscription.price_ids if price_id in plans]
    return max(bought, key=_worth, default=None) or next((plans[one] for one in former if one in plans), None)


def is_priced(subscription: Subscription) -> bool:
    """Whether we know what any of its prices buys."""
    return PlanPrice.objects.filter(price_id__in=subscription.price_ids).exists()


def follow_subscription(subscription: Subscription, because: str) -> list[str]:
    """Act on a subscription whose facts may have changed.

    Args:
        because: the event's name, for the audit trail.

    Returns:
        What a person should look at, in words.
    """
    notes: list[str] = []
    if _remember_entitlement(subscription) is not None:
        license = subscription.license or _link(subscription, notes)
        if license is not None:
            notes += follow_license(license, because)
    return notes


def follow_license(license: License, because: str) -> list[str]:
    """Bring a license's plan and end in line with all of its subscriptions; says what a person should look at."""
    now = timezone.now()
    entitled = [(one, right) for one in _subscriptions(license) if (right := _remember_entitlement(one))]
    if not entitled:
        return []
    active = [(one, right) for one, right in entitled if right.until > now]
    before = License.objects.select_related("plan", "paid_plan").get(pk=license.pk)
    if active:
        best = max(active, key=lambda pair: (_worth(pair[1].plan), pair[1].until))
        last = max(active, key=lambda pair: pair[1].until)
        plan = best[1].plan
    else:
        best = last = max(entitled, key=lambda pair: pair[1].until)
        plan = last[1].plan
    after = _set_payments(before, plan, last[1], because)
    _tell(before, after)
    return _settle_parallel(active, best[0], after)


def follow_email(customer: Customer, email: str, because: str) -> list[str]:
    """A customer's new address becomes that of their license, unless staff gave that another one."""
    license = customer.license
    if license is not None and email and license.email == customer.email != email:
        try:
            lifecycle.change_email(license, email, by=BY, reason=because)
        except ValidationError:
            return ["The customer's new email is no email address; the license keeps the old one."]
    return []


def offered_beside(price: PlanPrice) -> "QuerySet[PlanPrice]":
    """What is offered for the same plan and interval, if this price is to be offered."""
    same = PlanPrice.objects.filter(plan=price.plan, interval=price.interval, is_offered=True)
    return same.exclude(pk=price.pk) if price.is_offered else same.none()


def price_known(price: PlanPrice) -> int:
    """Have the events that waited for somebody to say what this price buys processed; says how many."""
    waiting = waiting_for(price.price_id)
    for event in waiting:
        outbox.try_again(event)
    return len(waiting)


def waiting_for(price_id: str) -> list[WebhookEvent]:
    """The events that wait for somebody to say what a price buys."""
    unpriced = Subscription.objects.exclude(status="").filter(Q(plan=None) | ~Q(former_price_ids=[]))
    waiting = [one.paddle_id for one in unpriced if price_id in one.price_ids]
    return list(WebhookEvent.objects.filter(subject__in=waiting, state=State.FLAGGED))


def bought_by(price: PlanPrice) -> list[Subscription]:
    """The subscriptions that pay a price, or paid it last of those that we know."""
    known = Subscription.objects.exclude(status="").select_related("license", "customer").order_by("customer_id", "pk")
    return [one for one in known.iterator() if price.price_id in [*one.price_ids, *one.former_price_ids]]


def hold_prices() -> None:
    """Nobody else says what is offered, for the rest of the transaction."""
    list(Plan.objects.select_for_update(no_key=True).order_by("pk"))


@transaction.atomic
def correct_price(price: PlanPrice, plan: Plan, interval: str, *, because: str) -> list[str]:
    """Say anew what a price buys. Whatever was bought by it follows: licenses change their plan, owners are mailed.

    Where another price is offered for that plan and interval, this one is no longer offered.

    Returns:
        What a person should look at, in words.
    """
    hold_prices()
    price.plan, price.interval = plan, interval
    price.is_offered = price.is_offered and not offered_beside(price).exists()
    price.save(update_fields=["plan", "interval", "is_offered"])
    notes: list[str] = []
    for subscription in bought_by(price):
        lock(subscription.customer)
        notes += follow_subscription(subscription, because)
    return notes


def handle_ends() -> int:
    """Act on the subscriptions whose end has come, which no event announces; says how many."""
    ended = Subscription.objects.filter(end_handled=False, entitled_until__lte=timezone.now())
    count = 0
    for subscription in ended.select_related("license", "customer")[:200]:
        with transaction.atomic():
            lock(subscription.customer)
            Subscription.objects.filter(pk=subscription.pk).update(end_handled=True)
            if subscription.license:
                follow_license(subscription.license, "its end has come")
                mails.queue_stopped(License.objects.get(pk=subscription.license.pk))
        count += 1
    return count


def lock(customer: Customer | None) -> None:
    """Take turns with whatever else concerns this customer."""
    if customer is not None:
        Customer.objects.select_for_update().get(pk=customer.pk)


def _subscriptions(license: License) -> list[Subscription]:
    return list(license.subscriptions.prefetch_related("payments__adjustments").order_by("pk"))


def _remember_entitlement(subscription: Subscription) -> Entitlement | None:
    right = entitlement(
        subscription,
        plan_of(subscription),
        list(subscription.payments.all()),
        timedelta(days=settings.PADDLE_GRACE_DAYS),
    )
    plan, until = (right.plan, right.until) if right else (None, None)
    if (subscription.plan, subscription.entitled_until) != (plan, until):
        subscription.plan, subscription.entitled_until = plan, until
        subscription.end_handled = until is None
        subscription.save(update_fields=["plan", "entitled_until", "end_handled"])
    return right


def _worth(plan: Plan) -> tuple[int, int]:
    return plan.monthly_quota, plan.price_cents


def _link(subscription: Subscription, notes: list[str]) -> License | None:
    """The license that this subscription is for from now on; None while that can't be said."""
    license = links.license_of(subscription.custom_license) if subscription.custom_license else None
    customer = subscription.customer
    if license is None and customer is not None:
        license = customer.license or _issue(customer, subscription, notes)
    if license is not None:
        subscription.license = license
        subscription.save(update_fields=["license"])
    return license


def _issue(customer: Customer, subscription: Subscription, notes: list[str]) -> License | None:
    plan = subscription.plan
    if plan is None:
        return None
    if not customer.email:  # it comes with the customer's own event, or Paddle's API has it
        want(Errand.Kind.FETCH_CUSTOMER, customer.paddle_id)
        return None
    try:
        customer.license = lifecycle.issue(customer.email, plan, by=BY, reason=f"bought by {customer.paddle_id}")
    except ValidationError:
        notes.append("The customer's email is no email address, so there is no license yet.")
        return None
    customer.save(update_fields=["license"])
    return customer.license


def _set_payments(license: License, plan: Plan, last: Entitlement, because: str) -> License:
    """Write what is paid for. A license that began as a free one is that again, when payments end in peace."""
    if last.until <= timezone.now() and last.ending in IN_PEACE and hasattr(license, "free_claim"):
        lifecycle.set_payments(license, plan=None, until=None, ending="", by=BY, reason=because)
        free = Plan.objects.get(slug=FREE)
        if license.plan != free and not license.plan_is_kept:
            lifecycle.change_plan(license, free, by=BY, reason=because)
        return License.objects.select_related("plan", "paid_plan").get(pk=license.pk)
    return lifecycle.set_payments(license, plan=plan, until=last.until, ending=last.ending, by=BY, reason=because)


def _tell(before: License, after: License) -> None:
    """Mail the owner what changed."""
    now = timezone.now()
    is_on = after.ends_at is None or after.ends_at > now
    if is_on and not after.tokens.exists():
        mails.queue_token(after, once=f"token:{after.pk}")
    elif is_on and before.plan != after.plan:
        mails.queue_plan_changed(after, before.plan)
    elif not is_on and before.paid_until is not None and before.paid_until > now:
        mails.queue_stopped(after)


def _settle_parallel(active: Entitled, best: Subscription, license: License) -> list[str]:
    """Of several subscriptions that would each be renewed, keep the best and have Paddle end the others."""
    notes = []
    if best.superseded_by is not None:
        notes.append(
            f"{best.paddle_id} was to be cancelled in favour of {best.superseded_by.paddle_id}, which now entitles to"
            " less: see whether it should go on."
        )
    if best.status not in PAID:
        return notes
    for one, right in active:
        if one == best or one.status not in RENEWING or one.scheduled_action == "cancel" or one.superseded_by:
            continue
        one.superseded_by = best
        one.save(update_fields=["superseded_by"])
        want(Errand.Kind.CANCEL_SUBSCRIPTION, one.paddle_id)
        mails.queue_merged(license, ended_plan=right.plan, ends_at=one.period_ends_at, key=one.paddle_id)
    return notes


def want(kind: Errand.Kind, subject: str) -> None:
    """Have something asked of Paddle, once, when this transaction is committed."""
    Errand.objects.bulk_create([Errand(kind=kind, subject=subject)], ignore_conflicts=True)
    outbox.wake()

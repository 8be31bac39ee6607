"""Reserve, settle, release: how a unit of quota is taken, charged, or given back.

    reserve   the month's counter goes up, if a unit is left, together with a `reserved` entry
    settle    the entry becomes `settled` with its charge, and can never change again
    release   the entry becomes `released`, and the counter goes down again

Each step is one short transaction and holds only if the entry is still in the state before it, so that of two
that try, one wins. Locks are taken in one order: an entry that is there already, counter, key, the day's spend (nobody
waits for a new entry, so a reservation takes the counter first). What keys mean is in
`billing.idempotency`.

What each paid request does, reserve and settle, is there twice: `billing.steps` for any database, and `billing.fast`,
one statement each, for PostgreSQL. Whatever is decided is decided here, and all that is rare is written once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from math import ceil
from typing import Any

import structlog
from django.db import InterfaceError, OperationalError, transaction
from django.db.models import BigIntegerField, Case, F, QuerySet, Value, When
from django.db.models.functions import Cast, Coalesce
from django.utils import timezone

from billing import budget, fast, idempotency, metrics, money, prices, steps
from billing.errors import IdempotencyInProgress, QuotaExhausted
from billing.models import MISFIRES, BonusGrant, ModelPrice, MonthlyUsage, Outcome, UsageRecord
from billing.months import month_of, start_of_next
from billing.usage import Usage
from licenses import lifecycle
from licenses.models import AuditEvent, License, LicenseToken

State = UsageRecord.State

logger = structlog.get_logger(__name__)

# Longer than any request can last (25 s), with room for a stalled machine.
RESERVATION_TTL = timedelta(seconds=60)
# When the last units are held by calls that are still open, one of them may come back this soon.
RETRY_WHILE_OPEN = 5  # seconds
MISFIRES_A_DAY = 5


@dataclass(frozen=True, slots=True)
class Reservation:
    """A unit of quota that is held, and what to know before the provider is asked.

    `blocked` says why the provider must not be asked this time, None where it may.
    """

    entry: UsageRecord
    price: ModelPrice | None
    monthly_quota: int  # before bonus units
    blocked: Outcome | None


@dataclass(frozen=True, slots=True)
class QuotaState:
    """A license's month as people see it."""

    used: int
    total: int
    charged_cents: int
    resets_at: datetime

    @property
    def remaining(self) -> int:
        return max(0, self.total - self.used)


def reserve(
    license: License,
    token: LicenseToken,
    *,
    model: str,
    request_id: str,
    key: idempotency.Claim | None = None,
) -> Reservation:
    """Take one unit of this month's quota and write its entry; claim the idempotency key with it.

    Raises:
        QuotaExhausted: no unit is left, nor came back from a reservation that was abandoned.
        idempotency.KeyTaken: another request holds the key; no unit was taken.
    """
    now = timezone.now()
    month = month_of(now)
    reservation = _try_reserve(license, token, model, request_id, key, now)
    if reservation is None:
        # What another request releases just now is as good as what this one finds, so try again in any case.
        release_abandoned(license)
        reservation = _try_reserve(license, token, model, request_id, key, now)
    if reservation is None:
        raise _exhausted(license, month, now)
    return reservation


def settle(reservation: Reservation, usage: Usage | None, answer: Mapping[str, Any]) -> dict[str, Any]:
    """Charge a reserved entry and keep its answer for a repeated key.

    Args:
        usage: None where the provider did not say: then 1 cent is charged and the entry flagged.
        answer: what the client gets; the charge and the remaining quota are added here.

    Returns:
        The whole answer, as committed. When the reservation had been released before, it is a gift, and `degraded`:
        nothing is charged, and the entry only remembers what the provider cost us.
    """
    entry, price = reservation.entry, reservation.price
    if price is None:
        raise ValueError("a reservation without a price must not be asked for, so it can't be settled")
    used = usage or Usage()
    cost = prices.provider_cost(price, used)
    charge = prices.charge_cents(price, used)
    closing = {
        **_closing(State.SETTLED, Outcome.ANSWERED, used, cost),
        "charge_cents": charge,
        "usage_missing": usage is None,
    }
    settle_in = fast.settle if fast.is_available() else steps.settle
    whole = settle_in(entry, closing, reservation.monthly_quota, answer)
    if whole is None:
        return _closed_before(reservation, answer, used, cost)
    metrics.settled(charge, used, cost)
    return whole


def recall(claim: idempotency.Claim) -> dict[str, Any] | None:
    """The answer given for a key before, None where the request is to be done; `idempotency.recall` says more.

    A first request that died is not waited for: its reservation is released, and its key with it.
    """
    try:
        return idempotency.recall(claim)
    except IdempotencyInProgress:
        if not release_abandoned(claim.license):
            raise
        return idempotency.recall(claim)


def release(reservation: Reservation, outcome: Outcome, usage: Usage | None = None) -> int:
    """Give the unit back, uncharged, and forget the key; what the provider took from us is kept.

    Returns:
        What is left of the month's quota.
    """
    used = usage or Usage()
    price = reservation.price
    cost = prices.provider_cost(price, used) if price else Decimal(0)
    with transaction.atomic():
        if not _release(reservation.entry, outcome, used, cost):
            _note_late_cost(reservation, used, cost)
        return _remaining(reservation)


def release_abandoned(license: License | None = None) -> int:
    """Release the reservations, of one license or of all, that outlived every request; says how many."""
    stale = UsageRecord.objects.filter(state=State.RESERVED, created_at__lt=timezone.now() - RESERVATION_TTL)
    if license is not None:
        stale = stale.filter(license=license)
    released = 0
    for entry in stale:
        with transaction.atomic():
            released += _release(entry, Outcome.ABANDONED, Usage(), Decimal(0))
    return released


@transaction.atomic
def grant_bonus(license: License, units: int, *, month: date, by: str, reason: str) -> BonusGrant:
    """Give a license extra units in the UTC month that the day `month` lies in."""
    first = month.replace(day=1)
    grant = BonusGrant.objects.create(license=license, month=first, units=units, by=by, reason=reason)
    MonthlyUsage.objects.bulk_create([MonthlyUsage(license=license, month=first)], ignore_conflicts=True)
    MonthlyUsage.objects.filter(license=license, month=first).update(bonus_units=F("bonus_units") + units)
    changes: dict[str, list[Any]] = {"bonus_units": [None, units], "month": [None, f"{first:%Y-%m}"]}
    lifecycle.record(AuditEvent.Action.BONUS_GRANTED, license=license, by=by, reason=reason, changes=changes)
    return grant


@transaction.atomic
def correct(entry: UsageRecord, *, cents: int, gives_back_unit: bool, by: str, reason: str) -> UsageRecord:
    """Take a charge back, wholly or in part, by a further ledger entry; once for each entry.

    Args:
        cents: US cents, from 0 to what was charged.
        gives_back_unit: whether the unit goes back to the month's quota that it was taken from.

    Raises:
        lifecycle.NotPossible: the entry has nothing to take back, or was corrected before.
    """
    if entry.state != State.SETTLED or entry.corrects_id is not None:
        raise lifecycle.NotPossible("Only a settled charge can be corrected.")
    if not 0 <= cents <= entry.charge_cents:
        raise lifecycle.NotPossible(f"This charge was {money.dollars(entry.charge_cents)}; no more can be taken back.")
    if cents == 0 and not gives_back_unit:
        raise lifecycle.NotPossible("That takes nothing back. Say how many cents, or give the unit back.")
    now = timezone.now()
    correction = UsageRecord(
        license_id=entry.license_id,
        plan_id=entry.plan_id,
        month=entry.month,
        state=State.SETTLED,
        outcome=Outcome.CORRECTED,
        request_id=entry.request_id,
        model=entry.model,
        charge_cents=-cents,
        units=-1 if gives_back_unit else 0,
        corrects=entry,
        created_at=now,
        closed_at=now,
    )
    UsageRecord.objects.bulk_create([correction], ignore_conflicts=True)
    kept = UsageRecord.objects.filter(corrects=entry).get()
    if (kept.created_at, kept.charge_cents) != (now, -cents):
        raise lifecycle.NotPossible("This charge was corrected before.")
    counter = MonthlyUsage.objects.filter(license=entry.license_id, month=entry.month)
    counter.update(used=F("used") + kept.units, charged_cents=F("charged_cents") - cents)
    lifecycle.record(
        AuditEvent.Action.CHARGE_CORRECTED,
        license=entry.license,
        by=by,
        reason=reason,
        about=f"ledger entry {entry.pk}",
        changes={"charge_cents": [entry.charge_cents, entry.charge_cents - cents], "units": [1, 1 + kept.units]},
    )
    metrics.corrected(cents)
    return kept


def state_of(license: License, month: date | None = None) -> QuotaState:
    """The quota of a license in a UTC month (its first day), this month's where left out."""
    month = month or month_of(timezone.now())
    counter = MonthlyUsage.objects.filter(license=license, month=month).first() or MonthlyUsage()
    return QuotaState(
        used=counter.used,
        total=license.monthly_quota + counter.bonus_units,
        charged_cents=counter.charged_cents,
        resets_at=start_of_next(month),
    )


def with_used(counters: "QuerySet[MonthlyUsage]", percent: int) -> "QuerySet[MonthlyUsage]":
    """Those of the counters that used at least so much of their quota, bonus units included; a quota of 0 is none."""
    large = BigIntegerField()  # a hundred times the largest quota is more than an integer column holds
    total = Cast(Coalesce("license__quota_override", "license__plan__monthly_quota"), large) + F("bonus_units")
    with_sums = counters.alias(total=total, hundredfold=Cast("used", large) * 100)
    return with_sums.filter(total__gt=0, hundredfold__gte=F("total") * percent)


def _try_reserve(
    license: License,
    token: LicenseToken,
    model: str,
    request_id: str,
    key: idempotency.Claim | None,
    now: datetime,
) -> Reservation | None:
    entry = UsageRecord(
        license=license,
        token=token,
        plan=license.plan,
        month=month_of(now),
        request_id=request_id,
        model=model,
        created_at=now,
    )
    reserve_in = fast.reserve if fast.is_available() else steps.reserve
    taken = reserve_in(entry, license.monthly_quota, key)
    if taken is None:
        return None
    metrics.reserved()
    return Reservation(entry, taken.price, license.monthly_quota, _blocked(taken, now))


def _blocked(taken: steps.Taken, now: datetime) -> Outcome | None:
    if taken.price is None:
        return Outcome.PRICE_MISSING
    if budget.is_used_up_by(taken.spent_usd):
        _note_spent(now)
        return Outcome.BUDGET_SPENT
    return Outcome.MISFIRES_SPENT if taken.misfires >= MISFIRES_A_DAY else None


def _note_spent(now: datetime) -> None:
    """Have operators told; where that fails the next request does it, and this one's unit must not be forgotten."""
    try:
        budget.note_spent(now.date())
    except (OperationalError, InterfaceError) as error:
        logger.warning("budget_notice_failed", error=type(error).__name__)


def _release(entry: UsageRecord, outcome: Outcome, used: Usage, cost: Decimal) -> bool:
    released = UsageRecord.objects.filter(pk=entry.pk, state=State.RESERVED).update(
        **_closing(State.RELEASED, outcome, used, cost)
    )
    if not released:
        return False
    counter = MonthlyUsage.objects.filter(license=entry.license_id, month=entry.month)
    counter.update(used=F("used") - 1)
    if outcome in MISFIRES:
        _count_misfire(counter)
    idempotency.forget(entry)
    budget.add(entry, cost)
    metrics.released(outcome, used, cost)
    return True


def _count_misfire(counter: Any) -> None:
    today = timezone.now().date()
    counter.update(misfires=Case(When(misfires_on=today, then=F("misfires") + 1), default=Value(1)), misfires_on=today)


def _closed_before(reservation: Reservation, answer: Mapping[str, Any], used: Usage, cost: Decimal) -> dict[str, Any]:
    """What became of an entry that could not be settled.

    An earlier try may have got through, and only its confirmation was lost: then the answer is as it was committed,
    and counted now. Else the reservation was given up: only the cost is noted, and the answer is a gift.
    """
    with transaction.atomic():
        entry = UsageRecord.objects.filter(pk=reservation.entry.pk, state=State.SETTLED).first()
        if entry is None:
            _note_late_cost(reservation, used, cost)
            return {**answer, "degraded": True, "cost_cents": 0, "quota_remaining": _remaining(reservation)}
        metrics.settled(entry.charge_cents, used, cost)
        return {**answer, "cost_cents": entry.charge_cents, "quota_remaining": _remaining(reservation)}


def _note_late_cost(reservation: Reservation, used: Usage, cost: Decimal) -> None:
    """The reservation was given up while the provider worked: only its cost is still to be noted."""
    entry = reservation.entry
    unnoted = UsageRecord.objects.filter(pk=entry.pk, state=State.RELEASED, provider_cost_usd=0)
    noted = unnoted.update(
        input_tokens=used.input_tokens,
        cached_tokens=used.cached_tokens,
        output_tokens=used.output_tokens,
        provider_cost_usd=cost,
    )
    if noted:
        budget.add(entry, cost)
        metrics.cost_noted(used, cost)


def _closing(state: UsageRecord.State, outcome: Outcome, used: Usage, cost: Decimal) -> dict[str, Any]:
    return {
        "state": state,
        "outcome": outcome,
        "input_tokens": used.input_tokens,
        "cached_tokens": used.cached_tokens,
        "output_tokens": used.output_tokens,
        "provider_cost_usd": cost,
        "closed_at": timezone.now(),
    }


def _remaining(reservation: Reservation) -> int:
    entry = reservation.entry
    counter = MonthlyUsage.objects.get(license=entry.license_id, month=entry.month)
    return counter.remaining(reservation.monthly_quota)


def _exhausted(license: License, month: date, now: datetime) -> QuotaExhausted:
    state = state_of(license, month)
    still_open = UsageRecord.objects.filter(license=license, month=month, state=State.RESERVED).count()
    some_may_come_back = still_open > 0 and state.used - still_open < state.total
    until_reset = ceil((state.resets_at - now).total_seconds())
    return QuotaExhausted(
        f"Monthly AI quota exhausted: {state.used}/{state.total} used. "
        f"It resets at {state.resets_at:%Y-%m-%d %H:%M} UTC.",
        retry_after=min(RETRY_WHILE_OPEN, until_reset) if some_may_come_back else until_reset,
    )

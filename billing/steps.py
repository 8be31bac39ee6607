"""Reserve and settle in several statements, on any database: what SQLite runs, and what `billing.fast` must agree with.

Each is one transaction. What they mean, and when they are called, is in `billing.quota`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import F

from billing import budget, idempotency, prices
from billing.models import ModelPrice, MonthlyUsage, UsageRecord

State = UsageRecord.State


@dataclass(frozen=True, slots=True)
class Taken:
    """A unit that was taken, and what decides whether the provider may be asked with it."""

    price: ModelPrice | None
    misfires: int  # of the license, today
    spent_usd: Decimal  # by all, today; 0 where there is no budget that it matters for


def reserve(entry: UsageRecord, monthly_quota: int, key: idempotency.Claim | None) -> Taken | None:
    """Take one unit of the month's quota, and write the entry that stands for it and the key that claims it.

    Args:
        entry: new; its price and its number are filled in.
        monthly_quota: before bonus units.

    Returns:
        None where no unit is left.

    Raises:
        idempotency.KeyTaken: another request holds the key; no unit was taken.
    """
    today = entry.created_at.date()
    with transaction.atomic():
        if not _take_unit(entry.license_id, entry.month, monthly_quota):
            return None
        entry.price = prices.price_at(entry.model, entry.created_at)
        entry.save(force_insert=True)
        if key is not None:
            idempotency.claim(key, entry)
        counter = MonthlyUsage.objects.get(license=entry.license_id, month=entry.month)
        spent = budget.spent_on(today) if budget.is_limited() else Decimal(0)
    return Taken(entry.price, counter.misfires if counter.misfires_on == today else 0, spent)


def settle(
    entry: UsageRecord, closing: Mapping[str, Any], monthly_quota: int, answer: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Close a reserved entry with its charge, and keep its answer for the key, if it has one.

    Args:
        closing: the entry's fields as they are from now on.
        monthly_quota: before bonus units.
        answer: the charge and the remaining quota are added to it.

    Returns:
        The whole answer; None where the entry was closed before, and nothing is done.
    """
    charge = closing["charge_cents"]
    with transaction.atomic():
        if not UsageRecord.objects.filter(pk=entry.pk, state=State.RESERVED).update(**closing):
            return None
        counter = MonthlyUsage.objects.filter(license=entry.license_id, month=entry.month)
        counter.update(charged_cents=F("charged_cents") + charge)
        whole = {**answer, "cost_cents": charge, "quota_remaining": counter.get().remaining(monthly_quota)}
        idempotency.keep_answer(entry, whole)
        budget.add(entry, closing["provider_cost_usd"])
    return whole


def _take_unit(license_id: int, month: date, monthly_quota: int) -> bool:
    if _increment(license_id, month, monthly_quota):
        return True
    # No unit left, or nobody made the month's counter before; several may be making it at this moment.
    MonthlyUsage.objects.bulk_create([MonthlyUsage(license_id=license_id, month=month)], ignore_conflicts=True)
    return _increment(license_id, month, monthly_quota)


def _increment(license_id: int, month: date, monthly_quota: int) -> bool:
    left = MonthlyUsage.objects.filter(license=license_id, month=month, used__lt=F("bonus_units") + monthly_quota)
    return left.update(used=F("used") + 1) == 1

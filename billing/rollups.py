"""The ledger's daily sums: kept by housekeeping, rebuilt by `manage.py rebuild_rollups`, checked by `reconcile`.

A day is summed up anew until it has been over for a while, and then never again: nothing in the ledger is dated back.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from typing import Any

from django.db import transaction
from django.db.models import Count, Max, Min, Sum
from django.utils import timezone

from billing.models import DailyUsage, Outcome, UsageRecord
from licenses.models import Plan

# After a day's end its last reservations are still settled, or released as abandoned.
CLOSING_TIME = timedelta(minutes=10)
FRESH = timedelta(seconds=55)  # housekeeping comes by each minute
SUMS = ("charged_cents", "provider_cost_usd", "input_tokens", "output_tokens")


def refresh(now: datetime | None = None, most: int | None = None) -> int:
    """Sum up today and what days before it are not final; says how many days.

    Args:
        now: aware; the moment itself where left out.
        most: so many days at once, today and then the oldest, and none where today was just done; where left out,
            all of them.
    """
    now = now or timezone.now()
    newest = DailyUsage.objects.filter(day=now.date()).aggregate(as_of=Max("as_of"))["as_of"]
    if most is not None and newest is not None and now - newest < FRESH:
        return 0
    return _sum_up(islice(_unfinished(now), most), now)


def rebuild(first: date | None = None) -> int:
    """Sum up every day from `first` on (UTC; the ledger's first where left out); says how many days."""
    now = timezone.now()
    day = first or _first_day()
    return _sum_up(_days(day, now.date()), now) if day else 0


def differences() -> Iterator[str]:
    """Where a final day's sums are not the ledger's."""
    now = timezone.now()
    for day in DailyUsage.objects.filter(is_final=True).order_by("day").values_list("day", flat=True).distinct():
        kept = {row.plan_id: row for row in DailyUsage.objects.filter(day=day)}
        for row in _sums(day, now):
            nothing = _row(day, row.plan, [], is_final=True, now=now)  # of a plan that came later
            if _comparable(kept.get(row.plan_id, nothing)) != _comparable(row):
                yield f"{day}: the rollup of {row.plan} differs from the ledger; run 'manage.py rebuild_rollups'"


def _unfinished(now: datetime) -> Iterator[date]:
    """Today, and then the days that are not final, or that nobody summed up yet: the oldest first."""
    today = now.date()
    yield today
    final = set(DailyUsage.objects.filter(is_final=True).values_list("day", flat=True).distinct())
    summed = DailyUsage.objects.filter(is_final=False).aggregate(first=Min("day"))["first"]
    first = min(filter(None, [_first_day(), summed]), default=today)
    yield from (day for day in _days(first, today) if day != today and day not in final)


def _sum_up(days: Iterator[date], now: datetime) -> int:
    count = 0
    for day in days:
        with transaction.atomic():
            DailyUsage.objects.bulk_create(
                _sums(day, now),
                update_conflicts=True,
                unique_fields=["day", "plan"],
                update_fields=["answered", "degraded", "outcomes", *SUMS, "is_final", "as_of"],
            )
        count += 1
    return count


def _sums(day: date, now: datetime) -> list[DailyUsage]:
    """One row for each plan, with zeros where nothing was used."""
    starts = datetime.combine(day, time(), UTC)
    ends = starts + timedelta(days=1)
    groups = (
        UsageRecord.objects.filter(created_at__gte=starts, created_at__lt=ends)
        .order_by()
        .values("plan_id", "state", "outcome")
        .annotate(
            count=Count("id"),
            charged_cents=Sum("charge_cents"),
            provider_cost_usd=Sum("provider_cost_usd"),
            input_tokens=Sum("input_tokens"),
            output_tokens=Sum("output_tokens"),
        )
    )
    by_plan: dict[int, list[Any]] = defaultdict(list)
    for group in groups:
        by_plan[group["plan_id"]].append(group)
    is_open = any(group["state"] == UsageRecord.State.RESERVED for group in groups)  # released later, if at all
    is_final = now >= ends + CLOSING_TIME and not is_open
    return [_row(day, plan, by_plan[plan.pk], is_final, now) for plan in Plan.objects.all()]


def _row(day: date, plan: Plan, groups: list[Any], is_final: bool, now: datetime) -> DailyUsage:
    outcomes = {group["outcome"]: group["count"] for group in groups if group["outcome"]}
    degraded = sum(
        group["count"]
        for group in groups
        if group["state"] == UsageRecord.State.RELEASED and group["outcome"] != Outcome.ABANDONED
    )
    sums = {name: sum(group[name] for group in groups) for name in SUMS}
    answered = outcomes.get(Outcome.ANSWERED, 0)
    return DailyUsage(
        day=day,
        plan=plan,
        answered=answered,
        degraded=degraded,
        outcomes=outcomes,
        is_final=is_final,
        as_of=now,
        **sums,
    )


def _comparable(row: DailyUsage) -> tuple[Any, ...]:
    return (row.answered, row.degraded, row.outcomes, *(getattr(row, name) for name in SUMS))


def _first_day() -> date | None:
    first: datetime | None = UsageRecord.objects.aggregate(first=Min("created_at"))["first"]
    return first.astimezone(UTC).date() if first else None


def _days(first: date, last: date) -> Iterator[date]:
    for number in range((last - first).days + 1):
        yield first + timedelta(days=number)

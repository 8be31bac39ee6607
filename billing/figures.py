"""Sums for people who look after the business: use from the daily rollups, money from payments and adjustments.

Nothing here reads the ledger itself but `recent_outcomes`, which looks at minutes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db.models import Case, Count, F, IntegerField, Q, QuerySet, Sum, When
from django.db.models.functions import Cast, Coalesce, TruncDate, TruncMonth
from django.utils import timezone

from billing import budget, quota
from billing.models import Adjustment, DailyRefusals, DailyUsage, ModelPrice, MonthlyUsage, Payment, UsageRecord
from billing.months import month_of
from licenses.models import License, Plan

CURRENCY = "USD"  # in which margins are reckoned; others are shown beside
OLD_PRICE = timedelta(days=90)
NEAR = Decimal("0.8")


@dataclass(frozen=True)
class Figures:
    """What a stretch of time brought. Charges and revenue in US cents; the provider's cost in exact US dollars."""

    answered: int
    degraded: int
    refused: int
    charged_cents: int
    cost_usd: Decimal
    revenue_cents: int

    @property
    def margin_usd(self) -> Decimal:
        return Decimal(self.revenue_cents) / 100 - self.cost_usd


def between(first: date, last: date) -> Figures:
    """The sums of the UTC days from `first` to `last`, both included."""
    days = Q(day__gte=first, day__lte=last)
    usage = DailyUsage.objects.filter(days).aggregate(
        answered=Coalesce(Sum("answered"), 0),
        degraded=Coalesce(Sum("degraded"), 0),
        charged=Coalesce(Sum("charged_cents"), 0),
        cost=Sum("provider_cost_usd", default=Decimal(0)),
    )
    refused = DailyRefusals.objects.filter(days).aggregate(total=Coalesce(Sum("count"), 0))["total"]
    revenue = sum(cents for _, currency, cents in _money(TruncMonth, first, last) if currency == CURRENCY)
    return Figures(usage["answered"], usage["degraded"], refused, usage["charged"], usage["cost"], revenue)


def by_day(first: date, last: date) -> Iterator[tuple[date, Figures]]:
    """The sums of each UTC day."""
    return _by(first, last, TruncDate, "day", [first + timedelta(days=n) for n in range((last - first).days + 1)])


def by_month(first: date, last: date) -> Iterator[tuple[date, Figures]]:
    """The sums of each UTC month; `first` is the first day of one."""
    months = [first]
    while (following := (months[-1] + timedelta(days=32)).replace(day=1)) <= last:
        months.append(following)
    return _by(first, last, TruncMonth, "month", months)


def refusals_by_code(first: date, last: date) -> list[tuple[str, int]]:
    """Which refusals there were and how often, most often first."""
    rows = DailyRefusals.objects.filter(day__gte=first, day__lte=last).order_by().values("code")
    return list(rows.annotate(total=Sum("count")).order_by("-total", "code").values_list("code", "total"))


def other_currencies(first: date, last: date) -> dict[str, int]:
    """What came in that is not in the figures: currency to its smallest units."""
    sums: dict[str, int] = {}
    for _, currency, amount in _money(TruncMonth, first, last):
        if currency != CURRENCY:
            sums[currency] = sums.get(currency, 0) + amount
    return sums


def recent_outcomes(minutes: int = 15) -> dict[str, int]:
    """How the ledger's entries of the last minutes ended, by outcome."""
    since = timezone.now() - timedelta(minutes=minutes)
    rows = UsageRecord.objects.filter(created_at__gte=since, corrects=None).exclude(outcome="").order_by()
    return dict(rows.values("outcome").annotate(count=Count("id")).values_list("outcome", "count"))


# --- Warnings


def near_quota(percent: int = 80) -> "QuerySet[License]":
    """Licenses that have used so much of this month's quota, bonus units included."""
    return License.objects.filter(pk__in=_counters_near_quota(percent).values("license"))


def count_near_quota() -> tuple[int, int]:
    """How many licenses have used 80% of this month's quota or more, and how many of them all of it."""
    return _counters_near_quota(80).count(), _counters_near_quota(100).count()


def _counters_near_quota(percent: int) -> "QuerySet[MonthlyUsage]":
    return quota.with_used(MonthlyUsage.objects.filter(month=month_of(timezone.now()), used__gt=0), percent)


def losing_plans() -> list[tuple[Plan, int, int]]:
    """Paid plans whose use in the last 30 days cost us more than their paying licenses bring in a month.

    Those that nobody pays for, since staff issued all their licenses, are meant to bring nothing.

    Returns:
        (plan, US cents a month at list price, provider's cost in US cents)
    """
    since = timezone.now().date() - timedelta(days=29)  # today is one of the 30
    rows = DailyUsage.objects.filter(day__gte=since).order_by().values("plan").annotate(cost=Sum("provider_cost_usd"))
    costs = {row["plan"]: cents(row["cost"]) for row in rows}
    paying = Q(licenses__paid_plan=F("pk"), licenses__paid_until__gt=timezone.now())
    plans = Plan.objects.filter(price_cents__gt=0, pk__in=costs).annotate(paying=Count("licenses", filter=paying))
    brings = [(plan, plan.paying * plan.price_cents, costs[plan.pk]) for plan in plans]
    return [(plan, income, cost) for plan, income, cost in brings if 0 < income < cost]


def old_prices() -> list[ModelPrice]:
    """The price in force of the configured model, where nobody has looked at it for 90 days."""
    now = timezone.now()
    prices = ModelPrice.objects.filter(valid_from__lte=now, model=settings.OPENAI_MODEL)
    return [price for price in prices.order_by("-valid_from")[:1] if now - price.valid_from > OLD_PRICE]


def budget_today() -> tuple[Decimal, Decimal] | None:
    """What the provider took today and what it may, in US dollars, once that is near; None where it is not."""
    allowed: Decimal | None = settings.AI_DAILY_BUDGET_USD
    if allowed is None:
        return None
    spent = budget.spent_on(timezone.now().date())
    return (spent, allowed) if spent >= allowed * NEAR else None


def cents(dollars: Decimal | None) -> int:
    """Whole US cents, rounded half to even."""
    return int(((dollars or Decimal(0)) * 100).to_integral_value())


def _by(first: date, last: date, trunc: Any, kind: str, keys: list[date]) -> Iterator[tuple[date, Figures]]:
    days = Q(day__gte=first, day__lte=last)
    group = F("day") if kind == "day" else TruncMonth("day")
    usage: dict[date, Any] = {
        row["group"]: row
        for row in DailyUsage.objects.filter(days)
        .order_by()
        .annotate(group=group)
        .values("group")
        .annotate(
            answered=Sum("answered"),
            degraded=Sum("degraded"),
            charged=Sum("charged_cents"),
            cost=Sum("provider_cost_usd"),
        )
    }
    refused = dict(
        DailyRefusals.objects.filter(days).order_by().annotate(group=group).values("group").annotate(total=Sum("count"))
        .values_list("group", "total")
    )  # fmt: skip
    revenue: dict[date, int] = {}
    for when, currency, amount in _money(trunc, first, last):
        if currency == CURRENCY:
            revenue[when] = revenue.get(when, 0) + amount
    for key in keys:
        row = usage.get(key, {"answered": 0, "degraded": 0, "charged": 0, "cost": Decimal(0)})
        yield (
            key,
            Figures(
                row["answered"],
                row["degraded"],
                refused.get(key, 0),
                row["charged"],
                row["cost"],
                revenue.get(key, 0),
            ),
        )


def _money(trunc: Any, first: date, last: date) -> Iterator[tuple[date, str, int]]:
    """(when, currency, amount) of payments, and of what was taken back as a negative amount; without tax."""
    paid = _stretch(Payment.objects.filter(status=Payment.COMPLETED), "completed_at", first, last)
    back = _stretch(
        Adjustment.objects.filter(status=Adjustment.APPROVED).exclude(payment=None), "approved_at", first, last
    )
    # An adjustment says no tax of its own: it has the same share as its payment.
    net = F("amount") - Cast(F("amount") * F("payment__tax") / F("payment__amount"), IntegerField())
    returned = Case(
        When(payment__amount=0, then=0),
        When(action=Adjustment.CHARGEBACK_REVERSE, then=net),
        When(action__in=[Adjustment.REFUND, Adjustment.CHARGEBACK], then=net * -1),
        default=0,
        output_field=IntegerField(),
    )
    for rows, moment, amount in ((paid, "completed_at", F("amount") - F("tax")), (back, "approved_at", returned)):
        sums = rows.order_by().annotate(when=trunc(moment)).values("when", "currency").annotate(total=Sum(amount))
        for when, currency, total in sums.values_list("when", "currency", "total"):
            yield (when.date() if isinstance(when, datetime) else when), currency, total or 0


def _stretch(rows: "QuerySet[Any]", moment: str, first: date, last: date) -> "QuerySet[Any]":
    after = last + timedelta(days=1)
    return rows.filter(**{f"{moment}__gte": _midnight(first), f"{moment}__lt": _midnight(after)})


def _midnight(day: date) -> datetime:
    from datetime import UTC, time

    return datetime.combine(day, time(), UTC)

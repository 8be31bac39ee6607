"""The console's home: what happened today and this month, what needs a person, and what to keep an eye on.

The figures are `billing.figures`; here they are arranged. Nothing on this page grows with the ledger:
the days that it sums up itself, where nobody has, are few.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, Max, Min, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django_q.models import Failure, OrmQ, Schedule

from billing import figures as sums
from billing import money, refusals, rollups
from billing.models import DailyUsage, Errand, Mail, Outcome, State, WebhookEvent
from billing.months import month_of
from licenses.admin import counted
from licenses.decisions import Decision, ends_by, with_decision
from licenses.models import License, Plan

TO_DO_SHOWN = 10
SOON = timedelta(days=14)
LATE = timedelta(minutes=5)  # what was due so long ago should have been done
# Each stands out from a white and from a dark page by 3:1.
SHADES = {"answered": "#3b82f6", "degraded": "#d97706", "refused": "#6b7280"}


@dataclass(frozen=True)
class Waits:
    """One thing that needs a person."""

    what: str
    note: str
    link: str


def figures(request: HttpRequest) -> dict[str, Any]:
    """What the home's template says."""
    if not request.user.has_perms(["billing.view_dailyusage", "licenses.view_license"]):
        return {"may_look": False}
    refusals.write()
    rollups.refresh(most=3)  # nobody waits for a long history here: housekeeping catches up with it
    now = timezone.now()
    today, month = now.date(), month_of(now)
    to_do, to_do_count = _to_do()
    return {
        "may_look": True,
        "now": now,
        "today": sums.between(today, today),
        "month": sums.between(month, today),
        "refusals": _refusals(month, today),
        "others_today": sums.other_currencies(today, today),
        "others_this_month": sums.other_currencies(month, today),
        "plans": _plans(now.date().replace(day=1)),
        "to_do": to_do,
        "to_do_count": to_do_count,
        "warnings": _warnings(request),
        "health": _health(),
        "days": (days := list(sums.by_day(today - timedelta(days=29), today))),
        "months": (months := list(sums.by_month(_year_before(month), today))),
        "days_chart": _chart([f"{day:%d %b}" for day, _ in days], [f for _, f in days]),
        "months_chart": _money_chart([f"{day:%b %Y}" for day, _ in months], [f for _, f in months]),
        "stacked": _chart_options(stacked=True),
        "side_by_side": _chart_options(stacked=False),
    }


def _plans(since: date) -> list[Plan]:
    """Each plan with its licenses counted: active, new this month, suspended, ending soon."""
    now = timezone.now()
    active = Q(decision=Decision.ACTIVE)
    rows = (
        with_decision(License.objects.all(), now)
        .order_by()
        .values("plan")
        .annotate(
            active=Count("pk", filter=active),
            new=Count("pk", filter=Q(created_at__date__gte=since)),
            suspended=Count("pk", filter=Q(decision=Decision.SUSPENDED)),
            expiring=Count("pk", filter=ends_by(now + SOON)),
            expired=Count("pk", filter=Q(decision=Decision.EXPIRED)),
        )
    )
    counts = {row["plan"]: row for row in rows}
    plans = list(Plan.objects.all())
    for plan in plans:
        plan.counts = counts.get(plan.pk, {})  # type: ignore[attr-defined]
    return plans


def _refusals(month: date, today: date) -> list[tuple[str, int, int]]:
    """(code, how often today, how often this month)"""
    of_today = dict(sums.refusals_by_code(today, today))
    return [(code, of_today.get(code, 0), count) for code, count in sums.refusals_by_code(month, today)]


def _to_do() -> tuple[list[Waits], int]:
    """What failed for good, newest first, and how much of it there is."""
    waiting, count = [], 0
    for model in (WebhookEvent, Mail, Errand):
        rows: QuerySet[Any] = model._default_manager.filter(state=State.FLAGGED)
        if model is Mail:
            rows = rows.select_related("license")
        count += rows.count()
        name = model._meta.model_name
        waiting += [
            Waits(str(row), row.note, reverse(f"admin:billing_{name}_change", args=[row.pk]))
            for row in rows[:TO_DO_SHOWN]
        ]
    failed = Failure.objects.filter(started__gte=timezone.now() - timedelta(days=1)).count()
    if failed:
        count += 1
        text = f"{failed} background tasks failed since yesterday"
        waiting.append(Waits(text, "Their errors are in the list.", reverse("admin:django_q_failure_changelist")))
    return waiting, count


def _failing() -> list[Waits]:
    """What failed and is tried again by itself, for most of a day, before it needs a person."""
    found = []
    for model, noun in ((WebhookEvent, "event"), (Mail, "mail"), (Errand, "errand")):
        rows = model._default_manager.filter(state=State.WAITING, tries__gt=0).exclude(note="")
        newest = rows.order_by("-id").values_list("note", flat=True).first()
        if newest is not None:
            count = max(1, rows.count())  # the worker may just be at it
            link = reverse(f"admin:billing_{model._meta.model_name}_changelist")
            found.append(
                Waits(f"{counted(count, noun)} failed, and will be tried again", newest, f"{link}?state__exact=waiting")
            )
    return found


def _warnings(request: HttpRequest) -> list[Waits]:
    licenses = reverse("admin:licenses_license_changelist")
    near, used_up = sums.count_near_quota()
    found = _failing()
    if near:
        found.append(
            Waits(
                f"{counted(near, 'license')} {'has' if near == 1 else 'have'} used 80% of this month's quota or more",
                f"{used_up} of them all of it; their next calls are refused.",
                f"{licenses}?quota=80",
            )
        )
    for plan, income, cost in sums.losing_plans():
        text = f"{plan} costs more than it brings"
        brings = f"paying licenses at list price: {money.dollars(income)} a month"
        note = f"Provider, last 30 days: {money.dollars(cost)}; {brings}."
        found.append(Waits(text, note, reverse("admin:licenses_plan_change", args=[plan.pk])))
    for price in sums.old_prices():
        text = f"The price of {price.model} is from {price.valid_from:%d %b %Y}"
        note = "Look whether the provider still charges that; if so, enter it anew with today's date."
        found.append(Waits(text, note, reverse("admin:billing_modelprice_changelist")))
    if (spent_allowed := sums.budget_today()) is not None:
        spent, allowed = spent_allowed
        text = f"{money.exact(spent)} of today's AI budget of {money.exact(allowed)} is spent"
        found.append(
            Waits(text, "Once it is used up, answers are degraded.", reverse("admin:billing_dailyspend_changelist"))
        )
    return found


def _health() -> list[tuple[str, bool, str]]:
    """(what, whether it is well, in words) for provider and queue."""
    outcomes = sums.recent_outcomes()
    answered = outcomes.pop(Outcome.ANSWERED, 0)
    troubles = sum(outcomes.values())
    reasons = ", ".join(f"{Outcome(name).label}: {count}" for name, count in outcomes.items())
    provider = f"{answered} answered, {troubles} not{f' ({reasons})' if reasons else ''} in the last 15 minutes"
    late = _oldest_due()
    waits = OrmQ.objects.count()
    queue = f"{waits} tasks wait" + (f"; something has been due since {late:%d %b, %H:%M} UTC" if late else "")
    newest = DailyUsage.objects.filter(day=timezone.now().date()).aggregate(as_of=Max("as_of"))["as_of"]
    is_fresh = newest is not None and timezone.now() - newest < LATE
    return [
        (
            "Provider",
            troubles <= answered,
            provider if outcomes or answered else "nothing asked in the last 15 minutes",
        ),
        ("Queue", late is None, queue),
        ("Payments", bool(settings.PADDLE_API_KEY), "on" if settings.PADDLE_API_KEY else "off: no Paddle key is set"),
        ("Figures", is_fresh, f"as of {newest:%H:%M:%S} UTC" if newest else "none of today yet"),
    ]


def _oldest_due() -> Any:
    """When the oldest thing that should have been done by now was due; None where all is done.

    The schedule is one of these: where no worker runs, it stands still, even while there is nothing else to do.
    """
    cut = timezone.now() - LATE
    due = [
        model._default_manager.filter(state=State.WAITING, due_at__lt=cut).aggregate(oldest=Min("due_at"))["oldest"]
        for model in (WebhookEvent, Mail, Errand)
    ]
    if not settings.Q_CLUSTER["sync"]:  # else there is no worker, nor need of one
        due.append(Schedule.objects.filter(next_run__lt=cut).aggregate(oldest=Min("next_run"))["oldest"])
    return min(filter(None, due), default=None)


def _chart(labels: list[str], rows: list[sums.Figures]) -> str:
    series = [
        {
            "label": name,
            "data": [getattr(row, name) for row in rows],
            "backgroundColor": shade,
        }
        for name, shade in SHADES.items()
    ]
    return json.dumps({"labels": labels, "datasets": series})


def _money_chart(labels: list[str], rows: list[sums.Figures]) -> str:
    named: dict[str, Callable[[sums.Figures], float]] = {  # in dollars, for drawing only
        "revenue": lambda row: row.revenue_cents / 100,
        "provider cost": lambda row: float(row.cost_usd),
        "charged": lambda row: row.charged_cents / 100,
    }
    series = [
        {
            "label": f"{name}, US dollars",
            "data": [dollars(row) for row in rows],
            "backgroundColor": shade,
        }
        for (name, dollars), shade in zip(named.items(), SHADES.values(), strict=True)
    ]
    return json.dumps({"labels": labels, "datasets": series})


def _chart_options(stacked: bool) -> str:
    axis = {
        "stacked": stacked,
        "grid": {"display": False},
        "ticks": {"maxTicksLimit": 8, "precision": 0 if stacked else 2},
    }
    return json.dumps({
        "responsive": True,
        "maintainAspectRatio": False,
        "animation": False,
        "scales": {"x": axis, "y": {**axis, "display": True, "beginAtZero": True}},
        "plugins": {"legend": {"display": True, "position": "top"}},
    })  # fmt: skip


def _year_before(month: date) -> date:
    return month.replace(year=month.year - 1, month=month.month + 1) if month.month < 12 else month.replace(month=1)

"""Everything about one license and its owner, on one page: what support looks at while the customer is on the line."""

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.utils import timezone

from billing import money, quota
from billing.models import Adjustment, DailyRefusals, Mail, Payment, Subscription, UsageRecord
from licenses.admin import counted
from licenses.decisions import decide, in_words
from licenses.models import AuditEvent, License, LicenseToken
from remind_site.console import actions

SHOWN = 20  # of each kind; the lists behind have the rest
NEAR_PERCENT = 80


def page(request: HttpRequest, pk: int) -> HttpResponse:
    """The page about license `pk`.

    Raises:
        PermissionDenied, Http404
    """
    if not request.user.has_perm("licenses.view_license"):
        raise PermissionDenied
    license = get_object_or_404(License.objects.select_related("plan", "paid_plan"), pk=pk)
    now = timezone.now()
    context = {
        **admin.site.each_context(request),
        "title": f"License {license.pk}",
        "license": license,
        "decision": decide(license, now),
        "in_words": in_words(license, now),
        "actions": actions.possible(request, license),
        "quota": _quota(license),
        "tokens": _with_actions(request, license.tokens.all()[:SHOWN]),
        "entries": _entries(request, license),
        "refusals": _refusals(license),
        "subscriptions": Subscription.objects.filter(license=license).select_related("plan")[:SHOWN],
        "payments": _payments(license),
        "mails": _with_actions(request, Mail.objects.filter(license=license).select_related("license")[:SHOWN]),
        "events": AuditEvent.objects.filter(license=license).select_related("token")[:SHOWN],
        "others": License.objects.filter(email=license.email).exclude(pk=license.pk).select_related("plan")[:SHOWN],
        "now": now,
        "shown": SHOWN,
    }
    return TemplateResponse(request, "console/customer.html", context)


def facts(subject: Any) -> list[tuple[str, str]]:
    """What to see before doing something to a row: what it is, and in short whose."""
    license = actions.license_of(subject)
    return [*_facts_of_row(subject), *(_facts_of_license(license) if license is not None else [])]


def _facts_of_row(row: Any) -> list[tuple[str, str]]:
    match row:
        case LicenseToken():
            return [("Token", f"{row}{f' ({row.label})' if row.label else ''}")]
        case UsageRecord():
            when = f"{row.created_at:%-d %b %Y, %H:%M} UTC"
            charged = f"{row.get_outcome_display()}, charged {money.dollars(row.charge_cents)}"
            return [("Entry", f"{row.pk}, {when}: {charged}"), ("Request id", row.request_id)]
        case License():
            return []
        case Mail():
            return [("Mail", f"{row.get_kind_display()}, {row.get_state_display()}")]
        case _:
            return [(str(row._meta.verbose_name).capitalize(), str(row))]


def _facts_of_license(license: License) -> list[tuple[str, str]]:
    used = quota.state_of(license)
    override = actions.overrides(license)
    return [
        ("Customer", f"{license.email}, license {license.pk}"),
        ("Status", f"{decide(license, timezone.now())}. {in_words(license, timezone.now())}"),
        ("Plan", str(license.plan)),
        (
            "Quota",
            f"{used.used:,} of {used.total:,} used this month; {counted(license.rate_limit, 'request')} a minute",
        ),
        *([("Override", override)] if override else []),
    ]


def _quota(license: License) -> dict[str, Any]:
    state = quota.state_of(license)
    percent = min(100, state.used * 100 // state.total) if state.total else 100
    level = "full" if percent >= 100 else "near" if percent >= NEAR_PERCENT else "fine"
    return {"state": state, "percent": percent, "level": level}


def _entries(request: HttpRequest, license: License) -> list[tuple[Any, list[actions.Action]]]:
    entries = UsageRecord.objects.filter(license=license).select_related("plan", "correction", "license")
    return _with_actions(request, entries.order_by("-created_at", "-id")[:SHOWN])


def _refusals(license: License) -> list[Any]:
    """What the API refused this license in the last 30 days, by code."""
    since = timezone.now().date() - timedelta(days=29)  # today is one of the 30
    rows = DailyRefusals.objects.filter(license_number=license.pk, day__gte=since).order_by()
    return list(rows.values("code").annotate(total=Sum("count")).order_by("-total"))


def _payments(license: License) -> list[tuple[Payment, list[Adjustment]]]:
    payments = Payment.objects.filter(subscription__license=license).prefetch_related("adjustments")[:SHOWN]
    return [(payment, list(payment.adjustments.all())) for payment in payments]


def _with_actions(request: HttpRequest, rows: Any) -> list[tuple[Any, list[actions.Action]]]:
    return [(row, actions.possible(request, row)) for row in rows]

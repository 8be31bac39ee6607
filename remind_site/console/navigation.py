"""What stands in the console's sidebar: by what people look for, not by app."""

from collections.abc import Callable
from typing import Any

from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse, reverse_lazy


def _may(*permissions: str) -> Callable[[HttpRequest], bool]:
    return lambda request: request.user.has_perms(permissions)


def _list(title: str, icon: str, model: str) -> dict[str, Any]:
    app, _, name = model.partition(".")
    link = reverse_lazy(f"admin:{app}_{name}_changelist")
    return {"title": title, "icon": icon, "link": link, "permission": _may(f"{app}.view_{name}")}


def title_of(model: type[Model]) -> str:
    """What the list of a model is called: as in the sidebar, so that people know where they are."""
    meta = model._meta
    link = reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist")
    return titles().get(link, str(meta.verbose_name_plural).capitalize())


def titles() -> dict[str, str]:
    """What the page at an address is called."""
    return {str(item["link"]): item["title"] for section in sections() for item in section["items"]}


def sections(request: HttpRequest | None = None) -> list[dict[str, Any]]:
    """The sidebar, as unfold wants it."""
    return [
        {
            "items": [
                {"title": "Home", "icon": "home", "link": reverse_lazy("admin:index")},
                {
                    "title": "Issue a license",
                    "icon": "add_card",
                    "link": reverse_lazy("admin:act-new", args=["issue-license"]),
                    "permission": _may("licenses.add_license"),
                },
            ],
        },
        {
            "title": "Customers",
            "separator": True,
            "items": [
                _list("Licenses", "badge", "licenses.license"),
                _list("Tokens", "key", "licenses.licensetoken"),
                _list("Audit trail", "history", "licenses.auditevent"),
                _list("Mails", "mail", "billing.mail"),
            ],
        },
        {
            "title": "Usage",
            "separator": True,
            "items": [
                _list("Ledger", "receipt_long", "billing.usagerecord"),
                _list("Months", "calendar_month", "billing.monthlyusage"),
                _list("Bonus units", "redeem", "billing.bonusgrant"),
                _list("Refusals", "block", "billing.dailyrefusals"),
            ],
        },
        {
            "title": "Payments",
            "separator": True,
            "items": [
                _list("Subscriptions", "autorenew", "billing.subscription"),
                _list("Payments", "payments", "billing.payment"),
                _list("Refunds, chargebacks", "undo", "billing.adjustment"),
                _list("Customers at Paddle", "groups", "billing.customer"),
                _list("Paddle's events", "webhook", "billing.webhookevent"),
                _list("Errands at Paddle", "outbound", "billing.errand"),
            ],
        },
        {
            "title": "What we sell",
            "separator": True,
            "items": [
                _list("Plans", "sell", "licenses.plan"),
                _list("Prices at Paddle", "shopping_cart", "billing.planprice"),
                _list("Prices of models", "price_change", "billing.modelprice"),
            ],
        },
        {
            "title": "Behind the scenes",
            "separator": True,
            "collapsible": True,
            "items": [
                _list("Log-ins", "login", "remind_site.login"),
                _list("Daily usage", "bar_chart", "billing.dailyusage"),
                _list("Daily spend", "savings", "billing.dailyspend"),
                _list("Repeated keys", "fingerprint", "billing.idempotencykey"),
                _list("Notices to operators", "campaign", "billing.operatornotice"),
                _list("Backups", "backup", "remind_site.backuprun"),
                _list("Tasks that failed", "error", "django_q.failure"),
                _list("Schedules", "schedule", "django_q.schedule"),
                _list("Staff", "person", "auth.user"),
                _list("Roles", "shield_person", "auth.group"),
            ],
        },
    ]

"""The ledger, what was sold and what waits to be done, in the console. What must not change is read-only to all."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import SEARCH_VAR
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import DataError, transaction
from django.db.models import Count, QuerySet, Sum
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import path
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import TabularInline
from unfold.contrib.filters.admin import (
    ChoicesDropdownFilter,
    DropdownFilter,
    RelatedDropdownFilter,
)

from billing import money, sales
from billing.export import as_csv
from billing.models import (
    Adjustment,
    BonusGrant,
    Customer,
    DailyRefusals,
    DailySpend,
    DailyUsage,
    Errand,
    IdempotencyKey,
    Mail,
    ModelPrice,
    MonthlyUsage,
    OperatorNotice,
    Payment,
    PlanPrice,
    Subscription,
    UsageRecord,
    WebhookEvent,
)
from licenses.admin import CatalogAdmin, CatalogForm, Days, OfLicense, ReadOnlyAdmin, confirmation, counted, whose
from licenses.errors import Invalid

LONGEST_AHEAD = timedelta(days=366)
RECENT = 31  # days of the ledger that are shown where nothing narrows it
MOST_PAGES = 500  # of the ledger's list
PRICE_ID = re.compile(r"pri_[a-z0-9]+")


def in_cents(name: str, label: str) -> Callable[[Any, Any], str]:
    """The column of an amount that is kept in US cents."""

    @admin.display(description=label, ordering=name)
    def column(_: Any, row: Any) -> str:
        return money.dollars(getattr(row, name))

    return column


def in_dollars(name: str, label: str) -> Callable[[Any, Any], str]:
    """The column of an exact amount of US dollars."""

    @admin.display(description=label, ordering=name)
    def column(_: Any, row: Any) -> str:
        return money.exact(getattr(row, name))

    return column


def per_million(name: str) -> Callable[[Any], str]:
    """The column of a model's price, exact."""

    @admin.display(description=name.replace("_", " "), ordering=name)
    def column(row: Any) -> str:
        return f"${getattr(row, name).normalize():f} a million"

    column.__name__ = name
    return column


class ModelPriceForm(CatalogForm):
    is_sure = confirmation("The charge is below what the provider takes")

    def clean(self) -> dict[str, Any]:
        """A charge below the provider's price is a slip more often than a gift."""
        values = super().clean()
        below = [kind for kind in ("input", "output") if self._is_below(values, kind)]
        if below and not values.get("is_sure"):
            self.add_error(
                "is_sure",
                f"For {' and '.join(below)} less is charged than the provider takes: each answer would cost us money. "
                "Tick this if that is meant.",
            )
        return values

    def _is_below(self, values: dict[str, Any], kind: str) -> bool:
        charged, provider = values.get(f"charged_{kind}"), values.get(f"provider_{kind}")
        return charged is not None and provider is not None and charged < provider

    def clean_valid_from(self) -> datetime:
        """From today on: entries of days before were charged by the price that held then."""
        valid_from: datetime = self.cleaned_data["valid_from"]
        now = timezone.now()
        today = now.replace(hour=0, minute=0, second=0, microsecond=0)
        if not today <= valid_from <= now + LONGEST_AHEAD:
            raise forms.ValidationError(f"Choose a moment from {today:%-d %b %Y}, 00:00 UTC on, a year ahead at most.")
        return valid_from


@admin.register(ModelPrice)
class ModelPriceAdmin(CatalogAdmin):
    """A new price is a new row; the old ones stay, since entries were charged by them."""

    form = ModelPriceForm
    hint = (
        "A new price holds from its moment on. It never changes an entry that is settled: each keeps the price by "
        "which it was charged. The list is the history; a price that does not hold yet can be withdrawn."
    )
    list_display = [
        "model", "valid_from",
        *(per_million(name) for name in ("provider_input", "provider_cached_input", "provider_output")),
        *(per_million(name) for name in ("charged_input", "charged_output")),
    ]  # fmt: skip
    list_filter = [("valid_from", Days)]
    search_fields = ["model"]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [name for name in super().get_fields(request, obj) if obj is None or name != "is_sure"]

    def save_model(self, request: HttpRequest, obj: ModelPrice, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if obj.model != settings.OPENAI_MODEL:
            unused = (
                f"'{obj.model}' is not the model that is configured ({settings.OPENAI_MODEL}): this price is unused."
            )
            self.message_user(request, unused, messages.WARNING)


class ModelFilter(DropdownFilter):
    """By model; those that have a price, since to look through the ledger for names would take long."""

    title, parameter_name = "model", "model"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        models = ModelPrice.objects.order_by("model").values_list("model", flat=True).distinct()
        return [(model, model) for model in models]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(model=self.value()) if self.value() else queryset


class LedgerDays(Days):
    """Days of the ledger: the last ones, unless others are chosen or something else narrows it.

    Whatever is shown is summed up too; of a ledger of years that takes long, and is seldom what was meant.
    """

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not shows_recent(request):
            return super().queryset(request, queryset)
        first = timezone.now().date() - timedelta(days=RECENT - 1)
        return queryset.filter(created_at__gte=datetime.combine(first, time(), UTC))


def shows_recent(request: HttpRequest) -> bool:
    """Whether no days, no license and no request id are asked for, so that the ledger shows its last days."""
    narrowing = ("created_at_from", "created_at_to", OfLicense.parameter_name, SEARCH_VAR)
    return not any(request.GET.get(name, "").strip() for name in narrowing)


class LedgerPaginator(Paginator):
    """Counts and sums up the filtered entries in one go."""

    @cached_property
    def totals(self) -> dict[str, Any]:
        return self.object_list.order_by().aggregate(  # type: ignore[attr-defined]
            entries=Count("id"),
            charged_cents=Sum("charge_cents", default=0),
            provider_cost_usd=Sum("provider_cost_usd", default=Decimal(0)),
            input_tokens=Sum("input_tokens", default=0),
            output_tokens=Sum("output_tokens", default=0),
        )

    @cached_property
    def count(self) -> int:
        entries: int = self.totals["entries"]
        return entries

    @cached_property
    def num_pages(self) -> int:
        """To find page 5,000, the database reads the 4,999 before it: what is older is found by its day."""
        return min(MOST_PAGES, super().num_pages)

    @property
    def is_cut(self) -> bool:
        return self.count > MOST_PAGES * self.per_page


@admin.register(UsageRecord)
class UsageRecordAdmin(ReadOnlyAdmin):
    list_before_template = "console/ledger_totals.html"
    list_display = [
        "created_at", whose, "plan", "how", "charged", "cost", "model", "tokens", "id", "request_id",
    ]  # fmt: skip
    ordering = ["-created_at", "-id"]
    list_filter = [
        OfLicense,
        ("plan", RelatedDropdownFilter),
        ModelFilter,
        ("outcome", ChoicesDropdownFilter),
        ("state", ChoicesDropdownFilter),
        ("created_at", LedgerDays),
    ]
    list_select_related = ["license", "plan"]
    sortable_by = ["created_at"]
    search_fields = ["=request_id"]
    search_help_text = "A request id, whole. By license: the filter."

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[UsageRecord], term: str) -> Any:
        """Just as it is written: ids are in small letters."""
        return queryset.filter(request_id=term.strip()) if term.strip() else queryset, False

    @admin.display(description="outcome", ordering="outcome")
    def how(self, entry: UsageRecord) -> str:
        if entry.state == UsageRecord.State.RESERVED:
            return "under way"
        return entry.get_outcome_display() + (", free" if entry.state == UsageRecord.State.RELEASED else "")

    charged = in_cents("charge_cents", "charged")
    cost = in_dollars("provider_cost_usd", "cost")

    @admin.display(description="tokens in, out")
    def tokens(self, entry: UsageRecord) -> str:
        return f"{entry.input_tokens:,}, {entry.output_tokens:,}"

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        recent = RECENT if shows_recent(request) else None
        return super().changelist_view(request, {**(extra_context or {}), "recent_days": recent})

    def get_paginator(self, request: HttpRequest, queryset: Any, *args: Any, **kwargs: Any) -> Paginator:
        paginator = LedgerPaginator if queryset.model is UsageRecord else Paginator  # the latter for a row's history
        return paginator(queryset, *args, **kwargs)

    EXPORTED = (
        ("entry", lambda entry: entry.pk),
        ("created_at", lambda entry: entry.created_at.isoformat()),
        ("closed_at", lambda entry: entry.closed_at and entry.closed_at.isoformat()),
        ("license", lambda entry: entry.license_id),
        ("email", lambda entry: entry.license.email),
        ("plan", lambda entry: entry.plan.slug),
        ("state", lambda entry: entry.state),
        ("outcome", lambda entry: entry.outcome),
        ("model", lambda entry: entry.model),
        ("input_tokens", lambda entry: entry.input_tokens),
        ("cached_tokens", lambda entry: entry.cached_tokens),
        ("output_tokens", lambda entry: entry.output_tokens),
        ("charge_cents", lambda entry: entry.charge_cents),
        ("units", lambda entry: entry.units),
        ("corrects", lambda entry: entry.corrects_id),
        ("provider_cost_usd", lambda entry: f"{entry.provider_cost_usd:f}"),
        ("request_id", lambda entry: entry.request_id),
    )

    def get_urls(self) -> list[Any]:
        export = path("export/", self.admin_site.admin_view(self.export), name="billing_usagerecord_export")
        return [export, *super().get_urls()]

    def export(self, request: HttpRequest) -> StreamingHttpResponse:
        """What the list shows with these filters, all of it, as CSV."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            rows = self.get_changelist_instance(request).queryset
        except (IncorrectLookupParameters, ValueError, OverflowError, DataError):
            raise Invalid("These filters can't be read. Please choose them anew in the list.") from None
        return as_csv(rows, self.EXPORTED, "ledger.csv")


@admin.register(MonthlyUsage)
class MonthlyUsageAdmin(ReadOnlyAdmin):
    list_display = ["month", whose, "used", "bonus_units", "charged"]
    charged = in_cents("charged_cents", "charged")
    sortable_by = ()
    list_filter = [OfLicense, ("month", Days)]
    list_select_related = ["license"]


@admin.register(BonusGrant)
class BonusGrantAdmin(ReadOnlyAdmin):
    """Granted on a license's page; never taken back."""

    list_display = ["at", whose, "month", "units", "by", "reason"]
    list_filter = [OfLicense, ("month", Days)]
    list_select_related = ["license"]


@admin.register(DailyUsage)
class DailyUsageAdmin(ReadOnlyAdmin):
    list_display = ["day", "plan", "answered", "degraded", "charged", "cost", "is_final", "as_of"]
    charged = in_cents("charged_cents", "charged")
    cost = in_dollars("provider_cost_usd", "provider cost")
    list_filter = [("plan", RelatedDropdownFilter), ("day", Days)]
    list_select_related = ["plan"]


@admin.register(DailyRefusals)
class DailyRefusalsAdmin(ReadOnlyAdmin):
    list_display = ["day", "code", "license_number", "count"]
    list_filter = [("day", Days)]
    search_fields = ["=license_number", "=code"]
    search_help_text = "A license's number, or a code."


@admin.register(DailySpend)
class DailySpendAdmin(ReadOnlyAdmin):
    list_display = ["day", "slot", "cost"]
    cost = in_dollars("cost_usd", "provider cost")


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(ReadOnlyAdmin):
    """Without the answers: those are the customer's."""

    list_display = [whose, "entry", "expires_at"]
    list_select_related = ["license", "entry"]
    fields = ["license", "entry", "expires_at"]
    search_fields = ["=license__id", "=entry__id"]


@admin.register(OperatorNotice)
class OperatorNoticeAdmin(ReadOnlyAdmin):
    list_display = ["day", "kind", "text", "created_at", "sent_at"]


class PlanPriceForm(CatalogForm):
    is_sure = confirmation("It buys that, and what waits for it may be done")

    def clean(self) -> dict[str, Any]:
        """A new price for which events wait makes licenses at once: what, is said before."""
        values = super().clean()
        price_id, plan = values.get("price_id"), values.get("plan")
        if self.instance.pk or not (price_id and plan) or values.get("is_sure"):
            return values
        if waiting := len(sales.waiting_for(price_id)):
            self.add_error(
                "is_sure",
                f"{counted(waiting, 'event')} for {price_id}: processed at once, for the plan {plan}, a "
                f"{values.get('interval')}. Licenses are made or changed by it, and mailed. Tick this if it is right.",
            )
        return values

    def clean_price_id(self) -> str:
        price_id: str = self.cleaned_data["price_id"].strip()
        if not PRICE_ID.fullmatch(price_id):
            raise forms.ValidationError("Copy it from Paddle: pri_ and then small letters and digits.")
        return price_id

    def _get_validation_exclusions(self) -> set[str]:
        """Not that one price is offered at a time: saving takes the other one off."""
        return {*super()._get_validation_exclusions(), "is_offered"}


@admin.register(PlanPrice)
class PlanPriceAdmin(CatalogAdmin):
    """What a price buys is said once; later it is taken off or offered again; an action puts a wrong one right."""

    form = PlanPriceForm

    list_display = ["plan", "interval", "price_id", "is_offered"]
    list_filter = [("plan", RelatedDropdownFilter)]
    hint = (
        "Which plan a price at Paddle buys. What it costs is set at Paddle. One price is offered for a plan and "
        "interval: a new one takes the other off, which goes on for those who pay it. Nothing that is settled changes. "
        "If events wait for a new price, you are told how many before they are processed."
    )
    list_select_related = ["plan"]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [name for name in super().get_fields(request, obj) if obj is None or name != "is_sure"]

    def get_readonly_fields(self, request: HttpRequest, obj: PlanPrice | None = None) -> list[str]:
        return ["price_id", "plan", "interval"] if obj else []

    @transaction.atomic
    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if request.method == "POST":
            sales.hold_prices()  # before any row of them, as whoever corrects one does
        return super().changeform_view(request, *args, **kwargs)

    @transaction.atomic
    def save_model(self, request: HttpRequest, obj: PlanPrice, form: Any, change: bool) -> None:
        sales.hold_prices()
        for other in sales.offered_beside(obj):
            other.is_offered = False
            other.save(update_fields=["is_offered"])
            self.record(request, other, {"is_offered": ["True", "False"]}, form.cleaned_data["reason"])
            self.message_user(request, f"{other.price_id} is no longer offered; who pays it goes on.")
        super().save_model(request, obj, form, change)
        waiting = sales.price_known(obj)
        if waiting:
            self.message_user(request, f"{counted(waiting, 'event')} that waited for this price: processed now.")


@admin.register(Customer)
class CustomerAdmin(ReadOnlyAdmin):
    list_display = ["email", "name", "paddle_id", whose, "created_at"]
    list_select_related = ["license"]
    search_fields = ["email", "=paddle_id"]


class Paid:
    """The column of an amount in its currency."""

    @admin.display(description="amount", ordering="amount")
    def paid(self, row: Any) -> str:
        return money.minor(row.amount, row.currency)


class PaymentInline(Paid, TabularInline):
    model = Payment
    fields: ClassVar[Any] = ["paddle_id", "status", "paid", "period_ends_at", "completed_at"]
    readonly_fields: ClassVar[Any] = fields
    extra = 0
    can_delete = False
    show_change_link = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Subscription)
class SubscriptionAdmin(ReadOnlyAdmin):
    inlines = [PaymentInline]
    list_display = [
        "paddle_id", "customer", whose, "status", "plan", "entitled_until", "scheduled_action", "scheduled_at",
        "superseded_by",
    ]  # fmt: skip
    list_filter = [OfLicense, ("status", ChoicesDropdownFilter), ("plan", RelatedDropdownFilter)]
    list_select_related = ["customer", "license", "plan", "superseded_by"]
    search_fields = ["=paddle_id", "customer__email", "=license__id"]


class AdjustmentInline(Paid, TabularInline):
    model = Adjustment
    fields: ClassVar[Any] = ["paddle_id", "action", "status", "paid", "approved_at"]
    readonly_fields: ClassVar[Any] = fields
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Payment)
class PaymentAdmin(Paid, ReadOnlyAdmin):
    inlines = [AdjustmentInline]
    list_display = ["paddle_id", "customer", "subscription", "status", "paid", "completed_at"]
    list_filter = [("completed_at", Days)]
    list_select_related = ["customer", "subscription"]
    search_fields = ["=paddle_id", "customer__email", "=subscription__paddle_id"]


@admin.register(Adjustment)
class AdjustmentAdmin(Paid, ReadOnlyAdmin):
    list_display = ["paddle_id", "payment", "action", "status", "paid", "approved_at"]
    list_filter = [("approved_at", Days)]
    list_select_related = ["payment"]
    search_fields = ["=paddle_id", "=payment__paddle_id"]


class ToDoAdmin(ReadOnlyAdmin):
    """For rows of the outbox: nobody edits them; the site's actions have them done again, or close them."""

    list_filter: ClassVar[Any] = [("state", ChoicesDropdownFilter), ("created_at", Days)]


@admin.register(WebhookEvent)
class WebhookEventAdmin(ToDoAdmin):
    list_display = ["event_type", "state", "note", "occurred_at", "subject", "event_id", "tries"]
    search_fields = ["=event_id", "=subject"]
    fields = [
        "event_id", "event_type", "subject", "occurred_at", "created_at", "state", "tries", "due_at", "note", "payload",
    ]  # fmt: skip

    @admin.display(description="payload")
    def payload(self, event: WebhookEvent) -> SafeString:
        return format_html(
            '<pre class="payload" tabindex="0" role="region" aria-label="Payload">{}</pre>', _indented(event.body)
        )


def _indented(body: str) -> str:
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return body


@admin.register(Mail)
class MailAdmin(ToDoAdmin):
    list_display = ["kind", "state", whose, "address", "note", "created_at", "tries", "due_at", "done_at"]
    list_filter = [OfLicense, ("kind", ChoicesDropdownFilter), *ToDoAdmin.list_filter]
    list_select_related = ["license"]
    search_fields = ["license__email", "to"]

    @admin.display(description="to")
    def address(self, mail: Mail) -> str:
        return mail.sent_to or mail.to


@admin.register(Errand)
class ErrandAdmin(ToDoAdmin):
    list_display = ["kind", "state", "subject", "note", "created_at", "tries", "due_at", "done_at"]
    list_filter = [("kind", ChoicesDropdownFilter), *ToDoAdmin.list_filter]
    search_fields = ["=subject"]

"""The ledger, its counters and prices in the console. What must not change is read-only to everyone."""

from datetime import date, timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone

from billing import quota
from billing.models import (
    BonusGrant,
    DailySpend,
    IdempotencyKey,
    ModelPrice,
    MonthlyUsage,
    OperatorNotice,
    UsageRecord,
)
from billing.months import month_of
from licenses.admin import ReadOnlyAdmin, staff


@admin.register(ModelPrice)
class ModelPriceAdmin(admin.ModelAdmin):
    """A new price is a new row; the old ones stay, since entries were charged by them."""

    list_display = [
        "model", "valid_from", "provider_input", "provider_cached_input", "provider_output",
        "charged_input", "charged_output",
    ]  # fmt: skip
    list_filter = ["model"]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(UsageRecord)
class UsageRecordAdmin(ReadOnlyAdmin):
    list_display = [
        "id", "created_at", "license", "plan", "state", "outcome", "model", "input_tokens", "output_tokens",
        "charge_cents", "provider_cost_usd", "request_id",
    ]  # fmt: skip
    list_filter = ["state", "outcome", "plan", "model", "usage_missing"]
    list_select_related = ["license", "plan"]
    search_fields = ["=id", "=license__id", "license__email", "=request_id"]
    date_hierarchy = "created_at"
    show_full_result_count = False


@admin.register(MonthlyUsage)
class MonthlyUsageAdmin(ReadOnlyAdmin):
    list_display = ["month", "license", "used", "bonus_units", "charged_cents"]
    list_filter = ["month"]
    list_select_related = ["license"]
    search_fields = ["=license__id", "license__email"]


class BonusGrantForm(forms.ModelForm):
    class Meta:
        model = BonusGrant
        fields = ["license", "month", "units", "reason"]

    def clean_month(self) -> date:
        """Any day of the month will do; a month that is over helps nobody."""
        month: date = self.cleaned_data["month"].replace(day=1)
        this = month_of(timezone.now())
        if not this <= month <= this + timedelta(days=366):
            raise forms.ValidationError("Choose a day of this month, or of one within a year.")
        return month


@admin.register(BonusGrant)
class BonusGrantAdmin(admin.ModelAdmin):
    """Granted by adding one; never taken back."""

    form = BonusGrantForm
    fields = ["license", "month", "units", "reason"]
    autocomplete_fields = ["license"]
    list_display = ["at", "license", "month", "units", "by", "reason"]
    list_select_related = ["license"]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: BonusGrant, form: Any, change: bool) -> None:
        grant = quota.grant_bonus(obj.license, obj.units, month=obj.month, by=staff(request), reason=obj.reason)
        obj.pk = grant.pk


@admin.register(DailySpend)
class DailySpendAdmin(ReadOnlyAdmin):
    list_display = ["day", "slot", "cost_usd"]
    date_hierarchy = "day"


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(ReadOnlyAdmin):
    """Without the answers: those are the customer's."""

    list_display = ["license", "entry", "expires_at"]
    list_select_related = ["license", "entry"]
    fields = ["license", "entry", "expires_at"]
    search_fields = ["=license__id", "=entry__id"]


@admin.register(OperatorNotice)
class OperatorNoticeAdmin(ReadOnlyAdmin):
    list_display = ["day", "kind", "text", "created_at", "sent_at"]

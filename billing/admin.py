"""The ledger, what was sold and what waits to be done, in the console. What must not change is read-only to all."""

import json
from datetime import date, timedelta
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing import mails, outbox, quota, sales
from billing.models import (
    Adjustment,
    BonusGrant,
    Customer,
    DailySpend,
    Errand,
    IdempotencyKey,
    Mail,
    ModelPrice,
    MonthlyUsage,
    OperatorNotice,
    Payment,
    PlanPrice,
    State,
    Subscription,
    UsageRecord,
    WebhookEvent,
)
from billing.models.outbox import ToDo
from billing.months import month_of
from licenses.admin import KeptAdmin, LicenseAdmin, ReadOnlyAdmin, ReasonForm, staff
from licenses.models import License


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


@admin.register(PlanPrice)
class PlanPriceAdmin(KeptAdmin):
    """What a price buys is said once; later it can only be taken off, or offered again."""

    list_display = ["plan", "interval", "price_id", "is_offered"]
    list_filter = ["plan", "interval", "is_offered"]
    list_select_related = ["plan"]

    def get_readonly_fields(self, request: HttpRequest, obj: PlanPrice | None = None) -> list[str]:
        return ["price_id", "plan", "interval"] if obj else []

    def save_model(self, request: HttpRequest, obj: PlanPrice, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        waiting = sales.price_known(obj)
        if waiting:
            self.message_user(request, f"{waiting} events that waited for this price are processed now.")


@admin.register(Customer)
class CustomerAdmin(ReadOnlyAdmin):
    list_display = ["email", "name", "paddle_id", "license", "created_at"]
    list_select_related = ["license"]
    search_fields = ["email", "=paddle_id"]


class PaymentInline(admin.TabularInline):
    model = Payment
    fields: ClassVar[Any] = ["paddle_id", "status", "amount", "currency", "period_ends_at", "completed_at"]
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
        "paddle_id", "customer", "license", "status", "plan", "entitled_until", "scheduled_action", "scheduled_at",
        "superseded_by",
    ]  # fmt: skip
    list_filter = ["status", "plan", "scheduled_action"]
    list_select_related = ["customer", "license", "plan", "superseded_by"]
    search_fields = ["=paddle_id", "customer__email", "=license__id"]


class AdjustmentInline(admin.TabularInline):
    model = Adjustment
    fields: ClassVar[Any] = ["paddle_id", "action", "status", "amount", "currency", "approved_at"]
    readonly_fields: ClassVar[Any] = fields
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Payment)
class PaymentAdmin(ReadOnlyAdmin):
    inlines = [AdjustmentInline]
    list_display = ["paddle_id", "customer", "subscription", "status", "amount", "currency", "completed_at"]
    list_filter = ["status", "currency"]
    list_select_related = ["customer", "subscription"]
    search_fields = ["=paddle_id", "customer__email", "=subscription__paddle_id"]
    date_hierarchy = "completed_at"


@admin.register(Adjustment)
class AdjustmentAdmin(ReadOnlyAdmin):
    list_display = ["paddle_id", "payment", "action", "status", "amount", "currency", "approved_at"]
    list_filter = ["action", "status"]
    list_select_related = ["payment"]
    search_fields = ["=paddle_id", "=payment__paddle_id"]


class ToDoAdmin(ReadOnlyAdmin):
    """For rows of the outbox: read-only, but for having them done again or closing them."""

    list_filter = ["state"]

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(f"{self.opts.app_label}.change_{self.opts.model_name}")

    @admin.action(description="Try again", permissions=["operate"])
    def try_again(self, request: HttpRequest, chosen: QuerySet[Any]) -> None:
        for row in chosen:
            outbox.try_again(row)
        self.message_user(request, f"{len(chosen)} will be tried again within a minute.")

    @admin.action(description="A person has seen to it", permissions=["operate"])
    def seen_to(self, request: HttpRequest, chosen: QuerySet[ToDo]) -> None:
        flagged = chosen.filter(state=State.FLAGGED)
        count = flagged.count()
        for row in flagged:
            row.state, row.note = State.DONE, f"{row.note} Seen to by {staff(request)}."
            row.save(update_fields=["state", "note"])
        self.message_user(request, f"{count} of {len(chosen)} were waiting for a person and are closed now.")


@admin.register(WebhookEvent)
class WebhookEventAdmin(ToDoAdmin):
    actions = ["try_again", "seen_to"]
    list_display = ["event_type", "state", "note", "occurred_at", "subject", "event_id", "tries"]
    list_filter = ["state", "event_type"]
    search_fields = ["=event_id", "=subject"]
    fields = [
        "event_id", "event_type", "subject", "occurred_at", "created_at", "state", "tries", "due_at", "note", "payload",
    ]  # fmt: skip
    show_full_result_count = False

    @admin.display(description="payload")
    def payload(self, event: WebhookEvent) -> SafeString:
        return format_html("<pre>{}</pre>", _indented(event.body))


def _indented(body: str) -> str:
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return body


@admin.register(Mail)
class MailAdmin(ToDoAdmin):
    action_form = ReasonForm
    actions = ["send_again", "cancel", "seen_to"]
    list_display = ["kind", "state", "license", "to", "note", "created_at", "tries", "due_at", "done_at"]
    list_filter = ["state", "kind"]
    list_select_related = ["license"]
    search_fields = ["=license__id", "license__email", "to"]

    @admin.action(description="Send again (a token mail brings a new token)", permissions=["operate"])
    def send_again(self, request: HttpRequest, chosen: QuerySet[Mail]) -> None:
        for mail in chosen.select_related("license__plan"):
            if mail.kind == Mail.Kind.TOKEN and mail.license:
                mails.resend_token(mail.license, by=staff(request), reason=request.POST.get("reason", ""))
            else:
                outbox.try_again(mail)
        self.message_user(request, f"{len(chosen)} will be sent within a minute.")

    @admin.action(description="Cancel, if it has not left", permissions=["operate"])
    def cancel(self, request: HttpRequest, chosen: QuerySet[Mail]) -> None:
        canceled = sum(mails.cancel(mail, note=f"Canceled by {staff(request)}.") for mail in chosen)
        self.message_user(request, f"{canceled} of {len(chosen)} were canceled; the others had left or ended before.")


@admin.register(Errand)
class ErrandAdmin(ToDoAdmin):
    actions = ["try_again", "seen_to"]
    list_display = ["kind", "state", "subject", "note", "created_at", "tries", "due_at", "done_at"]
    list_filter = ["state", "kind"]
    search_fields = ["=subject"]


@admin.action(description="Mail a new token to the owner", permissions=["change"])
def mail_token(console: LicenseAdmin, request: HttpRequest, chosen: QuerySet[License]) -> None:
    """An action on licenses that is billing's, since billing sends the mails."""
    reason = request.POST.get("reason", "").strip()
    if not reason:
        console.message_user(request, "Give a reason beside the action; nothing was done.", messages.ERROR)
        return
    for license in chosen:
        mails.resend_token(license, by=staff(request), reason=reason)
    console.message_user(request, f"{len(chosen)} mails with a new token will leave within a minute.")


LicenseAdmin.actions = [*LicenseAdmin.actions, mail_token]

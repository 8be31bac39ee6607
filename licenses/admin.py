"""Plans, licenses, tokens and the audit trail in the console; every change goes through `licenses.lifecycle`."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from licenses import lifecycle
from licenses.decisions import decide
from licenses.models import AuditEvent, License, LicenseToken, Plan


class ReadOnlyAdmin(admin.ModelAdmin):
    """For what nobody changes by hand."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class KeptAdmin(admin.ModelAdmin):
    """For what may change, but is never deleted."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def staff(request: HttpRequest) -> str:
    """How a member of staff stands in the audit trail."""
    return f"staff:{request.user.get_username()}"


def show_token_once(request: HttpRequest, token: LicenseToken, secret: str) -> HttpResponse:
    """The only page that ever holds a whole token; never kept by browser or proxy."""
    context = {
        **admin.site.each_context(request),
        "title": "Here is the token",
        "token": token,
        "secret": secret,
    }
    page = TemplateResponse(request, "admin/token_issued.html", context)
    page["Cache-Control"] = "no-store"
    return page


@admin.register(Plan)
class PlanAdmin(KeptAdmin):
    list_display = ["name", "slug", "monthly_quota", "rate_limit", "price_cents", "is_public", "is_active", "order"]

    def get_readonly_fields(self, request: HttpRequest, obj: Plan | None = None) -> list[str]:
        return ["slug"] if obj else []


class LicenseForm(forms.ModelForm):
    reason = forms.CharField(max_length=500, help_text="Why; for the audit trail.")

    class Meta:
        model = License
        fields = [
            "email", "plan", "starts_at", "expires_at", "quota_override", "rate_override", "sends_notices", "notes",
        ]  # fmt: skip


class TokenInline(admin.TabularInline):
    model = LicenseToken
    fields: ClassVar[Any] = ["prefix", "label", "created_at", "last_used_at", "expires_at", "revoked_at"]
    readonly_fields = fields
    extra = 0
    can_delete = False
    show_change_link = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class AuditInline(admin.TabularInline):
    model = AuditEvent
    fields: ClassVar[Any] = ["at", "action", "by", "reason", "changes"]
    readonly_fields = fields
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ReasonForm(ActionForm):
    reason = forms.CharField(max_length=500, required=False, label="Reason")


@admin.register(License)
class LicenseAdmin(KeptAdmin):
    form = LicenseForm
    action_form = ReasonForm
    actions = ["suspend", "reinstate", "issue_token", "follow_paid_plan"]
    inlines = [TokenInline, AuditInline]
    list_display = ["number", "email", "plan", "status", "monthly_quota", "rate_limit", "ends_at", "paid_plan"]
    list_display_links = ["number", "email"]
    list_filter = ["plan", ("suspended_at", admin.EmptyFieldListFilter)]
    list_select_related = ["plan", "paid_plan"]
    search_fields = ["=id", "email", "tokens__prefix__startswith"]
    readonly_fields = [
        "status", "suspended_at", "suspended_by", "suspension_reason", "created_at",
        "paid_plan", "paid_until", "paid_ending", "plan_is_kept",
    ]  # fmt: skip
    fields = [
        "email", "plan", "starts_at", "expires_at", "quota_override", "rate_override", "sends_notices", "notes",
        "reason", "status", "suspended_at", "suspended_by", "suspension_reason", "created_at",
        "paid_plan", "paid_until", "paid_ending", "plan_is_kept",
    ]  # fmt: skip

    @admin.display(ordering="id")
    def number(self, license: License) -> int:
        return license.pk

    @admin.display(description="may act")
    def status(self, license: License) -> str:
        return decide(license, timezone.now()) if license.pk else "-"

    def get_readonly_fields(self, request: HttpRequest, obj: License | None = None) -> list[str]:
        return [*self.readonly_fields, "email", "starts_at"] if obj else self.readonly_fields

    def save_model(self, request: HttpRequest, obj: License, form: Any, change: bool) -> None:
        values, who = form.cleaned_data, {"by": staff(request), "reason": form.cleaned_data["reason"]}
        if change:
            _apply_changes(obj, set(form.changed_data), values, who)
            return
        license = lifecycle.issue(
            values["email"],
            values["plan"],
            quota=values["quota_override"],
            rate=values["rate_override"],
            starts_at=values["starts_at"],
            expires_at=values["expires_at"],
            notes=values["notes"],
            sends_notices=values["sends_notices"],
            **who,
        )
        request.issued = lifecycle.add_token(license, **who)  # type: ignore[attr-defined]  # for response_add
        obj.pk = license.pk

    def response_add(self, request: HttpRequest, obj: License, post_url_continue: str | None = None) -> HttpResponse:
        return show_token_once(request, *request.issued)  # type: ignore[attr-defined]  # set by save_model

    @admin.action(description="Suspend", permissions=["change"])
    def suspend(self, request: HttpRequest, licenses: QuerySet[License]) -> None:
        self._each(request, licenses, lifecycle.suspend, "suspended")

    @admin.action(description="Reinstate", permissions=["change"])
    def reinstate(self, request: HttpRequest, licenses: QuerySet[License]) -> None:
        self._each(request, licenses, lifecycle.reinstate, "reinstated")

    @admin.action(description="Let the plan follow payments again", permissions=["change"])
    def follow_paid_plan(self, request: HttpRequest, licenses: QuerySet[License]) -> None:
        self._each(request, licenses, lifecycle.follow_paid_plan, "follow payments again")

    @admin.action(description="Issue a further token", permissions=["change"])
    def issue_token(self, request: HttpRequest, licenses: QuerySet[License]) -> HttpResponse | None:
        if licenses.count() != 1:
            self.message_user(request, "Choose one license: a token is shown only once.", messages.ERROR)
            return None
        reason = request.POST.get("reason", "")
        return show_token_once(request, *lifecycle.add_token(licenses.get(), by=staff(request), reason=reason))

    def _each(self, request: HttpRequest, licenses: QuerySet[License], act: Any, done: str) -> None:
        reason = request.POST.get("reason", "").strip()
        if not reason:
            self.message_user(request, "Give a reason beside the action; nothing was done.", messages.ERROR)
            return
        count = 0
        for license in licenses:
            try:
                act(license, by=staff(request), reason=reason)
                count += 1
            except lifecycle.NotPossible as error:
                self.message_user(request, f"License {license.pk}: {error}", messages.WARNING)
        self.message_user(request, f"{count} of {len(licenses)} licenses {done}.")


def _apply_changes(license: License, changed: set[str], values: dict[str, Any], who: dict[str, str]) -> None:
    if "plan" in changed:
        lifecycle.change_plan(license, values["plan"], **who)
    if "expires_at" in changed:
        lifecycle.extend(license, values["expires_at"], **who)
    if changed & {"quota_override", "rate_override"}:
        lifecycle.change_limits(license, quota=values["quota_override"], rate=values["rate_override"], **who)
    plain = {name: values[name] for name in ("notes", "sends_notices") if name in changed}
    if plain:
        License.objects.filter(pk=license.pk).update(**plain)


@admin.register(LicenseToken)
class LicenseTokenAdmin(ReadOnlyAdmin):
    action_form = ReasonForm
    actions = ["rotate", "revoke"]
    list_display = ["id", "prefix", "label", "license", "created_at", "last_used_at", "expires_at", "revoked_at"]
    list_select_related = ["license"]
    search_fields = ["=id", "prefix__startswith", "license__email"]
    exclude = ["digest"]

    @admin.action(description="Rotate: a new token, the old one goes on for a day", permissions=["operate"])
    def rotate(self, request: HttpRequest, chosen: QuerySet[LicenseToken]) -> HttpResponse | None:
        if chosen.count() != 1:
            self.message_user(request, "Choose one token: the new one is shown only once.", messages.ERROR)
            return None
        try:
            issued = lifecycle.rotate(chosen.get(), by=staff(request), reason=request.POST.get("reason", ""))
        except lifecycle.NotPossible as error:
            self.message_user(request, str(error), messages.ERROR)
            return None
        return show_token_once(request, *issued)

    @admin.action(description="Revoke at once", permissions=["operate"])
    def revoke(self, request: HttpRequest, chosen: QuerySet[LicenseToken]) -> None:
        count = 0
        for token in chosen.select_related("license"):
            try:
                lifecycle.revoke(token, by=staff(request), reason=request.POST.get("reason", ""))
                count += 1
            except lifecycle.NotPossible as error:
                self.message_user(request, f"{token}: {error}", messages.WARNING)
        self.message_user(request, f"{count} of {len(chosen)} tokens revoked.")

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("licenses.change_licensetoken")


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = ["at", "action", "license", "by", "reason"]
    list_filter = ["action"]
    list_select_related = ["license"]
    search_fields = ["=license__id", "license__email", "by", "reason"]
    date_hierarchy = "at"

"""Plans, tokens and the audit trail in the console, and what every list there has in common.

The list of licenses draws on billing too, so it is in `remind_site.console.licenses`. What is done to a row goes
through the site's actions (`admin_site.actions_on`), which end in `licenses.lifecycle`.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.contrib import admin, messages
from django.db import DataError, models, transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import (
    ChoicesDropdownFilter,
    RangeDateFilter,
    TextFilter,
)
from unfold.utils import parse_date_str

from licenses import lifecycle
from licenses.models import AuditEvent, LicenseToken, Plan


def staff(request: HttpRequest) -> str:
    """How a member of staff stands in the audit trail."""
    return f"staff:{request.user.get_username()}"[:150]


class ConsoleAdmin(ModelAdmin):
    """What every list and page of the console has: the site's actions, and filters that wait to be sent."""

    list_per_page = 50
    list_filter_submit = True
    list_fullwidth = True
    compressed_fields = True
    show_full_result_count = False
    change_form_outer_before_template = "console/object_actions.html"
    hint = ""  # said above the form

    def get_actions(self, request: HttpRequest) -> Any:
        return {**super().get_actions(request), **self.admin_site.bulk_actions_on(request, self.model)}

    def get_action_choices(self, request: HttpRequest, default_choices: Any = None) -> Any:
        """What a list offers, the limit said before anything is ticked."""
        _, *offered = super().get_action_choices(request)
        return [("", f"Select action ({self.admin_site.most_at_once} at most)"), *offered]

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        row = self.get_object(request, object_id) if object_id else None
        offered = self.admin_site.actions_on(request, row) if row is not None else []
        context = {**(extra_context or {}), "offered": offered, "hint": self.hint}
        return super().changeform_view(request, object_id, form_url, context)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """The list; where address or choice can't be read, the plain list and a word about it."""
        chosen = request.POST.getlist("_selected_action")
        if isinstance(self.opts.pk, models.IntegerField) and not all(map(is_number, chosen)):
            return self._plain_list(request, "What was chosen can't be read. Please choose again.")
        try:
            return super().changelist_view(request, extra_context)
        except (ValueError, OverflowError, DataError):
            return self._plain_list(request, "These filters can't be read. Please choose them anew.")

    def _plain_list(self, request: HttpRequest, problem: str) -> HttpResponse:
        self.message_user(request, problem, messages.ERROR)
        return redirect(request.path)


class KeptAdmin(ConsoleAdmin):
    """For what may change, but is never deleted; each change stands in the audit trail."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @transaction.atomic
    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        changes = {name: [str(form.initial.get(name, "")), str(form.cleaned_data[name])] for name in form.changed_data}
        super().save_model(request, obj, form, change)
        about = f"{self.opts.verbose_name} {obj.pk}: {obj}"
        action = AuditEvent.Action.CATALOG_CHANGED
        lifecycle.record(action, license=None, by=staff(request), reason="", about=about, changes=changes)


class ReadOnlyAdmin(KeptAdmin):
    """For what nobody changes by hand."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class Days(RangeDateFilter):
    """From one UTC day through another; unfold's own takes 'to' for that day's first moment, in no timezone."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        name = self.field_path
        try:
            first, last = (self._day(f"{name}_{end}") for end in ("from", "to"))
        except ValueError:
            return queryset.none()  # better nothing than all, which somebody would take for the days they meant
        starts = f"{name}__gte", first and datetime.combine(first, time(), UTC)
        ends = f"{name}__lt", last and datetime.combine(last, time(), UTC) + timedelta(days=1)
        if not isinstance(self.field, models.DateTimeField):
            starts, ends = (f"{name}__gte", first), (f"{name}__lte", last)
        return queryset.filter(**{lookup: value for lookup, value in (starts, ends) if value is not None})

    def _day(self, parameter: str) -> date | None:
        """The day that was asked for, if any. Raises ValueError where it can't be read."""
        text = str(self.used_parameters.get(parameter) or "")
        found = parse_date_str(text)
        if text and (found is None or not 1900 < found.year < 9999):
            raise ValueError(text)
        return found


class OfLicense(TextFilter):
    """By a license's number: a list of 100,000 to choose from helps nobody."""

    title, parameter_name = "License number", "license__id__exact"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        number = (self.value() or "").strip()
        if not number:
            return queryset
        return queryset.filter(license_id=int(number)) if is_number(number) else queryset.none()


def is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


@admin.register(Plan)
class PlanAdmin(KeptAdmin):
    hint = (
        "A change is felt by the next call of every license on this plan that has no override. What was settled before "
        "stays as it is; what Paddle charges is changed in Paddle's dashboard."
    )
    list_display = ["name", "slug", "monthly_quota", "rate_limit", "price_cents", "is_public", "is_active", "order"]

    def get_readonly_fields(self, request: HttpRequest, obj: Plan | None = None) -> list[str]:
        return ["slug"] if obj else []


@admin.register(LicenseToken)
class LicenseTokenAdmin(ReadOnlyAdmin):
    list_display = ["prefix", "label", "license", "created_at", "last_used_at", "expires_at", "revoked_at"]
    list_filter = [OfLicense, ("created_at", Days)]
    list_select_related = ["license"]
    search_fields = ["=id", "prefix__startswith", "license__email"]
    exclude = ["digest"]


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = ["at", "action", "license", "about", "by", "reason"]
    list_filter = [OfLicense, ("action", ChoicesDropdownFilter), ("at", Days)]
    list_select_related = ["license"]
    search_fields = ["=license__id", "license__email", "by", "reason"]

"""Plans, tokens and the audit trail in the console, and what every list there has in common.

The list of licenses draws on billing too, so it is in `remind_site.console.licenses`. What is done to a row goes
through the site's actions (`admin_site.actions_on`), which end in `licenses.lifecycle`.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.contrib import admin
from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest
from django.shortcuts import redirect
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import (
    ChoicesDropdownFilter,
    RangeDateFilter,
    TextFilter,
)
from unfold.utils import parse_date_str

from licenses import tokens
from licenses.models import AuditEvent, LicenseToken, Plan


def staff(request: HttpRequest) -> str:
    """How a member of staff stands in the audit trail."""
    return f"staff:{request.user.get_username()}"


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

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        row = self.get_object(request, object_id) if object_id else None
        offered = self.admin_site.actions_on(request, row) if row is not None else []
        context = {**(extra_context or {}), "offered": offered, "hint": self.hint}
        return super().changeform_view(request, object_id, form_url, context)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """A whole token that was typed into a search box leaves the address at once; its prefix finds as much."""
        term = request.GET.get("q", "").strip()
        if tokens.is_well_formed(term):
            query = request.GET.copy()
            query["q"] = tokens.visible_prefix(term)
            return redirect(f"{request.path}?{query.urlencode()}")
        return super().changelist_view(request, extra_context)


class KeptAdmin(ConsoleAdmin):
    """For what may change, but is never deleted."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


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
        first, last = (self._day(f"{name}_{end}") for end in ("from", "to"))
        starts = f"{name}__gte", first and datetime.combine(first, time(), UTC)
        ends = f"{name}__lt", last and datetime.combine(last, time(), UTC) + timedelta(days=1)
        if not isinstance(self.field, models.DateTimeField):
            starts, ends = (f"{name}__gte", first), (f"{name}__lte", last)
        return queryset.filter(**{lookup: value for lookup, value in (starts, ends) if value is not None})

    def _day(self, parameter: str) -> date | None:
        """The day that was asked for; None where there is none, or none that can be read."""
        found = parse_date_str(str(self.used_parameters.get(parameter) or ""))
        return found if found is not None and 1900 < found.year < 9999 else None


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

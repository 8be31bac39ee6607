"""Plans, licenses, tokens and the audit trail in the console: lists and what can be read. What is done to them goes
through the site's actions (`admin_site.actions_on`), which end in `licenses.lifecycle`.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.contrib import admin
from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import (
    ChoicesDropdownFilter,
    DropdownFilter,
    RangeDateFilter,
    RelatedDropdownFilter,
    TextFilter,
)
from unfold.utils import parse_date_str

from licenses import tokens
from licenses.decisions import Decision, with_decision
from licenses.models import AuditEvent, License, LicenseToken, Plan


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
        return queryset.filter(license_id=int(number)) if _is_number(number) else queryset.none()


def _is_number(text: str) -> bool:
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


class StatusFilter(DropdownFilter):
    title, parameter_name = "status", "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(decision, decision) for decision in Decision if decision is not Decision.TOKEN_REVOKED]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(decision=self.value()) if self.value() else queryset


class EndsSoonFilter(DropdownFilter):
    title, parameter_name = "ends", "ends"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("7", "within 7 days"), ("14", "within 14 days"), ("30", "within 30 days")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in {"7", "14", "30"}:
            return queryset
        now = timezone.now()
        return queryset.filter(ends__gt=now, ends__lte=now + timedelta(days=int(self.value() or 0)))


@admin.register(License)
class LicenseAdmin(ReadOnlyAdmin):
    """The page about one license is the site's own."""

    list_display = ["number", "email", "plan", "status", "ends", "created_at"]
    list_display_links = ["number", "email"]
    list_filter = [("plan", RelatedDropdownFilter), StatusFilter, EndsSoonFilter, ("created_at", Days)]
    list_select_related = ["plan"]
    search_fields = ["=id", "email", "tokens__prefix__startswith"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[License]:
        return with_decision(super().get_queryset(request), timezone.now())

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[License], term: str) -> Any:
        """By what the term looks like, so that the database need not try everything."""
        term = term.strip()
        if _is_number(term.removeprefix("#")):
            return queryset.filter(pk=int(term.removeprefix("#"))), False
        if term.startswith("remind_"):
            return queryset.filter(pk__in=LicenseToken.objects.filter(prefix__startswith=term).values("license")), False
        return queryset.filter(email__icontains=term) if term else queryset, False

    @admin.display(ordering="id")
    def number(self, license: License) -> int:
        return license.pk

    @admin.display(ordering="decision")
    def status(self, license: License) -> str:
        return license.decision  # type: ignore[attr-defined]  # annotated

    @admin.display
    def ends(self, license: License) -> Any:
        return license.ends_at

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("licenses.add_license")

    def add_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return redirect("admin:act-new", "issue-license")

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> Any:
        if not _is_number(object_id):
            return redirect("admin:licenses_license_changelist")
        return self.admin_site.customer_page(request, int(object_id))


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

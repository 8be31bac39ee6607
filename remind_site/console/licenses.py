"""The list of licenses: who may act, what is used, what ends; and the way from it to the page about one."""

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import DropdownFilter, RelatedDropdownFilter
from unfold.decorators import display

from billing import figures
from billing.models import MonthlyUsage
from billing.months import month_of
from licenses import decisions
from licenses.admin import Days, ReadOnlyAdmin, breakable, is_number
from licenses.decisions import Decision, with_decision
from licenses.models import License, LicenseToken
from remind_site.console import customer

COLOURS = {  # of a status, by the names of unfold's labels
    Decision.ACTIVE: "success",
    Decision.NOT_STARTED: "info",
    Decision.EXPIRED: "warning",
    Decision.SUSPENDED: "danger",
    Decision.PLAN_INACTIVE: "danger",
}


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
        return queryset.filter(decisions.ends_by(now + timedelta(days=int(self.value() or 0))))


class QuotaFilter(DropdownFilter):
    title, parameter_name = "this month's quota", "quota"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("80", "80% used, or more"), ("100", "used up")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in {"80", "100"}:
            return queryset
        return queryset.filter(pk__in=figures.near_quota(int(self.value() or 0)).values("pk"))


@admin.register(License)
class LicenseAdmin(ReadOnlyAdmin):
    """The list; the page about one license is `customer`'s."""

    list_display = ["number", "owner", "plan", "status", "used", "ends", "created_at"]
    list_display_links = ["number", "owner"]
    list_filter = [("plan", RelatedDropdownFilter), StatusFilter, EndsSoonFilter, QuotaFilter, ("created_at", Days)]
    list_select_related = ["plan"]
    search_fields = ["=id", "email", "tokens__prefix__startswith"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[License]:
        now = timezone.now()
        counter = MonthlyUsage.objects.filter(license=OuterRef("pk"), month=month_of(now))
        licenses = with_decision(super().get_queryset(request), now)
        return licenses.annotate(
            units=Subquery(counter.values("used")[:1]), bonus=Subquery(counter.values("bonus_units")[:1])
        )

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[License], term: str) -> Any:
        """By what the term looks like, so that the database need not try everything."""
        term = term.strip()
        if is_number(term.removeprefix("#")):
            return queryset.filter(pk=int(term.removeprefix("#"))), False
        if term.startswith("remind_"):
            return queryset.filter(pk__in=LicenseToken.objects.filter(prefix__startswith=term).values("license")), False
        return queryset.filter(email__icontains=term) if term else queryset, False

    @admin.display(ordering="id")
    def number(self, license: License) -> int:
        return license.pk

    @admin.display(description="owner's email", ordering="email")
    def owner(self, license: License) -> SafeString:
        return breakable(license.email)

    @display(ordering="decision", label=COLOURS)  # type: ignore[untyped-decorator]  # unfold's
    def status(self, license: Any) -> str:
        return str(license.decision)

    @admin.display(description="this month", ordering="units")
    def used(self, license: Any) -> str:
        return f"{license.units or 0:,} of {license.monthly_quota + (license.bonus or 0):,}"

    @admin.display
    def ends(self, license: License) -> str | None:
        return decisions.end_in_words(license.ends_at) if license.ends_at else None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("licenses.add_license")

    def add_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return redirect("admin:act-new", "issue-license")

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> Any:
        if not is_number(object_id):
            return redirect("admin:licenses_license_changelist")
        return customer.page(request, int(object_id))

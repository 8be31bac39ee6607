"""Plans, tokens and the audit trail in the console, and what every list there has in common.

The list of licenses draws on billing too, so it is in `remind_site.console.licenses`. What is done to a row goes
through the site's actions (`admin_site.actions_on`), which end in `licenses.lifecycle`.
"""

import hashlib
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import DataError, models, transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import (
    ChoicesDropdownFilter,
    RangeDateFilter,
    TextFilter,
)
from unfold.utils import parse_date_str
from unfold.views import ChangeList
from unfold.widgets import UnfoldAdminTextInputWidget, UnfoldBooleanWidget

from licenses import lifecycle, tokens, trail
from licenses.decisions import Decision, with_decision
from licenses.models import AuditEvent, License, LicenseToken, Plan


def staff(request: HttpRequest) -> str:
    """How a member of staff stands in the audit trail."""
    return f"staff:{request.user.get_username()}"[:150]


class SortableChangeList(ChangeList):
    """Sorts by `sortable_by` alone, whatever the address asks for; Django's only hides the others' links."""

    def get_ordering_field(self, field_name: Any) -> Any:
        return super().get_ordering_field(field_name) if field_name in self.sortable_by else None

    def get_results(self, request: HttpRequest) -> None:
        """Where nothing is searched for or filtered by, what was found is all; else unfold offers to show all."""
        super().get_results(request)
        if not self.query and not self.has_active_filters:
            self.full_result_count = self.result_count


class ConsoleAdmin(ModelAdmin):
    """What every list and page of the console has: the site's actions, and filters that wait to be sent."""

    list_per_page = 50
    list_filter_submit = True
    list_fullwidth = True
    compressed_fields = True
    show_full_result_count = False
    change_form_outer_before_template = "console/object_actions.html"
    hint = ""  # said above the form

    show_facets = admin.ShowFacets.NEVER  # a count for each filter takes seconds on a long list

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return SortableChangeList

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
            return super().changelist_view(
                request, {"title": self.admin_site.title_of(self.model), **(extra_context or {})}
            )
        except (ValueError, OverflowError, DataError):
            if not request.GET:  # nothing was filtered by: a bug
                raise
            return self._plain_list(request, "These filters can't be read. Please choose them anew.")

    def _plain_list(self, request: HttpRequest, problem: str) -> HttpResponse:
        self.message_user(request, problem, messages.ERROR)
        return redirect(request.path)


class KeptAdmin(ConsoleAdmin):
    """For what may change, but is never deleted; each change stands in the audit trail."""

    trail_action = AuditEvent.Action.CATALOG_CHANGED

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @transaction.atomic
    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        self.record(request, obj, _changes(form), form.cleaned_data.get("reason", ""))

    def record(self, request: HttpRequest, obj: Any, changes: dict[str, list[Any]], reason: str = "") -> None:
        """The line in the audit trail."""
        about = f"{name_of(obj)}{obj}"
        lifecycle.record(
            self.trail_action, license=None, by=staff(request), reason=reason, about=about, changes=changes
        )


NO_VALUES = frozenset({"reason", "seen", "is_sure"})  # fields of forms that no row has


class CatalogForm(forms.ModelForm):
    """Asks why, and carries what it was shown for."""

    reason = forms.CharField(
        max_length=500,
        widget=UnfoldAdminTextInputWidget,
        help_text="For the audit trail: a ticket, or a sentence.",
    )
    seen = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk and "seen" in self.fields:
            self.fields["seen"].initial = state_of(self.instance)

    def clean_reason(self) -> str:
        reason: str = self.cleaned_data["reason"]
        if tokens.shorten(reason) != reason:
            raise forms.ValidationError("This holds a token, and what is written here is kept. Leave the token out.")
        return reason

    def clean(self) -> dict[str, Any]:
        """A row that is there already must change."""
        values: dict[str, Any] = super().clean() or self.cleaned_data
        if self.instance.pk and not self.errors and not _changes(self):
            raise forms.ValidationError("Nothing was changed, and nothing was written.")
        return values


def confirmation(label: str) -> forms.BooleanField:
    """A box that is asked for only where what is to be saved is seldom meant."""
    return forms.BooleanField(label=label, required=False, widget=UnfoldBooleanWidget)


class CatalogAdmin(KeptAdmin):
    """For plans and prices: each change has a reason, and whoever is second to change a row is told so."""

    form = CatalogForm

    @transaction.atomic
    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if change:
            told = [
                f"{form.fields[name].label}: {_in_short(before)} → {_in_short(after)}"
                for name, (before, after) in _changes(form).items()
            ]
            self.message_user(request, f"Changed. {'; '.join(told)}.")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        may_change = obj is None or self.has_change_permission(request, obj)
        return [name for name in super().get_fields(request, obj) if may_change or name not in {"reason", "seen"}]

    @transaction.atomic
    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        row = self.get_object(request, object_id) if object_id and request.method == "POST" else None
        if row is not None and self.has_change_permission(request, row):
            now = self.model._default_manager.select_for_update(no_key=True).get(pk=row.pk)
            if request.POST.get("seen") != state_of(now):
                self.message_user(request, self._what_happened(now), messages.ERROR)
                return redirect(request.path)
        return super().changeform_view(request, object_id, form_url, extra_context)

    def _what_happened(self, row: Any) -> str:
        event = AuditEvent.objects.filter(action=self.trail_action, about__startswith=name_of(row)).first()
        who = f" by {event.by} at {event.at:%H:%M} UTC ({event.reason})" if event else ""
        return f"Since you opened this form, it was changed{who}. Nothing of yours was done; below is what holds now."


def _in_short(value: str) -> str:
    """A value for people: thousands apart, 'yes' and 'no'."""
    return f"{int(value):,}" if is_number(value) else {"True": "yes", "False": "no"}.get(value, value)


def state_of(row: Any) -> str:
    """What a form for a row was shown for, in short."""
    fields = [field for field in row._meta.concrete_fields if field.name != "last_login"]  # which changes by itself
    values = [str(getattr(row, field.attname)) for field in fields]
    return hashlib.sha256("\x00".join(values).encode()).hexdigest()


def name_of(row: Any) -> str:
    """How the audit trail's `about` begins for a row without a license."""
    return f"{row._meta.verbose_name} {row.pk}: "


def _changes(form: Any) -> dict[str, list[Any]]:
    """What a form changes, for the audit trail; without what is no value of the row, and without passwords."""
    names = [name for name in form.changed_data if name not in NO_VALUES and "password" not in name]
    return {name: [_word(form.initial.get(name, "")), _word(form.cleaned_data[name])] for name in names}


def _word(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | QuerySet) else str(value)


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
            messages.error(request, "A day in the filter can't be read (write it as 2026-11-25), so nothing is shown.")
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


@admin.display(description="license", ordering="license")
def whose(row: Any) -> SafeString | None:
    """The column of a row's license, which breaks where people would break it."""
    license = row.license
    if license is None:
        return None
    return format_html("License {}<br>{}", license.pk, breakable(license.email))


def breakable(email: str) -> SafeString:
    """An address that breaks after its @, where it must."""
    name, _, domain = email.rpartition("@")
    return format_html("{}@<wbr>{}", name, domain)


def counted(count: int, noun: str, plural: str = "") -> str:
    """'1 license', '2 licenses'."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


class PlanForm(CatalogForm):
    is_sure = confirmation("Switch it off for its customers, too")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk and "is_sure" in self.fields:
            self.fields["is_sure"].help_text = f"Asked for where it is no longer active: {self._refused()}."

    def clean(self) -> dict[str, Any]:
        """A plan that has customers is switched off only by whoever knows how many."""
        values = super().clean()
        goes_off = "is_active" in self.changed_data and not values.get("is_active")
        if self.instance.pk and goes_off and not values.get("is_sure") and customers_of(self.instance):
            self.add_error("is_sure", f"{self._refused()}. Tick this if that is meant.")
        return values

    def _refused(self) -> str:
        return f"{counted(customers_of(self.instance), 'license')} will be refused"


def customers_of(plan: Plan) -> int:
    """How many licenses may act by this plan, or could were it active."""
    would = [Decision.ACTIVE, Decision.PLAN_INACTIVE]
    return with_decision(License.objects.filter(plan=plan), timezone.now()).filter(decision__in=would).count()


@admin.register(Plan)
class PlanAdmin(CatalogAdmin):
    form = PlanForm
    hint = (
        "A change is felt by the next call of every license on this plan that has no override. What was settled before "
        "stays as it is; what Paddle charges is changed in Paddle's dashboard."
    )
    list_display = ["name", "slug", "quota", "rate", "price", "is_public", "is_active", "order"]

    @transaction.atomic
    def save_model(self, request: HttpRequest, obj: Plan, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if change and "is_active" in form.changed_data:
            becomes = "may act again" if obj.is_active else "are refused now, with 'plan_inactive'"
            self.message_user(request, f"Licenses that {becomes}: {customers_of(obj):,}.")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """What asks about customers stands with whoever may change the plan, while it is active."""
        asks = obj is not None and obj.is_active and self.has_change_permission(request, obj)
        return [name for name in super().get_fields(request, obj) if asks or name != "is_sure"]

    @admin.display(description="suggestions a month", ordering="monthly_quota")
    def quota(self, plan: Plan) -> str:
        return f"{plan.monthly_quota:,}"

    @admin.display(description="requests a minute", ordering="rate_limit")
    def rate(self, plan: Plan) -> str:
        return f"{plan.rate_limit:,}"

    @admin.display(description="price a month", ordering="price_cents")
    def price(self, plan: Plan) -> str:
        return f"${Decimal(plan.price_cents).scaleb(-2):,.2f}"

    def get_readonly_fields(self, request: HttpRequest, obj: Plan | None = None) -> list[str]:
        return ["slug"] if obj else []


@admin.register(LicenseToken)
class LicenseTokenAdmin(ReadOnlyAdmin):
    list_display = ["prefix", "label", whose, "created_at", "last_used_at", "expires_at", "revoked_at"]
    list_filter = [OfLicense, ("created_at", Days)]
    list_select_related = ["license"]
    search_fields = ["=id", "prefix__startswith", "license__email"]
    exclude = ["digest"]


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = ["at", "action", whose, "about", "by", "reason"]
    fields = ["at", "action", "by", "reason", "license", "token", "about", "what_changed"]
    readonly_fields = ["what_changed"]
    list_filter = [OfLicense, ("action", ChoicesDropdownFilter), ("at", Days)]
    list_select_related = ["license"]
    search_fields = ["=license__id", "license__email", "by", "reason"]
    search_help_text = "A license's number, an owner's address, or words of who and why."
    sortable_by = ["at"]

    @admin.display(description="what changed")
    def what_changed(self, event: AuditEvent) -> SafeString | None:
        return format_html_join(SafeString("<br>"), "{}: {}", trail.changes_in_words(event)) or None

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[AuditEvent], term: str) -> Any:
        """By what the term looks like, so that the database need not try everything."""
        term = term.strip()
        if is_number(term.removeprefix("#")):
            return queryset.filter(license_id=int(term.removeprefix("#"))), False
        if "@" in term:
            return queryset.filter(license__in=License.objects.filter(email__icontains=term).values("pk")), False
        return queryset.filter(Q(by__icontains=term) | Q(reason__icontains=term)) if term else queryset, False

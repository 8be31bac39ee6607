"""What belongs to no app, in the console: staff and their roles, who logged in, and the queue's own pages."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice
from django_q.models import Failure, OrmQ, Schedule, Success
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from licenses.admin import Days, KeptAdmin, ReadOnlyAdmin
from licenses.models import AuditEvent
from remind_site.console.roles import ROLES, can_allow
from remind_site.models import BackupRun, LogIn

# Second factors are taken away by an action on the user; nobody is to read another's key or codes.
for model in (User, Group, StaticDevice, TOTPDevice, Failure, OrmQ, Schedule, Success):
    if admin.site.is_registered(model):
        admin.site.unregister(model)


@admin.register(User)
class UserAdmin(DjangoUserAdmin, KeptAdmin):
    trail_action = AuditEvent.Action.STAFF_CHANGED
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    hint = "Roles are the groups Support, Billing and Auditor. 'Staff status' opens the console at all."
    list_display = ["username", "email", "roles", "is_staff", "is_superuser", "is_active", "last_login"]
    list_filter = ["is_staff", "groups"]
    filter_horizontal = ()
    fieldsets = (
        (None, {"fields": ("username", "password", "email", "first_name", "last_name")}),
        ("What they may", {"fields": ("is_active", "is_staff", "is_superuser", "groups")}),
        ("Since", {"fields": ("last_login", "date_joined")}),
    )
    readonly_fields = ("last_login", "date_joined")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)  # whoever could change staff could become anybody

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups")

    @admin.display
    def roles(self, user: User) -> str:
        return ", ".join(sorted(group.name for group in user.groups.all()))

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """The password stands only before those who may set a new one."""
        if obj is None or self.has_change_permission(request, obj):
            return super().get_fieldsets(request, obj)
        (_, who), *rest = self.fieldsets
        return ((None, {"fields": tuple(name for name in who["fields"] if name != "password")}), *rest)

    # They are never deleted: their name stands in the audit trail. Untick 'active'.

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Django's own note of what changed; a new password for somebody passes `save_model` by."""
        if "password" in str(message).lower():
            self.record(request, obj, {"password": ["", "set anew"]})
        return super().log_change(request, obj, message)

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        return super().formfield_for_manytomany(
            db_field, request, widget=UnfoldAdminCheckboxSelectMultipleWidget, **kwargs
        )


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, KeptAdmin):
    trail_action = AuditEvent.Action.STAFF_CHANGED
    hint = "Support, Billing and Auditor are set anew by every 'manage.py migrate'; for other roles make other groups."
    filter_horizontal = ()

    def formfield_for_manytomany(self, db_field: Any, request: Any = None, **kwargs: Any) -> Any:
        """Boxes to tick: two lists side by side are wider than most screens."""
        kwargs = {**kwargs, "widget": UnfoldAdminCheckboxSelectMultipleWidget, "queryset": can_allow()}
        field: Any = super().formfield_for_manytomany(db_field, request, **kwargs)
        field.choices = [(permission.pk, permission.name) for permission in field.queryset]  # so few need no app's name
        return field

    @transaction.atomic
    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Whoever was in it loses what it allowed: who that was is kept."""
        members = ", ".join(obj.user_set.order_by("username").values_list("username", flat=True))
        self.record(request, obj, {"role": [obj.name, ""], "members": [members, ""]})
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Group]) -> None:
        for group in queryset:
            self.delete_model(request, group)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The three stay: whoever is in one would lose it for good, since only the group comes back."""
        return obj is None or obj.name not in ROLES if request.user.is_superuser else False


@admin.register(LogIn)
class LogInAdmin(ReadOnlyAdmin):
    list_display = ["at", "username", "what", "address"]
    list_filter = [("what", ChoicesDropdownFilter), ("at", Days)]
    search_fields = ["username", "=address"]


@admin.register(BackupRun)
class BackupRunAdmin(ReadOnlyAdmin):
    list_display = ["started_at", "kind", "ok", "ended_at", "name", "bytes", "detail"]
    list_filter = [("kind", ChoicesDropdownFilter), "ok", ("started_at", Days)]
    search_fields = ["name"]


class TaskAdmin(ReadOnlyAdmin):
    list_display = ["func", "started", "stopped", "success", "attempt_count"]
    fields = ["func", "args", "kwargs", "started", "stopped", "success", "attempt_count", "result"]
    list_filter = [("started", Days)]


@admin.register(Failure)
class FailureAdmin(TaskAdmin):
    """Tasks that failed; each is tried again by itself."""


@admin.register(Schedule)
class ScheduleAdmin(ReadOnlyAdmin):
    list_display = ["name", "func", "next_run", "last"]

    @admin.display(description="last run went well")
    def last(self, schedule: Any) -> bool | None:
        return schedule.success()

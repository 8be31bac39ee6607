"""The roles of staff, as groups that every `migrate` sets to what stands here. Who needs something else makes a group
of their own; superusers may do all of it.
"""

from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.contrib.auth.management import create_permissions
from django.db.models import Q

if TYPE_CHECKING:
    from django.contrib.auth.models import Permission
    from django.db.models import QuerySet

READ = ("licenses", "billing", "remind_site", "django_q")  # by every role
APPS = (*READ, "auth")

# All else can be read by every role; the queue's pages too, since the home links to tasks that failed.
SUPPORT = {
    "licenses": ["add_license", "change_license", "add_licensetoken", "change_licensetoken"],
    "billing": ["add_bonusgrant", "change_mail", "change_webhookevent", "change_errand"],
}
BILLING = {
    "licenses": [*SUPPORT["licenses"], "add_plan", "change_plan"],
    "billing": [
        *SUPPORT["billing"], "add_usagerecord", "add_modelprice", "add_planprice", "change_planprice",
    ],
}  # fmt: skip
AUDITOR = {"auth": ["view_user", "view_group"]}  # who may do what is part of what is audited
ROLES: dict[str, dict[str, list[str]]] = {"Support": SUPPORT, "Billing": BILLING, "Auditor": AUDITOR}


def can_allow() -> "QuerySet[Permission]":
    """What a role may hold: to read, and what one of the three holds. Nothing else opens anything in the console."""
    from django.contrib.auth.models import Permission

    allowed = Q(content_type__app_label__in=READ, codename__startswith="view_")
    for role in ROLES.values():
        for app, codenames in role.items():
            allowed |= Q(content_type__app_label=app, codename__in=codenames)
    return Permission.objects.filter(allowed).select_related("content_type")


def install(using: str = "default", **kwargs: Any) -> None:
    """Make the groups what they should be; connected to the `post_migrate` signal."""
    from django.contrib.auth.models import Group, Permission

    for label in APPS:
        create_permissions(apps.get_app_config(label), verbosity=0, using=using)
    known = Permission.objects.using(using).filter(content_type__app_label__in=APPS)
    for name, allowed in ROLES.items():
        group, _ = Group.objects.using(using).get_or_create(name=name)
        group.permissions.set(
            permission
            for permission in known.select_related("content_type")
            if (permission.content_type.app_label in READ and permission.codename.startswith("view_"))
            or permission.codename in allowed.get(permission.content_type.app_label, [])
        )

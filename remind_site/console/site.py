"""The admin site itself: its addresses, its door (password, second factor, limit on tries) and its home."""

import hashlib
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.contrib.auth.views import redirect_to_login
from django.core.cache import cache
from django.db import transaction
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django_ratelimit.core import get_usage
from unfold.sites import UnfoldAdminSite

from licenses import addresses, tokens
from licenses.errors import Invalid, RateLimited
from remind_site import api

TRIES = "10/5m"  # of one person, from one address
TRIES_OF_AN_ADDRESS = "30/5m"  # as whomever
NOTE_BLOCKED_EVERY = 60  # seconds


LOGGED_OUT = (
    f"You were logged out: that happens after {settings.ADMIN_IDLE_MINUTES} minutes without a page. What you sent was "
    "not done. The browser's Back may still have what you wrote; log in first, in another tab."
)


class Console(UnfoldAdminSite):
    """Everything under /admin/."""

    site_title = site_header = "Remind"
    index_title = "Home"
    index_template = "console/home.html"
    site_url = None  # there is no site for people beside it

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """unfold's, without the style element it would write into each page; console.css has the colours."""
        return {**super().each_context(request), "colors": None}

    def has_permission(self, request: HttpRequest) -> bool:
        """Staff who gave both factors."""
        return is_staff(request.user) and not lacks_second_factor(request)

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """Every page behind the door; addresses that it can't have are turned away before it."""
        guarded = super().admin_view(view, cacheable)

        @wraps(view)
        def with_clean_address(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if request.method == "POST" and not self.has_permission(request):
                return redirect_to_login(request.path, f"{reverse('admin:login')}?sent=1")
            return _clean_address(request) or guarded(request, *args, **kwargs)

        return with_clean_address

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        """The password; whoever gave it goes on to the second factor."""
        turned_away = _clean_address(request) or too_many_tries(request, request.POST.get("username", ""))
        if turned_away is not None:
            return turned_away
        if is_staff(request.user) and lacks_second_factor(request):
            return redirect(f"{reverse('admin:second-factor')}?{request.GET.urlencode()}")
        if request.method == "GET" and "sent" in request.GET:
            messages.warning(request, LOGGED_OUT)
        page = super().login(request, extra_context)
        if request.method == "POST" and page.status_code == 200:  # the form again, with what is wrong
            count_failure(request, request.POST.get("username", ""))
        return page

    @transaction.atomic
    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        """One's own; that it was changed stands in the audit trail."""
        from licenses import lifecycle
        from licenses.admin import name_of, staff
        from licenses.models import AuditEvent

        page = super().password_change(request, extra_context)
        if request.method == "POST" and page.status_code == 302:
            lifecycle.record(
                AuditEvent.Action.STAFF_CHANGED,
                license=None,
                by=staff(request),
                reason="",
                about=f"{name_of(request.user)}{request.user}",
                changes={"password": ["", "set anew"]},
            )
        return page

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        from remind_site.console import home

        return super().index(request, {**home.figures(request), **(extra_context or {})})

    def search(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """Not unfold's: it keeps what was searched for, whole tokens too, in address and cache; `find` does not."""
        raise Http404

    def extra_urls(self) -> list[URLPattern]:
        from remind_site.console import acting, find, second_factor

        def guarded(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
            return self.admin_view(view)

        return [
            path("second-factor/", second_factor.view, name="second-factor"),
            path("recovery-codes/", guarded(second_factor.recovery_codes), name="recovery-codes"),
            path("find/", guarded(find.view), name="find"),
            path("act/<slug:slug>/", guarded(acting.without_subject), name="act-new"),
            path("act/<slug:slug>/<int:pk>/", guarded(acting.on_one), name="act"),
            path("act-on-many/<slug:slug>/", guarded(acting.on_many), name="act-on-many"),
        ]

    # What `licenses` and `billing` show on their own pages, without knowing who offers it.

    def actions_on(self, request: HttpRequest, subject: Any) -> list[Any]:
        """What this member of staff can do with a row now."""
        from remind_site.console import actions

        return actions.possible(request, subject)

    def title_of(self, model: Any) -> str:
        """What the list of a model is called."""
        from remind_site.console import navigation

        return navigation.title_of(model)

    @property
    def most_at_once(self) -> int:
        """How many rows of a list an action takes."""
        from remind_site.console import acting

        return acting.MOST_AT_ONCE

    def bulk_actions_on(self, request: HttpRequest, model: Any) -> dict[str, Any]:
        """What this member of staff can do with several rows of a list, as the admin wants its actions."""
        from remind_site.console import acting

        return acting.bulk_actions(request, model)


def is_staff(user: AbstractBaseUser | AnonymousUser) -> bool:
    return bool(user.is_active and getattr(user, "is_staff", False))


def lacks_second_factor(request: HttpRequest) -> bool:
    return settings.ADMIN_REQUIRE_2FA and not request.user.is_verified()  # type: ignore[union-attr]  # by OTPMiddleware


def _clean_address(request: HttpRequest) -> HttpResponseBase | None:
    """Where to go instead, for an address that holds a token or what no database can look for; None for any other."""
    address = request.get_full_path()
    if tokens.shorten(address) != address:
        return redirect(tokens.shorten(address))
    values = [request.path, *(value for name, values in request.GET.lists() for value in (name, *values))]
    if any("\x00" in value for value in values):
        return api.error_page(request, Invalid("This address can't be read. Please start from the home page."))
    return None


def too_many_tries(request: HttpRequest, name: str) -> HttpResponseBase | None:
    """The page that says so, once an address has failed to get in too often. What succeeds is not counted.

    Args:
        name: as whom; one person's tries are fewer than those of a whole office behind one address.
    """
    if request.method != "POST":
        return None
    for usage in _failures(request, name, increment=False):
        if usage["count"] >= usage["limit"]:
            _note_blocked(request, name)
            minutes = -(-usage["time_left"] // 60)
            wait = f"{minutes} minute{'' if minutes == 1 else 's'}"
            detail = f"Too many tries to log in. Please wait {wait}."
            return api.error_page(request, RateLimited(detail, retry_after=usage["time_left"]))
    return None


def _note_blocked(request: HttpRequest, name: str) -> None:
    """Keep that tries are refused: one a minute from an address, so that whoever goes on fills no table."""
    from remind_site.console import log_ins

    network = hashlib.sha256(addresses.client_network(request).encode()).hexdigest()
    if cache.add(f"log-in-blocked:{network}", 1, NOTE_BLOCKED_EVERY):
        log_ins.note(request, log_ins.What.BLOCKED, None, name)


def count_failure(request: HttpRequest, name: str) -> None:
    """A wrong name, password or code."""
    _failures(request, name, increment=True)


def _failures(request: HttpRequest, name: str, increment: bool) -> list[dict[str, Any]]:
    network = addresses.client_network(request)
    person = hashlib.sha256(f"{network} {name.casefold()}".encode()).hexdigest()
    usages = [
        get_usage(request, group=f"log-in-{group}", key=lambda *_, key=key: key, rate=rate, increment=increment)
        for group, key, rate in (("person", person, TRIES), ("address", network, TRIES_OF_AN_ADDRESS))
    ]
    return [usage for usage in usages if usage]

"""The second factor: a code from an authenticator app (TOTP), enrolled at the first log-in, or a recovery code.

Keys, codes and their throttling are django-otp's; here are the pages, for whoever has given the password.
"""

from math import ceil
from typing import Any, cast

import django_otp
import segno
from django import forms
from django.contrib.auth import logout
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import mark_safe
from django.views.decorators.cache import never_cache
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice
from unfold.widgets import UnfoldAdminTextInputWidget

from remind_site.console import log_ins
from remind_site.console.site import count_failure, is_staff, lacks_second_factor, too_many_tries
from remind_site.models import LogIn

RECOVERY_CODES = 10
MOST_DOUBLINGS = 6  # of the pause after a wrong code, which begins with a second
WRONG = "That code is wrong, or was used before. An app's code changes every 30 seconds; are the clocks right?"


class CodeForm(forms.Form):
    code = forms.CharField(
        max_length=20,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "one-time-code", "autofocus": True}),
    )

    def clean_code(self) -> str:
        return str(self.cleaned_data["code"]).replace(" ", "").replace("-", "").lower()


@never_cache
def view(request: HttpRequest) -> HttpResponseBase:
    """Ask for the code; of those who have no app yet, have one enrolled."""
    if not is_staff(request.user):
        return redirect("admin:login")
    if not lacks_second_factor(request):
        return redirect("admin:index")
    if "leave" in request.POST:
        logout(request)
        return redirect("admin:login")
    user = cast(User, request.user)
    refusal = too_many_tries(request, user.username)
    if refusal is not None:
        return refusal
    device = TOTPDevice.objects.filter(user=user, confirmed=True).first()
    return _ask(request, user, device) if device else _enrol(request, user)


@never_cache
def recovery_codes(request: HttpRequest) -> HttpResponseBase:
    """New recovery codes, shown once; the old ones end. Asks for a code: a page left open is not enough."""
    user = cast(User, request.user)
    refusal = too_many_tries(request, user.username)
    if refusal is not None:
        return refusal
    app = TOTPDevice.objects.filter(user=user, confirmed=True).first()
    form = CodeForm(request.POST or None) if app else None  # None: without an app there is nothing to ask for
    if request.method != "POST" or not (form is None or _proves(request, user, app, form)):
        left = StaticToken.objects.filter(device__user=user).count()
        return _page(request, "console/recovery_codes.html", left=left, form=form)
    log_ins.note(request, log_ins.What.NEW_CODES, user)
    return _page(request, "console/recovery_codes.html", codes=_new_recovery_codes(user))


def _proves(request: HttpRequest, user: User, app: TOTPDevice | None, form: CodeForm) -> bool:
    """Whether a right code was typed; a wrong one is counted."""
    if app is None or not form.is_valid():
        return False
    code = form.cleaned_data["code"]
    if _accepts(_device_for(code, user, app), code, form):
        return True
    log_ins.note(request, log_ins.What.WRONG_CODE, user)
    count_failure(request, user.username)
    return False


def _ask(request: HttpRequest, user: User, app: TOTPDevice) -> HttpResponse:
    form = CodeForm(request.POST or None)
    if form.is_valid():
        code = form.cleaned_data["code"]
        device = _device_for(code, user, app)
        if _accepts(device, code, form):
            recovered = isinstance(device, StaticDevice)
            _let_in(request, device, log_ins.What.RECOVERED if recovered else log_ins.What.SECOND_FACTOR)
            return redirect(_next(request))
        log_ins.note(request, log_ins.What.WRONG_CODE, user)
        count_failure(request, user.username)
    return _page(request, "console/second_factor.html", form=form)


def _enrol(request: HttpRequest, user: User) -> HttpResponse:
    device = _unconfirmed_device(user)
    form = CodeForm(request.POST or None)
    if form.is_valid() and not _accepts(device, form.cleaned_data["code"], form):
        log_ins.note(request, log_ins.What.WRONG_CODE, user)
        count_failure(request, user.username)
    elif form.is_valid():
        device.confirmed = True
        device.save(update_fields=["confirmed"])
        _let_in(request, device, log_ins.What.ENROLLED)
        return _page(request, "console/recovery_codes.html", codes=_new_recovery_codes(user), just_enrolled=True)
    picture = segno.make(device.config_url).svg_inline(scale=5, dark="#000", light="#fff", border=3)
    # The picture is drawn by segno from our own key: nothing of it was typed by anybody.
    return _page(request, "console/enrol.html", form=form, picture=mark_safe(picture), key=_base32(device.bin_key))  # noqa: S308  # nosec


def _let_in(request: HttpRequest, device: Any, what: LogIn.What) -> None:
    django_otp.login(request, device)
    request.session.cycle_key()  # whoever knew the session's key with the password alone does not know it now
    log_ins.note(request, what, cast(User, request.user))


def _next(request: HttpRequest) -> str:
    """The page that was asked for before the door, if it is one of ours."""
    wanted = request.GET.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if is_ours and wanted.startswith(reverse("admin:index")) else reverse("admin:index")


@transaction.atomic
def _unconfirmed_device(user: User) -> TOTPDevice:
    """The one that is being enrolled; made once, however many pages are opened at once."""
    User.objects.select_for_update().get(pk=user.pk)
    device = TOTPDevice.objects.filter(user=user, confirmed=False).first()
    return device or TOTPDevice.objects.create(user=user, confirmed=False, name="authenticator app")


def _device_for(code: str, user: User, app: TOTPDevice) -> Any:
    """Which device a code is for: six digits are the app's; recovery codes are longer."""
    if code.isdigit() and len(code) == app.digits:
        return app
    return StaticDevice.objects.filter(user=user, confirmed=True).first() or app


def _accepts(device: Any, code: str, form: CodeForm) -> bool:
    """Whether the code is right and was not used; else the form says why not."""
    kind = type(device)
    # The pause after wrong codes doubles; without an end, whoever knows the password could lock the owner out.
    kind.objects.filter(pk=device.pk, throttling_failure_count__gt=MOST_DOUBLINGS).update(
        throttling_failure_count=MOST_DOUBLINGS
    )
    device.refresh_from_db()
    allowed, why = device.verify_is_allowed()
    if allowed and django_otp.verify_token(device.user, device.persistent_id, code) is not None:
        device.refresh_from_db()
        return True
    form.add_error("code", WRONG if allowed else _wait_until(why))
    return False


def _wait_until(why: dict[str, Any]) -> str:
    seconds = max(1, ceil((why["locked_until"] - timezone.now()).total_seconds()))
    return f"There were wrong codes before. Wait {seconds} seconds, then type the code that is right by then."


@transaction.atomic
def _new_recovery_codes(user: User) -> list[str]:
    device, _ = StaticDevice.objects.get_or_create(user=user, defaults={"name": "recovery codes"})
    device.token_set.all().delete()
    codes = [StaticToken.random_token() for _ in range(RECOVERY_CODES)]
    StaticToken.objects.bulk_create(StaticToken(device=device, token=code) for code in codes)
    return codes


def _base32(key: bytes) -> str:
    from base64 import b32encode

    text = b32encode(key).decode()
    return " ".join(text[start : start + 4] for start in range(0, len(text), 4))


def _page(request: HttpRequest, template: str, **context: Any) -> HttpResponse:
    from django.contrib import admin

    page = TemplateResponse(
        request, template, {**admin.site.each_context(request), "title": "Second factor", **context}
    )
    page["Cache-Control"] = "no-store"
    return page

"""The second factor: a code from an authenticator app (TOTP), enrolled at the first log-in, or a recovery code.

Keys, codes and their throttling are django-otp's; here are the pages, for whoever has given the password.
"""

from typing import Any, cast

import django_otp
import segno
from django import forms
from django.contrib.auth import logout
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.safestring import mark_safe
from django.views.decorators.cache import never_cache
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice
from unfold.widgets import UnfoldAdminTextInputWidget

from remind_site.console import log_ins
from remind_site.console.site import is_staff, lacks_second_factor, too_many_tries

RECOVERY_CODES = 10
WRONG = "That code is wrong, or was used before. Wait for the app's next one."
TOO_MANY = "Too many wrong codes. Wait for the app's next code, then try again."


class CodeForm(forms.Form):
    code = forms.CharField(
        max_length=20,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "one-time-code", "autofocus": True}),
    )

    def clean_code(self) -> str:
        return str(self.cleaned_data["code"]).replace(" ", "").replace("-", "").lower()


@never_cache
def view(request: HttpRequest) -> HttpResponse:
    """Ask for the code; of those who have no app yet, have one enrolled."""
    if not is_staff(request.user):
        return redirect("admin:login")
    if not lacks_second_factor(request):
        return redirect("admin:index")
    if "leave" in request.POST:
        logout(request)
        return redirect("admin:login")
    refusal = too_many_tries(request)
    if refusal is not None:
        return cast(HttpResponse, refusal)
    user = cast(User, request.user)
    device = TOTPDevice.objects.filter(user=user, confirmed=True).first()
    return _ask(request, user, device) if device else _enrol(request, user)


@never_cache
def recovery_codes(request: HttpRequest) -> HttpResponse:
    """New recovery codes, shown once; the old ones end."""
    user = cast(User, request.user)
    if request.method != "POST":
        left = StaticToken.objects.filter(device__user=user).count()
        return _page(request, "console/recovery_codes.html", left=left)
    return _page(request, "console/recovery_codes.html", codes=_new_recovery_codes(user))


def _ask(request: HttpRequest, user: User, device: TOTPDevice) -> HttpResponse:
    form = CodeForm(request.POST or None)
    if form.is_valid():
        code, (allowed, _) = form.cleaned_data["code"], device.verify_is_allowed()
        if (accepted := _accepted_by(user, device, code)) is not None:
            django_otp.login(request, accepted)
            recovered = isinstance(accepted, StaticDevice)
            log_ins.note(request, log_ins.What.RECOVERED if recovered else log_ins.What.SECOND_FACTOR, user)
            return redirect("admin:index")
        log_ins.note(request, log_ins.What.WRONG_CODE, user)
        form.add_error("code", WRONG if allowed else TOO_MANY)
    return _page(request, "console/second_factor.html", form=form)


def _enrol(request: HttpRequest, user: User) -> HttpResponse:
    device, _ = TOTPDevice.objects.get_or_create(user=user, confirmed=False, defaults={"name": "authenticator app"})
    form = CodeForm(request.POST or None)
    if form.is_valid():
        accepted = django_otp.verify_token(user, device.persistent_id, form.cleaned_data["code"])
        if accepted is not None:
            return _enrolled(request, user, device)
        form.add_error("code", "That is not the code the app shows now. Are the clocks of both devices right?")
    picture = segno.make(device.config_url).svg_inline(scale=5, dark="#000", light="#fff", border=3)
    key = device.key and _base32(device.bin_key)
    # The picture is drawn by segno from our own key: nothing of it was typed by anybody.
    return _page(request, "console/enrol.html", form=form, picture=mark_safe(picture), key=key)  # noqa: S308


def _enrolled(request: HttpRequest, user: User, device: TOTPDevice) -> HttpResponse:
    TOTPDevice.objects.filter(pk=device.pk).update(confirmed=True)
    device.confirmed = True
    django_otp.login(request, device)
    log_ins.note(request, log_ins.What.ENROLLED, user)
    return _page(request, "console/recovery_codes.html", codes=_new_recovery_codes(user), just_enrolled=True)


def _accepted_by(user: User, device: TOTPDevice, code: str) -> Any:
    """The device that takes the code. Recovery codes are no six digits, so no try is spent on the wrong device."""
    if code.isdigit() and len(code) == device.digits:
        return django_otp.verify_token(user, device.persistent_id, code)
    recovery = StaticDevice.objects.filter(user=user, confirmed=True).first()
    return recovery and django_otp.verify_token(user, recovery.persistent_id, code)


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
